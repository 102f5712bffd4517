"""Embeddings: inputs per second in requests of 64, against one input at a time, and against llama-server.

    python -m tests.benchmarks.embeddings --cache FOLDER
    python -m tests.benchmarks.embeddings --cache FOLDER --server PATH/llama-server

all-MiniLM-L6-v2 (F16, made in FOLDER the first time), inputs of a few lengths, over OpenAI's endpoint and a connection
that is kept for a turn. llama-server, where given, has 64 slots and passes of as many tokens as Runner's. All sides
take turns within a round, because machines are shared: the ratios are what counts. No text comes twice.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from tests.benchmarks.daemon import Daemon
from tests.benchmarks.llama_server import LlamaServer
from tests.minilm import minilm

INPUTS = 64
PASS = 512  # tokens that Runner computes at once with this model, and llama-server by default
WORDS = (
    "model runner daemon worker token prompt answer batch cache memory pull list show store blob layer head query score"
    " vector sentence system user table figure measure server client socket engine queue state plan step loop chunk"
).split()


class Peer:
    """One server, asked over one connection at a time."""

    def __init__(self, port: int, model: str) -> None:
        self._port = port
        self._model = model

    def rate(self, texts: Sequence[str], at_once: int) -> float:
        """Inputs per second, in requests of so many."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            start = time.perf_counter()
            for first in range(0, len(texts), at_once):
                self._embed(connection, texts[first : first + at_once])
            return len(texts) / (time.perf_counter() - start)
        finally:
            connection.close()

    def _embed(self, connection: http.client.HTTPConnection, texts: Sequence[str]) -> None:
        body = {"model": self._model, "input": list(texts), "encoding_format": "base64"}
        connection.request("POST", "/v1/embeddings", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        data = response.read()
        if response.status != 200 or len(json.loads(data)["data"]) != len(texts):
            raise RuntimeError(f"status {response.status}: {data[:500]!r}")


def texts(rng: random.Random, words: int, count: int) -> list[str]:
    """So many different texts of about so many tokens."""
    return [" ".join(rng.choices(WORDS, k=words)) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Inputs per second in requests of 64 and one at a time.")
    parser.add_argument("--cache", type=Path, required=True, help="where the model lies, or is made")
    parser.add_argument("--server", type=Path, help="a llama-server to take turns with")
    parser.add_argument("--words", type=int, nargs="+", default=[8, 32, 128], help="words, about tokens, of an input")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    model = minilm(arguments.cache)
    rng = random.Random(1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        daemon = stack.enter_context(Daemon(folder / "home"))
        daemon.create("minilm", model)
        ours = Peer(daemon.port, "minilm")
        peer = None
        if arguments.server:
            threads = psutil.cpu_count(logical=False) or os.cpu_count() or 1
            server = LlamaServer(
                arguments.server,
                model,
                folder / "log",
                slots=INPUTS,
                tokens=256,
                threads=threads,
                caches=False,
                embeds=PASS,
            )
            peer = Peer(stack.enter_context(server).port, "minilm")
        print("| words | one at a time | requests of 64 | ratio |" + (" llama-server, 64 | ratio |" if peer else ""))
        print("| --- | --- | --- | --- |" + (" --- | --- |" if peer else ""))
        for words in arguments.words:
            before = _engine(daemon)
            print(measured(rng, ours, peer, words, arguments.rounds), flush=True)
            spent = {name: count - before[name] for name, count in _engine(daemon).items()}
            print(", ".join(f"{name} {count}" for name, count in spent.items()), file=sys.stderr)


def _engine(daemon: Daemon) -> dict[str, int]:
    """What the engine has done so far, and the time, in nanoseconds."""
    models = daemon.get("/api/ps")["models"]
    engine = models[0]["engine"] if models else {}
    names = ("embed_inputs", "embed_tokens", "embed_steps", "embed_duration")
    return {name: engine.get(name, 0) for name in names} | {"wall": time.perf_counter_ns()}


def measured(rng: random.Random, ours: Peer, peer: Peer | None, words: int, rounds: int) -> str:
    """One row of the table."""
    alone: list[float] = []
    together: list[float] = []
    theirs: list[float] = []
    for turn in range(rounds + 1):
        rates = [ours.rate(texts(rng, words, INPUTS // 4), 1), ours.rate(texts(rng, words, 2 * INPUTS), INPUTS)]
        if peer is not None:
            rates.append(peer.rate(texts(rng, words, 2 * INPUTS), INPUTS))
        if turn:  # the first one warms up
            for into, rate in zip((alone, together, theirs), rates, strict=False):
                into.append(rate)
    cells = [
        str(words),
        f"{statistics.median(alone):.0f}",
        f"{statistics.median(together):.0f}",
        _ratio(together, alone),
    ]
    if peer is not None:
        cells += [f"{statistics.median(theirs):.0f}", _ratio(together, theirs)]
    return f"| {' | '.join(cells)} |"


def _ratio(one: Sequence[float], other: Sequence[float]) -> str:
    ratios = sorted(mine / its for mine, its in zip(one, other, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


if __name__ == "__main__":
    main()
