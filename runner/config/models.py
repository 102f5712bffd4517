"""What config.yaml says of models: options for all of them, and for single ones, checked by the table of parameters.

Which of several sources weighs more is not decided here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.config.values import MODEL_NAME, boolean, parse_duration, text_of, words


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model's entry. `options` by the names of `modelfiles.parameters`; `keep_alive` in seconds, inf for ever."""

    options: Mapping[str, Any] = field(default_factory=dict)
    keep_alive: float | None = None
    pin: bool = False


def options(value: object) -> Mapping[str, Any]:
    """`num_ctx=4096,temperature=0`, or a mapping."""
    from modelfiles.errors import ParameterError  # on use: the command line reads settings at every start
    from modelfiles.parameters import check, from_text

    try:
        if isinstance(value, Mapping):
            return {name: check(name, given) for name, given in _named(value).items() if given is not None}
        pairs = (pair.partition("=") for pair in words(value))
        return {name.strip(): _several(name.strip(), from_text(name.strip(), given)) for name, _, given in pairs}
    except ParameterError as error:
        raise ValueError(f"takes options as PARAMETER lines do: {error.name} {error.reason}") from None


def per_model(value: object) -> Mapping[str, ModelSettings]:
    """Models by name, each with `options`, `keep_alive` and `pin`; as JSON where it is a text."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else {}
        except ValueError:
            raise ValueError('takes models by name, outside of a file as JSON: {"demo": {"pin": true}}') from None
    if not isinstance(value, Mapping):
        raise ValueError("takes models by name, and their options, keep_alive and pin")
    return {name: _entry(name, given) for name, given in _named(value).items()}


def _entry(name: str, given: object) -> ModelSettings:
    if not MODEL_NAME.fullmatch(name):
        raise ValueError(f"takes models by name, and {name!r} is none")
    if given is None:
        return ModelSettings()
    if not isinstance(given, Mapping):
        raise ValueError(f"takes options, keep_alive and pin for {name}, not {type(given).__name__}")
    entry = _named(given)
    if unknown := sorted(entry.keys() - _FIELDS.keys()):
        raise ValueError(f"takes options, keep_alive and pin for {name}, not {unknown[0]}")
    found = {field: _field(name, field, given) for field, given in entry.items() if given is not None}
    return ModelSettings(found.get("options", {}), found.get("keep_alive"), found.get("pin", False))


_FIELDS: Mapping[str, Callable[[object], Any]] = {"options": options, "keep_alive": parse_duration, "pin": boolean}


def _field(name: str, field: str, given: object) -> Any:
    try:
        return _FIELDS[field](given)
    except ValueError as error:
        raise ValueError(f"takes other values for {name}: {field} {error}") from None


def _several(name: str, value: Any) -> Any:
    """A single text of a parameter that takes several."""
    from modelfiles.parameters import check

    return check(name, value)


def _named(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {text_of(name).strip(): given for name, given in value.items()}
