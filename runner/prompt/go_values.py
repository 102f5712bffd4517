"""What a Go template works with, as Go has it: what is true, what is equal, and how a value is written.

Texts, numbers, booleans, lists, maps (dicts) and None are Python's. Knows no template and no conversation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class GoError(Exception):
    """A value isn't what it must be. Whoever knows the line puts it to it."""


@dataclass(frozen=True, slots=True)
class Struct:
    """A value with known fields; `kind` names it in messages. One that has `as_json` can be written."""

    kind: str
    fields: Mapping[str, Any]
    as_json: Any = None


class JsonMap(dict[str, Any]):
    """A map that is written as JSON."""


class JsonList(list[Any]):
    """A list that is written as JSON."""


def field(value: Any, name: str) -> Any:
    """`.name` of a value. A map that hasn't got it, and nothing itself, give nothing. Raises GoError."""
    if value is None:
        return None
    if isinstance(value, Struct):
        if name not in value.fields:
            raise GoError(f".{name}: {value.kind} has {_listed(value.fields)}, and no {name}")
        return value.fields[name]
    if isinstance(value, dict):
        return value.get(name)
    raise GoError(f".{name}: {kind(value)} has no fields")


def _listed(fields: Mapping[str, Any]) -> str:
    return ", ".join(fields)


def is_true(value: Any) -> bool:
    """Nothing, false, zero and what is empty are not."""
    return True if isinstance(value, Struct) else bool(value)


def kind(value: Any) -> str:
    """What a value is, in words."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "a map"
        case Struct():
            return value.kind
    return type(value).__name__


def equal(one: Any, other: Any) -> bool:
    """Go's `eq`. Raises GoError for values that can't be compared."""
    if one is None or other is None:
        return one is other
    if isinstance(one, list | dict | Struct) or isinstance(other, list | dict | Struct) or kind(one) != kind(other):
        raise GoError(f"{kind(one)} and {kind(other)} can't be compared")
    return bool(one == other)


def less(one: Any, other: Any) -> bool:
    """Go's `lt`. Raises GoError for values that have no order."""
    if kind(one) != kind(other) or kind(one) not in ("a number", "a text"):
        raise GoError(f"{kind(one)} and {kind(other)} have no order")
    return bool(one < other)


def written(value: Any) -> str:
    """A value as the template writes it; nothing is written as nothing. Raises GoError for what has no text."""
    return "" if value is None else _go(value)


def _go(value: Any) -> str:
    match value:
        case str():
            return value
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.0f}" if value.is_integer() and abs(value) < 1e21 else repr(value)
        case int():
            return str(value)
        case JsonMap() | JsonList():
            return to_json(value)
        case Struct():
            if value.as_json is None:
                raise GoError(f"{value.kind} can't be written as a whole; write its fields")
            return to_json(value.as_json)
        case list():
            return f"[{' '.join(map(_go, value))}]"
        case dict():
            return f"map[{' '.join(f'{key}:{_go(value[key])}' for key in sorted(value))}]"
    raise GoError(f"{kind(value)} can't be written")


def to_json(value: Any) -> str:
    """Go's spacing, which has none. Keys keep the order they came in, and no character is escaped needlessly."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain)
    except TypeError as error:
        raise GoError(f"there is no JSON for it: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return value.fields if value.as_json is None else value.as_json
    raise TypeError(kind(value))
