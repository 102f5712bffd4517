"""Calls whose arguments are no JSON but can be read as such: Python's keyword arguments, and Gemma's braces.

Both are turned into JSON as they come.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from runner.formats import CallFormat
from runner.reply import json_text
from runner.reply.calls.telling import Telling
from runner.reply.source import Ended, Markers, Put, Scan, Source, Unexpected

_MOST_WORD = 256  # characters of a name or a number
_NAME = re.compile(r"[\w.]+")
_WORD = re.compile(r"[\w.+-]+")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}
_CODES = {"x": 2, "u": 4, "U": 8}
_PLAIN = {quote: re.compile(rf"[^{quote}\\]+") for quote in "'\""}


# -- Python


def python(source: Source, telling: Telling, *, only_offered: bool, most: int) -> Scan[None]:
    """A list of calls with keyword arguments, or a single call; no more than `most`.

    Raises Unexpected, Ended and NoName where none stands; what belongs to it is kept in the source.
    """
    yield from source.blanks()
    is_list = (yield from source.next()) == "["
    if is_list:
        source.take(1)
    while True:
        yield from source.blanks()
        yield from _python_call(source, telling, only_offered=only_offered)
        if telling.complete >= most:
            return
        source.keep()
        yield from source.blanks()
        char = yield from source.ahead()
        if is_list and char == ",":
            source.take(1)
            yield from source.blanks()
            if (yield from source.next()) != "]":
                continue
            char = "]"
        if is_list and char == "]":
            source.take(1)
            source.drop()
        kept = source.kept()
        telling.text(kept, source.at - len(kept))
        return


def _python_call(source: Source, telling: Telling, *, only_offered: bool) -> Scan[None]:
    name = (yield from _run(source, _NAME)).removesuffix(".call")
    if (yield from source.next()) != "(":
        raise Unexpected
    source.take(1)
    telling.begin(name, only_offered=only_offered)
    source.drop()
    positions = iter(telling.schema(name))
    telling.arguments("{")
    between = ""
    while True:
        yield from source.blanks()
        if (yield from source.next()) == ")":
            source.take(1)
            break
        if between:
            if (yield from source.next()) != ",":
                raise Unexpected
            source.take(1)
            yield from source.blanks()
            if (yield from source.next()) == ")":
                continue
        yield from _argument(source, telling.arguments, between, positions)
        between = ", "
    telling.arguments("}")
    telling.end()


def _argument(source: Source, put: Put, between: str, positions: Iterator[str]) -> Scan[None]:
    """One argument: by keyword, or by its place among the tool's parameters."""
    word = yield from source.word(_WORD, _MOST_WORD)
    if len(word) > _MOST_WORD:
        raise Unexpected(word)
    if word:
        yield from source.blanks()
        yield from source.next()  # it may have been cut off
        if word.isidentifier() and (yield from source.ahead()) == "=":
            source.take(1)
            put(f"{between}{json.dumps(word)}: ")
            yield from python_value(source, put)
            return
    key = next(positions, None)
    if key is None:
        raise Unexpected(word)
    put(f"{between}{json.dumps(key, ensure_ascii=False)}: ")
    if word:
        put(_word(word))
    else:
        yield from python_value(source, put)


def python_value(source: Source, put: Put) -> Scan[None]:
    """Pass on one of Python's literals as JSON. Raises Unexpected, Ended."""
    open_until: list[str] = []
    while True:
        yield from source.blanks()
        char = yield from source.next()
        if char in "[{(":
            if len(open_until) == json_text.DEEPEST:
                raise Unexpected
            source.take(1)
            put("{" if char == "{" else "[")
            open_until.append({"[": "]", "{": "}", "(": ")"}[char])
            yield from source.blanks()
            if (yield from source.next()) != open_until[-1]:
                if char == "{":
                    yield from _python_key(source, put)
                continue
        elif char in "'\"":
            yield from _python_text(source, put)
        else:
            put(_word((yield from _run(source, _WORD))))
        if not (yield from _more(source, put, open_until)):
            return


def repaired(written: str) -> str | None:
    """A whole text as JSON, if it is one of Python's literals that has parts or quotes."""
    source = Source()
    source.feed(written.strip())
    source.is_over = True
    kept: list[str] = []
    if not written.strip().startswith(("[", "{", "(", "'")):
        return None
    try:
        next(python_value(source, kept.append))
    except StopIteration:
        return None if source.waiting else "".join(kept)
    except (Ended, Unexpected):
        return None
    raise AssertionError("a text that is over needs no more")


