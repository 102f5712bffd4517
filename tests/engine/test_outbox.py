"""Events reach the pipe in order and in frames that the daemon takes; an outbox that can't go on ends the worker."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading

import pytest

from runner.engine.outbox import Outbox
from runner.protocol import codec
from runner.protocol.codec import FrameReader, unpack_events
from runner.protocol.events import Done, Event, Text, Usage


class Pipe(io.BytesIO):
    """A pipe that can be held up."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Event()

    def write(self, data: bytes) -> int:  # type: ignore[override] -- bytes are all that is written here
        self.waiting.set()
        self.open.wait(timeout=30)
        return super().write(data)


def frames(pipe: Pipe) -> list[list[Event]]:
    return [unpack_events(body) for body in FrameReader().feed(pipe.getvalue())]


def test_events_arrive_in_order() -> None:
    pipe = Pipe()
    outbox = Outbox(pipe)
    events: list[Event] = [Text(1, str(number), 1) for number in range(100)]
    for event in events:
        outbox.put(event)
    outbox.put()
    outbox.close()
    assert [event for frame in frames(pipe) for event in frame] == events


def test_what_gathers_while_the_pipe_is_full_goes_out_together() -> None:
    pipe = Pipe()
    pipe.open.clear()
    outbox = Outbox(pipe)
    outbox.put(Text(1, "first", 1))
    assert pipe.waiting.wait(timeout=30)
    for number in range(50):
        outbox.put(Text(1, str(number), 1), Text(2, str(number), 1))
    pipe.open.set()
    outbox.close()
    first, rest = frames(pipe)
    assert (len(first), len(rest)) == (1, 100)


def test_what_is_too_large_for_one_frame_goes_out_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "LIMIT", 1000)
    pipe = Pipe()
    pipe.open.clear()
    outbox = Outbox(pipe)
    outbox.put(Text(1, "first", 1))
    assert pipe.waiting.wait(timeout=30)
    events: list[Event] = [Text(1, "x" * 300, number) for number in range(20)]
    outbox.put(*events)
    outbox.put(Done(1, "stop", Usage()))
    pipe.open.set()
    outbox.close()
    _, *rest = frames(pipe)
    assert len(rest) > 5
    assert [event for frame in rest for event in frame] == [*events, Done(1, "stop", Usage())]


def test_a_daemon_that_is_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        outbox = Outbox(pipe)
        outbox.put(Text(1, "unheard", 1))
        outbox.close()


def test_an_outbox_that_cannot_go_on_ends_the_worker() -> None:
    """Half a surrogate pair has no form on the wire. Nothing should send one, and then silence would be the worst."""
    program = (
        "import sys, threading\n"
        "from runner.engine.outbox import Outbox\n"
        "from runner.protocol.events import Failed\n"
        "outbox = Outbox(sys.stdout.buffer)\n"
        r"outbox.put(Failed(1, 'code', '\ud800'))" + "\n"
        "threading.Event().wait()\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert result.returncode == os.EX_SOFTWARE
    assert b"surrogates not allowed" in result.stderr
