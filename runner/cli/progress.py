"""What a long transfer looks like: bars on a terminal, a line per step elsewhere, NDJSON for programs.

Reads the daemon's status objects (`status`, and for bytes under way `digest`, `total`, `completed`); knows nothing of
how they come about.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runner.cli import output, wording
from runner.cli.client import Json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Show = Callable[[Json], None]
_RESULT = "success"  # what the last update says


def follow(updates: Iterable[Json], as_json: bool = False) -> None:
    """Show every update until the last."""
    with shown(as_json) as show:
        for update in updates:
            show(update)


@contextmanager
def leaving(words: str) -> Iterator[None]:
    """Say on Ctrl-C what becomes of the work that was left."""
    try:
        yield
    except KeyboardInterrupt:
        output.say(f"interrupted: {words}")
        raise


@contextmanager
def shown(as_json: bool = False) -> Iterator[Show]:
    """The way to show updates that suits whoever reads them."""
    if as_json:
        yield lambda update: output.data(update, indent=None)
    elif output.may_style(sys.stderr):
        bars = _Bars()
        try:
            yield bars
        finally:
            bars.close()
    else:
        yield _Lines()


def _words(update: Json) -> str:
    """The step's words; a digest in them is cut to what people compare."""
    return re.sub(r"sha256:([0-9a-f]{12})[0-9a-f]{52}", r"\1", output.on_one_line(str(update.get("status", ""))))


class _Lines:
    """One line per step; a layer says how large it is when it begins, and how long it took when it ends."""

    def __init__(self) -> None:
        self._said = ""
        self._began: dict[str, float] = {}
        self._ended: set[str] = set()

    def __call__(self, update: Json) -> None:
        status, total = _words(update), update.get("total")
        if not total:
            if status != self._said:
                output.say(status)
                self._said = status
            return
        completed, now = update.get("completed", 0), time.monotonic()
        if status not in self._began:
            self._began[status] = now
            output.say(f"{status}: {wording.size(total)}")
        if completed >= total and status not in self._ended:
            self._ended.add(status)
            took = now - self._began[status]
            if took >= 1:
                output.say(f"{status}: done in {wording.span(took)}")


class _Bars:
    """A line per step in words, and a bar per step in bytes; bars that have ended stay above the words that follow."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._rows: dict[str, TaskID] = {}
        self._said = ""

    def __call__(self, update: Json) -> None:
        status, total = _words(update), update.get("total")
        if total:
            self._bar(status, total, update.get("completed", 0))
        elif status != self._said:
            self._said = status
            # The result is the last line, whatever became of the bars.
            if self._progress is not None and (self._progress.finished or status == _RESULT):
                self.close()
            self._line(status)

    def close(self) -> None:
        """Leave the bars as they are, with the terminal in order."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = None
        self._rows.clear()

    def _bar(self, status: str, total: int, completed: int) -> None:
        if self._progress is None:
            self._progress = _bars()
            self._progress.start()
        row = self._rows.get(status)
        if row is None:
            # What is there already belongs to the start, or it would count as speed.
            row = self._rows[status] = self._progress.add_task(status, total=total, completed=completed)
        # Rich sees only here that a bar is full, also one that begins so.
        self._progress.update(row, total=total, completed=completed)

    def _line(self, status: str) -> None:
        if self._progress is None:
            output.say(status)
        else:
            self._progress.console.print(status, markup=False, highlight=False)


def _bars() -> Progress:
    from rich.console import Console  # on use: rich takes longer to import than `runner list` to run
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    def whole() -> Column:
        return Column(no_wrap=True)

    return Progress(
        TextColumn("{task.description}", markup=False, table_column=whole()),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        TaskProgressColumn(table_column=whole()),
        DownloadColumn(table_column=whole()),
        TransferSpeedColumn(table_column=whole()),
        TimeRemainingColumn(compact=True, table_column=whole()),
        console=Console(stderr=True),
        expand=True,
    )
