"""Standard output is data, standard error is talk. Tables, JSON, one-line errors, and text made safe for a terminal.

Whatever came over the network is a stranger's text: no control sequence of its gets to a terminal. Knows no daemon.
"""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TextIO

from runner.cli.failures import Failure

_GAP = "    "
_TIGHT = "  "
_LEAST = 20  # columns of a last column that is cut
# C0 and C1 controls and DEL, except line feed and tab: among them ESC, with which every terminal sequence starts.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` without control characters; what a terminal would have obeyed stays to be seen as text.

    Half a surrogate pair, which JSON can carry and no encoding can, becomes U+FFFD.
    """
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", text))


def on_one_line(text: str) -> str:
    """`text` made printable, its line breaks turned into blanks."""
    return printable(" ".join(text.split()))


def may_style(stream: TextIO) -> bool:
    """True when `stream` takes ANSI sequences: a terminal, not a dumb one, and nobody said NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def write(text: str) -> None:
    """Text to standard output at once, made printable when that is a terminal."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else _SURROGATES.sub("\ufffd", text))
    sys.stdout.flush()


def line(text: str) -> None:
    """One line, or several, to standard output."""
    write(text + "\n")


def say(text: str) -> None:
    """A line of talk to standard error: progress, notes, what happens next. A terminal gets it broken between words."""
    shown = printable(text)
    print(folded(shown, columns(sys.stderr)) if sys.stderr.isatty() else shown, file=sys.stderr, flush=True)


def columns(stream: TextIO) -> int:
    """How wide the terminal is that `stream` goes to; 80 where it doesn't say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def folded(text: str, width: int, hang: str = "") -> str:
    """`text` with lines that are longer than `width` broken between words, never inside one.

    What goes on is indented as its line is, and by `hang`.
    """
    return "\n".join(row for each in text.split("\n") for row in _rows(each, width, hang))


def _rows(text: str, width: int, hang: str) -> list[str]:
    if len(text) <= width:
        return [text]
    indent = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text,
        max(width, _LEAST),
        subsequent_indent=indent + hang,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )


def after_interrupt() -> None:
    """Leave the line where the terminal has shown ^C, so that the shell's prompt doesn't follow it."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        say("")


def report(failure: Failure) -> None:
    """The one line that a failed command ends with, and its detail below."""
    say(f"Error: {on_one_line(failure.message)}")
    if failure.detail:
        say(failure.detail.rstrip("\n"))


def data(value: object, indent: int | None = 2) -> None:
    """`value` as JSON on standard output; without `indent`, on one line."""
    line(json.dumps(value, indent=indent, ensure_ascii=False))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], spare: Sequence[str] = ()) -> None:
    """Columns under their heads, left-aligned, with nothing that a script would have to strip.

    A terminal that is too narrow gets smaller gaps; then `spare` columns, by their heads, are cut where they are the
    last one, and else left out, the first of them first.
    """
    lines = [tuple(heads), *(tuple(on_one_line(cell) for cell in row) for row in rows)]
    gap = _GAP
    if sys.stdout.isatty():
        lines, gap = _fitted(lines, columns(sys.stdout), spare)
    widths = _widths(lines)
    for cells in lines:
        line(gap.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _fitted(lines: list[tuple[str, ...]], width: int, spare: Sequence[str]) -> tuple[list[tuple[str, ...]], str]:
    """As much of a table as `width` columns hold, and what goes between its columns."""
    if _total(lines, _GAP) <= width:
        return lines, _GAP
    for head in spare:
        if _total(lines, _TIGHT) <= width:
            break
        at = lines[0].index(head)
        left = width - _total([cells[:-1] for cells in lines], _TIGHT) - len(_TIGHT)
        if at == len(lines[0]) - 1 and left >= _LEAST:
            lines = [
                (*cells[:-1], cells[-1] if len(cells[-1]) <= left else cells[-1][: left - 1] + "…") for cells in lines
            ]
        else:
            lines = [cells[:at] + cells[at + 1 :] for cells in lines]
    return lines, _TIGHT


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*lines, strict=True)]


def _total(lines: Sequence[Sequence[str]], gap: str) -> int:
    widths = _widths(lines)
    return sum(widths) + len(gap) * (len(widths) - 1)
