"""What a scanner has found, in order: text and calls. Decides nothing about either.

Blanks next to a call belong to it; so blanks are held back until it is known what follows them. Only between words
before and after calls some stay, lest they run into each other.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Callable, Mapping
from typing import Any, Literal

from runner.conversation import ToolSpec
from runner.reply.parts import AnyPart, Call, Part

_BLANK = " \t\r\n"
_NINE = re.compile(r"[A-Za-z0-9]{9}")
_NAME = re.compile(r"[\w.:/-]{1,256}")


class NoName(Exception):
    """What stands in the place of a name can't be one, or is none that was offered where only such count."""


def new_id(kind: Literal["", "nine", "heading"]) -> str:
    """An id for a call that the model gave none, of the form that its template wants."""
    if kind == "nine":
        return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))
    return f"call_{secrets.token_hex(12)}"


class Telling:
    """Collects parts for `take`. `tools` are those that were offered; `at` of the scanner says where text stands."""

    def __init__(
        self,
        tools: tuple[ToolSpec, ...],
        ids: Literal["", "nine", "heading"],
        make_id: Callable[[Literal["", "nine", "heading"]], str],
    ) -> None:
        self.begun = 0  # calls
        self.complete = 0  # of these
        self.is_open = False  # whether a call was begun and isn't complete
        self._tools: Mapping[str, ToolSpec] = {tool.name: tool for tool in tools}
        self._ids = ids
        self._make_id = make_id
        self._parts: list[AnyPart] = []
        self._blanks: list[Part] = []
        self._is_behind_call = False
        self._has_text = False
        self._gap = ""  # blanks before the calls that came last

    def take(self) -> list[AnyPart]:
        """What was found since."""
        parts, self._parts = self._parts, []
        return parts

    def schema(self, tool: str) -> dict[str, Any]:
        """The parameters of a tool, by name; nothing for one that wasn't offered."""
        found = self._tools.get(tool)
        properties = found.parameters.get("properties") if found else None
        return properties if isinstance(properties, dict) else {}

    def is_offered(self, name: str) -> bool:
        """Whether there is a tool of this name."""
        return name in self._tools

    # -- text

    def text(self, text: str, at: int) -> None:
        """Text of the answer, which begins at this place."""
        if self._is_behind_call:
            bare = text.lstrip(_BLANK)
            blanks = text[: len(text) - len(bare)]
            at += len(blanks)
            text = bare
            self._gap = self._gap or blanks
        solid = text.rstrip(_BLANK)
        if solid:
            if self._is_behind_call and self._has_text:
                self._parts.append(Part("answer", self._gap, at))
            self._parts += [*self._blanks, Part("answer", solid, at)]
            self._blanks.clear()
            self._is_behind_call = False
            self._has_text = True
        if len(solid) < len(text):
            self._blanks.append(Part("answer", text[len(solid) :], at + len(solid)))

    def thought(self, text: str, at: int) -> None:
        """Text of a thought."""
        if text:
            self._parts.append(Part("thinking", text, at))

    def finish(self) -> None:
        """Nothing follows."""
        self._parts += self._blanks
        self._blanks.clear()

    # -- calls

    def begin(self, name: str, given: str = "", *, only_offered: bool = False) -> None:
        """A call of this name follows, with the id that the model gave it, if any. Raises NoName."""
        if not self.is_offered(name) and (only_offered or not _NAME.fullmatch(name)):
            raise NoName
        if self._ids == "nine" and not _NINE.fullmatch(given):
            given = ""
        self._gap = "".join(blank.text for blank in self._blanks) or (self._gap if self._is_behind_call else "")
        self._blanks.clear()
        self._parts.append(Call(self.begun, given or self._make_id(self._ids), name))
        self.begun += 1
        self.is_open = True

    def arguments(self, text: str) -> None:
        """Some of the arguments of the call that was begun."""
        if text:
            self._parts.append(Call(self.begun - 1, arguments=text))

    def end(self) -> None:
        """The call is complete."""
        self._parts.append(Call(self.begun - 1, complete=True))
        self.complete += 1
        self.is_open = False
        self._is_behind_call = True

    def break_off(self) -> None:
        """The call isn't completed."""
        self.is_open = False
        self._is_behind_call = True
