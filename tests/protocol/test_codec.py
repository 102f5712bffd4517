"""Frames between daemon and worker: everything that is sent arrives, and whatever else arrives is refused."""

from __future__ import annotations

import struct
import types
import typing
from itertools import pairwise
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.protocol import codec
from runner.protocol.codec import BadFrame, FrameReader, pack_command, pack_events, unpack_command, unpack_events
from runner.protocol.commands import Cancel, Command, Generate, Stop, TextPrompt
from runner.protocol.events import Done, Event, Failed, Text, Usage
from runner.protocol.options import SampleOptions

COMMANDS = typing.get_args(Command)
EVENTS = typing.get_args(Event)

WHOLE = st.integers(-(2**63), 2**63 - 1)
REAL = st.floats(allow_nan=False)
SIMPLE = {int: WHOLE, float: REAL, str: st.text(), bytes: st.binary(), bool: st.booleans(), type(None): st.none()}
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | REAL | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated type, so that every field of every struct takes part, also those of later issues."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return JSON
    if hint in SIMPLE:
        return SIMPLE[hint]
    if origin in (types.UnionType, typing.Union):
        return st.one_of([values(argument) for argument in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is dict:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    if origin is tuple:
        assert arguments[1:] == (...,), hint
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    assert issubclass(hint, msgspec.Struct), hint
    return structs(hint)


def structs(struct_type: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(struct_type)
    return st.fixed_dictionaries({name: values(hint) for name, hint in hints.items()}).map(
        lambda fields: struct_type(**fields)
    )


def frames_of(*chunks: bytes) -> list[bytes]:
    reader = FrameReader()
    return [body for chunk in chunks for body in reader.feed(chunk)]


@pytest.mark.parametrize("struct_type", COMMANDS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_command_arrives_as_it_was_sent(struct_type: type[Any], data: st.DataObject) -> None:
    command = data.draw(structs(struct_type))
    (body,) = frames_of(pack_command(command))
    assert unpack_command(body) == command


@pytest.mark.parametrize("struct_type", EVENTS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_event_arrives_as_it_was_sent(struct_type: type[Any], data: st.DataObject) -> None:
    events = data.draw(st.lists(structs(struct_type), max_size=3))
    (body,) = frames_of(pack_events(events))
    assert unpack_events(body) == events


@settings(max_examples=50)
@given(st.lists(st.one_of([structs(event) for event in EVENTS]), max_size=5))
def test_a_frame_holds_events_of_all_kinds_in_order(events: list[Event]) -> None:
    (body,) = frames_of(pack_events(events))
    assert unpack_events(body) == events


STREAM = b"".join(
    [
        pack_events([Text(1, "Grüße", 2), Done(1, "stop", Usage())]),
        pack_events([]),
        pack_events([Failed(None, "load_failed", "why")]),
    ]
)


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_frames_cut_at_any_byte_come_out_whole(cut: int) -> None:
    assert frames_of(STREAM[:cut], STREAM[cut:]) == frames_of(STREAM)
    reader = FrameReader()
    whole = list(reader.feed(STREAM[:cut]))
    assert sum(4 + len(body) for body in whole) + reader.pending == cut


def test_frames_that_arrive_byte_by_byte() -> None:
    reader = FrameReader()
    bodies = [body for byte in STREAM for body in reader.feed(bytes([byte]))]
    assert bodies == frames_of(STREAM)
    assert len(bodies) == 3
    assert reader.pending == 0


@given(st.lists(st.binary(max_size=20), max_size=6), st.lists(st.integers(0, 200), max_size=6))
def test_any_bodies_in_any_pieces(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(struct.pack(">I", len(body)) + body for body in bodies)
    borders = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(borders)]
    assert frames_of(*pieces) == bodies


def test_a_stream_that_ends_inside_a_frame_shows_it() -> None:
    reader = FrameReader()
    assert list(reader.feed(STREAM[:-1])) == frames_of(STREAM)[:2]
    assert reader.pending > 0


# -- too large


def test_a_length_over_the_limit_is_refused_before_its_body_arrives() -> None:
    reader = FrameReader()
    with pytest.raises(BadFrame, match=str(codec.LIMIT)):
        list(reader.feed(struct.pack(">I", codec.LIMIT + 1)))
    assert reader.pending == 4


def test_what_came_whole_before_a_bad_length_is_still_delivered() -> None:
    stream = FrameReader().feed(pack_command(Stop()) + b"\xff\xff\xff\xff")
    assert unpack_command(next(stream)) == Stop()
    with pytest.raises(BadFrame):
        next(stream)


def test_a_frame_of_exactly_the_limit_passes_and_one_byte_more_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    command = Generate(1, TextPrompt("x" * 1000), SampleOptions())
    size = len(pack_command(command)) - 4
    monkeypatch.setattr(codec, "LIMIT", size)
    (body,) = frames_of(pack_command(command))
    assert unpack_command(body) == command
    monkeypatch.setattr(codec, "LIMIT", size - 1)
    with pytest.raises(BadFrame, match=f"frame of {size} bytes"):
        pack_command(command)


# -- garbage

GARBAGE = [
    b"",
    b"\xc1",
    b"\xff" * 8,
    msgspec.msgpack.encode(None),
    msgspec.msgpack.encode([]),
    msgspec.msgpack.encode({"id": 1}),
    msgspec.msgpack.encode({"type": "reboot"}),
    msgspec.msgpack.encode({"type": "cancel"}),
    msgspec.msgpack.encode({"type": "cancel", "id": "1"}),
    msgspec.msgpack.encode({"type": "cancel", "id": 1}) + b"\x00",
    msgspec.msgpack.encode({"type": "cancel", "id": 1})[:-1],
    msgspec.msgpack.encode({"type": "done", "id": 1, "reason": "bored", "usage": {}}),
    b"\x91" * 100_000,
    b"\xde\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
]
NOT_UTF8 = msgspec.msgpack.encode({"type": "text", "id": 1, "text": "ab", "tokens": 1}).replace(
    b"\xa2ab", b"\xa2\xff\xfe"
)
DEEP = b"\x91" * 50_000 + b"\xc0"


@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_refused(body: bytes) -> None:
    with pytest.raises(BadFrame):
        unpack_command(body)
    with pytest.raises(BadFrame):
        unpack_events(b"\x91" + body)  # a list of one


def test_text_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(BadFrame):
        unpack_events(b"\x91" + NOT_UTF8)


def test_nesting_past_the_stack_is_refused() -> None:
    prompt = {"type": "chat", "messages": [], "variables": {"deep": None}}
    whole = msgspec.msgpack.encode({"type": "generate", "id": 1, "sampling": {}, "prompt": prompt})
    assert isinstance(unpack_command(whole), Generate)
    with pytest.raises(BadFrame):
        unpack_command(whole.replace(b"\xa4deep\xc0", b"\xa4deep" + DEEP))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(body: bytes) -> None:
    for unpack in (unpack_command, unpack_events):
        try:
            unpack(body)
        except BadFrame as error:
            assert str(error)  # noqa: PT017 -- a few inputs are messages


@given(st.data())
def test_a_damaged_message_is_a_message_or_refused(data: st.DataObject) -> None:
    body = bytearray(pack_events([Text(1, "text", 2), Done(1, "stop", Usage(), stop="x")])[4:])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(unpack_events(bytes(body)), list)
    except BadFrame as error:
        assert str(error)  # noqa: PT017 -- some damage leaves a message


def test_unknown_fields_are_ignored_and_defaults_filled_in() -> None:
    body = msgspec.msgpack.encode({"type": "cancel", "id": 7, "why": "tired"})
    assert unpack_command(body) == Cancel(7)
    assert unpack_events(msgspec.msgpack.encode([{"type": "failed", "id": 1, "code": "c", "message": "m"}])) == [
        Failed(1, "c", "m")
    ]
