"""llama-server as a peer, and llama.cpp's batched bench, which shows what there is to be had without any server."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.benchmarks.daemon import free_port

_PADDING = 256  # cells; llama.cpp rounds a sequence's share up to that
_READY = 300.0  # seconds
_ATTEMPTS = 3  # the batched bench may end before its own log thread has printed what it found


def cells(tokens: int) -> int:
    """Cells for a sequence of so many tokens."""
    return -(-tokens // _PADDING) * _PADDING


class LlamaServer:
    """llama-server with `slots` slots of `tokens` tokens each, in split streams. Use with `with`.

    Its cache of old prompts in host memory is off unless `caches`: where no prompt comes twice it only costs it time.
    With `embeds` it makes vectors, in passes of up to so many tokens.
    """

    def __init__(
        self,
        binary: Path,
        model: Path,
        log: Path,
        *,
        slots: int,
        tokens: int,
        threads: int,
        caches: bool,
        embeds: int = 0,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._command = [str(binary), "-m", str(model), "--host", "127.0.0.1", "--port", str(self.port)]
        self._command += ["-np", str(slots), "-c", str(slots * cells(tokens)), "--no-kv-unified", "--no-ui"]
        self._command += ["-t", str(threads), "-tb", str(threads), "-ngl", "999"]
        if embeds:
            self._command += ["--embeddings", "-b", str(embeds), "-ub", str(embeds)]
        if not caches:
            self._command += ["--cache-ram", "0"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _READY
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return self
            except OSError:  # not listening yet, or 503 while it loads
                time.sleep(0.05)
        self._stop()
        raise RuntimeError(f"llama-server did not become ready: {self._log.read_text(errors='replace')[-2000:]}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def batched_bench(
    binary: Path, model: Path, *, users: int, prompt: int, answer: int, threads: int, seconds: float
) -> float | None:
    """Answer tokens per second of llama.cpp itself for one wave of users, prompts computed and nothing sampled.

    None when it isn't done within `seconds`.
    """
    command = [str(binary), "-m", str(model), "-c", str(users * cells(prompt + answer)), "--no-kv-unified"]
    command += ["-npp", str(prompt), "-ntg", str(answer), "-npl", str(users), "--output-format", "jsonl"]
    command += ["-t", str(threads), "-tb", str(threads), "-ngl", "999"]
    for _ in range(_ATTEMPTS):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return None
        for line in done.stdout.splitlines():
            if line.startswith("{"):
                found = json.loads(line)
                return float(users * answer / found["t"])
    raise RuntimeError(f"llama-batched-bench gave no figures (status {done.returncode}): {done.stderr[-2000:]}")
