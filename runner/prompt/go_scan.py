"""A Go template's text, taken apart into what is copied and what is done, in one pass.

Applies the trim markers and leaves out comments. Knows the words of the language, not its grammar.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, cast

_BLANK = " \t\r\n"

Kind: TypeAlias = Literal[
    "string", "raw", "char", "number", "declare", "assign", "pipe", "comma", "open", "close", "field", "dot",
    "variable", "word",
]  # fmt: skip

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<raw>`[^`]*`)
      | (?P<char>'(?:[^'\\\n]|\\.)+')
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?))
      | (?P<declare>:=)
      | (?P<assign>=)
      | (?P<pipe>\|)
      | (?P<comma>,)
      | (?P<open>\()
      | (?P<close>\))
      | (?P<field>\.[A-Za-z_]\w*)
      | (?P<dot>\.)
      | (?P<variable>\$\w*)
      | (?P<word>[A-Za-z_]\w*)""",
    re.VERBOSE,
)
_SPACE = re.compile(r"[ \t\r\n]*")


class GoFault(Exception):
    """The template is wrong, or fails. `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class Token(NamedTuple):
    """`apart` says whether blanks stand before it: `.A.B` is one operand and `.A .B` are two."""

    kind: Kind
    text: str
    line: int
    apart: bool


@dataclass(frozen=True, slots=True)
class Doing:
    """What stands between a pair of double braces."""

    line: int
    tokens: tuple[Token, ...]


Piece: TypeAlias = str | Doing


def scan(text: str) -> list[Piece]:
    """The pieces of a template. Raises GoFault."""
    return _Scanner(text).pieces()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._newlines = [found.start() for found in re.finditer("\n", text)]

    def pieces(self) -> list[Piece]:
        text, at, trims = self._text, 0, False
        found: list[Piece] = []
        while True:
            opening = text.find("{{", at)
            copied = text[at:] if opening < 0 else text[at:opening]
            if trims:
                copied = copied.lstrip(_BLANK)
            if opening >= 0 and self._trims_left(opening + 2):
                copied = copied.rstrip(_BLANK)
            if copied:
                found.append(copied)
            if opening < 0:
                return found
            begin = opening + (3 if self._trims_left(opening + 2) else 2)
            doing, at, trims = self._doing(begin)
            if doing.tokens:
                found.append(doing)

    def _trims_left(self, at: int) -> bool:
        return self._text[at : at + 1] == "-" and self._text[at + 1 : at + 2] in tuple(_BLANK)

    def _doing(self, begin: int) -> tuple[Doing, int, bool]:
        """What is done from `begin` on, where the text goes on, and whether that is trimmed."""
        text, line = self._text, self._line(begin)
        at = _skip(text, begin)
        if text.startswith("/*", at):
            close = text.find("*/", at + 2)
            if close < 0:
                raise GoFault(line, "a comment is never closed")
            end = self._end(close + 2)
            if end is None:
                raise GoFault(line, "a comment must fill its braces alone")
            return Doing(line, ()), *end
        tokens: list[Token] = []
        at = begin
        while (end := self._end(at)) is None:
            start = _skip(text, at)
            match = _TOKEN.match(text, start)
            if match is None:
                raise GoFault(self._line(start), self._wrong(start))
            kind = cast("Kind", match.lastgroup)
            tokens.append(Token(kind, match[0], self._line(start), start > at))
            at = match.end()
        if not tokens:
            raise GoFault(line, "the braces are empty")
        return Doing(line, tuple(tokens)), *end

    def _end(self, at: int) -> tuple[int, bool] | None:
        """Where the text goes on if only closing braces follow here, and whether it is trimmed."""
        start = _skip(self._text, at)
        if self._text.startswith("}}", start):
            return start + 2, False
        if start > at and self._text.startswith("-}}", start):
            return start + 3, True
        return None

    def _wrong(self, at: int) -> str:
        rest = self._text[at : at + 1]
        if not rest:
            return "the braces are never closed"
        if rest in "\"'`":
            return "a text in quotes is never closed"
        return f"{rest!r} means nothing here"

    def _line(self, at: int) -> int:
        return bisect.bisect_left(self._newlines, at) + 1


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None  # it matches nothing, too
    return match.end()
