"""JSON as people keep it, with comments and trailing commas: read, and edited without touching what isn't ours. Pure.

An edit changes the text between two places and nothing else, so comments, order, indentation and line ends stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.assistants import places
from runner.assistants.errors import Unreadable
from runner.assistants.knowledge import Key

_SPACE = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|(?:true|false|null)(?!\w)")
_DEEPEST = 200
_DECODER = json.JSONDecoder()


@dataclass(slots=True)
class _Node:
    """A value: text[start:end]. A container has its parts in order, and `last` is where its content ends."""

    start: int
    end: int
    value: Any
    parts: list[_Part] = field(default_factory=list)
    last: int = 0

    def part(self, key: Key) -> _Part | None:
        """The part that `key` names. Of several under one key the last counts, as it does in JavaScript."""
        place = places.child(self.value, key)
        if place is None:
            return None
        if isinstance(place, int):
            return self.parts[place]
        return next(part for part in reversed(self.parts) if part.key == place)


@dataclass(slots=True)
class _Part:
    """A member or an item: from `start` (the key's, if it has one); `comma` is where the comma after it stands."""

    key: str | None
    start: int
    node: _Node
    comma: int | None = None


def parse(text: str) -> Any:
    """The data; an empty text is None. Raises Unreadable with the line."""
    node = _read(text)
    return None if node is None else node.value


def put(text: str, at: Sequence[Key], value: Any, first: bool = False) -> str:
    """The text with `value` at that place. Raises Unreadable and Clash."""
    root = _read(text)
    if root is None or root.value is None or not at:
        new = _dumped(places.nested(at, value), text, "")
        return text[: root.start] + new + text[root.end :] if root else text + new + _line_end(text)
    node, rest = root, list(at)
    while rest:
        part = node.part(rest[0])
        if part is None:
            return _inserted(text, node, rest[0], places.entry(rest[0], places.nested(rest[1:], value)), first)
        node, rest = part.node, rest[1:]
        if node.value is None:
            break
    new = _dumped(places.nested(rest, value), text, _indent_at(text, node.start))
    return text[: node.start] + new + text[node.end :]


def drop(text: str, at: Sequence[Key]) -> str:
    """The text without what stands at that place. Raises Unreadable and Clash."""
    node = _read(text)
    for key in at[:-1]:
        part = node.part(key) if node and node.value is not None else None
        node = part.node if part else None
    part = node.part(at[-1]) if node and node.value is not None else None
    if node is None or part is None:
        return text
    index = node.parts.index(part)
    start, end = part.start, part.node.end if part.comma is None else part.comma + 1
    start, end = _with_lines(text, start, end)
    text = text[:start] + text[end:]
    if part.comma is None and index:
        before = node.parts[index - 1].comma
        assert before is not None
        text = text[:before] + text[before + 1 :]
    return text


def _with_lines(text: str, start: int, end: int) -> tuple[int, int]:
    """The span with the whole lines that nothing else stands on; else with the blanks before it."""
    head = start - len(text[:start]) + len(text[:start].rstrip(" \t"))
    tail = end + len(text[end:]) - len(text[end:].lstrip(" \t"))
    begins = head == 0 or text[head - 1] == "\n"
    if begins and text[tail : tail + 2] == "\r\n":
        return head, tail + 2
    if begins and text[tail : tail + 1] == "\n":
        return head, tail + 1
    return head, end


def _inserted(text: str, node: _Node, key: Key, value: Any, first: bool) -> str:
    """The text with one more part in a container."""
    outer = _indent_at(text, node.start)
    is_open = "\n" in text[node.start : node.end]
    inner = _indent_at(text, node.parts[0].start) if node.parts and is_open else outer + _unit(text)
    name = f"{json.dumps(key, ensure_ascii=False)}: " if isinstance(key, str) else ""
    new = name + _dumped(value, text, inner)
    line = _line_end(text)
    if not node.parts:
        close = f"{line}{outer}"
        return text[: node.last] + f"{line}{inner}{new}{close}" + text[node.end - 1 :]
    if first:
        at = node.parts[0].start
        return text[:at] + new + "," + (f"{line}{inner}" if is_open else " ") + text[at:]
    tail = node.parts[-1]
    had_comma = tail.comma is not None
    middle = "" if had_comma else ","
    gap = f"{line}{inner}" if is_open else " "
    end = tail.node.end
    return text[:end] + middle + text[end : node.last] + gap + new + ("," if had_comma else "") + text[node.last :]


def _dumped(value: Any, text: str, indent: str) -> str:
    lines = json.dumps(value, indent=_unit(text), ensure_ascii=False).split("\n")
    return f"{_line_end(text)}{indent}".join(lines)


def _unit(text: str) -> str:
    """What the text indents with."""
    found = re.search(r"\n([ \t]+)[\"{\[]", text)
    return found[1] if found else "  "


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _indent_at(text: str, place: int) -> str:
    """The blanks that the line of `place` begins with."""
    begin = text.rfind("\n", 0, place) + 1
    return text[begin : begin + len(text[begin:]) - len(text[begin:].lstrip(" \t"))]


def _read(text: str) -> _Node | None:
    """The tree of a text; None for one that holds nothing."""
    place = _skip(text, 0)
    if place == len(text):
        return None
    node = _value(text, place, 0)
    if (place := _skip(text, node.end)) != len(text):
        raise _wrong(text, place, "there is more after the end")
    return node


def _value(text: str, place: int, depth: int) -> _Node:
    if depth > _DEEPEST:
        raise _wrong(text, place, f"it is more than {_DEEPEST} levels deep")
    sign = text[place : place + 1]
    if sign in ("{", "["):
        return _container(text, place, sign == "{", depth)
    if sign == '"':
        value, end = _text(text, place)
        return _Node(place, end, value)
    scalar = _SCALAR.match(text, place)
    if scalar is None:
        raise _wrong(text, place, "a value is missing" if sign in ("", ",", "}", "]", ":") else f"{sign!r} is no value")
    return _Node(place, scalar.end(), json.loads(scalar[0]))


def _container(text: str, start: int, is_mapping: bool, depth: int) -> _Node:
    node = _Node(start, start, {} if is_mapping else [])
    closing = "}" if is_mapping else "]"
    content = start + 1
    place = _skip(text, content)
    while text[place : place + 1] != closing:
        if node.parts and node.parts[-1].comma is None:
            raise _wrong(text, place, f"a comma or {closing!r} is missing")
        begin, key = place, None
        if is_mapping:
            key, place = _text(text, place)
            place = _skip(text, place)
            if text[place : place + 1] != ":":
                raise _wrong(text, place, f"a colon is missing after {key!r}")
            place = _skip(text, place + 1)
        value = _value(text, place, depth + 1)
        part = _Part(key, begin, value)
        node.parts.append(part)
        if key is not None:
            node.value[key] = value.value
        else:
            node.value.append(value.value)
        content, place = value.end, _skip(text, value.end)
        if text[place : place + 1] == ",":
            part.comma, content = place, place + 1
            place = _skip(text, content)
    # What ends before the blanks in front of the bracket: comments belong to the content.
    node.last = max(content, content + len(text[content:place].rstrip()))
    node.end = place + 1
    return node


def _text(text: str, place: int) -> tuple[str, int]:
    if text[place : place + 1] != '"':
        raise _wrong(text, place, "a name in double quotes is missing")
    try:
        value, end = _DECODER.raw_decode(text, place)
    except ValueError as error:
        raise _wrong(text, place, str(error).partition(":")[0].lower()) from None
    return str(value), end


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None
    return found.end()


def _wrong(text: str, place: int, why: str) -> Unreadable:
    return Unreadable(f"line {text.count(chr(10), 0, place) + 1}: {why}")
