"""Shapes that answers are held to: JSON, with what may vary in angle brackets. Knows no client.

`<string> <text> <integer> <number> <boolean> <object> <time> <any>`, `<matches …>` (a whole regular expression),
`<contains …>` and `<lines …>` (each line is the expression) stand for a value; anything else stands for itself. An
object may have more keys than its shape; a list of one shape has at least one element, and each is of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

# Python before 3.11 read three fractional digits or six, strict readers in other languages want the offset.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6})?(Z|[+-]\d\d:\d\d)")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    return isinstance(value, str) and bool(_TIME.fullmatch(value)) and datetime.fromisoformat(value).tzinfo is not None


_KINDS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "text": lambda value: isinstance(value, str) and value != "",
    "integer": _is_integer,
    "number": lambda value: _is_integer(value) or isinstance(value, float),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "time": _is_time,
    "any": lambda value: True,
}


def differences(value: Any, shape: Any, at: str = "") -> Iterator[str]:
    """Where `value` isn't of that shape, each place with what is there."""
    if isinstance(shape, str) and shape.startswith("<") and shape.endswith(">"):
        if not _stands_for(shape[1:-1], value):
            yield f"{at or 'the whole'}: {value!r} is not {shape}"
    elif isinstance(shape, dict) and isinstance(value, dict):
        for key, inner in shape.items():
            if key not in value:
                yield f"{at}.{key} is missing"
            else:
                yield from differences(value[key], inner, f"{at}.{key}")
    elif isinstance(shape, list) and isinstance(value, list) and shape:
        if not value:
            yield f"{at} is empty"
        for index, element in enumerate(value):
            yield from differences(element, shape[0], f"{at}[{index}]")
    elif type(value) is not type(shape) or value != shape:
        yield f"{at or 'the whole'}: {value!r} is not {shape!r}"


def _stands_for(name: str, value: Any) -> bool:
    kind, _, argument = name.partition(" ")
    if not argument:
        return _KINDS[kind](value)
    if not isinstance(value, str):
        return False
    if kind == "contains":
        return argument in value
    if kind == "lines":
        return all(re.fullmatch(argument, line) for line in value.split("\n"))
    assert kind == "matches", name
    return re.fullmatch(argument, value) is not None
