"""What the constants in a Go template's braces are worth: texts, characters and numbers."""

from __future__ import annotations

import re

from runner.prompt.go_scan import GoFault, Token

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_ESCAPED = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"',
}  # fmt: skip


def unquoted(token: Token) -> str:
    """The text that stands in quotes. Raises GoFault."""
    inner = token.text[1:-1]
    if token.kind == "raw":
        return inner.replace("\r", "")

    def meant(match: re.Match[str]) -> str:
        two, four, eight, octal, one = match.groups()
        if one is not None:
            if one not in _ESCAPED:
                raise GoFault(token.line, f"\\{one} means nothing in a text")
            return _ESCAPED[one]
        code = int(octal, 8) if octal else int(two or four or eight, 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise GoFault(token.line, f"{match[0]} is no character")
        return chr(code)

    return _ESCAPE.sub(meant, inner)


def character(token: Token) -> int:
    """The number of a character in single quotes. Raises GoFault."""
    text = unquoted(token)
    if len(text) != 1:
        raise GoFault(token.line, f"{token.text[:20]} is not one character")
    return ord(text)


def number(token: Token) -> int | float:
    """What a number is worth. Raises GoFault."""
    text = token.text.replace("_", "")
    if len(text) > 40:
        raise GoFault(token.line, "a number is too long")
    try:
        if "x" in text.lower():
            return int(text, 16)
        return float(text) if any(sign in text for sign in ".eE") else int(text)
    except ValueError:
        raise GoFault(token.line, f"{text} is no number") from None
