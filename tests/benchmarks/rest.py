"""What Runner costs while it does nothing: the daemon's memory at rest, and the start-up of a short command.

    python -m tests.benchmarks.rest

`runner list` is timed as a whole process with the daemon up, in turns with an empty typer application of two verbs in
the same environment.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.benchmarks.daemon import Daemon

EMPTY = """
import typer
app = typer.Typer()
@app.command()
def one() -> None: print("NAME")
@app.command()
def two() -> None: ...
app()
"""


def whole_process(command: list[str], environment: dict[str, str]) -> float:
    """Wall seconds from spawn to exit."""
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory at rest, and start-up of `runner list`.")
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder) / "home") as daemon:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY)
        runner = Path(sys.executable).with_name("runner")
        short = [str(runner)] if runner.exists() else [sys.executable, "-m", "runner"]
        pairs = []
        for turn in range(rounds + 1):
            base = whole_process([sys.executable, str(empty), "one"], dict(os.environ))
            ours = whole_process([*short, "list"], daemon.environment)
            if turn:
                pairs.append((ours, base))
        assert daemon.process is not None
        at_rest = psutil.Process(daemon.process.pid).memory_info().rss
        daemon.post("/api/chat", {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "stream": False})
        daemon.post("/api/generate", {"model": "demo", "keep_alive": 0, "stream": False})
        while daemon.get("/api/ps")["models"]:
            time.sleep(0.1)
        after = psutil.Process(daemon.process.pid).memory_info().rss
    ratios = sorted(ours / base for ours, base in pairs)
    print(f"daemon at rest: {at_rest / 2**20:.1f} MiB resident; {after / 2**20:.1f} MiB after a first chat and unload")
    print(
        f"runner list: {statistics.median(o for o, _ in pairs) * 1e3:.0f} ms, empty typer app "
        f"{statistics.median(b for _, b in pairs) * 1e3:.0f} ms, ratio {statistics.median(ratios):.2f} "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}), {rounds} rounds in turns"
    )


if __name__ == "__main__":
    main()
