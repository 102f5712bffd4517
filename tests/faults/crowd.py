"""Clients that stream from a daemon whose workers are being killed, and what they see of it."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.daemon import Daemon

SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)
QUESTIONS = ("How do I pull a model?", "How do I list my models?", "What is Runner?", "How do I stop a model?")


# What the demo is asked with it is answered by a call.
WEATHER = {
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALLS = tuple(f"What's the weather in {city}?" for city in ("Ghent", "Paris", "Rome", "Oslo"))


def chat(question: str, model: str = "demo", **more: Any) -> dict[str, Any]:
    options = {"temperature": 0, "num_predict": 64} | more.pop("options", {})
    return {"model": model, "messages": [{"role": "user", "content": question}], "options": options} | more


def asks(question: str) -> dict[str, Any]:
    """What a request for one of the questions has beside it."""
    return {"tools": [{"type": "function", "function": WEATHER}]} if question in CALLS else {}


def said(line: dict[str, Any]) -> str:
    """What a line of a streamed chat tells, the calls in it included; their ids are other ones each time."""
    calls = [call["function"] for call in line["message"].get("tool_calls", ())]
    return str(line["message"]["content"]) + (json.dumps(calls) if calls else "")


def stream(daemon: Daemon, body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
    """The lines of a streamed chat. Raises RuntimeError for what is no success."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=120)
    try:
        connection.request("POST", "/api/chat", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {response.read()[:500]!r}")
        while line := response.readline():
            told = json.loads(line)
            if "error" in told:
                raise RuntimeError(f"the stream broke off: {told}")
            yield told
    finally:
        connection.close()


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs. One that is dead may wait for the system to take note of it, its parent being gone."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def zombies(daemon: Daemon) -> int:
    assert daemon.process is not None
    return sum(c.status() == psutil.STATUS_ZOMBIE for c in psutil.Process(daemon.process.pid).children(recursive=True))


def descriptors(daemon: Daemon) -> int:
    assert daemon.process is not None
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def resident(daemon: Daemon) -> int:
    """Bytes of the daemon's own memory."""
    assert daemon.process is not None
    return int(psutil.Process(daemon.process.pid).memory_info().rss)


def wait_for(condition: Callable[[], Any], seconds: float, what: str, step: float = 0.005) -> Any:
    """The first truth of a condition, which is looked at every `step` seconds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(step)
    return found


@dataclass
class Seen:
    """What all clients of one model saw."""

    requests: int = 0
    pieces: int = 0
    wrong: list[str] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)  # seconds between two pieces of an answer


def together(all_seen: list[Seen]) -> Seen:
    """What several crowds saw."""
    made = Seen()
    for seen in all_seen:
        made.requests += seen.requests
        made.pieces += seen.pieces
        made.wrong += seen.wrong
        made.gaps += seen.gaps
    return made


class Stream(threading.Thread):
    """One streamed chat, whose lines are taken as they come. What went wrong is in `failure`."""

    def __init__(self, daemon: Daemon, body: dict[str, Any]) -> None:
        super().__init__()
        self._daemon = daemon
        self._body = body
        self.lines: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        self.start()

    def run(self) -> None:
        """Take them all."""
        try:
            for line in stream(self._daemon, self._body):
                self.lines.append(line)
        except (RuntimeError, OSError, http.client.HTTPException) as error:
            self.failure = error

    def text(self) -> str:
        """The whole answer, which must come."""
        self.join(120)
        assert not self.is_alive(), "it never came to its end"
        assert self.failure is None, self.failure
        assert self.lines[-1]["done"]
        return "".join(map(said, self.lines))


class Crowd:
    """`size` threads that ask one model over and over, each answer held against the undisturbed one. Between two
    answers each takes a `pause`, in seconds."""

    def __init__(self, daemon: Daemon, model: str, size: int, undisturbed: dict[str, str], pause: float = 0.0) -> None:
        self._pause = pause
        self.seen = Seen()
        self._daemon = daemon
        self._model = model
        self._undisturbed = undisturbed
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(size)]
        for thread in self._threads:
            thread.start()

    def close(self) -> Seen:
        """Let everybody come to the end of his answer."""
        self._over.set()
        for thread in self._threads:
            thread.join(180)
            assert not thread.is_alive(), "a client never got to the end of its answer"
        return self.seen

    def _ask(self, number: int) -> None:
        asked = list(self._undisturbed)
        while not self._over.is_set():
            question = asked[number % len(asked)]
            number += 1
            try:
                self._one(question)
            except (RuntimeError, OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.seen.wrong.append(f"{question}: {error!r}")
                return
            self._over.wait(self._pause)

    def _one(self, question: str) -> None:
        text, last, done = "", None, False
        for line in stream(self._daemon, chat(question, self._model, **asks(question))):
            now = time.monotonic()
            text += said(line)
            done = line["done"]
            with self._lock:
                self.seen.pieces += 1
                if last is not None:
                    self.seen.gaps.append(now - last)
            last = now
        with self._lock:
            self.seen.requests += 1
            if not done or text != self._undisturbed[question]:
                self.seen.wrong.append(f"{question}: {text!r}, done {done}")


def undisturbed(
    daemon: Daemon, model: str = "demo", questions: Sequence[str] = QUESTIONS, **more: Any
) -> dict[str, str]:
    """Each question's answer while nothing happens."""
    return {
        question: "".join(map(said, stream(daemon, chat(question, model, **asks(question), **more))))
        for question in questions
    }


@contextmanager
def no_core_dumps() -> Iterator[None]:
    """Processes that are started meanwhile leave no cores when they die."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


def blob_is_open(pid: int) -> bool:
    """Whether a worker has mapped its weights, but may not be ready yet."""
    try:
        return ".gguf" in (maps := Path(f"/proc/{pid}/maps").read_text()) or "/blobs/" in maps
    except OSError:
        return False


def counted(daemon: Daemon, name: str, model: str) -> float:
    """One of the daemon's counters of one model, by its name without the prefix; 0 before it was counted at all."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    finally:
        connection.close()
    start = f'runner_{name}{{model="{model}"}} '
    return next((float(line.removeprefix(start)) for line in lines if line.startswith(start)), 0.0)
