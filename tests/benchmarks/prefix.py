"""Time to the first token of a request whose beginning was computed before, against that of the first such request.

    python -m tests.benchmarks.prefix demo
    python -m tests.benchmarks.prefix 0.5b --rounds 3

One sequence, so that every other prompt drives the one before out of its cells. In turns: a prompt nobody has seen;
its prefix again, from the cells; another unseen prompt; the first prefix from RAM; and from a file, after an unload.
The last is what is new in each of them, alone: no reuse can take less.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.benchmarks.random_gguf import SHAPES, write

_FIRST, _LAST = 300, 3900  # ordinary tokens of every vocabulary used here
WAYS = ("second, from the cells", "second, from RAM", "second, from a file", "what is new in it, alone")


def first_token(daemon: Daemon, prompt: list[int]) -> tuple[float, int]:
    """Seconds from the request to its first text, and how many tokens needed no computing."""
    body = {
        "model": "measured",
        "prompt": prompt,
        "max_tokens": 4,
        "temperature": 0.0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    request = urllib.request.Request(
        f"{daemon.url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    start = time.perf_counter()
    first, cached = 0.0, 0
    with urllib.request.urlopen(request, timeout=300) as response:
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            first = first or time.perf_counter() - start
            if usage := json.loads(line[6:]).get("usage"):
                cached = usage["prompt_tokens_details"]["cached_tokens"]
    return first, cached


def load(daemon: Daemon, keep_alive: object) -> None:
    """Load the model, or with 0 unload it and wait until it is gone."""
    daemon.post("/api/generate", {"model": "measured", "keep_alive": keep_alive, "stream": False})
    while keep_alive == 0 and daemon.get("/api/ps")["models"]:
        time.sleep(0.01)


def measure(daemon: Daemon, size: int, dice: random.Random) -> tuple[float, list[float]]:
    """One round: the seconds of an unseen prompt, and those of each way to its prefix."""
    prefix, other = ([dice.randrange(_FIRST, _LAST) for _ in range(size)] for _ in range(2))

    def ask(beginning: list[int], found: int) -> float:
        seconds, cached = first_token(daemon, [*beginning, *(dice.randrange(_FIRST, _LAST) for _ in range(20))])
        if abs(cached - found) > 8:  # the twenty may begin alike by chance
            raise RuntimeError(f"{cached} tokens were found computed instead of {found}")
        return seconds

    cold, cells, cold_too, ram = ask(prefix, 0), ask(prefix, size), ask(other, 0), ask(prefix, size)
    load(daemon, 0)
    load(daemon, "5m")
    return (cold + cold_too) / 2, [cells, ram, ask(prefix, size), ask([], 0)]


def main() -> None:
    parser = argparse.ArgumentParser(description="First tokens of prompts with a known beginning.")
    parser.add_argument("model", choices=["demo", *SHAPES])
    parser.add_argument("--path", type=Path, help="the GGUF of that shape, if it has been written before")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prefix", type=int, default=1000, help="tokens")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = demo_gguf() if arguments.model == "demo" else arguments.path
        if path is None:
            path = Path(folder) / "model.gguf"
            write(SHAPES[arguments.model], path)
        with Daemon(Path(folder) / "home", num_parallel=1, context_length=2048) as daemon:
            daemon.create("measured", path)
            dice = random.Random(1)
            first_token(daemon, [dice.randrange(_FIRST, _LAST) for _ in range(64)])
            rounds = [measure(daemon, arguments.prefix, dice) for _ in range(arguments.rounds)]
    print(f"first, unseen: {1000 * statistics.median(cold for cold, _ in rounds):.1f} ms")
    for place, way in enumerate(WAYS):
        ratios = [seconds[place] / cold for cold, seconds in rounds]
        median = 1000 * statistics.median(seconds[place] for _, seconds in rounds)
        print(f"{way}: {median:.1f} ms, ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
