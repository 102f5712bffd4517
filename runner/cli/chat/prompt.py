"""The line editor of a conversation: its keys, its history, its completion. Reads one message; obeys nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

from prompt_toolkit import PromptSession, prompt
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from runner.cli import output
from runner.cli.chat.calls import name_of, result
from runner.cli.chat.completion import Names, Words
from runner.cli.chat.past import past
from runner.cli.chat.session import Session
from runner.cli.chat.settings import QUOTES
from runner.cli.client import Json

_HINT = "Send a message (/? for help)"
_QUOTABLE = ("/set system ", "/system ")


class Editor:
    """Reads messages of a session. `names` are completed."""

    def __init__(self, session: Session, names: Names) -> None:
        self.pasted: list[str] = []  # into the last message
        self._session, self._names = session, names

    def read(self) -> str | None:
        """One message. None when Ctrl-C took it back. Raises EOFError on Ctrl-D."""
        self.pasted.clear()
        try:
            if is_dumb():
                return _line_by_line()
            return self._lines.prompt(">>> ", placeholder=self._hint)
        except KeyboardInterrupt:
            return None

    @cached_property
    def _lines(self) -> PromptSession[str]:
        """On use: it writes to the terminal, which a dumb one would show."""
        return PromptSession(
            history=past(lambda: self._session.history),
            completer=Words(self._names),
            complete_while_typing=False,
            key_bindings=_keys(lambda: self._session.last("thinking"), self.pasted),
            multiline=True,
            prompt_continuation="... ",
            tempfile_suffix=".md",
        )

    def _hint(self) -> FormattedText:
        style = "ansibrightblack" if output.may_style(sys.stdout) else ""
        return FormattedText([] if self._lines.app.is_done else [(style, _HINT)])  # nothing of it stays behind


def results(calls: Sequence[Json]) -> list[Json] | None:
    """What the user says that the calls gave; None when Ctrl-C or Ctrl-D says that there will be nothing."""
    ask = input if is_dumb() else prompt
    try:
        return [result(call, ask(f"result of {output.on_one_line(name_of(call))}> ")) for call in calls]
    except (KeyboardInterrupt, EOFError):
        return None


def is_dumb() -> bool:
    """True for a terminal that edits no lines, such as a window of an editor."""
    return os.environ.get("TERM") == "dumb"


def _line_by_line() -> str:
    text = input(">>> ")
    while is_open(text):
        text += "\n" + input("... ")
    return text


def is_open(text: str, pasted: Iterable[str] = ()) -> bool:
    """True while quotes were opened, by a message or by a system message, and not closed yet.

    Quotes inside them count in pairs, as code has them. Those that a text of `pasted` begins with open nothing.
    """
    for begin in _QUOTABLE:
        text = text.removeprefix(begin)
    return text.lstrip().startswith(QUOTES) and text.count(QUOTES) % 2 == 1 and not is_quoted_by_paste(text, pasted)


def is_quoted_by_paste(text: str, pasted: Iterable[str]) -> bool:
    """True when the quotes that `text` begins with are those of a text that was pasted: code with a docstring."""
    start = text.lstrip()
    return any(start.startswith(paste) for each in pasted if (paste := each.strip()).startswith(QUOTES))


def _keys(thought: Callable[[], str], pasted: list[str]) -> KeyBindings:
    keys = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)

    @keys.add("enter", filter=typing)
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_open(buffer.text, pasted):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add(Keys.BracketedPaste, filter=typing)
    def paste(event: KeyPressEvent) -> None:
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        pasted.append(text)
        event.current_buffer.insert_text(text)

    @keys.add("escape", "enter", filter=typing)
    @keys.add("c-j", filter=typing)
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-g", filter=typing)
    def edit(event: KeyPressEvent) -> None:
        event.current_buffer.open_in_editor()

    @keys.add("c-t", filter=typing)
    def show_thought(event: KeyPressEvent) -> None:
        said = thought().rstrip("\n")
        run_in_terminal(lambda: output.line(said or "Nothing was thought yet."))

    return keys
