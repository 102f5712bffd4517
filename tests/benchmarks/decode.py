"""Decode speed over HTTP: one user against llama-cpp-python's own `Llama`, and a crowd against one user.

Beside them stands what llama.cpp itself reaches with as many sequences (`tests.benchmarks.raw`): the bound of it all.

    python -m tests.benchmarks.decode demo
    python -m tests.benchmarks.decode 0.5b --users 8

A real daemon is started in a folder of its own. Measurements are taken in turns within one run, because machines are
shared: the ratios are what counts. Both sides decode greedily, ignore the end of text, and use the same threads.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.benchmarks.random_gguf import SHAPES, write

PROMPT = "Tell me something about running models on this machine, please."
CONTEXT = 2048

# The peer runs in a process of its own, kept alive between rounds, so that both sides have their model in memory.
PEER = """
import json, sys, time
from llama_cpp import Llama
model = Llama(sys.argv[1], n_ctx=int(sys.argv[2]), n_batch=512, verbose=False, logits_all=False)
ends = {i for i in range(model.n_vocab()) if __import__("llama_cpp").llama_vocab_is_eog(model._model.vocab, i)}
bias = {i: -1e9 for i in ends}
for line in sys.stdin:
    prompt, tokens = json.loads(line)
    model.reset()
    stamps = [time.perf_counter() for _ in model.create_completion(
        prompt, max_tokens=tokens, temperature=0.0, repeat_penalty=1.0, stream=True, logit_bias=bias or None)]
    print(json.dumps((len(stamps) - 1) / (stamps[-1] - stamps[0])), flush=True)
"""


class Peer:
    """A process with the model in memory that answers each line with tokens per second."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, *question: object) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def stream(url: str, model: str, tokens: int, user: int = 0) -> list[float]:
    """One streamed completion over HTTP; the times at which its chunks arrived."""
    body = {
        "model": model,
        "prompt": f"User {user}. {PROMPT}" if user else PROMPT,
        "max_tokens": tokens,
        "temperature": 0.0,
        "ignore_eos": True,
        "stream": True,
        "num_ctx": CONTEXT,
        "stream_options": {"include_usage": True},
    }
    request = urllib.request.Request(
        f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    stamps: list[float] = []
    produced = 0
    with urllib.request.urlopen(request) as response:
        for line in response:
            if line.startswith(b"data: {"):
                chunk = json.loads(line[6:])
                produced = (chunk.get("usage") or {}).get("completion_tokens", produced)
                if chunk["choices"] and chunk["choices"][0]["text"]:
                    stamps.append(time.perf_counter())
    assert produced == tokens, f"{produced} tokens instead of {tokens}"
    return stamps


def one_user(url: str, model: str, tokens: int) -> float:
    """Tokens per second after the first."""
    stamps = stream(url, model, tokens)
    return (tokens - 1) / (stamps[-1] - stamps[0])


def crowd(url: str, model: str, tokens: int, users: int) -> float:
    """Total tokens per second of `users` at once, from the moment when the last of them got its first token."""
    results: list[list[float]] = [[] for _ in range(users)]

    def work(user: int) -> None:
        results[user] = stream(url, model, tokens, user + 1)

    threads = [threading.Thread(target=work, args=(user,)) for user in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    start, end = max(stamps[0] for stamps in results), min(stamps[-1] for stamps in results)
    if start >= end:
        raise SystemExit("the first user was done before the last had begun: ask for more --tokens")
    inside = sum(sum(start < stamp <= end for stamp in stamps) for stamps in results)
    return inside / (end - start)


def main() -> None:
    parser = argparse.ArgumentParser(description="Decode speed over HTTP, in turns with its peers.")
    parser.add_argument("model", choices=["demo", *SHAPES])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder for the generated model (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = demo_gguf()
        if arguments.model != "demo":
            path = (arguments.keep or Path(folder)) / f"{arguments.model}.gguf"
            if not path.exists():
                write(SHAPES[arguments.model], path)
        with Daemon(Path(folder) / "home") as daemon:
            model = "demo"
            if arguments.model != "demo":
                model = "bench"
                daemon.create(model, path)
            measure(daemon.url, model, path, arguments)


def measure(url: str, model: str, path: Path, arguments: argparse.Namespace) -> None:
    """Take all figures in turns and print medians and the ratios of each round."""
    llama = Peer("-c", PEER, str(path), str(CONTEXT))
    raw = Peer("-m", "tests.benchmarks.raw", str(path))
    tokens, users = arguments.tokens, arguments.users
    figures: list[tuple[float, ...]] = []
    for turn in range(arguments.rounds + 1):
        found = (
            llama.ask(PROMPT, tokens),
            one_user(url, model, tokens),
            raw.ask(1, tokens),
            crowd(url, model, tokens, users),
            raw.ask(users, tokens),
        )
        if turn:  # the first round warms everything up
            figures.append(found)
    llama.close()
    raw.close()
    high_level, one, raw_one, many, raw_many = (statistics.median(column) for column in zip(*figures, strict=True))
    print(f"{arguments.model}, {tokens} tokens, {arguments.rounds} rounds in turns, medians")
    print(f"  Llama.create_completion   {high_level:9.1f} tok/s")
    print(f"  Runner, 1 user            {one:9.1f} tok/s   ratio to it {_ratio(figures, 1, 0)}")
    print(f"  llama.cpp, 1 sequence     {raw_one:9.1f} tok/s   Runner's ratio to it {_ratio(figures, 1, 2)}")
    print(f"  Runner, {users:3} users         {many:9.1f} tok/s   ratio to 1 user {_ratio(figures, 3, 1)}")
    print(
        f"  llama.cpp, {users:3} sequences  {raw_many:9.1f} tok/s   ratio to 1 {_ratio(figures, 4, 2)},"
        f" Runner's to it {_ratio(figures, 3, 4)}"
    )


def _ratio(figures: list[tuple[float, ...]], over: int, under: int) -> str:
    ratios = sorted(row[over] / row[under] for row in figures)
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


if __name__ == "__main__":
    main()
