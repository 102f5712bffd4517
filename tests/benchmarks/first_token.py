"""When `runner run` shows the first token of a warm model, against the API's own, from the sending of the request.

    python -m tests.benchmarks.first_token

Both go through the same forwarder on loopback, which notes when a question passes. The command is run into a pipe and
on a terminal, where its answer is drawn; the API is asked by http.client. All three in turns. A start of the whole
command is timed beside it: from spawn to the question, and for `runner --version` to its end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import pty
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.benchmarks.daemon import Daemon
from tests.benchmarks.rest import whole_process

QUESTION = "How do I pull a model?"


class Forwarder:
    """Passes connections on to `port`. `asked` is when the last question passed."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.asked = 0.0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            ours, _ = self._listener.accept()
            theirs = socket.create_connection(("127.0.0.1", self._to))
            for one in (ours, theirs):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pump, args=(ours, theirs), daemon=True).start()
            threading.Thread(target=self._pump, args=(theirs, ours), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while content := source.recv(65536):
                if b"POST /api/generate" in content:
                    self.asked = time.perf_counter()
                target.sendall(content)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one end hung up


def by_api(forwarder: Forwarder) -> float:
    """Seconds from the question to the first token, by the API."""
    connection = http.client.HTTPConnection("127.0.0.1", forwarder.port)
    body = json.dumps({"model": "demo", "prompt": QUESTION, "stream": True})
    connection.request("POST", "/api/generate", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.readline()
    took = time.perf_counter() - forwarder.asked
    response.read()
    connection.close()
    return took


def by_command(forwarder: Forwarder, environment: dict[str, str], on_terminal: bool) -> tuple[float, float]:
    """Seconds from the question to the first character of the answer, and from the start to the question."""
    ours, theirs = pty.openpty() if on_terminal else os.pipe()
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "run", "--no-stdin", "demo", QUESTION],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        env=environment | {"TERM": "xterm-256color"},
    )
    os.close(theirs)
    os.read(ours, 1)
    took = time.perf_counter() - forwarder.asked
    try:
        while os.read(ours, 65536):
            pass
    except OSError:
        pass  # how a terminal ends
    os.close(ours)
    if process.wait():
        raise RuntimeError(f"runner run ended with {process.returncode}")
    return took, forwarder.asked - started


def main() -> None:
    parser = argparse.ArgumentParser(description="The first token of `runner run`, against the API's.")
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder) / "home", keep_alive="1h") as daemon:
        forwarder = Forwarder(daemon.port)
        environment = daemon.environment | {"RUNNER_HOST": f"127.0.0.1:{forwarder.port}"}
        by_api(forwarder)  # loads the model
        api, pipe, terminal, starts, versions = [], [], [], [], []
        for _ in range(rounds):
            api.append(by_api(forwarder))
            first, start = by_command(forwarder, environment, on_terminal=False)
            pipe.append(first)
            starts.append(start)
            terminal.append(by_command(forwarder, environment, on_terminal=True)[0])
            versions.append(whole_process([sys.executable, "-m", "runner", "--version"], environment))
    base = statistics.median(api)
    print(f"first token by the API: {base * 1e3:.1f} ms ({rounds} rounds in turns)")
    for name, took in (("into a pipe", pipe), ("on a terminal", terminal)):
        middle, worst = statistics.median(took), max(took)
        print(
            f"runner run {name}: {middle * 1e3:.1f} ms, {1e3 * (middle - base):+.1f} ms "
            f"(worst {1e3 * worst:.1f} ms); goal +50 ms"
        )
    print(f"from the start of runner run to its question: {statistics.median(starts) * 1e3:.0f} ms")
    print(f"runner --version, whole process: {statistics.median(versions) * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
