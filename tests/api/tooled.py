"""A service whose models call tools, whatever they are asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from runner.inference.requests import AnswerPart, CallPart, Chat, Complete, Piece
from tests.api.fakes import THOUGHT, FakeService, answer_of


class Tooled(FakeService):
    """By the model's name: demo says something, then calls two tools; quiet thinks and calls one, with blanks between;
    cut is ended within a call's arguments; blank says nothing but blanks; spoken has blanks around what it says; mute
    says nothing at all; stopped ends at the first stop sequence."""

    async def _say(self, request: Chat | Complete) -> AsyncIterator[AnswerPart]:
        for piece in _PIECES[request.model]:
            yield piece
        end = answer_of()
        if request.model == "cut":
            yield replace(end, reason="length")
        elif request.model in ("demo", "quiet"):
            yield replace(end, reason="tool_calls")
        elif request.model == "stopped":
            yield replace(end, stop=request.options["stop"][0])
        elif request.model == "closed":
            yield replace(end, stop="<|im_end|>")
        else:
            yield end


def _call(index: int, *arguments: str) -> tuple[Piece, ...]:
    return (
        Piece(call=CallPart(index, f"call_{index}", ("look", "find")[index])),
        *(Piece(call=CallPart(index, arguments=each)) for each in arguments),
        Piece(call=CallPart(index, complete=True)),
    )


_FIRST = _call(0, '{"where":', '"up', '"}')
_SECOND = (Piece(call=CallPart(1, "call_1", "find", "{}", complete=True)),)
_PIECES: dict[str, tuple[Piece, ...]] = {
    "demo": (Piece("I "), Piece("look.\n"), Piece("\n"), *_FIRST, Piece("\n"), *_SECOND),
    "quiet": (*(Piece(thinking=each) for each in THOUGHT), Piece("\n\n"), *_FIRST, Piece("\n")),
    "cut": _FIRST[:2],
    "blank": (Piece("\n"), Piece(" ")),
    "spoken": (Piece("\n"), Piece(" "), Piece("a"), Piece("\n")),
    "mute": (),
    "stopped": (Piece("a"),),
    "closed": (Piece("a"),),
}
