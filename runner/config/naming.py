"""Names that a person gives for something in config.yaml: a setting, or with dots one entry of it, such as
`per_model.qwen3:0.6b.options.num_ctx`. How such a value is read and written; knows no file.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.config.reading import ConfigError
from runner.config.table import BY_NAME, Setting, Settings
from runner.config.values import boolean, parse_duration

_MODEL = re.compile(r"(?P<model>.+)\.(?:(?P<field>keep_alive|pin|options)|options\.(?P<option>\w+))")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_TIMES = re.compile(r"-?(?:0|[1-9][0-9]{0,8})(?:\.[0-9]+)?")
_MAPPINGS = ("options", "aliases", "per_model")


@dataclass(frozen=True, slots=True)
class Named:
    """A setting's row, and the names that lead to the part of it that is meant; none for all of it."""

    row: Setting
    inside: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[str, ...]:
        """The names that lead to it in the file."""
        return (self.row.name, *self.inside)

    def __str__(self) -> str:
        return ".".join(self.path)

    def of(self, found: Settings) -> Any:
        """Its value, None for an entry that isn't there."""
        value: Any = getattr(found, self.row.name)
        inside = self.inside
        if self.row.name == "per_model" and inside:
            name = spelt(value, inside[0])
            value, inside = (value[name] if name is not None else None), inside[1:]
        for name in inside:
            value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        return value

    def read(self, text: str) -> Any:
        """What is written as text, as it is written in the file. Raises ConfigError."""
        try:
            return _native(self, text)
        except ValueError as error:
            raise ConfigError(f"{self} {error}") from None


def named(text: str) -> Named:
    """What a name means. Raises ConfigError with names near it."""
    name, dot, rest = text.strip().partition(".")
    name = name.lower().replace("-", "_").removeprefix("runner_")
    row = BY_NAME.get(name)
    if row is None:
        near = difflib.get_close_matches(name, BY_NAME, 3, 0.55)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; `runner config` names all of them"
        raise ConfigError(f"{text!r} is no setting of Runner{hint}")
    if not dot:
        return Named(row)
    if not rest or name not in _MAPPINGS:
        raise ConfigError(f"{text!r} is no setting of Runner: {name} has no entries of its own; did you mean {name}?")
    if name != "per_model":
        return Named(row, (rest,))
    found = _MODEL.fullmatch(rest)
    if found is None:
        return Named(row, (rest,))
    if found["option"]:
        return Named(row, (found["model"], "options", found["option"]))
    return Named(row, (found["model"], found["field"]))


def mapped(meant: Named, value: object) -> dict[str, Any] | None:
    """What stands for the whole setting as a text or a list, as the mapping that has entries; None where it is one.

    Raises ValueError.
    """
    if not meant.inside or value is None or isinstance(value, Mapping):
        return None
    if meant.row.name == "per_model":
        meant.row.read(value)
        return dict(json.loads(str(value)))
    return {name: _plain(each) for name, each in meant.row.read(value).items()}


def spelt(models: Mapping[str, Any], name: str) -> str | None:
    """How a model is written among those there are, if it is: `demo` is `demo:latest`."""
    return next((each for each in models if _full(each) == _full(name)), None)


def _full(name: str) -> str:
    name = name.lower()
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _native(meant: Named, text: str) -> Any:
    row, inside = meant.row, meant.inside
    if row.name == "per_model":
        return _of_models(row, inside, text)
    if inside:
        value = _option(inside[0], text) if row.name == "options" else text.strip()
        row.read({inside[0]: value})
        return value
    value = row.read(text)
    if isinstance(row.default, bool):
        return value
    if row.name in ("options", "aliases"):
        return {name: _plain(each) for name, each in value.items()}
    if _WHOLE.fullmatch(text) and row.name != "api_key" and row.read(int(text)) == value:
        return int(text)
    return text


def _of_models(row: Setting, inside: tuple[str, ...], text: str) -> Any:
    model, *rest = inside or ("",)
    if not rest:
        try:
            value = json.loads(text) if text.strip() else {}
        except ValueError:
            example = '{"pin": true}' if inside else '{"demo": {"pin": true}}'
            raise ValueError(f"takes JSON such as {example}, not {text!r}") from None
        row.read({model: value} if inside else value)
        return value
    if rest[0] == "pin":
        return boolean(text)
    if rest[0] == "keep_alive":
        parse_duration(text)
        return float(text) if _TIMES.fullmatch(text) and not _WHOLE.fullmatch(text) else _number(text)
    if len(rest) == 1:
        return {name: _plain(each) for name, each in BY_NAME["options"].read(text).items()}
    value = _option(rest[1], text)
    row.read({model: {"options": {rest[1]: value}}})
    return value


def _plain(value: Any) -> Any:
    """As YAML has it."""
    return list(value) if isinstance(value, tuple) else value


def _number(text: str) -> int | str:
    return int(text) if _WHOLE.fullmatch(text) else text


def _option(name: str, text: str) -> Any:
    from modelfiles.errors import ParameterError
    from modelfiles.parameters import check, from_text

    try:
        return _plain(check(name, from_text(name, text)))
    except ParameterError as error:
        raise ValueError(f"takes what a PARAMETER line does: {error.name} {error.reason}") from None
