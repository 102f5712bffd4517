"""Finds the calls in a streamed answer, whatever the shape that the model's family writes them in.

Text in, text and calls out. What looked like a call and is none is text again; of a call that breaks off, what came is
told. How the text is cut when it comes changes nothing. Every character is looked at a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from runner.conversation import ToolSpec
from runner.formats import CallFormat
from runner.reply.calls import harmony, headed, loose, objects
from runner.reply.calls.telling import NoName, Telling, new_id
from runner.reply.parts import AnyPart
from runner.reply.source import Ended, Markers, Scan, Source, Unexpected

_ANY = 1 << 30  # calls
_FENCES = ("```json", "```")


class Scanner:
    """Feed it the answer as it comes. Without tools (None) only the frames of messages are taken off, where there are
    any. Not `parallel`: with the end of the first call it `is_over`.

    A call of a tool that wasn't offered is told as well, except where nothing but its name shows that it is one.
    """

    def __init__(
        self,
        form: CallFormat,
        tools: tuple[ToolSpec, ...] | None,
        *,
        parallel: bool = True,
        at: int = 0,
        make_id: Callable[[Literal["", "nine", "heading"]], str] = new_id,
    ) -> None:
        self._form = form
        self._most = _ANY if parallel else 1
        self._source = Source()
        self._source.at = at
        self._has_tools = tools is not None
        self._telling = Telling(tools or (), form.ids, make_id)
        self._scan = self._run()
        self._is_done = False

    @property
    def called(self) -> bool:
        """Whether a call was told, complete or not."""
        return self._telling.begun > 0

    @property
    def is_over(self) -> bool:
        """Whether nothing that follows is told any more."""
        return self._telling.complete >= self._most

    @property
    def waiting(self) -> int:
        """Characters that were fed and not looked at for good."""
        return self._source.waiting

    def feed(self, text: str) -> list[AnyPart]:
        """The parts that are certain now."""
        if self._is_done or not text:
            return []
        self._source.feed(text)
        self._advance()
        return self._telling.take()

    def finish(self) -> list[AnyPart]:
        """What was held back, now that nothing follows."""
        if not self._is_done:
            self._source.is_over = True
            self._advance()
        self._telling.finish()
        return self._telling.take()

    def _advance(self) -> None:
        try:
            next(self._scan)
        except StopIteration:
            self._is_done = True

    # -- the scan

    def _run(self) -> Scan[None]:
        form, source = self._form, self._source
        if form.shape == "channels":
            yield from harmony.messages(source, self._telling, calls=self._has_tools, most=self._most)
            return
        if form.is_first_open:
            yield from self._first()
        elif form.may_be_bare:
            yield from self._bare()
        openings = Markers([*form.section, form.opening])
        while not self.is_over:
            marker = yield from source.up_to(openings, self._text)
            if not marker:
                return
            source.keep(marker)
            start = source.at - len(marker)
            if marker != form.opening:
                marker = yield from self._behind_section()
            if marker != form.opening:
                self._telling.text(source.kept(), start)
                continue
            yield from self._opened(start)

    def _first(self) -> Scan[None]:
        """A message whose opening ended the prompt."""
        self._source.keep()
        yield from self._opened(self._source.at)

    def _opened(self, start: int) -> Scan[None]:
        """What stands behind an opening."""
        form, source = self._form, self._source
        if form.plain and (yield from source.skips(f"{form.plain}{form.name_end}")):
            source.drop()
        elif (yield from self._tried(self._calls(), start)):
            yield from self._after()

    def _bare(self) -> Scan[None]:
        """A call without its opening, where an answer begins: by its object, and the name of a tool in it."""
        source = self._source
        source.keep()
        start = source.at
        yield from source.blanks()
        fence = ""
        for each in _FENCES:
            if not fence and (yield from source.skips(each)):
                fence = each
        yield from source.blanks()
        if (yield from source.ahead()) not in ("{", "["):
            self._telling.text(source.kept(), start)
            return
        if (yield from self._tried(self._calls(only_offered=True), start)) and not self.is_over:
            yield from source.blanks()
            if fence:
                yield from source.skips("```")

    def _tried(self, scan: Scan[None], start: int) -> Scan[bool]:
        """Scan for calls; whether there were any. What is none is text again."""
        source, telling = self._source, self._telling
        before = telling.begun
        try:
            yield from scan
        except (Ended, Unexpected, NoName) as error:
            kept = source.kept()
            if telling.is_open:
                telling.break_off()
                kept = error.taken if isinstance(error, Unexpected) else ""
            telling.text(kept, source.at - len(kept))
        source.drop()
        return telling.begun > before

    def _behind_section(self) -> Scan[str]:
        """The opening of a call behind that of all calls, if it is there."""
        source, form = self._source, self._form
        while True:
            yield from source.blanks()
            if (yield from source.skips(form.opening)):
                return form.opening
            for each in form.section:
                if (yield from source.skips(each)):
                    break
            else:
                return ""

    def _after(self) -> Scan[None]:
        """What closes a call, and all calls."""
        source, form = self._source, self._form
        closings = [text for text in (form.closing.strip(), *form.section) if text]
        while True:
            start = source.at
            blanks = yield from source.blanks()
            for each in closings:
                if (yield from source.skips(each)):
                    break
            else:
                self._telling.text(blanks, start)
                return

    def _calls(self, *, only_offered: bool = False) -> Scan[None]:
        form, source, telling = self._form, self._source, self._telling
        match form.shape:
            case "named":
                return headed.named(source, telling, form)
            case "tagged":
                return headed.tagged(source, telling, form)
            case "braces":
                return headed.braced(source, telling, form)
            case _:
                return self._list(only_offered=only_offered)

    def _list(self, *, only_offered: bool) -> Scan[None]:
        """Objects, or a list of Python's calls. Models that write the one write the other as well."""
        source = self._source
        yield from source.blanks()
        char = yield from source.next()
        second = (yield from source.second()) if char == "[" else ""
        is_python = self._form.shape == "python" and char != "{" if not second else second.isalpha() or second == "_"
        if is_python:
            yield from loose.python(source, self._telling, only_offered=only_offered, most=self._most)
        else:
            yield from objects.calls(source, self._telling, self._form, only_offered=only_offered, most=self._most)

    def _text(self, text: str) -> None:
        self._telling.text(text, self._source.at - len(text))
