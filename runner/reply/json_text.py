"""JSON as it comes: passed on as it stands while it is valid, and nothing beyond.

What small models get wrong and everybody understands is put right on the way: line breaks within texts, escapes that
there aren't, and Python's words for true, false and nothing.
"""

from __future__ import annotations

import json
import re

from runner.reply.source import Ended, Put, Scan, Source, Unexpected

DEEPEST = 100  # lists and objects within each other
_LONGEST_WORD = 400  # characters of a number

_BLANKS = re.compile(r"\s*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_WORD = re.compile(r"[-+.0-9A-Za-z]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS = {"true": "true", "false": "false", "null": "null", "True": "true", "False": "false", "None": "null"}
_HEX = re.compile(r"[0-9a-fA-F]")
_CLOSING = {"{": "}", "[": "]"}


def value(source: Source, put: Put) -> Scan[None]:
    """Pass on one value. Raises Unexpected at what belongs to none, Ended at the end of the text."""
    open_until: list[str] = []
    while True:
        put((yield from source.blanks()))
        char = yield from source.next()
        if char in _CLOSING:
            if len(open_until) == DEEPEST:
                raise Unexpected
            put(source.take(1))
            open_until.append(_CLOSING[char])
            put((yield from source.blanks()))
            if (yield from source.next()) != open_until[-1]:
                if char == "{":
                    yield from _key(source, put)
                continue
        elif char == '"':
            yield from string(source, put)
        else:
            yield from _word(source, put)
        if (yield from _goes_on(source, put, open_until)):
            continue
        return


def string(source: Source, put: Put) -> Scan[None]:
    """Pass on a text with its quotes. Raises as `value` does."""
    if (yield from source.next()) != '"':
        raise Unexpected
    put(source.take(1))
    while True:
        if plain := source.run(_PLAIN):
            put(plain)
        char = yield from source.next()
        if char == "\\":
            yield from _escape(source, put)
        elif char < " ":
            put(json.dumps(source.take(1))[1:-1])
        elif char == '"':
            put(source.take(1))
            return


def text(source: Source) -> Scan[str]:
    """The text that a string stands for. Raises as `value` does."""
    written: list[str] = []
    yield from string(source, written.append)
    return str(json.loads("".join(written)))


def escaped(text: str) -> str:
    """A text, or some of it, as it stands between the quotes of a string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def repaired(written: str) -> str | None:
    """A whole text as the one JSON value that it is, None when it is none or is nested beyond what everybody reads."""
    source = Source()
    source.feed(written)
    source.is_over = True
    kept: list[str] = []
    scan = value(source, kept.append)
    try:
        next(scan)
    except StopIteration:
        source.run(_BLANKS)
        return None if source.waiting else "".join(kept).strip()
    except (Ended, Unexpected):
        return None
    raise AssertionError("a text that is over needs no more")


def _goes_on(source: Source, put: Put, open_until: list[str]) -> Scan[bool]:
    """After a value: close what ends here. Whether another value follows."""
    while open_until:
        put((yield from source.blanks()))
        char = yield from source.next()
        if char == open_until[-1]:
            put(source.take(1))
            open_until.pop()
            continue
        if char != ",":
            raise Unexpected
        put(source.take(1))
        if open_until[-1] == "}":
            put((yield from source.blanks()))
            yield from _key(source, put)
        return True
    return False


def _key(source: Source, put: Put) -> Scan[None]:
    yield from string(source, put)
    put((yield from source.blanks()))
    if (yield from source.next()) != ":":
        raise Unexpected
    put(source.take(1))


def _word(source: Source, put: Put) -> Scan[None]:
    """A number, or true, false or null."""
    word = yield from source.word(_WORD, _LONGEST_WORD)
    known = _WORDS.get(word)
    if known is None and (len(word) > _LONGEST_WORD or not _NUMBER.fullmatch(word)):
        if not source.waiting and source.is_over:
            raise Ended
        raise Unexpected(word)
    put(known or word)


def _escape(source: Source, put: Put) -> Scan[None]:
    source.take(1)
    char = yield from source.next()
    if char in '"\\/bfnrt':
        put("\\" + source.take(1))
    elif char != "u":
        put("'" if char == "'" else "\\\\")
        if char == "'":
            source.take(1)
    else:
        source.take(1)
        yield from _code_point(source, put)


def _code_point(source: Source, put: Put) -> Scan[None]:
    """What follows a backslash and a u: digits, for some characters in two halves. A half alone is no character."""
    first = ""
    while True:
        digits = yield from _digits(source)
        code = int(digits, 16) if len(digits) == 4 else 0
        if first:
            if 0xDC00 <= code < 0xE000:
                put(f"\\u{first}\\u{digits}")
                return
            put("\\ufffd")
            first = ""
        if len(digits) < 4:
            put(f"\\\\u{digits}")
        elif 0xD800 <= code < 0xDC00:
            first = digits
            if (yield from source.skips("\\u")):
                continue
            put("\\ufffd")
        else:
            put("\\ufffd" if 0xDC00 <= code < 0xE000 else f"\\u{digits}")
        return


def _digits(source: Source) -> Scan[str]:
    """Four hexadecimal digits, or as many as there are."""
    digits = ""
    while len(digits) < 4 and _HEX.fullmatch((yield from source.next())):
        digits += source.take(1)
    return digits
