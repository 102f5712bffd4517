"""Cells in columns below each other, as cards have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.cli.output import on_one_line

_GAP = "    "


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """A line for each row, its cells left-aligned."""
    lines = [tuple(on_one_line(cell) for cell in row) for row in rows]
    if not lines:
        return []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [_GAP.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in lines]
