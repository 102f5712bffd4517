"""Plain data by path: what stands at a place, and the data with something put there or taken away. Pure.

A place is a list of keys; a key that is a mapping tells an entry of a list by what it holds. The editors of the formats
do the same to text, and are held to what these say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.assistants.errors import Clash
from runner.assistants.knowledge import Key

_KINDS = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}


class _Absent:
    """Nothing stands there. Not None, which files may hold."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()


def written(at: Sequence[Key]) -> str:
    """A place in words: `models[name=Runner].model`."""
    text = ""
    for key in at:
        if isinstance(key, dict):
            text += "[" + ",".join(f"{name}={value}" for name, value in key.items()) + "]"
        else:
            text += f".{key}" if text else key
    return text or "the whole file"


def child(data: Any, key: Key) -> int | str | None:
    """The index or key under which `data` holds `key`, None when it doesn't. Raises Clash for data of another kind."""
    if isinstance(key, str):
        if not isinstance(data, dict):
            raise Clash(f"holds {_kind(data)} where a mapping with {key!r} belongs")
        return key if key in data else None
    if not isinstance(data, list):
        raise Clash(f"holds {_kind(data)} where a list with {written([key])} belongs")
    for index, item in enumerate(data):
        if isinstance(item, dict) and all(item.get(name) == value for name, value in key.items()):
            return index
    return None


def found(data: Any, at: Sequence[Key]) -> Any:
    """What stands there, or ABSENT. Raises Clash."""
    for key in at:
        if data is None:
            return ABSENT
        place = child(data, key)
        if place is None:
            return ABSENT
        data = data[place]
    return data


def standing(data: Any, at: Sequence[Key]) -> int:
    """How many of the keys are there already. Raises Clash."""
    for count, key in enumerate(at):
        place = None if data is None else child(data, key)
        if place is None:
            return count
        data = data[place]
    return len(at)


def nested(at: Sequence[Key], value: Any) -> Any:
    """`value` below containers that hold nothing else, but what tells an entry of a list from others."""
    for key in reversed(at):
        value = {key: value} if isinstance(key, str) else [entry(key, value)]
    return value


def entry(key: Key, value: Any) -> Any:
    """What is new in a list, so that it is found again under `key`."""
    if isinstance(key, dict) and isinstance(value, dict) and not key.items() <= value.items():
        return {**key, **value}
    return value


def put(data: Any, at: Sequence[Key], value: Any, first: bool = False) -> Any:
    """The data with `value` there; containers that are missing (or null) are made. Raises Clash."""
    if not at:
        return value
    key, rest = at[0], at[1:]
    if data is None or data is ABSENT:
        return nested(at, value)
    place = child(data, key)
    if place is not None:
        changed = data.copy()
        changed[place] = put(data[place], rest, value, first)
        return changed
    new = entry(key, nested(rest, value))
    if isinstance(key, str):
        return {**data, key: new}
    return [new, *data] if first else [*data, new]


def dropped(data: Any, at: Sequence[Key]) -> Any:
    """The data without what stands there; containers stay, also empty ones. Raises Clash."""
    place = None if data is None else child(data, at[0])
    if place is None:
        return data
    changed = data.copy()
    if len(at) > 1:
        changed[place] = dropped(data[place], at[1:])
    else:
        del changed[place]
    return changed


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "null" if value is None else type(value).__name__)
