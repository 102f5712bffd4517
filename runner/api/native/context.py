"""The `context` of /api/generate: a conversation as a list of numbers, which the client hands back to go on with it.

Clients look at no number. So it isn't tokens that stand there, which are one template's and one vocabulary's, but what
was said, packed: the next request is an ordinary conversation, framed as the model knows it. Nothing is kept here
between requests. Images of earlier turns are left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from runner.conversation import Message
from runner.errors import InvalidRequest
from runner.inference.requests import Chat, Complete

Turns = tuple[tuple[Literal["user", "assistant"], str], ...]

_MARK = 0x52756E  # the first number of each that is ours
_WIDTH = 3  # bytes a number: any JSON reader holds as many
_LIMIT = 4 << 20  # bytes of a conversation; a longer one is not handed out
_decoder = msgspec.msgpack.Decoder(Turns)


def begun(asked: Complete | Chat) -> Turns | None:
    """What has been said before the answer to this; None where an answer can't be gone on from."""
    if isinstance(asked, Chat):
        return tuple((each.role, each.content) for each in asked.messages if each.role in ("user", "assistant"))
    if asked.raw or asked.suffix is not None or not isinstance(asked.prompt, str):
        return None
    return (("user", asked.prompt),)


def pack(turns: Turns) -> list[int]:
    """The numbers; none of a conversation that is too long for that."""
    data = msgspec.msgpack.encode(turns)
    if len(data) > _LIMIT:
        return []
    data = zlib.compress(data, 1)
    numbers = (int.from_bytes(data[at : at + _WIDTH], "big") for at in range(0, len(data), _WIDTH))
    return [_MARK, len(data), *numbers]


def unpack(numbers: Sequence[int], field: str = "context") -> tuple[Message, ...]:
    """The conversation. Raises InvalidRequest for numbers that `pack` didn't give."""
    try:
        mark, length, *rest = numbers
        if mark != _MARK or len(rest) != -(-length // _WIDTH):
            raise ValueError
        widths = (min(_WIDTH, length - at) for at in range(0, length, _WIDTH))
        data = b"".join(number.to_bytes(width, "big") for number, width in zip(rest, widths, strict=True))
        turns = _decoder.decode(zlib.decompressobj().decompress(data, _LIMIT))
    except (ValueError, OverflowError, zlib.error, msgspec.DecodeError, RecursionError):
        raise InvalidRequest(
            f"{field} must be what an earlier answer of Runner's gave, unchanged", field=field
        ) from None
    return tuple(Message(role, content) for role, content in turns)
