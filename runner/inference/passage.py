"""How far one caller's request has come on its way to a worker: its place at arrival, how long it waited, cold or warm.

Whoever serves a request opens a Passage for it (`PASSAGE`); what is submitted in that context is noted there. So an
answer's head can tell it, whichever endpoint was called; the ledger's entry hears of it as well. Knows no wire.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from runner.inference.entry import ENTRY, Leg
from runner.scheduler.loop import Scheduler
from runner.scheduler.stream import Stream
from runner.scheduler.ticket import Admission, Want


@dataclass(slots=True)
class Passage:
    """Of several requests that one caller's is made of, the longest way counts.

    `position` is how many were ahead at arrival, `eta` in how many seconds its turn was expected then, and `waited` the
    seconds that it waited in the queue, a load of its model included; None while nothing is known.
    """

    position: int | None = None
    eta: float | None = None
    waited: float | None = None
    is_cold: bool = False  # its model wasn't loaded, or had to be loaded anew
    _outside: int = 0  # requests that no worker has yet

    def arrives(self, *, is_loaded: bool) -> None:
        """A request is about to be submitted."""
        self.is_cold |= not is_loaded
        self._outside += 1

    def stands(self, position: int, eta: float | None) -> None:
        """Where it stood when it had been."""
        if self.position is None or position >= self.position:
            self.position, self.eta = position, eta

    def admitted(self, admission: Admission) -> None:
        """A worker has it. One that is started over was admitted before, and its way was that long already."""
        self._outside -= 1
        self.waited = max(self.waited or 0.0, admission.waited_ns / 1e9)
        self.is_cold |= admission.load_ns > 0

    @property
    def is_over(self) -> bool:
        """Whether every request has been admitted, so that `waited` is what it came to."""
        return self.waited is not None and self._outside <= 0


PASSAGE: ContextVar[Passage | None] = ContextVar("passage", default=None)


@dataclass(frozen=True, slots=True)
class Submitted:
    """A request that the scheduler has: its id, where its events come, and what the ledger is told of it."""

    id: int
    stream: Stream
    leg: Leg


def place() -> int | None:
    """Where a request stands among its caller's, to be asked for before anything is awaited; None outside of a call."""
    entry = ENTRY.get()
    return entry.place() if entry is not None else None


def submit(scheduler: Scheduler, want: Want, place: int | None = None) -> Submitted:
    """Submit a request, the next of its caller's unless it has its `place`. Raises as `Scheduler.submit` does."""
    passage, entry = PASSAGE.get(), ENTRY.get()
    leg = entry.ride(want.model, want.priority, place) if entry is not None else Leg()
    if passage is not None:
        passage.arrives(is_loaded=scheduler.view.is_ready(want.key))

    def admitted(admission: Admission) -> None:
        leg.admitted(admission)
        if passage is not None:
            passage.admitted(admission)

    stream = Stream(admitted)
    request = scheduler.submit(want, stream)
    if entry is not None:
        leg.ticket = scheduler.view.ticket(request)
    if passage is not None:
        _note_place(passage, scheduler, request)
    return Submitted(request, stream, leg)


def _note_place(passage: Passage, scheduler: Scheduler, request: int) -> None:
    standing = scheduler.view.standing(request)
    if standing is None or not standing.position:  # a worker has it already, so nobody was ahead
        passage.stands(0, 0.0)
    else:
        passage.stands(standing.position - 1, standing.eta_seconds)
