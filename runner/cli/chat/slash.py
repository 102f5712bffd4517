"""The commands inside a conversation: one table of name, words after it, and what they do to the session."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from runner.cli import arguments, modelcard
from runner.cli.chat.session import Session
from runner.cli.client import Client
from runner.cli.failures import Failure
from runner.cli.output import line

_QUOTES = '"""'


@dataclass(frozen=True, slots=True)
class Command:
    """One row. `act` gets what follows the command's name; it prints, changes the session, or raises Failure."""

    usage: str
    help: str
    act: Callable[[Client, Session, str], None]


class Leave(Exception):
    """The conversation is over."""


def obey(client: Client, session: Session, text: str) -> None:
    """Do what a line that starts with `/` says. Raises Failure when it says nothing known, Leave when it says so."""
    name, _, rest = text.strip().partition(" ")
    command = _COMMANDS.get(name.lower())
    if command is None:
        raise Failure(f"unknown command {name!r}; /? lists what there is")
    command.act(client, session, rest.strip())


def is_command(text: str) -> bool:
    """True for a line that is meant for us: `/set`, `/bye`. A path is something to talk about."""
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    return word.startswith("/") and "/" not in word[1:]


def _leave(client: Client, session: Session, rest: str) -> None:
    raise Leave


def _clear(client: Client, session: Session, rest: str) -> None:
    session.messages.clear()
    line("Forgot what was said.")


def _help(client: Client, session: Session, rest: str) -> None:
    rows = [(command.usage, command.help) for command in dict.fromkeys(_COMMANDS.values())]
    rows.append((f"{_QUOTES} ... {_QUOTES}", "A message of several lines"))
    width = max(len(usage) for usage, _ in rows)
    for usage, text in rows:
        first, *more = text.split("\n")
        line(f"  {usage.ljust(width)}  {first}")
        for rest in more:
            line(" " * (width + 4) + rest)
    line("\n  Ctrl-C stops an answer, Ctrl-D leaves.")


def _set(client: Client, session: Session, rest: str) -> None:
    what, _, value = rest.partition(" ")
    setter = _SETTERS.get(what)
    if setter is None:
        raise Failure(f"/set takes one of: {', '.join(_SETTERS)}")
    setter(session, value.strip())


def _set_system(session: Session, value: str) -> None:
    session.system = value.removeprefix(_QUOTES).removesuffix(_QUOTES).strip("\n") or None
    line("Set the system message." if session.system else "The model's own system message counts again.")


def _set_parameter(session: Session, value: str) -> None:
    name, _, text = value.partition(" ")
    if not text.strip():
        raise Failure("/set parameter takes a name and a value: /set parameter temperature 0")
    arguments.set_option(session.options, name, text.strip().strip('"'))
    line(f"Set {name} to {session.options[name]}.")


def _set_think(session: Session, value: str) -> None:
    session.think = arguments.think(value or "true")
    line("It thinks before it answers." if session.think else "It answers at once.")


def _set_nothink(session: Session, value: str) -> None:
    _set_think(session, "false")


def _set_verbose(session: Session, value: str) -> None:
    session.verbose = True
    line("Timings follow each answer.")


def _set_quiet(session: Session, value: str) -> None:
    session.verbose = False
    line("No timings.")


def _set_format(session: Session, value: str) -> None:
    session.form = arguments.answer_format(value or "json")
    line("It answers in that form.")


def _set_noformat(session: Session, value: str) -> None:
    session.form = None
    line("It answers as it likes.")


_SETTERS: dict[str, Callable[[Session, str], None]] = {
    "system": _set_system,
    "parameter": _set_parameter,
    "think": _set_think,
    "nothink": _set_nothink,
    "format": _set_format,
    "noformat": _set_noformat,
    "verbose": _set_verbose,
    "quiet": _set_quiet,
}


def _show(client: Client, session: Session, rest: str) -> None:
    if rest not in ("", "info", *modelcard.PARTS):
        raise Failure(f"/show takes one of: info, {', '.join(modelcard.PARTS)}")
    info = client.post("/api/show", {"model": session.model})
    if rest in ("", "info"):
        line(modelcard.card(info, shutil.get_terminal_size().columns))
        return
    if rest == "system" and session.system is not None:
        line(session.system)
    else:
        line(modelcard.part(info, rest).rstrip("\n") or f"The model has no {rest}.")
    if rest == "parameters" and session.options:
        line("\n".join(("Set here:", *(f"{name}  {value}" for name, value in session.options.items()))))


_BYE = Command("/bye", "Leave (also /exit)", _leave)
_HELP = Command("/?", "Show this (also /help)", _help)
_COMMANDS = {
    "/set": Command("/set WHAT [VALUE]", f"Change how it answers:\n{', '.join(_SETTERS)}", _set),
    "/show": Command("/show [WHAT]", f"Show the model:\ninfo, {', '.join(modelcard.PARTS)}", _show),
    "/clear": Command("/clear", "Forget what was said", _clear),
    "/bye": _BYE,
    "/exit": _BYE,
    "/?": _HELP,
    "/help": _HELP,
}
