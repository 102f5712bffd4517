"""A real daemon in a folder of its own, for benchmarks and end-to-end tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Daemon:
    """`python -m runner serve` with RUNNER_HOME at `home`. Settings are given as for the environment, in lower case."""

    def __init__(self, home: Path, **settings: object) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home / "serve.log"
        self.environment = dict(os.environ) | {
            "RUNNER_HOME": str(home),
            "RUNNER_HOST": f"127.0.0.1:{self.port}",
        }
        self.environment |= {f"RUNNER_{name.upper()}": str(value) for name, value in settings.items()}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, timeout: float = 60.0) -> None:
        """Start and wait until it is ready. Raises RuntimeError with its log when it isn't."""
        self.home.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runner", "serve"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                key = {"Authorization": f"Bearer {self.environment.get('RUNNER_API_KEY', '')}"}
                with urllib.request.urlopen(urllib.request.Request(f"{self.url}/readyz", headers=key), timeout=5):
                    return
            except OSError as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"the daemon did not become ready: {self.log.read_text()[-2000:]}")

    def stop(self) -> int | None:
        """End it in an orderly way; returns its exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def post(self, path: str, body: dict[str, Any], timeout: float = 300.0) -> Any:
        """POST JSON and read the whole JSON answer; HTTP errors come as (status, body)."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=60) as response:
            return json.loads(response.read())

    def workers(self) -> list[psutil.Process]:
        """Its worker processes that run and have a model, or are given one."""
        return [child for command, child in self._engines() if "--spare" not in command]

    def spares(self) -> list[psutil.Process]:
        """Those that stand ready for the next load."""
        return [child for command, child in self._engines() if command[-1] == "--spare"]

    def _engines(self) -> Iterator[tuple[list[str], psutil.Process]]:
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children():
            try:
                if "runner.engine" in (command := child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                    yield command, child
            except psutil.NoSuchProcess:
                continue

    def create(self, name: str, path: Path, modelfile: str = "FROM {path}\n") -> None:
        """Make a model from a local GGUF."""
        text = modelfile.format(path=path)
        answer = self.post("/api/create", {"model": name, "modelfile": text, "stream": False})
        if answer != {"status": "success"}:
            raise RuntimeError(f"create answered {answer}")
