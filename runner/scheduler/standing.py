"""Where a request stands, and when its turn will come: an estimate from what was measured. Pure, and changes nothing.

Good to the extent that requests and loads go on as the last ones did.
"""

from __future__ import annotations

from dataclasses import dataclass

from runner.scheduler.fleet import Fleet, Member
from runner.scheduler.pace import Pace
from runner.scheduler.queue import Queue
from runner.scheduler.ticket import Ticket, Want

_STAY = 1.0  # seconds that a worker keeps a request, until one has been measured
_WINDOW = 16  # requests that a worker holds, until it has said how many


@dataclass(frozen=True, slots=True)
class Standing:
    """`position` counts from 1 among those who wait for the same worker. `ahead` is how many have to be dealt with
    before: those who wait for it, and those it holds. `eta_seconds` is until the worker takes it, 0 if it has."""

    position: int
    ahead: int
    eta_seconds: float


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a request that came now would have before it: so many who wait for the same worker, and so many seconds
    (None: nobody knows)."""

    waiting: int
    eta: float | None = None


class Outlook:
    """Foresees from the queue, the fleet (at most `limit` workers) and the pace."""

    def __init__(self, queue: Queue, fleet: Fleet, pace: Pace, limit: int) -> None:
        self._queue = queue
        self._fleet = fleet
        self._pace = pace
        self.limit = limit

    def of(self, ticket: Ticket, now: float) -> Standing:
        """Of a ticket that waits, or is about to."""
        before = self._queue.before(ticket)
        member = self._fleet.of(ticket.want.key)
        inside = len(member.inside) if member else 0
        window = (member.window if member else 0) or self._pace.window(ticket.want.key) or _WINDOW
        eta = max(0, before + 1 - (window - inside)) * self._stay(ticket.want.key) / window
        if not (member and member.state == "ready" and ticket.want.is_served_by(member.digest, member.load)):
            eta += self._until_loaded(ticket, member, now)
        return Standing(before + 1, before + inside, eta)

    def _until_loaded(self, ticket: Ticket, member: Member | None, now: float) -> float:
        load = self._load(ticket.want)
        if member is not None and member.state == "loading":
            return max(0.0, load - (now - member.began))
        if member is not None or len(self._fleet) >= self.limit:  # somebody has to finish first
            load += max((self._stay(each.key) for each in self._fleet if each.inside), default=0.0)
        mine = self._turn(ticket)
        ahead = [head for (head,) in self._queue.heads({}) if self._turn(head) < mine]
        swaps = [head for head in ahead if self._fleet.of(head.want.key) is None and head.want.key != ticket.want.key]
        return load + sum(self._load(head.want) + self._stay(head.want.key) for head in swaps)

    def _turn(self, ticket: Ticket) -> tuple[int, int, int]:
        return ticket.rank, self._queue.share(ticket), ticket.id

    def _stay(self, key: str) -> float:
        known = self._pace.stay(key)
        return _STAY if known is None else known

    def _load(self, want: Want) -> float:
        return self._pace.load(want.key, want.footprint.weights)
