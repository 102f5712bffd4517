"""YAML, edited without touching what isn't ours: our lines are put between the user's, or taken from them. Pure.

PyYAML says where each value stands; only values in the block style are edited piece by piece, and one in braces or
brackets is written anew as a whole. An edit that PyYAML then reads differently is found out by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from runner.assistants import places
from runner.assistants.errors import Clash, Unreadable
from runner.assistants.knowledge import Key


def parse(text: str) -> Any:
    """The data; an empty text is None. Raises Unreadable with the line."""
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise Unreadable(f"{where}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise Unreadable(str(error).replace("\n", " ")) from None


def put(text: str, at: Sequence[Key], value: Any, first: bool = False) -> str:
    """The text with `value` at that place. Raises Unreadable and Clash."""
    data, node = parse(text), yaml.compose(text, Loader=yaml.SafeLoader)
    if data is None or not isinstance(node, yaml.CollectionNode) or not at:
        head = text if data is None and text.strip() else ""
        return _ended(head) + _dumped(places.nested(at, value))
    reach = 0
    while reach < len(at):
        inner = _child(node, data, at[reach])
        if inner is None:
            new = places.entry(at[reach], places.nested(at[reach + 1 :], value))
            return _inserted(text, node, at[reach], new, first)
        pair, data, reach = inner, data[places.child(data, at[reach])], reach + 1
        if data is None or not isinstance(pair[-1], yaml.CollectionNode) or pair[-1].flow_style or reach == len(at):
            return _replaced(text, node, pair, at[reach - 1], places.put(data, at[reach:], value, first))
        node = pair[-1]
    raise AssertionError("a place has an end")


def drop(text: str, at: Sequence[Key]) -> str:
    """The text without what stands at that place. Raises Unreadable and Clash."""
    data, node = parse(text), yaml.compose(text, Loader=yaml.SafeLoader)
    steps: list[tuple[yaml.CollectionNode, tuple[yaml.Node, ...]]] = []
    for key in at:
        if data is None or not isinstance(node, yaml.CollectionNode):
            return text
        inner = _child(node, data, key)
        if inner is None:
            return text
        steps.append((node, inner))
        data, node = data[places.child(data, key)], inner[-1]
    owner, pair = steps[-1]
    start, end = (0, 0) if owner.flow_style else _lines(text, _begin(text, owner, pair), _end(text, pair[-1]))
    cut = text[:start] + text[end:]
    if not owner.flow_style and len(owner.value) > 1:
        return cut
    whole, above = parse(text), at[:-1]
    left = places.found(places.dropped(whole, at), above)
    # The last one of its container: without its lines there is none, and comments in it stay.
    if not owner.flow_style and _reads_as(cut, places.put(whole, above, None)):
        return put(cut, above, left) if above else cut
    return put(text, above, left) if above else _dumped(left)


def _reads_as(text: str, data: Any) -> bool:
    try:
        return bool(parse(text) == data)
    except Unreadable:
        return False


def _child(node: yaml.CollectionNode, data: Any, key: Key) -> tuple[yaml.Node, ...] | None:
    """The key's node and the value's, or the item's alone; None when there is none."""
    place = places.child(data, key)
    if place is None:
        return None
    if isinstance(place, int):
        return (node.value[place],)
    pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
    for pair in reversed(pairs):
        if isinstance(pair[0], yaml.ScalarNode) and pair[0].value == place:
            return pair
    raise Clash(f"has {place!r} from an anchor, which can't be edited here")


def _inserted(text: str, node: yaml.CollectionNode, key: Key, value: Any, first: bool) -> str:
    if node.flow_style:
        raise Clash(f"has braces or brackets where {places.written([key])} belongs; write them as lines")
    column = int(node.start_mark.column)
    entry = _dumped({key: value} if isinstance(key, str) else [value], column)
    if first and not isinstance(key, str):
        begin = text.rfind("\n", 0, _offset(text, node.start_mark)) + 1
        return text[:begin] + entry + text[begin:]
    end = _line_after(text, _end(text, node))
    return _ended(text[:end]) + entry + text[end:]


def _replaced(text: str, owner: yaml.CollectionNode, pair: tuple[yaml.Node, ...], key: Key, value: Any) -> str:
    """The text with another value for a pair or an item, whose place in its line stays."""
    if owner.flow_style:
        raise Clash(f"has braces or brackets around {places.written([key])}; write them as lines")
    start, column = _offset(text, pair[0].start_mark), int(pair[0].start_mark.column)
    new = _dumped({key: value} if isinstance(key, str) else value, column).lstrip(" ").rstrip("\n")
    end = _end(text, pair[-1])
    if len(pair) == 2:
        end = max(end, _offset(text, pair[0].end_mark))
    if text[end - 1 : end] == "\n":  # a block of text ends with its line
        new += "\n"
    if len(pair) == 2 and end == _offset(text, pair[0].end_mark):  # a key without a value
        end = text.index(":", end) + 1
    return text[:start] + new + text[end:]


def _dumped(value: Any, indent: int = 0) -> str:
    """Lines of block style, each `indent` blanks further in."""
    if isinstance(value, dict | list) and not value:
        return " " * indent + ("{}" if isinstance(value, dict) else "[]") + "\n"
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False, width=10_000)
    text = text.removesuffix("...\n")
    return "".join(f"{' ' * indent}{line}" if line.strip() else line for line in text.splitlines(keepends=True))


def _offset(text: str, mark: Any) -> int:
    return int(mark.index)


def _begin(text: str, owner: yaml.CollectionNode, pair: tuple[yaml.Node, ...]) -> int:
    """Where a pair or an item begins, the dash of an item counted."""
    start = _offset(text, pair[0].start_mark)
    return start if len(pair) == 2 else text.rindex("-", 0, start)


def _end(text: str, node: yaml.Node) -> int:
    """Where the last thing of a value ends. A block's own end mark stands behind the comments after it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        inner: yaml.Node = last[1] if isinstance(last, tuple) else last
        if isinstance(last, tuple) and inner.end_mark.index <= last[0].end_mark.index:
            return _offset(text, last[0].end_mark) + 1
        node = inner
    return _offset(text, node.end_mark)


def _line_after(text: str, place: int) -> int:
    """Where the line after the one that ends at `place` begins."""
    if place and text[place - 1] == "\n":
        return place
    end = text.find("\n", place)
    return len(text) if end < 0 else end + 1


def _lines(text: str, start: int, end: int) -> tuple[int, int]:
    begin = text.rfind("\n", 0, start) + 1
    return begin, _line_after(text, end)


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
