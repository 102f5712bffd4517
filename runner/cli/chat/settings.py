"""What `/set` changes: one table of the words after it. Each setter gets the text behind its word."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from runner.cli import arguments
from runner.cli.chat.session import Session
from runner.cli.failures import Failure
from runner.cli.output import line
from runner.cli.screen.thinking import Thinking

QUOTES = '"""'


@dataclass(frozen=True, slots=True)
class Setting:
    """One row."""

    usage: str
    help: str
    set: Callable[[Session, str], None]


def change(session: Session, rest: str) -> None:
    """Do what follows `/set`. Raises Failure when it can't be done, and then nothing is changed."""
    what, _, value = rest.partition(" ")
    setting = SETTINGS.get(what.lower())
    if setting is None:
        raise Failure(f"/set takes one of: {', '.join(SETTINGS)}")
    setting.set(session, value.strip())


def unquoted(text: str) -> str:
    """Without the quotes that a text of several lines stands in, where it stands in some."""
    inner = text.strip()
    if len(inner) >= 2 * len(QUOTES) and inner.startswith(QUOTES) and inner.endswith(QUOTES):
        text = inner[len(QUOTES) : -len(QUOTES)]
    return text.strip("\n")


def system(session: Session, value: str) -> None:
    """Replace the system message; without a text, the model's own counts again."""
    session.system = unquoted(value) or None
    line("Set the system message." if session.system else "The model's own system message counts again.")


def answer_format(session: Session, value: str) -> None:
    """`json`, a JSON Schema, or the file of one; without any, the form that counts is shown."""
    if not value:
        line(_form(session, ""))
        return
    if value.endswith(".json"):
        try:
            schema = json.loads(Path(value).expanduser().read_bytes())
        except OSError as error:
            raise Failure(f"{value}: {error.strerror or error}") from None
        except ValueError as error:
            raise Failure(f"{value} is no JSON: {error}") from None
        if not isinstance(schema, dict):
            raise Failure(f"{value} is no JSON Schema, which is an object")
        session.form = schema
    else:
        session.form = arguments.answer_format(value)
    line(_form(session, " now"))


def no_format(session: Session, value: str) -> None:
    """Any text again."""
    session.form = None
    line("Answers may have any form now.")


def _form(session: Session, now: str) -> str:
    """The form of the answers, and how to get another; `now` follows what they are."""
    if session.form is None:
        return f"Answers may have any form{now}; /format json, a JSON Schema or the .json file of one sets it."
    if session.form == "json":
        return f"Answers are JSON{now}; /format off ends it."
    schema = json.dumps(session.form, ensure_ascii=False)
    return f"Answers follow this JSON Schema{now}: {schema}; /format off ends it."


def _parameter(session: Session, value: str) -> None:
    name, _, text = value.partition(" ")
    if not text.strip():
        raise Failure("/set parameter takes a name and a value: /set parameter temperature 0")
    arguments.set_option(session.options, name, text.strip().strip('"'))
    line(f"Set {name} to {session.options[name]}.")


def _think(session: Session, value: str) -> None:
    session.think = arguments.think(value or "true")
    line("It thinks before it answers." if session.think else "It answers at once.")


def _thinking(session: Session, value: str) -> None:
    if value not in get_args(Thinking):
        raise Failure(f"/set thinking takes one of: {', '.join(get_args(Thinking))}")
    session.thinking = cast("Thinking", value)
    line(
        {
            "show": "Thoughts are shown.",
            "fold": "A thought is one line; Ctrl-T shows the last one.",
            "hide": "Thoughts are hidden; Ctrl-T shows the last one.",
        }[value]
    )


def _flag(name: str, to: bool, words: str) -> Callable[[Session, str], None]:
    def act(session: Session, value: str) -> None:
        setattr(session, name, to)
        line(words)

    return act


SETTINGS = {
    "system": Setting("system TEXT", "Replace the system message", system),
    "parameter": Setting("parameter NAME VALUE", "Set a parameter: temperature 0", _parameter),
    "think": Setting("think [LEVEL]", "Let it think: low, medium, high, max", _think),
    "nothink": Setting("nothink", "Let it answer at once", lambda session, value: _think(session, "false")),
    "thinking": Setting("thinking show|fold|hide", "What is shown of a thought", _thinking),
    "format": Setting("format [json|SCHEMA]", "Form of the answer; a schema may be in a .json file", answer_format),
    "noformat": Setting("noformat", "Any form", no_format),
    "verbose": Setting("verbose", "Timings after each answer", _flag("verbose", True, "Timings follow each answer.")),
    "quiet": Setting("quiet", "No timings", _flag("verbose", False, "No timings.")),
    "wordwrap": Setting(
        "wordwrap", "Draw answers as Markdown, broken between words", _flag("wrap", True, "Answers are drawn.")
    ),
    "nowordwrap": Setting(
        "nowordwrap", "Print answers as they come", _flag("wrap", False, "Answers are printed as they come.")
    ),
    "history": Setting("history", "Remember what is typed", _flag("history", True, "What is typed is remembered.")),
    "nohistory": Setting(
        "nohistory", "Don't write down what is typed", _flag("history", False, "What is typed isn't written down.")
    ),
}
