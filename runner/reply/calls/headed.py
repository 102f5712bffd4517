"""Calls that begin with a heading, which names the tool, and go on with the arguments as JSON or as elements."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from runner.formats import CallFormat
from runner.reply import json_text
from runner.reply.calls import loose
from runner.reply.calls.telling import Telling
from runner.reply.source import Markers, Scan, Source, Unexpected

_MOST_HEADING = 512  # characters
_MOST_KEY = 256
_MOST_ATTRIBUTES = 64
_DEEPEST = 8  # alternatives of a schema within each other


def heading(source: Source, form: CallFormat, end: Markers) -> Scan[tuple[str, str, str]]:
    """The name in a heading, the id that the model gave, and which marker ended it. Raises Unexpected."""
    taken: list[str] = []
    marker = yield from source.up_to(end, taken.append, _MOST_HEADING)
    text = "".join(taken)
    if not marker:
        raise Unexpected
    name = text.rpartition(form.before_name)[2] if form.before_name else text
    given = text.strip() if form.ids == "heading" else ""
    if form.after_name:
        name, _, rest = name.partition(form.after_name)
        given = given or rest.strip()
    return name.strip(), given, marker


def named(source: Source, telling: Telling, form: CallFormat) -> Scan[None]:
    """A heading and a JSON object. Raises Unexpected, Ended and NoName where no such call stands."""
    name, given, _ = yield from heading(source, form, Markers([form.name_end]))
    yield from source.blanks()
    if form.closing and (yield from source.skips(form.closing.strip())):
        telling.begin(name, given)
        source.drop()
        telling.arguments("{}")
        telling.end()
        return
    if (yield from source.next()) != "{":
        raise Unexpected
    telling.begin(name, given)
    source.drop()
    yield from json_text.value(source, telling.arguments)
    telling.end()


def braced(source: Source, telling: Telling, form: CallFormat) -> Scan[None]:
    """A heading, and arguments within braces. Raises as `named` does."""
    name, given, _ = yield from heading(source, form, Markers([form.name_end]))
    telling.begin(name, given)
    source.drop()
    yield from loose.braces(source, telling, form)


def tagged(source: Source, telling: Telling, form: CallFormat) -> Scan[None]:
    """A heading and an element for each argument. Raises as `named` does."""
    closing = form.closing
    ends = Markers([form.name_end] if form.name_end else [form.key_open, closing])
    name, given, marker = yield from heading(source, form, ends)
    telling.begin(name, given)
    source.drop()
    schema = telling.schema(name)
    telling.arguments("{")
    between = ""
    if marker == form.name_end:
        marker = ""
    while True:
        if not marker:
            marker = yield from _next(source, form)
        if marker != form.key_open:
            break
        marker = ""
        key = yield from _up_to(source, form.key_end, _MOST_KEY)
        attributes = (yield from _up_to(source, form.value_open, _MOST_ATTRIBUTES)) if form.value_open else ""
        telling.arguments(f"{between}{json.dumps(key.strip(), ensure_ascii=False)}: ")
        between = ", "
        yield from _value(source, telling.arguments, form, _kinds_here(schema.get(key.strip()), attributes))
    telling.arguments("}")
    telling.end()


def _next(source: Source, form: CallFormat) -> Scan[str]:
    """What stands behind an argument: another, or the end. A closing that was left out counts as there."""
    yield from source.blanks()
    for each in (form.key_open, form.closing):
        if (yield from source.skips(each)):
            return each
    for each in form.section:
        if (yield from source.skips(each)):
            return each
    yield from source.next()
    raise Unexpected


def _up_to(source: Source, marker: str, most: int) -> Scan[str]:
    taken: list[str] = []
    if not (yield from source.up_to(Markers([marker]), taken.append, most)):
        yield from source.next()
    return "".join(taken)


def _value(source: Source, put: Callable[[str], object], form: CallFormat, kinds: set[str]) -> Scan[None]:
    """Pass on one value of these types as JSON: a text as it comes, anything else as a whole."""
    if form.is_padded:
        yield from source.skips("\n")
    close = form.value_close
    if form.has_cdata and (yield from source.skips("<![CDATA[")):
        close = f"]]>{close}"
    end = Markers([f"\n{close}" if form.is_padded else "", close])
    if kinds == {"string"}:
        put('"')
        yield from source.inside(end, lambda text: put(json_text.escaped(text)))
        put('"')
        return
    whole: list[str] = []
    yield from source.inside(end, whole.append)
    put(_as_json("".join(whole), kinds))


def _as_json(written: str, kinds: set[str]) -> str:
    """A value as JSON: as it stands where it is of a type that may be there, as a text where it is of none."""
    value = json_text.repaired(written) or loose.repaired(written)
    if value is None or ("string" in kinds and _kind_of(value) not in kinds):
        return json.dumps(written, ensure_ascii=False)
    return value


def _kind_of(value: str) -> str:
    kinds = {'"': "string", "{": "object", "[": "array", "t": "boolean", "f": "boolean", "n": "null"}
    kind = kinds.get(value[0])
    if kind is None:
        return "number" if any(mark in value for mark in ".eE") else "integer"
    return kind


def _kinds_here(schema: Any, attributes: str) -> set[str]:
    """The types of a value, by what its element says of itself, or else by the tool's schema."""
    words = attributes.replace(" ", "")
    if 'string="true"' in words or 'type="string"' in words:
        return {"string"}
    if 'string="false"' in words or "type=" in words:
        return set()
    kinds = _kinds(schema, 0)
    return kinds | {"integer"} if "number" in kinds else kinds


def _kinds(schema: Any, depth: int) -> set[str]:
    """The types that a schema allows; none when it doesn't say."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return set()
    types = schema.get("type")
    if isinstance(types, str):
        return {types}
    if isinstance(types, list):
        return {each for each in types if isinstance(each, str)}
    if "const" in schema:
        return {_kind_of(json.dumps(schema["const"]))}
    if isinstance(schema.get("enum"), list):
        return {_kind_of(json.dumps(each)) for each in schema["enum"]}
    found: set[str] = set()
    for word in ("anyOf", "oneOf"):
        for each in schema[word] if isinstance(schema.get(word), list) else ():
            found |= _kinds(each, depth + 1)
    return found
