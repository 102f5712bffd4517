"""The prompt of a conversation: reads a line, has it answered or obeyed, and reads the next.

Ctrl-C stops an answer and keeps the conversation; Ctrl-D leaves. Line editing is prompt_toolkit's.
"""

from __future__ import annotations

import sys

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from runner.cli import answer, output
from runner.cli.answer import Answer
from runner.cli.chat import slash
from runner.cli.chat.session import Session
from runner.cli.client import Client, Json
from runner.cli.failures import Failure
from runner.config import folders

_QUOTES = '"""'
_HINT = "Send a message (/? for help)"


def converse(client: Client, request: Json, verbose: bool, hide_thinking: bool) -> None:
    """Talk with the model until the user leaves. `request` holds what the command line said of it.

    Raises Failure when the model cannot be loaded; later failures are shown, and the conversation goes on.
    """
    session = Session(
        model=request["model"],
        system=request.get("system"),
        options=request.get("options", {}),
        think=request.get("think"),
        form=request.get("format"),
        keep_alive=request.get("keep_alive"),
        verbose=verbose,
        hide_thinking=hide_thinking,
    )
    with client.stream("/api/chat", session.load(), answer.is_last) as updates:
        answer.collect(updates, Answer())
    lines: PromptSession[str] = PromptSession(history=_history())
    while True:
        try:
            text = _read(lines)
        except EOFError:
            output.line("")
            return
        if text is None:
            output.line("Ctrl-D or /bye leaves.")
            continue
        try:
            _turn(client, session, text)
        except slash.Leave:
            return
        except Failure as failure:
            output.report(failure)


def _turn(client: Client, session: Session, text: str) -> None:
    if slash.is_command(text):
        slash.obey(client, session, text)
    elif text.strip():
        _ask(client, session, text.removeprefix(_QUOTES).removesuffix(_QUOTES).strip("\n"))


def _ask(client: Client, session: Session, text: str) -> None:
    came = Answer()
    try:
        with client.stream("/api/chat", session.ask(text), answer.is_last) as updates:
            answer.show(updates, came, session.hide_thinking)
    except KeyboardInterrupt:
        pass  # the connection is closed, which is how the daemon hears of it
    if came.text or came.last:
        session.settle(text, came.text, came.thinking)
    answer.warn(came.last)
    if session.verbose and came.last:
        output.line("")
        answer.timings(came.last)
    output.line("")


def _read(lines: PromptSession[str]) -> str | None:
    """One message: a line, or everything from quotes to quotes. None when Ctrl-C took it back.

    Raises EOFError on Ctrl-D.
    """

    def hint() -> FormattedText:
        style = "ansibrightblack" if output.may_style(sys.stdout) else ""
        return FormattedText([] if lines.app.is_done else [(style, _HINT)])  # nothing of it stays behind

    try:
        text = lines.prompt(">>> ", placeholder=hint)
        while _is_open(text):
            text += "\n" + lines.prompt("... ")
    except KeyboardInterrupt:
        return None
    return text


def _is_open(text: str) -> bool:
    """True while quotes were opened, by a message or by /set system, and not closed yet."""
    start = text.removeprefix("/set system ").lstrip()
    return start.startswith(_QUOTES) and (len(start) < 2 * len(_QUOTES) or not start.rstrip().endswith(_QUOTES))


def _history() -> History:
    """What was typed before, in the state folder and for nobody else's eyes; only in memory when that fails."""
    file = folders().state / "history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(file)
