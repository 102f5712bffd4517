"""Length-prefixed msgpack frames: 4 bytes big-endian length, then the body. One type each way.

Commands travel one a frame, events as a list a frame. A frame over the limit is refused on both ends, so that a broken
peer cannot make this process allocate what it names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from runner.protocol.commands import Command
from runner.protocol.events import Event

LIMIT = 256 * 1024 * 1024  # bytes of one frame; images and long token lists are the largest things sent
_LENGTH = struct.Struct(">I")

# What decoding bytes of any kind may raise: text that is no UTF-8 and nesting past the stack are no MsgspecError.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# And encoding values of any kind: whole numbers over 64 bits, nesting past the stack, lone surrogates, foreign types.
_UNWRITABLE = (OverflowError, RecursionError, UnicodeEncodeError, TypeError)

_encoder = msgspec.msgpack.Encoder()
_commands: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_events: msgspec.msgpack.Decoder[list[Event]] = msgspec.msgpack.Decoder(list[Event])


class BadFrame(ValueError):
    """These bytes are no frame of ours, and the connection is of no use any more; or these values fit into none."""


def pack_command(command: Command) -> bytes:
    """One frame. Raises BadFrame for values that have no place in one."""
    return _frame(_encode(command))


def pack_events(events: list[Event]) -> bytes:
    """One frame. Raises BadFrame for values that have no place in one."""
    return _frame(_encode(events))


def unpack_command(body: bytes) -> Command:
    try:
        return _commands.decode(body)
    except _UNREADABLE as error:
        raise BadFrame(str(error)) from error


def unpack_events(body: bytes) -> list[Event]:
    try:
        return _events.decode(body)
    except _UNREADABLE as error:
        raise BadFrame(str(error)) from error


def _encode(value: Command | list[Event]) -> bytes:
    try:
        return _encoder.encode(value)
    except _UNWRITABLE as error:
        raise BadFrame(str(error)) from error


def _frame(body: bytes) -> bytes:
    if len(body) > LIMIT:
        raise BadFrame(f"a frame of {len(body)} bytes is over the limit of {LIMIT}")
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Cuts a byte stream into frame bodies. Feed it what arrives; it gives back what is whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > LIMIT:
                raise BadFrame(f"a frame of {length} bytes is over the limit of {LIMIT}")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield body

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not whole yet; not zero at the end of the stream means it was cut."""
        return len(self._buffer)
