"""The intake alone: what becomes of requests and cancels, in whatever order they meet."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from unittest.mock import Mock

import pytest

from runner.conversation import Message
from runner.engine.embed import Inputs
from runner.engine.intake import Intake
from runner.engine.loop import Item
from runner.engine.sequence import Request, Sequence
from runner.engine.text import TextStream
from runner.errors import Cancelled, ContextOverflow, InvalidRequest
from runner.llama.sampler import Sampler
from runner.protocol.commands import Cancel, ChatPrompt, Embed, Generate, TextPrompt
from runner.protocol.events import Done, Event, Failed
from runner.protocol.options import SampleOptions


class Mailbox:
    """Prepares when it is told to: requests whose id is in `slow` wait for `go`."""

    def __init__(self) -> None:
        self.slow: set[int] = set()
        self.inside = threading.Semaphore(0)
        self.go = threading.Event()
        self.samplers: list[Mock] = []

    def sequence(self, command: Generate, given_up: Callable[[], bool]) -> Sequence:
        self.inside.release()
        self.go.wait(30)
        if given_up() and isinstance(command.prompt, ChatPrompt):  # between two of its images
            raise Cancelled("nobody waits")
        self.samplers = [Mock(Sampler) for _ in range(command.choices)]
        sampler, *unforked = self.samplers
        return Sequence(command, [1], 1, 9, 0, False, sampler, TextStream(), 0, Request(unforked))

    def inputs(self, command: Embed) -> Inputs:
        if command.id in self.slow:
            self.inside.release()
            self.go.wait(30)
        if command.inputs == ("overlong",):
            raise ContextOverflow(9, 8, field="input[0]")
        if command.inputs == ("wrong",):
            raise InvalidRequest("wrong", field="input[0]")
        if command.inputs == ("fault",):
            raise ZeroDivisionError
        return Inputs(command.id, [[1]], 0, 0)


class Outbox:
    def __init__(self) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def put(self, *events: Event) -> None:
        for event in events:
            self.events.put(event)


class Desk:
    """An intake between a mailbox, an inbox and an outbox of this test's."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.inbox: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self.outbox = Outbox()
        self.intake = Intake(self.mailbox, self.inbox, self.outbox)  # type: ignore[arg-type]


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.mailbox.go.set()
    assert desk.intake.close(30)


def test_a_prepared_request_reaches_the_loop(desk: Desk) -> None:
    desk.intake.take(Embed(1, ("text",)))
    item = desk.inbox.get(timeout=30)
    assert isinstance(item, Inputs)
    assert item.id == 1


def test_a_cancel_passes_a_request_that_is_being_prepared(desk: Desk) -> None:
    desk.mailbox.slow = {1}
    desk.intake.take(Embed(1, ("slow",)))
    desk.mailbox.inside.acquire()
    desk.intake.take(Cancel(7))
    assert desk.inbox.get(timeout=30) == Cancel(7)


def test_one_slow_request_does_not_hold_up_the_next(desk: Desk) -> None:
    desk.mailbox.slow = {1}
    desk.intake.take(Embed(1, ("slow",)))
    desk.intake.take(Embed(2, ("quick",)))
    item = desk.inbox.get(timeout=30)
    assert isinstance(item, Inputs)
    assert item.id == 2


def test_a_request_cancelled_while_it_is_prepared_ends_once_and_never_reaches_the_loop(desk: Desk) -> None:
    desk.mailbox.slow = {1}
    desk.intake.take(Embed(1, ("slow",)))
    desk.mailbox.inside.acquire()
    desk.intake.take(Cancel(1))
    desk.mailbox.go.set()
    end = desk.outbox.events.get(timeout=30)
    assert isinstance(end, Done)
    assert (end.id, end.reason) == (1, "cancelled")
    assert desk.inbox.empty()
    assert desk.outbox.events.empty()


def test_the_samplers_of_all_choices_of_such_a_request_are_freed(desk: Desk) -> None:
    desk.mailbox.slow = {1}
    desk.intake.take(Generate(1, TextPrompt("slow"), SampleOptions(), choices=3))
    desk.mailbox.inside.acquire()
    desk.intake.take(Cancel(1))
    desk.mailbox.go.set()
    assert isinstance(desk.outbox.events.get(timeout=30), Done)
    assert [sampler.close.call_count for sampler in desk.mailbox.samplers] == [1, 1, 1]


def show(request: int) -> Generate:
    return Generate(request, ChatPrompt((Message("user", "what?", images=(b"one", b"two")),)), SampleOptions())


def test_images_are_looked_at_one_request_at_a_time_and_text_does_not_wait(desk: Desk) -> None:
    for request in (1, 2, 3):
        desk.intake.take(show(request))
    desk.mailbox.inside.acquire()
    desk.intake.take(Embed(4, ("text",)))
    item = desk.inbox.get(timeout=30)
    assert isinstance(item, Inputs)
    assert not desk.mailbox.inside.acquire(blocking=False)  # nobody looks at a second one
    desk.mailbox.go.set()
    for _ in range(3):
        assert isinstance(desk.inbox.get(timeout=30), Sequence)


def test_a_request_given_up_between_its_images_is_cancelled(desk: Desk) -> None:
    desk.intake.take(show(1))
    desk.mailbox.inside.acquire()
    desk.intake.take(Cancel(1))
    desk.mailbox.go.set()
    end = desk.outbox.events.get(timeout=30)
    assert isinstance(end, Done)
    assert (end.id, end.reason) == (1, "cancelled")
    assert desk.mailbox.samplers == []


def test_a_cancel_after_the_preparation_follows_the_request(desk: Desk) -> None:
    desk.intake.take(Embed(1, ("text",)))
    assert isinstance(desk.inbox.get(timeout=30), Inputs)
    desk.intake.take(Cancel(1))
    assert desk.inbox.get(timeout=30) == Cancel(1)


@pytest.mark.parametrize(
    ("text", "code"),
    [("overlong", "context_length_exceeded"), ("wrong", "invalid_request_error"), ("fault", "internal_error")],
)
def test_what_cannot_be_prepared_fails_by_its_code(desk: Desk, text: str, code: str) -> None:
    desk.intake.take(Embed(1, (text,)))
    end = desk.outbox.events.get(timeout=30)
    assert isinstance(end, Failed)
    assert (end.id, end.code) == (1, code)


def test_close_ends_what_is_pending(desk: Desk) -> None:
    desk.mailbox.slow = {1, 2}
    for request in (1, 2, 3):
        desk.intake.take(Embed(request, ("slow",)))
    desk.mailbox.inside.acquire()
    desk.mailbox.inside.acquire()
    closer = threading.Thread(target=desk.intake.close, args=(30,))
    closer.start()
    desk.mailbox.go.set()
    closer.join(30)
    ends = [desk.outbox.events.get(timeout=30) for _ in range(3)]
    assert sorted(end.id for end in ends if isinstance(end, Done)) == [1, 2, 3]
