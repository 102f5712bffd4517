"""Calls that begin with a heading, which names the tool, and go on with the arguments as JSON or as elements."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from runner.formats import CallFormat
from runner.reply import json_text
from runner.reply.calls.telling import Telling
from runner.reply.source import Markers, Scan, Source, Unexpected

_MOST_HEADING = 512  # characters
_MOST_KEY = 256
_MOST_ATTRIBUTES = 64


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
        kind = _kind(schema.get(key.strip()), attributes)
        yield from _value(source, telling.arguments, form, kind)
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


def _value(source: Source, put: Callable[[str], object], form: CallFormat, kind: str) -> Scan[None]:
    """Pass on one value as JSON: a text as it comes, anything else as a whole."""
    if form.is_padded:
        yield from source.skips("\n")
    end = Markers([("\n" if form.is_padded else "") + form.value_close, form.value_close])
    if kind == "text":
        put('"')
        marker = yield from source.up_to(end, lambda text: put(_escaped(text)))
        if not marker:
            yield from source.next()
        put('"')
        return
    whole: list[str] = []
    if not (yield from source.up_to(end, whole.append)):
        yield from source.next()
    put(_as_json("".join(whole), kind))


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _as_json(written: str, kind: str) -> str:
    """A value as JSON: as it stands where it is some, else as a text."""
    value = json_text.repaired(written)
    if value is None or (kind == "either" and value[0] in '"-0123456789'):
        return json.dumps(written, ensure_ascii=False)
    return value


def _kind(schema: Any, attributes: str) -> str:
    """How a value is written: as text, as JSON, or as what it looks like.

    By what the element says of itself, or else by the tool's schema: `either` is a text, or else an object, a list, or
    one of the three words of JSON.
    """
    words = attributes.replace(" ", "")
    if 'string="true"' in words or 'type="string"' in words:
        return "text"
    if 'string="false"' in words or "type=" in words:
        return "json"
    kinds = _kinds(schema, 0)
    if kinds == {"string"}:
        return "text"
    return "either" if "string" in kinds and not kinds & {"number", "integer"} else "json"


def _kinds(schema: Any, depth: int) -> set[str]:
    """The types that a schema allows; none when it doesn't say."""
    if not isinstance(schema, dict) or depth > 8:
        return set()
    types = schema.get("type")
    if isinstance(types, str):
        return {types}
    if isinstance(types, list):
        return {each for each in types if isinstance(each, str)}
    if "const" in schema:
        return {"string"} if isinstance(schema["const"], str) else {"json"}
    if isinstance(schema.get("enum"), list):
        return {"string" if isinstance(each, str) else "json" for each in schema["enum"]}
    found: set[str] = set()
    for word in ("anyOf", "oneOf"):
        for each in schema[word] if isinstance(schema.get(word), list) else ():
            found |= _kinds(each, depth + 1)
    return found
