"""What is shown of a thought: its text, or one line that says how long it took. Rows only; paints nothing."""

from __future__ import annotations

import time
from typing import Literal

from runner.cli.screen.rows import BLANK, Row, lines, plain, wrapped

Thinking = Literal["show", "fold", "hide"]


class Thought:
    """Takes the pieces of a thought. `tokens` are the pieces that came, which is one a token or a little fewer."""

    def __init__(self, thinking: Thinking, hint: str) -> None:
        self._thinking, self._hint = thinking, hint
        self.is_open = False
        self._rest = ""  # the line that hasn't ended
        self._started = 0.0
        self._tokens = 0

    def feed(self, text: str, tokens: int, width: int) -> list[Row]:
        """The rows that `text` finishes."""
        rows = []
        if not self.is_open:
            self.is_open = self._thinking != "hide"
            self._started, self._tokens = time.monotonic(), 0
            rows = [plain("Thinking...", dim=True)] if self._thinking == "show" else []
        self._tokens += tokens
        if self._thinking != "show":
            return rows
        *whole, rest = (self._rest + text).split("\n")
        rows += [row for line in whole for row in wrapped(line, width, dim=True)]
        *full, self._rest = lines(rest, width)
        return rows + [plain(line, dim=True) for line in full]

    def open(self, width: int) -> list[Row]:
        """The rows that may still change."""
        if self._thinking == "show":
            return wrapped(self._rest, width, dim=True)
        return [plain(f"Thinking... {self._spent():.0f} s, {self._tokens} tokens"[:width], dim=True)]

    def end(self, width: int) -> list[Row]:
        """The last rows; none when nothing was thought."""
        if not self.is_open:
            return []
        self.is_open = False
        if self._thinking == "show":
            rest, self._rest = self._rest, ""
            words = [*(wrapped(rest, width, dim=True) if rest else ()), plain("...done thinking.", dim=True)]
        else:
            summary = f"Thought for {self._spent():.1f} s, {self._tokens} tokens{self._hint}"
            words = wrapped(summary, width, dim=True)
        return [*words, BLANK]

    def _spent(self) -> float:
        return time.monotonic() - self._started
