"""From the text of one choice to its parts: the thought first, then the answer with the calls in it."""

from __future__ import annotations

from runner.conversation import ToolSpec
from runner.formats import CallFormat, Thinking
from runner.reply.calls.scanner import Scanner
from runner.reply.parts import AnyPart, Call, Part
from runner.reply.thinking import Splitter


class Assembly:
    """Feed it text as it comes. Without a format, or without tools (None), nothing is a call."""

    def __init__(
        self,
        thinking: Thinking | None,
        calls: CallFormat | None,
        tools: tuple[ToolSpec, ...] | None = None,
        *,
        in_thought: bool = False,
        parallel: bool = True,
    ) -> None:
        self._splitter = Splitter(thinking, in_thought=in_thought)
        # Channels are there without tools as well.
        self._calls = calls if tools is not None or (calls and calls.shape == "channels") else None
        self._tools = tools
        self._answer_at: int | None = None
        self._parallel = parallel
        self._scanner: Scanner | None = None
        self._fed = 0

    @property
    def answer_at(self) -> int | None:
        """How many characters were fed before the answer began, None while it hasn't."""
        if self._calls and self._calls.shape == "channels":
            return self._answer_at
        return self._splitter.answer_at

    @property
    def called(self) -> bool:
        """Whether there was a call."""
        return self._scanner is not None and self._scanner.called

    @property
    def is_over(self) -> bool:
        """Whether what follows isn't wanted."""
        return self._scanner is not None and self._scanner.is_over

    @property
    def waiting(self) -> int:
        """Characters of the answer that were fed and have been no part of anything yet."""
        return self._scanner.waiting if self._scanner else 0

    def feed(self, text: str) -> list[AnyPart]:
        """The parts that are certain now."""
        self._fed += len(text)
        return self._scanned(self._splitter.feed(text))

    def finish(self) -> list[AnyPart]:
        """What was held back, now that nothing follows."""
        parts = self._scanned(self._splitter.finish())
        return parts + (self._noted(self._scanner.finish()) if self._scanner else [])

    def _scanned(self, parts: list[Part]) -> list[AnyPart]:
        if self._calls is None:
            return [*parts]
        found: list[AnyPart] = []
        for part in parts:
            if part.kind == "thinking":
                found.append(part)
                continue
            if self._scanner is None:
                start = self._splitter.answer_at or 0
                self._scanner = Scanner(self._calls, self._tools, parallel=self._parallel, at=start)
            found += self._noted(self._scanner.feed(part.text))
        return found

    def _noted(self, parts: list[AnyPart]) -> list[AnyPart]:
        """Where the first part stands that is no thought."""
        if self._answer_at is None:
            for part in parts:
                if isinstance(part, Call) or part.kind == "answer":
                    self._answer_at = part.at if isinstance(part, Part) else self._fed
                    break
        return parts
