"""config.yaml as a text that a person wrote: one entry is put in or taken out, and all else stays as it stands,
comments and order included. Pure text; what entries mean isn't known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml


class CannotEdit(ValueError):
    """The text isn't one that can be edited like this; it says why."""


def parsed(text: str) -> dict[str, Any]:
    """The entries of a text. Raises CannotEdit."""
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        where = f"line {place.line + 1}: " if place is not None else ""
        raise CannotEdit(f"is not YAML: {where}{getattr(error, 'problem', None) or error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise CannotEdit("must hold `name: value` lines")
    return content


def put(text: str, path: Sequence[str], value: Any) -> str:
    """The text with `value` at the end of `path`, a name in a mapping in a mapping. Raises CannotEdit."""
    wanted = parsed(text)
    into = wanted
    for name in path[:-1]:
        inner = into.get(name)
        into[name] = into = dict(inner) if isinstance(inner, dict) else {}
    into[path[-1]] = value
    return _checked(_put(text, path, value), wanted)


def drop(text: str, path: Sequence[str]) -> str:
    """The text without what is at `path`, and without mappings that held nothing else. Raises CannotEdit."""
    wanted = parsed(text)
    parts: list[dict[str, Any]] = [wanted]
    for name in path[:-1]:
        inner = parts[-1].get(name)
        if not isinstance(inner, dict):
            return text
        parts[-1][name] = inner = dict(inner)
        parts.append(inner)
    if path[-1] not in parts[-1]:
        return text
    depth = len(path) - 1
    while depth and len(parts[depth]) == 1:
        depth -= 1
    del parts[depth][path[depth]]
    return _checked(_drop(text, path[: depth + 1]), wanted)


def _checked(text: str, wanted: Mapping[str, Any]) -> str:
    """The text, if it says what it should. An alias or an odd way to write things could have come in between."""
    try:
        is_so = parsed(text) == wanted
    except CannotEdit:
        is_so = False
    if not is_so:
        raise CannotEdit("is written in a way that can't be edited by a command")
    return text


def _put(text: str, path: Sequence[str], value: Any) -> str:
    root = _root(text)
    if root is None:
        return _appended(text, path, value)
    mapping = root
    for depth, name in enumerate(path):
        pair = _pair(mapping, name)
        if pair is None:
            return _inserted(text, mapping, name, _nested(path[depth + 1 :], value))
        key, inner = pair
        if depth + 1 < len(path) and isinstance(inner, yaml.MappingNode) and (inner.value or inner.flow_style):
            mapping = inner
            continue
        return _replaced(text, mapping, key, inner, _nested(path[depth + 1 :], value))
    raise AssertionError("a path has a name")


def _drop(text: str, path: Sequence[str]) -> str:
    node: yaml.Node | None = _root(text)
    for depth, name in enumerate(path):
        pair = _pair(node, name) if isinstance(node, yaml.MappingNode) else None
        if not isinstance(node, yaml.MappingNode) or pair is None:
            break
        if depth + 1 == len(path):
            return _cut(text, node, pair)
        node = pair[1]
    raise CannotEdit("is written in a way that can't be edited by a command")


def _root(text: str) -> yaml.MappingNode | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return root if isinstance(root, yaml.MappingNode) and (root.value or root.flow_style) else None


def _pair(mapping: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    """The last one counts, as for whoever reads the file."""
    for key, value in reversed(mapping.value):
        if isinstance(key, yaml.ScalarNode) and key.value == name:
            return key, value
    return None


def _nested(path: Sequence[str], value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _appended(text: str, path: Sequence[str], value: Any) -> str:
    return f"{_ended(text)}{_block({path[0]: _nested(path[1:], value)}, 0, text)}"


def _inserted(text: str, mapping: yaml.MappingNode, name: str, value: Any) -> str:
    if mapping.flow_style:
        at = mapping.end_mark.index - 1
        begin = text[:at].rstrip(" ")
        comma = ", " if mapping.value and not begin.endswith(",") else " " if mapping.value else ""
        return f"{begin}{comma}{_flow(name)}: {_flow(value)}{text[at:]}"
    end = _line_end(text, _end(mapping))
    first, _ = mapping.value[0]
    return f"{_ended(text[:end])}{_block({name: value}, first.start_mark.column, text)}{text[end:]}"


def _replaced(text: str, mapping: yaml.MappingNode, key: yaml.Node, old: yaml.Node, value: Any) -> str:
    colon = text.index(":", key.end_mark.index) + 1
    end = max(colon, _end(old))
    if isinstance(value, Mapping) and not mapping.flow_style and not text[end : _line_end(text, end)].strip():
        body = _block({"x": value}, key.start_mark.column, text).partition(":")[2]
        return f"{text[:colon]}{body.rstrip()}{text[end:]}"
    gap = text[colon : old.start_mark.index] if old.start_mark.index > colon else ""
    gap = gap if gap and not gap.strip(" ") else " "
    return f"{text[:colon]}{gap}{_flow(value)}{text[end:]}"


def _cut(text: str, mapping: yaml.MappingNode, pair: tuple[yaml.Node, yaml.Node]) -> str:
    key, value = pair
    end = max(text.index(":", key.end_mark.index) + 1, _end(value))
    if not mapping.flow_style:
        begin = key.start_mark.index - key.start_mark.column
        return text[:begin] + text[_line_end(text, end) :]
    rest = text[end:]
    if rest.lstrip().startswith(","):
        return text[: key.start_mark.index] + rest.lstrip()[1:].lstrip(" ")
    return text[: key.start_mark.index].rstrip().removesuffix(",") + rest


def _end(node: yaml.Node) -> int:
    """Where the last thing that is written in a node ends; the parser says where the next one begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1]) if isinstance(last, tuple) else _end(last)
    end: int = node.end_mark.index
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        return end - 1
    return end


def _line_end(text: str, at: int) -> int:
    """The beginning of the next line."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + _break(text)


def _break(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _block(entry: Mapping[str, Any], column: int, text: str) -> str:
    """An entry on lines of its own; what is innermost stays on one."""
    written = ""
    for name, value in entry.items():
        written += f"{' ' * column}{_flow(name)}:"
        if isinstance(value, Mapping) and any(isinstance(each, Mapping) for each in value.values()):
            written += _break(text) + _block(value, column + 2, text)
        else:
            written += f" {_flow(value)}{_break(text)}"
    return written


def _flow(value: Any) -> str:
    text = ""
    for readable in (True, False):  # with what isn't seen as escapes, where there is such a thing
        text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=readable, width=10**6)
        if text.removesuffix("\n").removesuffix("\n...").isprintable():
            break
    return text.removesuffix("\n").removesuffix("\n...").strip()
