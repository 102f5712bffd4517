"""Time to the first token of a model that isn't loaded while another one is, against llama.cpp loading it by itself.

    python -m tests.benchmarks.swap demo
    python -m tests.benchmarks.swap 0.5b --path half.gguf --rounds 5
    python -m tests.benchmarks.swap 0.5b --path half.gguf --cold

One model has room. In turns, each with a prompt that nobody has seen: `Llama()` and its prefill in a process that has
its imports done (raw), and a request to a daemon in which another model has to go first: with a spare worker, and
without. Then a turn more of the same conversation after another swap, whose prefix comes from a file. With `--cold`,
the weights are dropped from the page cache before each.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.benchmarks.prefix import first_token
from tests.benchmarks.random_gguf import SHAPES, write

_FIRST, _LAST = 300, 3900  # ordinary tokens of every vocabulary used here
_NEW = 20  # tokens of a second turn
_REST = 4.5  # seconds after which a worker that nobody asks has brought its prefixes into files

# A line is a prompt; the answer is how long the load took, and the prefill up to the first token.
_RAW = """
import json, sys, time
from llama_cpp import Llama
print(json.dumps("ready"), flush=True)
path, context, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for line in sys.stdin:
    prompt = json.loads(line)
    start = time.perf_counter()
    model = Llama(path, n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False)
    loaded = time.perf_counter()
    next(model.generate(prompt, temp=0.0))
    done = time.perf_counter()
    model.close()
    print(json.dumps([loaded - start, done - loaded]), flush=True)
"""


class Raw:
    """`Llama()` in a process of its own that has imported it."""

    def __init__(self, path: Path, context: int, threads: int) -> None:
        command = [sys.executable, "-c", _RAW, str(path), str(context), str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._read()

    def __call__(self, prompt: list[int]) -> tuple[float, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(prompt) + "\n")
        self._process.stdin.flush()
        load, prefill = self._read()
        return load, prefill

    def _read(self) -> list[float]:
        assert self._process.stdout is not None
        found: list[float] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@dataclass
class Times:
    """Seconds, one figure a round."""

    raw: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    ways: dict[str, list[float]] = field(default_factory=dict)

    def rows(self) -> Iterator[str]:
        load, total = statistics.median(self.loads), statistics.median(self.raw)
        yield f"{'raw: Llama() and its prefill':34} {1000 * total:8.0f} ms  ({1000 * load:.0f} of them to load)"
        for way, seconds in self.ways.items():
            ratios = sorted(one / raw for one, raw in zip(seconds, self.raw, strict=True))
            yield (
                f"{way:34} {1000 * statistics.median(seconds):8.0f} ms  "
                f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )


class House:
    """A daemon with room for one model, two models, and a way to have the measured one swapped out."""

    def __init__(self, home: Path, path: Path, *, has_spare: bool) -> None:
        self.has_spare = has_spare
        self.daemon = Daemon(home, max_loaded_models=1, spare_worker=int(has_spare), keep_alive="-1")
        self.daemon.start()
        self.daemon.create("measured", path)
        self.daemon.create("other", demo_gguf(), "FROM {path}\nPARAMETER num_ctx 2048\nSYSTEM Be brief.\n")

    def swap_out(self) -> None:
        """Have the other model loaded, and a spare worker ready if there is to be one."""
        self.daemon.post("/api/generate", {"model": "other", "prompt": "Hi", "stream": False})
        deadline = time.monotonic() + 30
        while self.has_spare and not self._is_ready():
            if time.monotonic() > deadline:
                raise RuntimeError("no spare worker came")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        """Whether a spare worker stands, and has done its imports: it takes no more time then."""
        assert self.daemon.process is not None
        for child in psutil.Process(self.daemon.process.pid).children():
            if "--spare" in child.cmdline():
                before = sum(child.cpu_times()[:2])
                time.sleep(0.3)
                return before > 0.1 and sum(child.cpu_times()[:2]) == before
        return False


def drop(folder: Path, size: int) -> None:
    """Put the file of so many bytes, wherever below the folder it is, out of the page cache."""
    for file in [folder] if folder.is_file() else folder.rglob("*"):
        if file.is_file() and file.stat().st_size == size:
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description="First tokens of a model that has to be loaded in another's place.")
    parser.add_argument("model", choices=["demo", *SHAPES])
    parser.add_argument("--path", type=Path, help="the GGUF of that shape, if it has been written before")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=500, help="tokens")
    parser.add_argument("--cold", action="store_true", help="read the weights from the disk each time")
    arguments = parser.parse_args()
    dice, times = random.Random(1), Times()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = demo_gguf() if arguments.model == "demo" else arguments.path
        if path is None:
            path = folder / "model.gguf"
            write(SHAPES[arguments.model], path)
        houses = {
            "cold model, with a spare worker": House(folder / "spare", path, has_spare=True),
            "cold model, without": House(folder / "plain", path, has_spare=False),
        }
        for house in houses.values():
            stack.callback(house.daemon.stop)
        context = min(
            8192,
            houses["cold model, without"]
            .daemon.post("/api/show", {"model": "measured"})["model_info"]
            .get("llama.context_length", 8192),
        )
        raw = Raw(path, context, max(1, psutil.cpu_count(logical=False) or 1))
        stack.callback(raw.close)

        def unseen() -> list[int]:
            return [dice.randrange(_FIRST, _LAST) for _ in range(arguments.prompt)]

        def ask(house: House, prompt: list[int], known: int) -> float:
            house.swap_out()
            if arguments.cold:
                drop(house.daemon.home, path.stat().st_size)
            seconds, cached = first_token(house.daemon, prompt)
            if abs(cached - known) > 8:
                raise RuntimeError(f"{cached} tokens were found computed instead of {known}")
            return seconds

        for turn in range(arguments.rounds + 1):
            if arguments.cold:
                drop(path, path.stat().st_size)
            load, prefill = raw(unseen())
            measured: dict[str, float] = {}
            for way, house in houses.items():
                prompt = unseen()
                measured[way] = ask(house, prompt, 0)
                if house.has_spare:
                    time.sleep(_REST)
                    longer = [*prompt, *(dice.randrange(_FIRST, _LAST) for _ in range(_NEW))]
                    measured["its second turn, after a swap"] = ask(house, longer, len(prompt))
            if turn:  # the first is for warming up
                times.loads.append(load)
                times.raw.append(load + prefill)
                for way, seconds in measured.items():
                    times.ways.setdefault(way, []).append(seconds)
    print(
        f"{arguments.model}, {arguments.prompt} tokens, weights {'on disk' if arguments.cold else 'in the page cache'}"
    )
    print("\n".join(times.rows()))


if __name__ == "__main__":
    main()
