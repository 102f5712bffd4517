"""Decoding beside programs that keep cores busy: with as many threads as Runner finds right, and with a fixed number.

    python -m tests.benchmarks.neighbours 42m
    python -m tests.benchmarks.neighbours 0.5b --path half.gguf --busy 0 1

One and eight users at a time, in turns. The busy programs are Python processes that count.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.benchmarks.daemon import Daemon
from tests.benchmarks.random_gguf import SHAPES, write

_NOTICED = 2.2  # seconds after which a worker has seen who else computes


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many programs that never wait."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(_NOTICED)
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def rate(daemon: Daemon, model: str, users: int, tokens: int) -> float:
    """Tokens a second of all users together."""

    def ask(user: int) -> int:
        options = {"num_predict": tokens, "ignore_eos": True, "temperature": 0}
        body = {"model": model, "prompt": f"Tell {user}", "raw": True, "stream": False, "options": options}
        return int(daemon.post("/api/generate", body, timeout=600)["eval_count"])

    begun = time.monotonic()
    with ThreadPoolExecutor(users) as pool:
        generated = sum(pool.map(ask, range(users)))
    return generated / (time.monotonic() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description="Decode speed beside busy programs.")
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--path", type=Path, help="the GGUF of that shape, if it has been written before")
    parser.add_argument("--tokens", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = asked.path or Path(folder) / "model.gguf"
        if not path.exists():
            write(path, SHAPES[asked.shape])
        with Daemon(Path(folder) / "home", prefix_disk=0) as daemon:
            cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
            fixed = f"PARAMETER num_thread {cores}\n"
            for name, line in (("auto", ""), ("fixed", fixed)):
                daemon.create(name, path, f"FROM {{path}}\nPARAMETER num_ctx 1024\n{line}")
                rate(daemon, name, 1, 4)
            for _ in range(asked.rounds):
                for count in asked.busy:
                    with busy(count):
                        row = [
                            f"{rate(daemon, name, users, asked.tokens):8.1f}"
                            for users in (1, 8)
                            for name in ("auto", "fixed")
                        ]
                    print(f"{count} busy: 1 user, 8 users (auto, {cores} threads): {' '.join(row)} tok/s", flush=True)


if __name__ == "__main__":
    main()