def _more(source: Source, put: Put, open_until: list[str]) -> Scan[bool]:
    """After a value: close what ends here. Whether another value follows."""
    while open_until:
        yield from source.blanks()
        char = yield from source.next()
        if char == ",":
            source.take(1)
            yield from source.blanks()
            if (yield from source.next()) != open_until[-1]:  # else it is a comma before the end
                put(", ")
                if open_until[-1] == "}":
                    yield from _python_key(source, put)
                return True
            char = open_until[-1]
        if char != open_until[-1]:
            raise Unexpected
        source.take(1)
        put("}" if open_until.pop() == "}" else "]")
    return False


def _python_key(source: Source, put: Put) -> Scan[None]:
    yield from _python_text(source, put)
    yield from source.blanks()
    if (yield from source.next()) != ":":
        raise Unexpected
    source.take(1)
    put(": ")


def _python_text(source: Source, put: Put) -> Scan[None]:
    quote = yield from source.next()
    if quote not in ("'", '"'):
        raise Unexpected
    source.take(1)
    put('"')
    while True:
        if plain := source.run(_PLAIN[quote]):
            put(json_text.escaped(plain))
        char = yield from source.next()
        if char == quote:
            source.take(1)
            put('"')
            return
        if char == "\\":
            source.take(1)
            yield from _python_escape(source, put)


def _python_escape(source: Source, put: Put) -> Scan[None]:
    char = yield from source.next()
    source.take(1)
    if char in _CODES:
        digits = ""
        while len(digits) < _CODES[char] and (yield from source.next()) in "0123456789abcdefABCDEF":
            digits += source.take(1)
        code = int(digits, 16) if len(digits) == _CODES[char] else -1
        known = 0 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000
        put(json_text.escaped(chr(code) if known else f"\\{char}{digits}"))
    elif char != "\n":  # a line that goes on
        put(json_text.escaped(_ESCAPES.get(char) or (char if char in "'\"\\/" else f"\\{char}")))


# -- braces


def braces(source: Source, telling: Telling, form: CallFormat) -> Scan[None]:
    """What stands behind a heading's opening brace: the arguments of a call that was begun."""
    telling.arguments("{")
    yield from _within(source, telling.arguments, form.quote)
    telling.end()


def _within(source: Source, put: Put, quote: str) -> Scan[None]:
    """What stands behind an opening brace, up to the one that closes it."""
    open_until = ["}"]
    is_first = True
    while open_until:
        yield from source.blanks()
        char = yield from source.next()
        if char == open_until[-1]:
            source.take(1)
            put(open_until.pop())
            is_first = False
            continue
        if not is_first:
            if char != ",":
                raise Unexpected
            source.take(1)
            put(", ")
            yield from source.blanks()
        is_first = False
        if open_until[-1] == "}":
            yield from _braces_key(source, put, quote)
        char = yield from source.next()
        if char in "{[":
            if len(open_until) == json_text.DEEPEST:
                raise Unexpected
            put(source.take(1))
            open_until.append("}" if char == "{" else "]")
            is_first = True
        elif (yield from source.skips(quote)):
            put('"')
            yield from source.inside(Markers([quote]), lambda text: put(json_text.escaped(text)))
            put('"')
        elif char == '"':
            yield from json_text.string(source, put)
        else:
            put(_word((yield from _run(source, _WORD))))


def _braces_key(source: Source, put: Put, quote: str) -> Scan[None]:
    key: list[str] = []
    if (yield from source.skips(quote)):
        if not (yield from source.up_to(Markers([quote]), key.append, _MOST_WORD)):
            raise Ended
        yield from source.blanks()
        if (yield from source.next()) != ":":
            raise Unexpected
        source.take(1)
    elif (yield from source.next()) == '"':
        key.append((yield from json_text.text(source)))
        yield from source.blanks()
        if (yield from source.next()) != ":":
            raise Unexpected
        source.take(1)
    elif not (yield from source.up_to(Markers([":"]), key.append, _MOST_WORD)):
        raise Ended
    put(f"{json.dumps(''.join(key).strip(), ensure_ascii=False)}: ")
    yield from source.blanks()


# -- both


def _run(source: Source, pattern: re.Pattern[str]) -> Scan[str]:
    """All that matches, at least one character."""
    yield from source.next()
    word = yield from source.word(pattern, _MOST_WORD)
    if source.is_over and not source.waiting:  # it may have been cut off
        raise Ended
    if not word or len(word) > _MOST_WORD:
        raise Unexpected(word)
    return word


def _word(word: str) -> str:
    """A number or one of the three words as JSON; any other word as a text."""
    value = json_text.repaired(word)
    return json.dumps(word, ensure_ascii=False) if value is None else value
