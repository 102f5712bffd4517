"""Rows on a terminal: what is finished is written once and scrolls away, and only the rows below it are painted again.

Moves the cursor no higher than the first row that is still open. Knows nothing of Markdown, of time or of who speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells

_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"  # shown at once where a terminal knows it, ignored where it doesn't
_DIM, _NORMAL = "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its text with its styles, and the cells it takes. A `soft` one is full and goes on in the next."""

    text: str = ""
    cells: int = 0
    soft: bool = False


BLANK = Row()


def wrapped(text: str, width: int, dim: bool = False) -> list[Row]:
    """Plain, printable `text` as rows of at most `width` cells, broken between words where that can be."""
    return [plain(line, dim) for part in text.expandtabs(4).split("\n") for line in lines(part, width)]


def plain(line: str, dim: bool = False) -> Row:
    """One row of printable text that fits."""
    shown = line.rstrip()
    return Row(f"{_DIM}{shown}{_NORMAL}" if dim and shown else shown, cell_len(shown))


def lines(text: str, width: int) -> Iterator[str]:
    """One line of text in lines of at most `width` cells, and of one character at least.

    Only the last one changes when the text goes on.
    """
    while cell_len(text) > width and len(text) > 1:
        head = chop_cells(text, width)[0] or text[0]  # a wide character where one cell is all there is
        at = head.rfind(" ") if text[len(head)] != " " else len(head)
        yield text[: at if at > 0 else len(head)]
        text = text[at + 1 :] if at > 0 else text[len(head) :]
    yield text


class Screen:
    """The rows that are open, as they stand on the terminal; the cursor is at the end of the last one."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._open: list[Row] = [BLANK]
        self._width = 0

    def paint(self, finished: Sequence[Row], still_open: Sequence[Row], size: tuple[int, int]) -> None:
        """Put `finished` where the open rows were, for good, and `still_open` below. `size` is columns and lines."""
        rows = [*finished, *(still_open or (BLANK,))]
        width, height = size
        first = min(self._unchanged(rows), len(rows) - 1) if width == self._width else 0
        text = "".join(self._moves(rows, first, width, height))
        self._open, self._width = list(still_open or (BLANK,)), width
        if text:
            self._write(f"{_BEGIN}{text}{_END}" if "\x1b" in text else text)

    def _unchanged(self, rows: Sequence[Row]) -> int:
        """How many of the open rows stand there already as they shall be."""
        count = 0
        for old, new in zip(self._open, rows, strict=False):
            if old != new:
                break
            count += 1
        return count

    def _moves(self, rows: Sequence[Row], first: int, width: int, height: int) -> Iterator[str]:
        last = len(self._open) - 1
        if first > last:  # nothing changed so far; more comes below
            yield "" if rows[last].soft else "\r\n"
            yield self._joined(rows, first, width)
            return
        if rows == self._open and width == self._width:
            return
        old, new = self._open[last], rows[first]
        if first == last and width == self._width and new.text.startswith(old.text) and old.cells < width:
            yield new.text[len(old.text) :]  # the row only grew
            if len(rows) > first + 1:
                yield "" if new.soft else "\r\n"
                yield self._joined(rows, first + 1, width)
            return
        up = min(self._height(self._open[first:], width) - 1, height - 1)
        fresh = self._open == [BLANK]
        if not fresh:
            yield "\r" + (f"\x1b[{up}A" if up > 0 else "")
        fewer = not fresh and (last > len(rows) - 1 or width != self._width)
        yield "\x1b[J" if fewer else ""
        yield self._joined(rows, first, width, clear=not fresh and not fewer)

    def _height(self, rows: Sequence[Row], width: int) -> int:
        """Lines that `rows` take now; terminals of today break again what has become too long for them."""
        return sum(max(1, -(-row.cells // width)) for row in rows)

    def _joined(self, rows: Sequence[Row], first: int, width: int, clear: bool = False) -> str:
        parts = []
        for place in range(first, len(rows)):
            row = rows[place]
            parts.append(row.text)
            if clear and row.cells < width:  # behind a full row it would take the last character
                parts.append("\x1b[K")
            if place < len(rows) - 1 and not row.soft:
                parts.append("\r\n")
        return "".join(parts)
