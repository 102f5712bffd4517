"""The commands inside a conversation: one table of name, words after it, and what they do to the session."""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.cli import wording
from runner.cli.cards import model as modelcard
from runner.cli.chat import calls, clipboard, keeping, settings
from runner.cli.chat.session import Session
from runner.cli.chat.settings import QUOTES, SETTINGS
from runner.cli.client import Client, Json
from runner.cli.failures import Failure
from runner.cli.output import line, table
from runner.cli.screen.rows import lines

Act = Callable[[Client, Session, str], Json | None]
_SHOWN = ("info", *modelcard.PARTS, "thinking", "tools", "settings")
_WANTING = {"system": "system message of its own, and none is set here"}
_LEAST = 24  # cells of a column of words
_COMMAND = re.compile(r"/[A-Za-z?][^/]*")
_CODE = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*\n(.*?)^ {0,3}\1[`~]*[ \t]*$", re.DOTALL | re.MULTILINE)
KEYS = (
    ("Enter", "Send"),
    ("Alt-Enter, Ctrl-J", "A new line"),
    (f"{QUOTES} ... {QUOTES}", "A message of several lines"),
    ("Up, Down, Ctrl-R", "What was typed before; search in it"),
    ("Tab", "Complete commands, models and paths"),
    ("Ctrl-G", "Write the message in $VISUAL or $EDITOR"),
    ("Ctrl-T", "Show the last thought"),
    ("Ctrl-C", "Stop an answer, or take a line back"),
    ("Ctrl-D", "Leave"),
)


@dataclass(frozen=True, slots=True)
class Command:
    """One row. `act` gets what follows the command's name; it prints, changes the session, or raises Failure.

    What it returns is a message to ask next. `words` are what may follow, to complete. After one that `may_add` the
    store may have a model more.
    """

    usage: str
    help: str
    act: Act
    words: tuple[str, ...] | Literal["models", "models or files", "files"] = ()
    may_add: bool = False


class Leave(Exception):
    """The conversation is over."""


def obey(client: Client, session: Session, text: str) -> Json | None:
    """Do what a line that starts with `/` says; gives the message that is to be asked now, if any.

    Raises Failure when it says nothing known, Leave when it says so.
    """
    name, rest = _apart(text)
    command = COMMANDS.get(name.lower())
    if command is None:
        near = difflib.get_close_matches(name.lower(), COMMANDS, 1)
        raise Failure(f"unknown command {name!r}; " + (f"did you mean {near[0]}? " if near else "") + "/? lists them")
    return command.act(client, session, rest.strip())


def _apart(text: str) -> tuple[str, str]:
    name, _, rest = re.sub(r"\s", " ", text.strip(), count=1).partition(" ")
    return name, rest.strip()


def may_add(text: str) -> bool:
    """True for a line after which the store may have other models than before."""
    command = COMMANDS.get(_apart(text)[0].lower())
    return command is not None and command.may_add


def is_command(text: str) -> bool:
    """True for a line that is meant for us: `/set`, `/bye`. A path or `/* code` is something to talk about."""
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    return text.strip() == "/" or (_COMMAND.fullmatch(word) is not None and not Path(word).exists())


def _leave(client: Client, session: Session, rest: str) -> None:
    raise Leave


def _help(client: Client, session: Session, rest: str) -> None:
    if rest == "set":
        _rows([(f"/set {each.usage}", each.help) for each in SETTINGS.values()])
    elif rest == "show":
        _rows([("/show [WHAT]", ", ".join(_SHOWN))])
    elif rest == "shortcuts":
        _rows(list(KEYS))
    elif rest:
        raise Failure("/help takes one of: set, show, shortcuts")
    else:
        _rows([(command.usage, command.help) for command in dict.fromkeys(COMMANDS.values())])
        line("")
        _rows(list(KEYS))
        line("")
        _rows([("", "A picture, or a text whose path starts or ends a message, is read: ./photo.png, /tmp/notes.txt")])


def _rows(rows: list[tuple[str, str]]) -> None:
    """Two columns, the second broken between words; in a narrow window it stands below the first."""
    columns = shutil.get_terminal_size().columns
    width = max(len(usage) for usage, _ in rows)
    indent = width + 4 if width else 2
    if columns - indent < _LEAST:
        indent, width = 4, 0
    for usage, text in rows:
        parts = [part.rstrip() for each in text.split("\n") for part in lines(each, max(_LEAST, columns - indent))]
        head = f"  {usage.ljust(width)}".ljust(indent)
        if len(head) > indent:
            line(head)
        else:
            line(head + parts.pop(0))
        for part in parts:
            line(" " * indent + part)


def _set(client: Client, session: Session, rest: str) -> None:
    settings.change(session, rest)


def _show(client: Client, session: Session, rest: str) -> None:
    if rest not in ("", *_SHOWN):
        raise Failure(f"/show takes one of: {', '.join(_SHOWN)}")
    if rest == "thinking":
        line(session.last("thinking").rstrip("\n") or "Nothing was thought.")
    elif rest == "tools":
        _show_tools(session)
    elif rest == "settings":
        _show_settings(session)
    else:
        _show_model(client.post("/api/show", {"model": session.model}), session, rest)


def _show_model(info: Json, session: Session, rest: str) -> None:
    if rest in ("", "info"):
        line(modelcard.card(info, shutil.get_terminal_size().columns))
        return
    if rest == "system" and session.system is not None:
        line(session.system)
    else:
        line(modelcard.part(info, rest).rstrip("\n") or f"The model has no {_WANTING.get(rest, rest)}.")
    if rest == "parameters" and session.options:
        line("\n".join(("Set here:", *(f"{name}  {value}" for name, value in session.options.items()))))


def _show_tools(session: Session) -> None:
    for tool in session.tools:
        line(f"{tool['function']['name']}  {tool['function'].get('description') or ''}".rstrip())
    if not session.tools:
        line("No tools are offered; /tools FILE.json offers some.")


def _show_settings(session: Session) -> None:
    chosen = {
        "model": session.model,
        "system": session.system or "the model's own",
        "parameters": ", ".join(f"{name}={value}" for name, value in session.options.items()) or "the model's own",
        "think": _how_it_thinks(session.think),
        "thinking": session.thinking,
        "format": "any" if session.form is None else "json" if session.form == "json" else "a schema",
        "tools": str(len(session.tools)),
        "messages": str(len(session.messages)),
        "timings": "yes" if session.verbose else "no",
        "history": "yes" if session.history else "no",
    }
    _rows([(name, str(value)) for name, value in chosen.items()])


def _how_it_thinks(asked: bool | str | None) -> str:
    if isinstance(asked, bool):
        return "yes" if asked else "no"
    return asked or "the model's own way"


def _system(client: Client, session: Session, rest: str) -> None:
    if rest:
        settings.system(session, rest)
    else:
        _show(client, session, "system")


def _format(client: Client, session: Session, rest: str) -> None:
    if rest == "off":
        settings.no_format(session, "")
    else:
        settings.answer_format(session, rest)


def _load(client: Client, session: Session, rest: str) -> None:
    line(keeping.load(client, session, _needed(rest, "/load takes a model, or a session's file: /load chat.json")))


def _save(client: Client, session: Session, rest: str) -> None:
    line(keeping.save(client, session, _needed(rest, "/save takes a name for the model")))


def _export(client: Client, session: Session, rest: str) -> None:
    line(keeping.export(session, _needed(rest, "/export takes a file: /export chat.md, or chat.json to load again")))


def _needed(rest: str, words: str) -> str:
    if not rest:
        raise Failure(words)
    return rest.strip("'\"")


def _model(client: Client, session: Session, rest: str) -> None:
    line(keeping.use(client, session, rest) if rest else f"Talking with {session.model}.")


def _list(client: Client, session: Session, rest: str) -> None:
    models = client.get("/api/tags").get("models") or ()
    table(("NAME", "SIZE"), [(str(each.get("name")), wording.size(each.get("size") or 0)) for each in models])


def _tools(client: Client, session: Session, rest: str) -> None:
    if rest == "off":
        session.tools = []
    elif rest:
        tools = calls.offered(Path(rest.strip("'\"")).expanduser())
        if session.abilities and "tools" not in session.abilities:
            raise Failure(f"{session.model!r} calls no tools")
        session.tools = tools
    _show_tools(session)


def _clear(client: Client, session: Session, rest: str) -> None:
    session.messages.clear()
    session.unanswered = None
    line("Forgot what was said.")


def _undo(client: Client, session: Session, rest: str) -> None:
    there, count = session.questions, int(rest) if rest.isdecimal() else 0 if rest else 1
    if not count:
        raise Failure("/undo takes nothing, or how many questions to take back: /undo 2")
    if not there:
        raise Failure("nothing was said yet")
    if count > there:
        raise Failure(f"only {wording.counted(there, 'question')} can be taken back; nothing is")
    for _ in range(count):
        taken = session.undo() or {}
        first = " ".join(str(taken.get("content")).split())
        line(f"Took back: {first[:60]}{'...' if len(first) > 60 else ''}")


def _retry(client: Client, session: Session, rest: str) -> Json:
    taken = session.undo()
    if taken is None:
        raise Failure("nothing was asked yet")
    return taken


def _copy(client: Client, session: Session, rest: str) -> None:
    text = session.last("content")
    if rest == "code":
        found = _CODE.findall(text)
        text = found[-1][1] if found else ""
    elif rest:
        raise Failure("/copy takes nothing, or: code")
    if not text:
        raise Failure("there is no code in the last answer" if rest else "nothing was answered yet")
    line(clipboard.copy(text))


_BYE = Command("/bye", "Leave (also /exit)", _leave)
_HELP = Command(
    "/? [WHAT]", "Show this (also /help); WHAT is set, show or shortcuts", _help, ("set", "show", "shortcuts")
)
COMMANDS = {
    "/set": Command("/set WHAT [VALUE]", "Change how it answers; /? set lists what", _set, tuple(SETTINGS)),
    "/show": Command("/show [WHAT]", f"Show the model: {', '.join(_SHOWN)}", _show, _SHOWN),
    "/system": Command("/system [TEXT]", "Replace the system message, or show it", _system),
    "/format": Command("/format [json|SCHEMA|off]", "Form of the answers", _format, ("json", "off")),
    "/model": Command("/model [NAME]", "Talk with another model, and keep what was said", _model, "models", True),
    "/load": Command(
        "/load NAME|FILE.json", "Begin anew with a model, or go on from a file", _load, "models or files", True
    ),
    "/save": Command("/save NAME", "Make a model that goes on from here", _save, "models", True),
    "/list": Command("/list", "List the models in the store", _list, may_add=True),
    "/tools": Command("/tools [FILE.json|off]", "Offer tools; you type their results", _tools, "files"),
    "/undo": Command("/undo [COUNT]", "Take back the last question and its answer", _undo),
    "/retry": Command("/retry", "Ask the last question again", _retry),
    "/clear": Command("/clear", "Forget what was said", _clear),
    "/copy": Command("/copy [code]", "Copy the last answer, or the last code in it", _copy, ("code",)),
    "/export": Command("/export FILE.md|.json", "Write down what was said", _export, "files"),
    "/?": _HELP,
    "/help": _HELP,
    "/bye": _BYE,
    "/exit": _BYE,
}
