"""The cost of a step with the KV cache in one pool, and split into a part for each sequence.

    python -m tests.benchmarks.layout 42m             # or a path; --sequences, --tokens, --seconds

Both contexts stand side by side on the same weights and take turns. One prompt is computed, and its state is put into
all sequences. No sampling: this is llama.cpp's own time for a decode of one token for each sequence.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import tempfile
import time
from pathlib import Path

import llama_cpp.llama_cpp as lib

from modelfiles.embedded import demo_gguf
from runner.llama import library
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.protocol.options import LoadOptions
from tests.benchmarks.random_gguf import SHAPES, write

SEQUENCES = (1, 2, 4, 8, 16, 32, 64, 128)
TOKENS = (100, 500)
HEAD = (
    "| model | tokens each | sequences | one pool, ms | split, ms | pool / split | split made in, ms |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)
_ROOM = 64  # cells of a sequence beyond what it holds at first
_UNIT = 256  # llama.cpp's, of cells
_BUDGET = 512


class Side:
    """A context with `tokens` tokens in each of its sequences."""

    def __init__(self, model: Model, log: library.Log, sequences: int, tokens: int, *, split: bool) -> None:
        cells = -(-(tokens + _ROOM) // _UNIT) * _UNIT * sequences
        options = LoadOptions(num_ctx=cells, num_parallel=sequences)
        began = time.perf_counter()
        self.context = Context(model, options, log, cells=cells, sequences=sequences, batch=_BUDGET, split=split)
        self.made_s = time.perf_counter() - began
        self.times: list[float] = []
        self._sequences, self._tokens, self._steps = sequences, tokens, 0
        self._batch = Batch(_BUDGET)
        self._fill()

    def _fill(self) -> None:
        ids = [5 + place % 90 for place in range(self._tokens)]
        for start in range(0, self._tokens, _BUDGET):
            self._batch.clear()
            self._batch.add(0, start, ids[start : start + _BUDGET], outputs=1)
            assert self.context.decode(self._batch) is Outcome.DONE
        size = lib.llama_state_seq_get_size(self.context.handle, 0)
        state = (ctypes.c_uint8 * size)()
        assert lib.llama_state_seq_get_data(self.context.handle, state, size, 0) == size
        for sequence in range(1, self._sequences):
            assert lib.llama_state_seq_set_data(self.context.handle, state, size, sequence) == size

    def step(self) -> None:
        """Decode one token for each sequence, and note how long it took."""
        self._batch.clear()
        for sequence in range(self._sequences):
            self._batch.add(sequence, self._tokens + self._steps, [7], outputs=1)
        began = time.perf_counter()
        assert self.context.decode(self._batch) is Outcome.DONE
        self.context.logits(self._sequences)  # waits for the device
        self.times.append(time.perf_counter() - began)
        self._steps += 1

    @property
    def is_full(self) -> bool:
        return self._steps >= _ROOM

    @property
    def median_ms(self) -> float:
        return 1000 * statistics.median(self.times[1:] or self.times)


def measured(model: Model, log: library.Log, sequences: int, tokens: int, seconds: float) -> tuple[Side, Side]:
    """Both layouts in turns, for about `seconds` of decoding."""
    sides = [Side(model, log, sequences, tokens, split=split) for split in (False, True)]
    try:
        ends = time.perf_counter() + seconds
        while not sides[0].is_full and (len(sides[0].times) < 3 or time.perf_counter() < ends):
            for side in sides:
                side.step()
    finally:
        for side in sides:
            side.context.close()
    return sides[0], sides[1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Steps with one pool of cells, and with a part for each sequence.")
    parser.add_argument("model", nargs="+", help=f"demo, one of {', '.join(SHAPES)}, or a path")
    parser.add_argument("--sequences", type=int, nargs="+", default=SEQUENCES)
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS, help="what each sequence holds")
    parser.add_argument("--seconds", type=float, default=2.0, help="of decoding, for each line")
    arguments = parser.parse_args()
    log = library.start()
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.model:
            model = Model([str(path_of(name, Path(folder)))], LoadOptions(num_ctx=1, num_parallel=1), log)
            for tokens in arguments.tokens:
                for sequences in arguments.sequences:
                    pool, split = measured(model, log, sequences, tokens, arguments.seconds)
                    print(
                        f"| {Path(name).stem} | {tokens} | {sequences} | {pool.median_ms:.1f} | {split.median_ms:.1f} "
                        f"| {pool.median_ms / split.median_ms:.2f} | {1000 * split.made_s:.0f} |",
                        flush=True,
                    )
            model.close()


def path_of(name: str, folder: Path) -> Path:
    """The file of a model by name; one that has to be made is made in the folder."""
    if name == "demo":
        return demo_gguf()
    if name in SHAPES:
        write(SHAPES[name], folder / f"{name}.gguf")
        return folder / f"{name}.gguf"
    return Path(name)


if __name__ == "__main__":
    main()
