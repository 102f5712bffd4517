"""Arguments that several verbs share, and the reading of values that a shell hands over as text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from modelfiles.errors import ParameterError
from modelfiles.parameters import PARAMETERS, from_text
from runner.cli.failures import Exit, Failure
from runner.config import parse_duration

Host = Annotated[str | None, typer.Option("--host", metavar="HOST:PORT", help="Address of the daemon.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]
Models = Annotated[list[str], typer.Argument(metavar="MODEL", help="Names of the models.")]
OptionalModels = Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="Names of models; all without.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow plain HTTP and unsigned certificates.")]
LockFile = Annotated[str, typer.Option("--file", "-f", metavar="FILE", help="The lock file.")]
Prefix = Annotated[str, typer.Argument(metavar="PREFIX", help="Only names that begin with this.")]

_LEVELS = ("low", "medium", "high", "max")


def options(given: Iterable[str]) -> dict[str, Any]:
    """`name=value` texts as a request's options, checked by the table of parameters; a repeatable one collects."""
    found: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise Failure(f"--option takes NAME=VALUE, not {text!r}", Exit.USAGE)
        set_option(found, name, value)
    return found


def set_option(into: dict[str, Any], name: str, value: str) -> None:
    """Put one parameter into a request's options. Raises Failure naming it."""
    spec = PARAMETERS.get(name)
    try:
        read = from_text(name, value if spec and spec.repeatable else value.strip())
    except ParameterError as error:
        raise Failure(str(error), Exit.USAGE) from None
    into[name] = [*into.get(name, []), read] if spec and spec.repeatable else read


def keep_alive(text: str | None) -> float | None:
    """`--keepalive` as the API takes it: seconds, negative for ever; None when it wasn't given."""
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise Failure(f"--keepalive {error}", Exit.USAGE) from None
    return -1 if seconds == float("inf") else seconds


def think(text: str | None) -> bool | str | None:
    """`--think` as the API takes it: a boolean or a level; None when it wasn't given."""
    if text is None:
        return None
    value = text.strip().lower()
    if value in ("true", "false"):
        return value == "true"
    if value in _LEVELS:
        return value
    raise Failure(f"--think takes true, false, {', '.join(_LEVELS)}, not {text!r}", Exit.USAGE)


def answer_format(text: str | None) -> str | dict[str, Any] | None:
    """`--format` as the API takes it: `json`, or a JSON Schema written as JSON; None when it wasn't given."""
    if text is None or text == "json":
        return text
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise Failure(f"--format takes json or a JSON Schema, and this is no JSON: {error}", Exit.USAGE) from None
    if not isinstance(schema, dict):
        raise Failure("--format takes json or a JSON Schema, which is an object", Exit.USAGE)
    return schema
