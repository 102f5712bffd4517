"""Markdown cut into blocks while it arrives: which are finished, and what is still open. Pure text; draws nothing.

Only decides where a block ends. A code block is told line by line, because it may be long and a line of it never
changes again; a list is cut between its items for the same reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)$")
_ITEM = re.compile(r" {0,3}([-*+]|\d{1,9}[.)])(\s|$)")
_RULE = re.compile(r" {0,3}([-*_])(\s*\1){2,}\s*$")
_HEADING = re.compile(r" {0,3}#{1,6}(\s|$)")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})\s*$")
_LONGEST = 4_000  # characters of a block that are painted again and again
_LONGEST_TABLE = 16_000  # whose head is lost where it is cut

Kind = Literal["text", "fence", "code", "end"]


@dataclass(frozen=True, slots=True)
class Block:
    """A finished piece: Markdown (`text`), or of a code block the opening line (`fence`), lines (`code`), its `end`.

    `gap` says that a blank line goes before it.
    """

    kind: Kind
    source: str
    gap: bool = False


class Blocks:
    """The cutter. `feed` gives what was finished by a piece of text, `open` is what is not."""

    def __init__(self) -> None:
        self._partial = ""  # the line that hasn't ended
        self._lines: list[str] = []  # of the open block
        self._size = 0
        self._fence = ""  # that closes the code block we are in
        self._inner = ""  # the same, within a list item
        self._paused = False  # a blank line was seen in a list
        self._gap = False  # before the next block
        self._begun = False

    @property
    def open(self) -> Block:
        """What may still change, as one block; its source is empty when there is nothing."""
        if self._fence:
            return Block("code", self._partial)
        return Block("text", "\n".join((*self._lines, self._partial)), self._gap_before())

    def feed(self, text: str) -> list[Block]:
        """The blocks that `text` finishes."""
        *lines, self._partial = (self._partial + text).split("\n")
        done = [block for line in lines for block in self._line(line)]
        if not self._fence and len(self._partial) > _LONGEST:  # a line without end
            at = self._partial.rfind(" ", 0, _LONGEST) + 1 or _LONGEST
            self._lines.append(self._partial[:at])
            self._partial = self._partial[at:]
            done += self._close(gap=False)
        return done

    def end(self) -> list[Block]:
        """The rest; the text is over."""
        done = list(self._line(self._partial)) if self._partial else []
        self._partial = ""
        if self._fence:  # never closed
            self._fence = ""
            return [*done, Block("end", "")]
        return [*done, *self._close()]

    def _line(self, line: str) -> Iterator[Block]:
        if self._fence:
            yield from self._code(line)
        elif self._inner:
            self._keep(line)
            if _closes(line, self._inner):
                self._inner = ""
        elif not line.strip():
            if self._in_list():
                self._paused = True
                self._keep(line)
            else:
                yield from self._close()
        else:
            yield from self._words(line)

    def _code(self, line: str) -> Iterator[Block]:
        if _closes(line, self._fence):
            self._fence = ""
            self._gap = self._begun = True
            yield Block("end", line.strip())
        else:
            yield Block("code", line)

    def _words(self, line: str) -> Iterator[Block]:
        """A line with something on it, outside of a code block."""
        inside = self._in_list() and line.startswith(("  ", "\t"))
        if inside:
            if fence := _FENCE.match(line.lstrip()):
                self._inner = fence[1]
        elif fence := _FENCE.match(line):
            yield from self._close()
            self._fence = fence[1]
            self._begun = True
            yield Block("fence", line, self._gap)
            return
        elif _HEADING.match(line):
            yield from self._close()
            self._keep(line)
            yield from self._close()
            return
        elif self._lines and not self._in_list() and _UNDERLINE.match(line):
            self._keep(line)  # it makes a heading of the lines above
            yield from self._close()
            return
        elif _RULE.match(line):
            yield from self._close()
            self._keep(line)
            yield from self._close()
            return
        elif _ITEM.match(line):
            yield from self._close(gap=self._paused or not self._in_list())
        elif self._paused:
            yield from self._close()
        self._paused = False
        self._keep(line)
        longest = _LONGEST_TABLE if self._lines[0].lstrip().startswith("|") else _LONGEST
        if self._size > longest and not self._inner:
            yield from self._close(gap=False)

    def _keep(self, line: str) -> None:
        self._lines.append(line)
        self._size += len(line) + 1

    def _in_list(self) -> bool:
        return bool(self._lines) and _ITEM.match(self._lines[0]) is not None

    def _gap_before(self) -> bool:
        """Of what is open: an item that follows an item stands close to it."""
        return self._gap and self._begun

    def _close(self, gap: bool = True) -> Iterator[Block]:
        """The open block is finished; `gap` says what goes before the next one."""
        if any(line.strip() for line in self._lines):
            yield Block("text", "\n".join(self._lines).rstrip("\n"), self._gap_before())
            self._begun = True
            self._gap = gap
        self._lines, self._size, self._paused, self._inner = [], 0, False, ""


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    return len(bare) >= len(fence) and not bare.strip(fence[0])
