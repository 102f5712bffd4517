"""The functions that a Go template can call: Go's own as far as prompts need them, and Ollama's.

Each takes its arguments as values. `and` and `or`, which stop at the first value that decides, are the evaluator's.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from runner.prompt.go_values import GoError, Struct, equal, field, is_true, kind, less, to_json, written

LAZY = frozenset(("and", "or"))
"""Functions that don't look at all of their arguments."""

_VERB = re.compile(r"%([-+# 0]*)(\*|\d{0,4})(?:\.(\d{0,3}))?(.?)", re.DOTALL)
_WIDEST = 100_000  # what an argument may give as a width; some templates count with it


def _today() -> datetime.date:
    return datetime.datetime.now().astimezone().date()


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, list | dict):
        return len(value)
    raise GoError(f"{kind(value)} has no length")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, list):
            value = value[_position(key, len(value) - 1)]
        elif isinstance(value, dict):
            if not isinstance(key, str):
                raise GoError(f"{kind(key)} is no key of a map")
            value = value.get(key)
        else:
            raise GoError(f"{kind(value)} has no parts")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if len(bounds) > 2:
        raise GoError("a slice has a beginning and an end, and nothing more")
    whole = value.encode("utf-8", "replace") if isinstance(value, str) else value
    if not isinstance(whole, bytes | list):
        raise GoError(f"{kind(value)} can't be sliced")
    end = _position(bounds[1], len(whole)) if len(bounds) > 1 else len(whole)
    begin = _position(bounds[0], end) if bounds else 0
    part = whole[begin:end]
    return part.decode("utf-8", "replace") if isinstance(part, bytes) else part


def _position(value: Any, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise GoError(f"{kind(value)} is no place in a list")
    if not 0 <= value <= most:
        raise GoError(f"there is no place {value} in it")
    return value


def _equals_one(one: Any, *others: Any) -> bool:
    return any([equal(one, other) for other in others])  # noqa: C419 -- each has to be one that can be compared


def _print(*values: Any) -> str:
    parts: list[str] = []
    for index, value in enumerate(values):
        # Go puts a blank between two values of which neither is a text.
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            parts.append(" ")
        parts.append(written(value))
    return "".join(parts)


def _println(*values: Any) -> str:
    return " ".join(map(written, values)) + "\n"


def _printf(form: Any, *values: Any) -> str:
    if not isinstance(form, str):
        raise GoError("it needs a text to put values into")
    left = list(values)

    def put(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if len(left) < 1 + (width == "*"):
            raise GoError(f"there is no value for {match[0]}")
        wide = _position(left.pop(0), _WIDEST) if width == "*" else int(width or 0)
        text = _verb(verb, left.pop(0), precision, flags, match[0])
        filled = text.ljust(wide) if "-" in flags else text.rjust(wide)
        return filled.replace(" ", "0", len(filled) - len(text)) if "0" in flags and "-" not in flags else filled

    said = _VERB.sub(put, form)
    if left:
        raise GoError(f"{len(left)} values have no place in the text")
    return said


def _verb(verb: str, value: Any, precision: str | None, flags: str, asked: str) -> str:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    match verb:
        case "v" | "s":
            return written(value)[: int(precision) if precision else None]
        case "q" if isinstance(value, str):
            return to_json(value)
        case "d" if is_whole:
            return f"{value:+d}" if "+" in flags else str(value)
        case "x" | "X" | "o" | "b" | "c" if is_whole and (verb != "c" or 0 <= value < 0xD800):
            return format(value, verb)
        case "f" | "e" | "g" | "E" | "G" if is_whole or isinstance(value, float):
            return format(float(value), f".{precision or 6}{verb}")
        case "t" if isinstance(value, bool):
            return written(value)
    raise GoError(f"{asked} has no way to write {kind(value)}")


def _current_date(*_form: Any) -> str:
    return _today().isoformat()


def _yesterday_date(*_form: Any) -> str:
    return (_today() - datetime.timedelta(days=1)).isoformat()


_TYPES = {
    "string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null",
    "object": "Record<string, any>", "array": "any[]",
}  # fmt: skip


def _to_type_script(value: Any) -> str:
    """A property of a JSON Schema as a type of TypeScript."""
    if not isinstance(value, Struct) or "Type" not in value.fields:
        return "any"
    if alternatives := field(value, "AnyOf"):
        return " | ".join(map(_to_type_script, alternatives))
    types = field(value, "Type")
    if not types:
        return "any"
    items = field(value, "Items")
    inner = items.get("type") if isinstance(items, dict) else None
    return " | ".join(
        f"{_TYPES[inner]}[]"
        if each == "array" and isinstance(inner, str) and inner in _TYPES
        else _TYPES.get(each, "any")
        for each in (types if isinstance(types, list) else [types])
    )


_Function: TypeAlias = Callable[..., Any]

FUNCTIONS: Mapping[str, tuple[_Function, int, int]] = {
    "not": (lambda value: not is_true(value), 1, 1),
    "eq": (_equals_one, 2, 99),
    "ne": (lambda one, other: not equal(one, other), 2, 2),
    "lt": (less, 2, 2),
    "le": (lambda one, other: not less(other, one), 2, 2),
    "gt": (lambda one, other: less(other, one), 2, 2),
    "ge": (lambda one, other: not less(one, other), 2, 2),
    "len": (_length, 1, 1),
    "index": (_index, 1, 99),
    "slice": (_slice, 1, 99),
    "print": (_print, 0, 99),
    "println": (_println, 0, 99),
    "printf": (_printf, 1, 99),
    "json": (to_json, 1, 1),
    "toJson": (to_json, 1, 1),
    "currentDate": (_current_date, 0, 1),
    "yesterdayDate": (_yesterday_date, 0, 1),
    "toTypeScriptType": (_to_type_script, 1, 1),
}
"""By name: what it does, and how many arguments it takes at least and at most."""

NAMES = frozenset(FUNCTIONS) | LAZY


def call(name: str, arguments: list[Any]) -> Any:
    """The value of a function. Raises GoError."""
    does, least, most = FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        count = str(least) if least == most else f"{least} and more" if most == 99 else f"{least} to {most}"
        raise GoError(f"{name} takes {count} values, not {len(arguments)}")
    try:
        return does(*arguments)
    except GoError as error:
        raise GoError(f"{name}: {error}") from None
