"""Standard output is data, standard error is talk. Tables, JSON, one-line errors, and text made safe for a terminal.

Whatever came over the network is a stranger's text: no control sequence of its gets to a terminal. Knows no daemon.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from runner.cli.failures import Failure

_GAP = "    "
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
    """A line of talk to standard error: progress, notes, what happens next."""
    print(printable(text), file=sys.stderr, flush=True)


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


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns under their heads, left-aligned, with nothing that a script would have to strip."""
    lines = [tuple(heads), *(tuple(on_one_line(cell) for cell in row) for row in rows)]
    widths = [max(len(cells[column]) for cells in lines) for column in range(len(heads))]
    for cells in lines:
        line(_GAP.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
