"""An answer's pieces as Anthropic's blocks: thoughts, texts and calls, one after the other, each with its number.

One state machine for streams and for whole answers, so that they say the same. Knows no message around the blocks.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from runner.api.anthropic import signature, wire
from runner.inference.requests import CallPart, Piece


class Blocks:
    """Takes pieces and gives events. With `hides_thoughts`, a thought is only carried by its signature.

    White space around thoughts and calls is a template's habit, and Anthropic takes no text of nothing else back: so it
    is kept until something follows, and left out at the border of a block.
    """

    def __init__(self, *, hides_thoughts: bool = False) -> None:
        self._hides = hides_thoughts
        self._index = -1
        self._open: Literal["text", "thinking"] | int | None = None  # a call is open by its index
        self._blank = ""  # white space at what may become the beginning of a text
        self._thought: list[str] = []

    def take(self, piece: Piece) -> Iterator[wire.BlockEvent]:
        """What this piece adds."""
        if piece.thinking:
            yield from self._think(piece.thinking)
        if piece.text:
            yield from self._say(piece.text)
        if piece.call is not None:
            yield from self._call(piece.call)

    def finish(self) -> Iterator[wire.BlockEvent]:
        """The end of what is open. An answer of white space alone is told after all."""
        yield from self._close()
        blank = self._blank
        if self._index < 0 and blank:
            yield from self._start("text", wire.TextBlock())
            yield self._delta(wire.TextDelta(text=blank))
            yield from self._close()

    def _think(self, thought: str) -> Iterator[wire.BlockEvent]:
        if self._open != "thinking":
            yield from self._start("thinking", wire.ThinkingBlock())
        self._thought.append(thought)
        if not self._hides:
            yield self._delta(wire.ThinkingDelta(thinking=thought))

    def _say(self, text: str) -> Iterator[wire.BlockEvent]:
        if self._open != "text":
            text = self._blank + text
            if text.isspace():
                self._blank = text
                return
            yield from self._start("text", wire.TextBlock())
        yield self._delta(wire.TextDelta(text=text))

    def _call(self, call: CallPart) -> Iterator[wire.BlockEvent]:
        if self._open != call.index:
            identity = call.id or f"toolu_{uuid.uuid4().hex}"
            yield from self._start(call.index, wire.ToolUseBlock(id=identity, name=call.name))
        if call.arguments:
            yield self._delta(wire.InputDelta(partial_json=call.arguments))
        if call.complete:
            yield from self._close()

    def _start(self, kind: Literal["text", "thinking"] | int, block: wire.Content) -> Iterator[wire.BlockEvent]:
        yield from self._close()
        self._index += 1
        self._open = kind
        self._blank = ""
        yield wire.BlockStart(index=self._index, content_block=block)

    def _close(self) -> Iterator[wire.BlockEvent]:
        if self._open is None:
            return
        if self._open == "thinking":
            signed = signature.carrying("".join(self._thought)) if self._hides else signature.PLAIN
            self._thought.clear()
            yield self._delta(wire.SignatureDelta(signature=signed))
        self._open = None
        yield wire.BlockStop(index=self._index)

    def _delta(self, delta: wire.Delta) -> wire.BlockDelta:
        return wire.BlockDelta(index=self._index, delta=delta)


class Gathered:
    """The blocks that events add up to."""

    def __init__(self) -> None:
        self._blocks: list[wire.Content] = []
        self._parts: list[list[str]] = []

    def take(self, event: wire.BlockEvent) -> None:
        """One event more."""
        if isinstance(event, wire.BlockStart):
            self._blocks.append(event.content_block)
            self._parts.append([])
        elif isinstance(event, wire.BlockDelta):
            self._add(event.delta)

    def whole(self) -> list[wire.Content]:
        """All blocks, with what they say."""
        for block, parts in zip(self._blocks, self._parts, strict=True):
            said = "".join(parts)
            if isinstance(block, wire.TextBlock):
                block.text = said
            elif isinstance(block, wire.ThinkingBlock):
                block.thinking = said
            else:
                block.input = _input(said)
        return self._blocks

    def _add(self, delta: wire.Delta) -> None:
        match delta:
            case wire.TextDelta():
                self._parts[-1].append(delta.text)
            case wire.ThinkingDelta():
                self._parts[-1].append(delta.thinking)
            case wire.InputDelta():
                self._parts[-1].append(delta.partial_json)
            case wire.SignatureDelta():
                block = self._blocks[-1]
                assert isinstance(block, wire.ThinkingBlock)  # what alone is signed
                block.signature = delta.signature


def _input(text: str) -> dict[str, Any]:
    """A call's input. One that broke off has none, and `stop_reason` isn't `tool_use` then."""
    try:
        found = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
