"""The table that grows while a run goes on, on a terminal. Reads the board of turns; changes nothing.

Figures of a turn under way are estimates from chunks; the final table counts tokens.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runner.bench.client import Outcome
from runner.bench.clock import WallClock
from runner.bench.report import number
from runner.bench.spread import spread
from runner.bench.turn import Turn

# Drawing takes a few milliseconds in which an answer may have to wait to be noticed, so it isn't done often.
_PER_SECOND = 2
_RECENT = 500  # answers that the figures under way are taken from
_ROWS = 20  # on screen, the latest


class LiveTable:
    """Shows turns as they go. Use with `with`; `printable` makes a stranger's text fit for a terminal."""

    def __init__(self, printable: Callable[[str], str]) -> None:
        self._printable = printable
        self._turns: list[Turn] = []
        self._meeting = ""
        self._clock = WallClock()
        self._live = Live(
            console=Console(file=sys.stderr),
            get_renderable=self._table,
            refresh_per_second=_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def meeting(self, name: str) -> None:
        self._meeting = name

    def began(self, turn: Turn) -> None:
        self._meeting = ""
        self._turns.append(turn)

    def ended(self, turn: Turn) -> None:
        """The next drawing shows it."""

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
        for head in ("LOAD", "SERVER", "ROUND", "DONE", "FAILED", "IN FLIGHT", "TOK/S", "TTFT MS", "E2E MS", "SECONDS"):
            table.add_column(head, no_wrap=True)
        for turn in self._turns[-_ROWS:]:
            table.add_row(*map(Text, self._cells(turn)))
        if self._meeting:
            table.add_row("", Text(self._printable(self._meeting)), Text("getting to know it"))
        return table

    def _cells(self, turn: Turn) -> tuple[str, ...]:
        outcomes = list(turn.outcomes)
        answered = [outcome for outcome in outcomes if outcome.failure is None]
        recent = answered[-_RECENT:]
        ttft = spread(each.first - each.started for each in recent if each.first is not None)
        e2e = spread(each.ended - each.started for each in recent)
        elapsed = (turn.ended or self._clock.now()) - turn.started if turn.started else 0.0
        return (
            str(turn.level),
            self._printable(turn.target),
            str(turn.round + 1),
            f"{len(answered)}/{turn.planned}" if turn.planned is not None else str(len(answered)),
            str(len(outcomes) - len(answered)),
            str(turn.in_flight),
            number(_tokens(turn, answered) / elapsed if elapsed > 0 else None),
            number(ttft.p50 * 1000 if ttft else None),
            number(e2e.p50 * 1000 if e2e else None),
            f"{elapsed:.0f}",
        )


def _tokens(turn: Turn, answered: list[Outcome]) -> float:
    """Tokens so far: counted where the answer is whole, a chunk taken for a token where it isn't."""
    counted = [outcome for outcome in answered if outcome.output_tokens is not None]
    return sum(each.output_tokens or 0 for each in counted) + turn.chunks - sum(each.chunks for each in counted)
