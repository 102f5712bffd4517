"""A conversation from its first prompt to its last: a line is read, and asked or obeyed.

Failures are shown, and the conversation goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from runner.cli import answer, attachments, output
from runner.cli.answer import Answer, Look
from runner.cli.chat import slash, turn
from runner.cli.chat.completion import Names
from runner.cli.chat.prompt import Editor, is_dumb, is_quoted_by_paste, results
from runner.cli.chat.session import Session
from runner.cli.chat.settings import unquoted
from runner.cli.client import Client, Json
from runner.cli.failures import Failure
from runner.cli.screen import keys


def converse(client: Client, request: Json, abilities: list[str], look: Look, verbose: bool) -> None:
    """Talk with the model until the user leaves. `request` holds what the command line said of it.

    Raises Failure when the model cannot be loaded; later failures are shown, and the conversation goes on.
    """
    answer.prepare(look)
    session = Session(
        model=request["model"],
        system=request.get("system"),
        options=request.get("options", {}),
        think=request.get("think"),
        form=request.get("format"),
        keep_alive=request.get("keep_alive"),
        abilities=abilities,
        verbose=verbose,
        thinking=look.thinking,
        wrap=look.wrap,
    )
    names = Names(client)
    names.refresh()
    with client.stream("/api/chat", session.load(), answer.is_last) as updates:
        answer.collect(updates, Answer())
    with nullcontext() if is_dumb() else keys.unseen():
        _go_on(client, session, names)


def _go_on(client: Client, session: Session, names: Names) -> None:
    """One line after the other, until the user leaves."""
    editor = Editor(session, names)
    while True:
        try:
            text = editor.read()
        except EOFError:
            output.line("")
            return
        if text is None:
            output.line("Ctrl-D or /bye leaves.")
            continue
        try:
            _heed(client, session, text, editor.pasted)
        except slash.Leave:
            return
        except KeyboardInterrupt:
            output.line("")  # in the middle of a command
        except OSError as error:
            output.report(Failure(": ".join(filter(None, (error.filename, error.strerror or str(error))))))
        except Failure as failure:
            output.report(failure)
        if slash.is_command(text) and slash.may_add(text):
            names.refresh()


def _heed(client: Client, session: Session, text: str, pasted: Sequence[str]) -> None:
    """Ask or obey one line, into which `pasted` were pasted."""
    if slash.is_command(text):
        message = slash.obey(client, session, text)
    elif text.strip():
        message = _message(session, text if is_quoted_by_paste(text, pasted) else unquoted(text), pasted)
    else:
        return
    if message is not None:
        turn.take(client, session, message, results)


def _message(session: Session, text: str, pasted: Sequence[str]) -> Json:
    """What is sent for `text`: the files it names go with it."""
    attached = attachments.found_in(text, session.sees, pasted)
    for note in attached.notes:
        output.line(note)
    message: Json = {"role": "user", "content": attached.text}
    if attached.images:
        message["images"] = attached.images
    return message
