"""One streamed answer, from the bytes as they arrive to the moments that count. Knows no network and no clock.

Tokens are what the server's `usage` says. A chunk may carry several, so chunks are only good for gaps.
"""

from __future__ import annotations

from array import array
from typing import Any

import msgspec

_LONGEST_LINE = 4 * 1024 * 1024
_EXCERPT = 200


class Broken(Exception):
    """The stream cannot be understood, or tells of a failure. `kind` is the word that failures are counted under."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _Delta(msgspec.Struct):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: Any = None
    finish_reason: Any = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Event(msgspec.Struct):
    """What is read of an event; everything else in it is skipped without being built."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decoder = msgspec.json.Decoder(_Event)


class Reading:
    """What has come of one answer. Times are whatever `feed` was given."""

    def __init__(self) -> None:
        self.first: float | None = None  # when the first text came
        self.last: float | None = None  # when the latest text came
        self.gaps = array("d")  # between one chunk with text and the next
        self.chunks = 0  # with text in them
        self.prompt_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.is_done = False
        self._finished = False
        self._rest = b""

    def feed(self, data: bytes, at: float) -> int:
        """Take bytes that arrived at one moment; how many chunks with text they completed. Raises Broken."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > _LONGEST_LINE:
            raise Broken("malformed", f"an event of more than {_LONGEST_LINE} bytes")
        before = self.chunks
        for line in lines:
            self._line(line.rstrip(b"\r"), at)
        return self.chunks - before

    def end(self) -> None:
        """The body is over. Raises Broken when the answer isn't."""
        if self._rest.strip():
            self._line(self._rest.strip(), self.last or 0.0)
            self._rest = b""
        if not self.is_done and not self._finished:
            raise Broken("broken off", "the stream ended before the answer did")

    def _line(self, line: bytes, at: float) -> None:
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data == b"[DONE]":
                self.is_done = True
            elif data:
                self._event(data, at)
        elif line.startswith(b"error:"):
            raise Broken("error in stream", said(line[6:]))
        # What is left is a comment, a blank line or a field that this dialect doesn't use.

    def _event(self, data: bytes, at: float) -> None:
        try:
            event = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Broken("malformed", f"{error}: {data[:_EXCERPT].decode('utf-8', 'replace')}") from None
        if event.error is not None:
            raise Broken("error in stream", said(data))
        if event.usage is not None:
            self._count(event.usage)
        for choice in event.choices or ():
            if _has_text(choice):
                self._text(at)
            self._finished = self._finished or bool(choice.finish_reason)

    def _count(self, usage: _Usage) -> None:
        self.prompt_tokens = _later(usage.prompt_tokens, self.prompt_tokens)
        self.output_tokens = _later(usage.completion_tokens, self.output_tokens)
        if usage.prompt_tokens_details is not None:
            self.cached_tokens = _later(usage.prompt_tokens_details.cached_tokens, self.cached_tokens)

    def _text(self, at: float) -> None:
        self.chunks += 1
        if self.last is None:
            self.first = at
        else:
            self.gaps.append(at - self.last)
        self.last = at


def said(body: bytes) -> str:
    """The sentence in an error's body, in whichever of the usual places it stands; else the body's beginning."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = None
    if isinstance(value, dict):
        value = value.get("error") or value.get("message") or value.get("detail")
    if isinstance(value, dict):
        value = value.get("message")
    if not isinstance(value, str) or not value:
        value = body.decode("utf-8", "replace")
    return " ".join(value.split())[:_EXCERPT]


def _has_text(choice: _Choice) -> bool:
    if choice.delta is None:
        return bool(choice.text)
    return bool(choice.delta.content or choice.delta.reasoning_content or choice.delta.reasoning)


def _later(new: int | None, old: int | None) -> int | None:
    return old if new is None else new
