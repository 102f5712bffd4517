"""The requests for answers that are under way, and the last ones that have ended: who owns this list is here.

Bounded by the number of ended requests and by the bytes of their texts; the oldest are forgotten first. In memory only:
nothing is ever written. Belongs to the daemon's event loop.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice
from typing import Literal, Protocol

from registry.errors import BadName
from registry.names import Name
from runner.inference.entry import End, Entry, Figures, Source, State
from runner.inference.texts import Room, Texts
from runner.scheduler.standing import Standing

_MESSAGE = 300  # characters of an error that are kept
_CANCELLED = frozenset({"cancelled", "request_cancelled"})
_GONE = 499


class Watcher(Protocol):
    """What the scheduler's view tells of requests under way."""

    def standing(self, request: int) -> Standing | None: ...

    def is_loading(self, key: str) -> bool: ...


class _Nobody:
    """Without a scheduler nobody waits in a queue."""

    def standing(self, request: int) -> Standing | None:
        return None

    def is_loading(self, key: str) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Row:
    """A request as it stands. `position` counts from 1 among those who wait for the same worker, `eta` is in seconds;
    `total` is None until it has ended, `elapsed` is until then or now."""

    entry: Entry
    state: State
    figures: Figures
    position: int | None
    eta: float | None
    total: float | None
    elapsed: float


class Ledger:
    """`kept` is how many ended requests are remembered; with `bodies` also their texts. `clock` is the scheduler's."""

    def __init__(
        self,
        kept: int = 200,
        *,
        bodies: bool = False,
        watcher: Watcher | None = None,
        clock: Callable[[], float] = time.monotonic,
        room: int | None = None,
    ) -> None:
        self.most = kept
        self.bodies = bodies
        self._watcher: Watcher = watcher or _Nobody()
        self._clock = clock
        self._room = Room(forget=self._forget_one) if room is None else Room(room, self._forget_one)
        self._numbers = count(1)
        self._live: dict[str, Entry] = {}
        self._ended: dict[str, Entry] = {}  # in the order of their ends

    @property
    def kept(self) -> int:
        """How many ended requests are remembered now."""
        return len(self._ended)

    @property
    def text_bytes(self) -> int:
        """Bytes of all texts that are held."""
        return self._room.used

    def take(self, kept: int, *, bodies: bool) -> None:
        """Go by other settings from now on. What they don't allow to be held is dropped at once."""
        self.most, self.bodies = kept, bodies
        if not bodies:
            for entry in self._all():
                _drop_texts(entry)
        self._trim()

    def open(self, name: str, source: Source, stop: Callable[[], None]) -> Entry:
        """A request has come. A name that is in use gets a number behind it, so that each entry has its own."""
        number = next(self._numbers)
        identity = name if name not in self._live and name not in self._ended else f"{name}~{number}"
        entry = Entry(identity, number, datetime.now(UTC), self._clock(), source, stop)
        if self.bodies:
            entry.texts = Texts(self._room)
        self._live[identity] = entry
        return entry

    def end(self, entry: Entry, status: int, failure: tuple[str, str] | None = None) -> None:
        """It has ended: with this failure (code and message), or well. A status of 499 means that its client had left
        or that it was cancelled. Only the first word of its end counts."""
        if self._live.pop(entry.id, None) is None:
            return
        code, message = failure or (None, None)
        if status == _GONE or code in _CANCELLED:
            state: State = "cancelled"
        else:
            state = "failed" if failure is not None or status >= 400 else "done"
        entry.close(End(state, status, self._clock(), code, message[:_MESSAGE] if message else message))
        self._ended[entry.id] = entry
        self._trim()

    def find(self, identity: str) -> Row | None:
        """One request that is under way or remembered."""
        entry = self._live.get(identity) or self._ended.get(identity)
        return self.row(entry) if entry is not None else None

    def cancel(self, identity: str) -> Literal["cancelled", "ended", "unknown"]:
        """End a request that is under way: its client is told so, and its worker goes on without it."""
        entry = self._live.get(identity)
        if entry is None:
            return "ended" if identity in self._ended else "unknown"
        if entry.is_told:
            return "ended"
        if not entry.is_cancelled:
            entry.is_cancelled = True
            entry.stop()
        return "cancelled"

    def rows(self, limit: int, *, model: str | None = None, state: State | None = None) -> list[Row]:
        """The newest first, those under way included; of one model, or in one state, if that is given."""
        is_meant = _meant(model)
        found = (
            entry
            for entry in self._all()
            if is_meant(entry) and (state is None or entry.state(self._watcher.is_loading) == state)
        )
        return [self.row(entry) for entry in heapq.nlargest(limit, found, key=lambda entry: entry.number)]

    def under_way(self, limit: int) -> tuple[list[Row], list[Row], int]:
        """Those who wait, in the order of their turns, those who are computed, and how many more there are."""
        waiting: list[Row] = []
        running: list[Row] = []
        for entry in islice(self._live.values(), limit):
            row = self.row(entry)
            (waiting if row.state in ("waiting", "loading") else running).append(row)
        waiting.sort(key=lambda row: (row.position is None, row.position or 0, row.entry.number))
        return waiting, running, max(0, len(self._live) - limit)

    def row(self, entry: Entry) -> Row:
        """An entry as it stands now."""
        now = self._clock() if entry.end is None else entry.end.at
        elapsed = max(0.0, now - entry.began)
        state = entry.state(self._watcher.is_loading)
        position, eta = self._place(entry) if state in ("waiting", "loading") else (None, None)
        return Row(
            entry, state, entry.measured(now), position, eta, elapsed if entry.end is not None else None, elapsed
        )

    def _place(self, entry: Entry) -> tuple[int | None, float | None]:
        """Of several requests that wait, the one whose turn comes last."""
        tickets = [leg.ticket for leg in entry.legs if leg.ticket is not None and leg.ticket.run is None]
        standings = [found for ticket in tickets if (found := self._watcher.standing(ticket.id)) is not None]
        last = max(standings, key=lambda each: each.position, default=None)
        return (last.position, last.eta_seconds) if last is not None and last.position else (None, None)

    def _all(self) -> Iterator[Entry]:
        yield from self._live.values()
        yield from self._ended.values()

    def _trim(self) -> None:
        while len(self._ended) > self.most:
            self._forget_one()

    def _forget_one(self) -> bool:
        """The one that ended longest ago; False if there is none."""
        oldest = next(iter(self._ended), None)
        if oldest is None:
            return False
        _drop_texts(self._ended.pop(oldest))
        return True


def _drop_texts(entry: Entry) -> None:
    if entry.texts is not None:
        entry.texts.drop()
        entry.texts = None


def _meant(model: str | None) -> Callable[[Entry], bool]:
    """Whether an entry is of this model, however its name is written."""
    if model is None:
        return lambda entry: True
    key = _key(model)
    return lambda entry: entry.model == model or _key(entry.model) == key


def _key(model: str) -> object:
    try:
        return Name.parse(model).key
    except BadName:
        return model
