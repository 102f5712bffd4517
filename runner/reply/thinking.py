"""Splits a streamed answer into the thought that comes first and the answer proper.

Knows the markers that it is given and nothing of models. Every character is looked at a bounded number of times, and
held back only while it may be the beginning of a marker.
"""

from __future__ import annotations

from typing import Literal

from runner.formats import Thinking
from runner.reply.parts import Part

_State = Literal["before", "opened", "thinking", "closed", "answer"]


class Splitter:
    """Feed it text as it comes; it gives parts back. With no markers all is answer.

    A thought begins with the opening marker, blanks before it aside, or is open from the start (`in_thought`). It ends
    with the first closing marker. Blanks next to the inside of the opening and the outside of the closing marker belong
    to neither. Markers that come later are text: a model may well be asked about them.

    `answer_at` counts the characters fed before the answer began, None while it hasn't.
    """

    def __init__(self, markers: Thinking | None, *, in_thought: bool = False) -> None:
        self._opening = markers.opening if markers else ""
        self._closing = markers.closing if markers else ""
        self._state: _State = "answer" if markers is None else "opened" if in_thought else "before"
        self.answer_at: int | None = 0 if markers is None else None
        self._fed = 0  # characters, until the answer begins
        self._held = ""
        self._blanks: list[str] = []  # those before what may be the opening marker, already looked at

    def feed(self, text: str) -> list[Part]:
        """The parts that are certain now."""
        if self._state == "answer":
            return _part("answer", text)
        parts: list[Part] = []
        self._fed += len(text)
        self._held += text
        while self._held and self._step(parts):
            pass
        return parts

    def finish(self) -> list[Part]:
        """What was held back, now that nothing follows."""
        held, self._held = self._held, ""
        if self._state == "before":
            self.answer_at = 0
            return _part("answer", self._take_blanks() + held)
        return _part("thinking" if self._state in ("opened", "thinking") else "answer", held)

    def _step(self, parts: list[Part]) -> bool:
        """Advance by one marker or one run of text; False when more is needed to say what it is."""
        match self._state:
            case "before":
                return self._look_for_opening()
            case "opened" | "closed":
                return self._skip_blanks()
            case "thinking":
                return self._look_for_closing(parts)
            case "answer":
                self.answer_at = self._fed - len(self._held)
                parts += _part("answer", self._held)
                self._held = ""
                return False

    def _look_for_opening(self) -> bool:
        text = self._held.lstrip()
        self._blanks.append(self._held[: len(self._held) - len(text)])
        self._held = text
        if text.startswith(self._opening):
            self._held = text[len(self._opening) :]
            self._state = "opened"
            return True
        if not self._opening.startswith(text):
            self._held = self._take_blanks() + text
            self._state = "answer"
            return True
        return False

    def _skip_blanks(self) -> bool:
        self._held = self._held.lstrip()
        if self._held:
            self._state = "thinking" if self._state == "opened" else "answer"
        return bool(self._held)

    def _take_blanks(self) -> str:
        blanks = "".join(self._blanks)
        self._blanks.clear()
        return blanks

    def _look_for_closing(self, parts: list[Part]) -> bool:
        end = self._held.find(self._closing)
        if end >= 0:
            parts += _part("thinking", self._held[:end])
            self._held = self._held[end + len(self._closing) :]
            self._state = "closed"
            return True
        keep = _overlap(self._held, self._closing)
        certain = len(self._held) - keep
        parts += _part("thinking", self._held[:certain])
        self._held = self._held[certain:]
        return False


def _part(kind: Literal["thinking", "answer"], text: str) -> list[Part]:
    return [Part(kind, text)] if text else []


def _overlap(text: str, marker: str) -> int:
    """How many characters at the end of the text are a beginning of the marker."""
    for length in range(min(len(text), len(marker) - 1), 0, -1):
        if text.endswith(marker[:length]):
            return length
    return 0
