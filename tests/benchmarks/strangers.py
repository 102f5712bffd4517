"""What cells of others cost in a pool: a prompt and a decode, by how many cells stand beside theirs.

    python -m tests.benchmarks.strangers demo 42m 0.5b        # or a path; --cells, --rounds

llama.cpp's own time. A cell's cost is told in weights per head: a step over W weights takes as much longer as if it had
W + cells x heads x layers x that many. `engine/cost.idle_cells` goes by it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from runner.llama import library
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.protocol.options import LoadOptions
from tests.benchmarks.layout import path_of

PROMPT = 512
DECODES = 6
HEAD = (
    "| model | cells of others | prompt of 512, ms | to none | a decode, ms | a cell's cost, in weights per head |\n"
    "| --- | --- | --- | --- | --- | --- |"
)
_SEQUENCES = 8


class Pool:
    """A pool in which others hold `strangers` cells."""

    def __init__(self, model: Model, log: library.Log, strangers: int, cells: int) -> None:
        options = LoadOptions(num_ctx=cells, num_parallel=_SEQUENCES)
        self.context = Context(model, options, log, cells=cells, sequences=_SEQUENCES, batch=PROMPT)
        self.prompts: list[float] = []
        self.decodes: list[float] = []
        self._batch = Batch(PROMPT)
        for sequence in range(1, _SEQUENCES):
            self._compute(sequence, 0, strangers // (_SEQUENCES - 1))

    def measure(self) -> None:
        """One prompt and some decodes behind it, which are forgotten then."""
        self.prompts.append(self._compute(0, 0, PROMPT))
        self.decodes += [self._compute(0, PROMPT + place, 1) for place in range(DECODES)]
        self.context.forget(0)

    def _compute(self, sequence: int, start: int, count: int) -> float:
        began = time.perf_counter()
        for done in range(0, count, PROMPT):
            part = min(PROMPT, count - done)
            self._batch.clear()
            self._batch.add(sequence, start + done, [5 + place % 90 for place in range(part)], outputs=1)
            assert self.context.decode(self._batch) is Outcome.DONE
        self.context.logits(1)  # waits for the device
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="What cells of others cost in a pool.")
    parser.add_argument("model", nargs="+", help="demo, the name of a shape, or a path")
    parser.add_argument("--cells", type=int, nargs="+", default=(0, 2000, 7000, 14000))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    log = library.start()
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.model:
            model = Model([str(path_of(name, Path(folder)))], LoadOptions(num_ctx=1, num_parallel=1), log)
            room = max(arguments.cells) + 4 * PROMPT
            pools = {cells: Pool(model, log, cells, room) for cells in arguments.cells}
            for _ in range(arguments.rounds):
                for pool in pools.values():
                    pool.measure()
            _tell(name, model, pools)
            for pool in pools.values():
                pool.context.close()
            model.close()


def _tell(name: str, model: Model, pools: dict[int, Pool]) -> None:
    alone = statistics.median(next(iter(pools.values())).prompts)
    for cells, pool in pools.items():
        prompt, decode = statistics.median(pool.prompts), statistics.median(pool.decodes)
        weights = (prompt / alone - 1) * model.n_weights / (cells * model.n_head * model.n_layer) if cells else None
        print(
            f"| {Path(name).stem} | {cells} | {1000 * prompt:.1f} | {prompt / alone:.2f} | {1000 * decode:.2f} "
            f"| {'-' if weights is None else f'{weights:.0f}'} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
