"""Text to Modelfile, by Ollama's grammar; every error carries a line and a column.

An instruction starts a line: its name, blanks, and a value up to the end of the line or, where it opens with
one or three `"`, up to a line that ends with the same. There are no escapes. Knows the form only: what a
value must be, `instructions` knows, and whether the files that it names exist, whoever uses it.
"""

import re
from collections.abc import Callable
from typing import Final

from modelfiles.errors import ModelfileError, ParameterError
from modelfiles.instructions import (
    ROLES,
    Adapter,
    Draft,
    From,
    Instruction,
    License,
    Message,
    Modelfile,
    Parameter,
    Parser,
    Renderer,
    Requires,
    System,
    Template,
)
from modelfiles.near import did_you_mean
from modelfiles.parameters import DEPRECATED, PARAMETERS, from_text

_PLAIN: Final[dict[str, Callable[[str], Instruction]]] = {
    "FROM": From,
    "TEMPLATE": Template,
    "SYSTEM": System,
    "ADAPTER": Adapter,
    "LICENSE": License,
    "REQUIRES": Requires,
    "DRAFT": Draft,
    "RENDERER": Renderer,
    "PARSER": Parser,
}
NAMES: Final = (*_PLAIN, "PARAMETER", "MESSAGE")
"""Every instruction's name, in capitals."""

_GAP = re.compile(r"(?:[^\S\r\n]*(?:\#[^\r\n]*)?(?:\r\n|\r|\n))*[^\S\r\n]*(?:\#[^\r\n]*\Z)?")
_BLANKS = re.compile(r"[^\S\r\n]*")
_WORD = re.compile(r"\S+")
_LINE = re.compile(r"[^\r\n]*")
_BREAK = re.compile(r"\r\n|\r|\n")
# A quotation ends where a line ends with its quotes. Quotes elsewhere are part of the text.
_CLOSING = {quotes: re.compile(quotes + r"(?=[^\S\r\n]*(?:[\r\n]|\Z))") for quotes in ('"', '"""')}


def parse(source: str | bytes) -> Modelfile:
    """The Modelfile that `source` writes; bytes are UTF-8, or UTF-16 when they open with its byte order mark.

    Raises ModelfileError with the place of the first fault.
    """
    reader = _Reader(_decode(source) if isinstance(source, bytes) else source.removeprefix("\ufeff"))
    instructions: list[Instruction] = []
    while not reader.at_end():
        instructions.append(reader.instruction())
    if not any(isinstance(each, From) for each in instructions):
        raise ModelfileError("there is no FROM, which says what the model is made of", 1, 1)
    return Modelfile(tuple(instructions))


class _Reader:
    """A position in the text, moved on by each method past what it reads."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def at_end(self) -> bool:
        """Move past blank lines and comments; True when nothing follows."""
        self._skip(_GAP)
        return self._at == len(self._text)

    def instruction(self) -> Instruction:
        """The instruction that starts here; `at_end` has just been False."""
        start = self._at
        word = self._skip(_WORD)
        name = word.upper()
        if name == "PARAMETER":
            return self._parameter()
        if name == "MESSAGE":
            return self._message()
        if name not in _PLAIN:
            hint = did_you_mean(name, NAMES) or '; a text of several lines goes between """ and """'
            raise self._fault(f"unknown instruction {word[:40]!r}{hint}", start)
        value, place = self._value(name)
        return self._built(lambda: _PLAIN[name](value), place)

    def _parameter(self) -> Instruction:
        self._skip(_BLANKS)
        start = self._at
        name = self._skip(_WORD).lower()
        if not name:
            raise self._fault("PARAMETER needs a name and a value", start)
        if name not in PARAMETERS and name not in DEPRECATED:
            raise self._fault(f"unknown parameter {name[:40]!r}{did_you_mean(name, PARAMETERS)}", start)
        value, place = self._value(f"PARAMETER {name}")
        if name in DEPRECATED:
            return self._built(lambda: Parameter(name, value), place)
        return self._built(lambda: Parameter(name, from_text(name, value)), place)

    def _message(self) -> Instruction:
        self._skip(_BLANKS)
        start = self._at
        role = self._skip(_WORD).lower()
        if not role:
            raise self._fault("MESSAGE needs a role and a text", start)
        if role not in ROLES:
            raise self._fault(f"unknown role {role[:40]!r}: it must be one of {', '.join(ROLES)}", start)
        content, place = self._value(f"MESSAGE {role}")
        return self._built(lambda: Message(role, content), place)

    def _value(self, owner: str) -> tuple[str, int]:
        """The value after `owner`, unquoted, and where it starts.

        `SYSTEM` alone is an error and `SYSTEM` with a blank after it is empty: Ollama prints empty values so.
        """
        before = self._at
        self._skip(_BLANKS)
        start = self._at
        line = self._skip(_LINE)
        if not line and start == before:
            raise self._fault(f"{owner} needs a value", start)
        quotes = '"""' if line.startswith('"""') else '"'
        if not line.startswith(quotes) or _quotes_only_a_part(line):
            return line.rstrip(), start
        closing = _CLOSING[quotes].search(self._text, start + len(quotes))
        if closing is None:
            raise self._fault(f"{quotes} opens a text here, and no line ends with {quotes} to close it", start)
        self._at = closing.end()
        self._skip(_BLANKS)
        return self._text[start + len(quotes) : closing.start()], start

    def _built(self, build: Callable[[], Instruction], place: int) -> Instruction:
        try:
            return build()
        except ParameterError as fault:
            raise self._fault(str(fault), place) from fault
        except ModelfileError as fault:
            raise self._fault(fault.message, place) from fault

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match.group()

    def _fault(self, message: str, offset: int) -> ModelfileError:
        return ModelfileError(message, *_place(self._text, offset))


def _quotes_only_a_part(line: str) -> bool:
    """True for a line such as `"Hm" is all it says.`, as Ollama prints a value that opens with a quotation.

    Ollama itself would read on until some later line ends with a quote, and swallow what lies between.
    """
    return not line.startswith('"""') and '"' in line[1:] and not line.rstrip().endswith('"')


def _decode(source: bytes) -> str:
    if source.startswith(b"GGUF"):
        raise ModelfileError("a GGUF file, not a Modelfile; write a Modelfile that says FROM and its path", 1, 1)
    encoding = "utf-16" if source.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return source.decode(encoding)
    except UnicodeDecodeError as fault:
        readable = bytes(fault.object[: fault.start]).decode(encoding, "ignore")  # counted without the mark
        name = "UTF-16" if encoding == "utf-16" else "UTF-8"
        raise ModelfileError(f"not text: invalid {name}", *_place(readable, len(readable))) from fault


def _place(text: str, offset: int) -> tuple[int, int]:
    """The 1-based line and column, in characters, of an offset."""
    breaks = [match.end() for match in _BREAK.finditer(text, 0, offset)]
    return len(breaks) + 1, offset - (breaks[-1] if breaks else 0) + 1
