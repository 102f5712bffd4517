"""Templates of this package, filled. Pure text: knows how each format quotes, and nothing of what is written.

A template holds `{{name}}`. A line that is nothing but a placeholder goes away where its value is empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

_TEMPLATES = Path(__file__).parent / "templates"
_PLACE = re.compile(r"\{\{([a-z_]+)\}\}")
_LONE = re.compile(r"^[ \t]*\{\{([a-z_]+)\}\}[ \t]*\n", re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./$-]+")


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template of that name with every placeholder filled. Raises KeyError for one without a value, and
    ValueError for a value without a place: both are mistakes of ours."""
    text = (_TEMPLATES / template).read_text(encoding="utf-8")
    if unused := sorted(values.keys() - set(_PLACE.findall(text))):
        raise ValueError(f"{template} has no place for {', '.join(unused)}")
    text = _LONE.sub(lambda found: f"{values[found[1]]}\n" if values[found[1]] else "", text)
    return _PLACE.sub(lambda found: values[found[1]], text)


def unit_word(text: str) -> str:
    """One word of a systemd unit, quoted where it has to be: in paths and in Environment=. `%` stands for itself."""
    return _quoted(text.replace("%", "%%"))


def command_words(words: tuple[str, ...]) -> str:
    """The words of an ExecStart=, in which `$` begins a variable as well. `%h/` is left to stand for the home."""
    return " ".join(word if word.startswith("%h/") else _quoted(_escaped(word)) for word in words)


def _escaped(word: str) -> str:
    return word.replace("%", "%%").replace("$", "$$")


def _quoted(word: str) -> str:
    if "\n" in word or "\0" in word:
        raise ValueError("a unit takes no value of several lines")
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def xml_text(text: str) -> str:
    """Text between two tags."""
    return escape(text)
