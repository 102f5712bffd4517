"""Code as HTML with a class for each kind of token, in bounded time. The classes' colours are in `colours`.

Loads Pygments when it is imported: import it on use.
"""

from __future__ import annotations

import functools
import time
from html import escape

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES, _TokenType
from pygments.util import ClassNotFound

_LONGEST = 40_000  # characters of code: more are shown as they are
_LONGEST_LINE = 2_000  # some lexers' patterns take a square of a line's length
LANGUAGES = frozenset(
    """
    bash c c# c++ clojure cmake console cpp cs csharp css dart diff docker dockerfile elixir erlang go golang
    graphql groovy haskell hs html ini java javascript js json jsx julia kotlin less lua make makefile matlab nginx
    objective-c ocaml perl php posh powershell protobuf ps1 py pycon python python3 r rb rs ruby rust scss sh
    shell sql swift terraform tex toml ts tsx typescript vue xml yaml yml zig zsh
    """.split()
)
"""Those that are coloured, all of them timed on hostile code. Pygments knows hundreds more, and a pattern of some
(Fish's, Scala's) takes for ever on a row of backslashes, which no deadline can end."""


_UNMARKED = frozenset({"", "err", "n", "o", "p", "w"})  # they look like any text, so they cost no element


class TooSlow(Exception):
    """A text takes longer than it may."""


def highlighted(code: str, language: str, deadline: float) -> str:
    """Code as escaped HTML, with spans where the language is known and the code isn't too long.

    Code that isn't done by the deadline (by `time.monotonic`) goes on without colours.
    """
    lexer = _lexer(language.lower())
    if lexer is None or len(code) > _LONGEST or max(map(len, code.split("\n"))) > _LONGEST_LINE:
        return escape(code)
    parts: list[str] = []
    done = 0
    code = code.replace("\r\n", "\n").replace("\r", "\n")
    for at, kind, text in lexer.get_tokens_unprocessed(code):
        if time.monotonic() > deadline:
            break
        name = _class_of(kind)
        parts.append(escape(text) if name in _UNMARKED else f'<span class="{name}">{escape(text)}</span>')
        done = at + len(text)
    return "".join(parts) + escape(code[done:])


@functools.cache
def _lexer(language: str) -> Lexer | None:
    if language not in LANGUAGES:
        return None
    try:
        return get_lexer_by_name(language)
    except ClassNotFound:  # an older or newer Pygments may lack one
        return None


@functools.cache
def _class_of(kind: _TokenType) -> str:
    """The short name of a kind, or of the nearest one above it that has one."""
    above: _TokenType | None = kind
    while above is not None and above not in STANDARD_TYPES:
        above = above.parent
    return STANDARD_TYPES[above] if above is not None else ""
