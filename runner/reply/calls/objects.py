"""Calls that are JSON objects with a name and arguments, alone or in a list."""

from __future__ import annotations

from runner.formats import CallFormat
from runner.reply import json_text
from runner.reply.calls.telling import Telling
from runner.reply.source import Scan, Source, Unexpected

_NAMES = ("name", "tool_name", "function", "tool")
_ARGUMENTS = ("arguments", "parameters", "args", "input")
_IDS = ("id", "tool_call_id", "call_id")


def calls(source: Source, telling: Telling, form: CallFormat, *, only_offered: bool, most: int) -> Scan[None]:
    """Everything from the first object, or the list of them, to its end; no more than `most` calls.

    Raises Unexpected and NoName where no call stands; what belongs to it is kept in the source.
    """
    yield from source.blanks()
    is_list = (yield from source.next()) == "["
    if is_list:
        source.take(1)
        yield from source.blanks()
    while True:
        yield from _call(source, telling, form, only_offered=only_offered)
        if telling.complete >= most:
            return
        source.keep()
        yield from source.blanks()
        char = yield from source.ahead()
        if char and char in ",;":
            source.take(1)
            yield from source.blanks()
            char = yield from source.ahead()
        if is_list and char == "]":
            source.take(1)
            source.drop()
            return
        if char != "{":
            kept = source.kept()
            telling.text(kept, source.at - len(kept))
            return


def _call(source: Source, telling: Telling, form: CallFormat, *, only_offered: bool) -> Scan[None]:
    """One object. Its name mostly comes first; arguments before it wait for it."""
    name = given = ""
    early: list[str] | None = None
    began = telling.begun
    inner = 0  # objects within which the call stands
    yield from _open(source)
    while True:
        if (yield from source.next()) == "}":
            source.take(1)
            if not inner:
                break
            inner -= 1
        else:
            key = yield from json_text.text(source)
            yield from source.blanks()
            if (yield from source.next()) != ":":
                raise Unexpected
            source.take(1)
            yield from source.blanks()
            char = yield from source.next()
            if not form.name_key and not name:
                name = key
                key = _ARGUMENTS[0]
            if key in _NAMES and char == "{" and not inner:
                inner += 1
                yield from _open(source)
                continue
            if key in _NAMES and char == '"' and not name:
                name = yield from json_text.text(source)
            elif key in _IDS and char == '"':
                given = yield from json_text.text(source)
            elif key in _ARGUMENTS and early is None and telling.begun == began:
                if name:
                    yield from _arguments(source, telling, name, given, only_offered=only_offered)
                else:
                    early = []
                    yield from _early(source, early)
            elif only_offered and key != "type":
                raise Unexpected  # an answer that is JSON, and shouldn't wait for its end
            else:
                yield from json_text.value(source, lambda _text: None)
        yield from source.blanks()
        if (yield from source.next()) == ",":
            source.take(1)
            yield from source.blanks()
        elif (yield from source.next()) != "}":
            raise Unexpected
    if telling.begun > began:
        return
    if not name:
        raise Unexpected
    telling.begin(name, given, only_offered=only_offered)
    source.drop()
    telling.arguments("".join(early) if early else "{}")
    telling.end()


def _open(source: Source) -> Scan[None]:
    if (yield from source.next()) != "{":
        raise Unexpected
    source.take(1)
    yield from source.blanks()


def _arguments(source: Source, telling: Telling, name: str, given: str, *, only_offered: bool) -> Scan[None]:
    """The arguments of a call whose name is known: told as they come."""
    if (yield from source.next()) == "{":
        telling.begin(name, given, only_offered=only_offered)
        source.drop()
        yield from json_text.value(source, telling.arguments)
        telling.end()
        return
    whole: list[str] = []
    yield from _early(source, whole)
    telling.begin(name, given, only_offered=only_offered)
    source.drop()
    telling.arguments("".join(whole))
    telling.end()


def _early(source: Source, into: list[str]) -> Scan[None]:
    """Arguments as a whole: an object, one that is written as a text, or none."""
    char = yield from source.next()
    if char == '"':
        written = json_text.repaired((yield from json_text.text(source)))
        if written is None or not written.startswith("{"):
            raise Unexpected
        into.append(written)
        return
    yield from json_text.value(source, into.append)
    written = "".join(into)
    if char != "{":
        if written != "null":
            raise Unexpected
        into[:] = ["{}"]
