"""An answer drawn while it arrives: Markdown, its thoughts dimmed or folded, on a terminal that takes styles.

A thread of its own paints, so that reading never waits for the terminal: at most 20 times a second, and so that
painting takes no more than a fifth of the time. What is finished is never touched again; what is painted again is
bounded in rows and in characters. Until the drawing is imported, the open text is shown as it is.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from runner.cli.output import printable
from runner.cli.screen.blocks import Block, Blocks
from runner.cli.screen.rows import BLANK, Row, Screen, wrapped
from runner.cli.screen.thinking import Thinking, Thought

if TYPE_CHECKING:
    from runner.cli.screen.markdown import Drawing

_PAUSE = 0.05  # seconds between two paintings, at least
_SHARE = 4  # times as long as a painting took is waited before the next
_MOST_ROWS = 20  # that are open; what an open block has above them is written for good
_STYLES = re.compile(r"\x1b\[[0-9;]*m|\s+")


def prepare() -> None:
    """Begin to import what draws, beside whatever is done next."""
    threading.Thread(target=_load, daemon=True).start()


def _load() -> type[Drawing]:
    from runner.cli.screen.markdown import Drawing

    return Drawing


class Live:
    """Takes thoughts and text as they come, and draws them until `end`. `hint` follows a folded thought."""

    def __init__(self, thinking: Thinking = "show", hint: str = "") -> None:
        self._arrived: deque[tuple[str, bool]] = deque()  # pieces, and whether they are thoughts
        self._wake, self._over = threading.Event(), threading.Event()
        self._drawing: Drawing | None = None
        self._fault: Exception | None = None
        self._screen = Screen(sys.stdout.write)
        self._blocks, self._waiting = Blocks(), list[Block]()
        self._thought = Thought(thinking, hint)
        self._kept = _Kept()
        self._loader = threading.Thread(target=self._import, daemon=True)
        self._painter = threading.Thread(target=self._run, daemon=True)
        self._loader.start()
        self._painter.start()

    def think(self, text: str) -> None:
        """A piece of what it thinks."""
        self._take(text, True)

    def answer(self, text: str) -> None:
        """A piece of the answer."""
        self._take(text, False)

    def end(self) -> None:
        """Draw the rest and leave the cursor on a fresh line. Raises OSError when the terminal is gone."""
        self._over.set()
        self._wake.set()
        self._loader.join()
        self._painter.join()
        if self._fault is not None:
            raise self._fault

    def _take(self, text: str, is_thought: bool) -> None:
        if text:
            self._arrived.append((printable(text), is_thought))
            self._wake.set()

    def _import(self) -> None:
        self._drawing = _load()()
        self._wake.set()  # what was shown as it is can be drawn now

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._wake.wait()
                self._wake.clear()
                started = time.monotonic()
                self._paint()
                self._over.wait(max(_PAUSE, _SHARE * (time.monotonic() - started)))
            self._loader.join()
            self._paint(last=True)
        except Exception as fault:  # noqa: BLE001 - raised again by end()
            self._fault = fault

    def _paint(self, last: bool = False) -> None:
        size = _size()
        arrived = [self._arrived.popleft() for _ in range(len(self._arrived))]  # more may come meanwhile, behind them
        finished = []
        for is_thought, pieces in groupby(arrived, key=lambda piece: piece[1]):
            texts = [text for text, _ in pieces]
            text = "".join(texts)
            if is_thought:
                finished += self._thought.feed(text, len(texts), size[0])
            else:
                finished += self._thought.end(size[0])
                self._waiting += self._blocks.feed(text)
        if last:
            finished += self._thought.end(size[0])
            self._waiting += self._blocks.end()
        more, still_open = self._answer(size)
        finished += more
        if last and still_open:
            finished, still_open = finished + still_open, []
        if not last and self._thought.is_open:
            still_open = self._thought.open(size[0])
        self._screen.paint(finished, still_open, size)
        sys.stdout.flush()

    def _answer(self, size: tuple[int, int]) -> tuple[list[Row], list[Row]]:
        """Rows of the answer that are finished now, and those that are open."""
        width, height = size
        most = max(1, min(_MOST_ROWS, height - 2))
        if self._drawing is None:
            source = "\n".join(block.source for block in (*self._waiting, self._blocks.open))
            return [], wrapped(source, width)[-most:] if source else []
        finished = list(self._drawn(self._drawing, width))
        now = self._blocks.open
        if now.kind == "code":
            rows = self._drawing.open_code(now.source, width)
        else:
            rows = self._kept.rest(_text(self._drawing, now, width), width)
        if len(rows) > most and now.kind == "text":
            finished += self._kept.keep(rows[:-most], width)
            rows = rows[-most:]
        return finished, rows

    def _drawn(self, drawing: Drawing, width: int) -> Iterator[Row]:
        """The blocks that wait; lines of code together, for they are coloured together."""
        waiting, self._waiting = self._waiting, []
        for kind, blocks in groupby(waiting, key=lambda block: block.kind):
            if kind == "code":
                yield from drawing.code([block.source for block in blocks], width)
                continue
            for block in blocks:
                if kind == "fence":
                    yield from [BLANK] if block.gap else []
                    yield from drawing.fence(block.source, width)
                elif kind == "end":
                    yield from drawing.close(block.source, width)
                else:
                    yield from self._kept.rest(_text(drawing, block, width), width)
                    self._kept = _Kept()


def _text(drawing: Drawing, block: Block, width: int) -> list[Row]:
    if not block.source.strip():
        return []
    try:
        rows = drawing.text(block.source, width)
    except Exception:  # noqa: BLE001 - a fault in the drawing must not cost the answer
        rows = wrapped(block.source, width)
    return [BLANK, *rows] if block.gap and rows else rows


def _size() -> tuple[int, int]:
    """Columns and lines as they are now."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return 80, 24
    return size.columns or 80, size.lines or 24


class _Kept:
    """The rows of the open block that were written for good already, because there were too many."""

    def __init__(self) -> None:
        self._rows = self._letters = self._width = 0

    def keep(self, rows: Sequence[Row], width: int) -> Sequence[Row]:
        if width != self._width:
            self._rows, self._width = 0, width  # counted anew from where `rest` began
        self._rows += len(rows)
        self._letters += _letters(rows)
        return rows

    def rest(self, rows: list[Row], width: int) -> list[Row]:
        """What isn't written yet; in a window of another width, found by its letters."""
        if not self._letters:
            return rows
        if width == self._width:
            return rows[self._rows :]
        passed = place = 0
        while place < len(rows) and passed < self._letters:
            passed += _letters(rows[place : place + 1])
            place += 1
        self._rows, self._width = place, width
        return rows[place:]


def _letters(rows: Iterable[Row]) -> int:
    return sum(len(_STYLES.sub("", row.text)) for row in rows)
