"""What the plan is told: the heads of the queue, the fleet, and how much room there is.

Reads the scheduler's state and the machine's memory, and changes neither. Decides nothing.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Container

from runner.protocol.options import LoadOptions
from runner.scheduler import memory
from runner.scheduler.fleet import Fleet, Member
from runner.scheduler.memory import Footprint
from runner.scheduler.pace import Pace
from runner.scheduler.plan import Fitted, Loaded, Room, Snapshot, Waiting, pools_of
from runner.scheduler.queue import Queue
from runner.scheduler.ticket import Ticket, Want

_UNBOUNDED = 2**62
_SHORTEST_HOLD, _LONGEST_HOLD = 0.5, 4.0  # seconds
_VALID = 0.25  # seconds that a measurement holds
_REMEMBERED = 64  # answers of what fits

_Question = tuple[Footprint, LoadOptions, bool, frozenset[tuple[str, int]]]


class Survey:
    """`available` measures the machine's free memory in bytes; with `offloads`, weights may go to a device whose memory
    isn't known here. `pinned` are full names of models, of the caller's."""

    def __init__(
        self,
        queue: Queue,
        fleet: Fleet,
        pace: Pace,
        available: Callable[[], int],
        pinned: Container[str],
        *,
        limit: int,
        offloads: bool,
    ) -> None:
        self._queue = queue
        self._fleet = fleet
        self._pace = pace
        self._available = available
        self._pinned = pinned
        self._limit = limit
        self._offloads = offloads
        self._capacity: Room = {"host": 0}
        self._measured: tuple[frozenset[int], float] = (frozenset(), -math.inf)
        self._answers: OrderedDict[_Question, Fitted | None] = OrderedDict()

    def snapshot(self, now: float) -> Snapshot:
        """Everything as it stands."""
        if self._offloads:  # what is available then may have changed since
            self._answers.clear()
            self._capacity = {"host": _UNBOUNDED}
        else:
            self._measure(now)
        heads = self._queue.heads({member.key: member.window - len(member.inside) for member in self._fleet})
        return Snapshot(
            lines=[[self._waiting(ticket) for ticket in line] for line in heads],
            fleet=[self._loaded(member, now) for member in self._fleet],
            limit=self._limit,
            capacity=self._capacity,
            fits=self.fits,
            now=now,
        )

    def fits(self, want: Want, room: Room) -> Fitted | None:
        """The best load for a request within this room; None if not even the smallest fits."""
        asked = (want.footprint, want.load.options, want.load.embedding, frozenset(room.items()))
        if asked not in self._answers:
            self._answers[asked] = self._fit(want, room["host"])
            if len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        return self._answers[asked]

    def shortage(self, want: Want) -> tuple[int, int]:
        """Bytes that the smallest load for a request takes, and bytes that there are for all models together."""
        return memory.least(want.footprint, want.load.options).total, sum(self._capacity.values())

    def reload(self, member: Member) -> float:
        """Seconds that it would take to have a worker back."""
        return self._pace.load(member.key, member.need.weights)

    def hold(self, want: Want) -> float:
        """Seconds that a swap lets others be served before it: as long as its load takes, within bounds."""
        return _hold(self._pace.load(want.key, want.footprint.weights))

    def next_stale(self, now: float) -> float | None:
        """When the next worker is fresh no longer, as far as that changes anything for somebody."""
        times = [self._fresh(member) for member in self._fleet if member.state == "ready"] if len(self._queue) else []
        return min((time for time in times if time > now), default=None)

    def _fresh(self, member: Member) -> float:
        return member.ready_at + _hold(self.reload(member))

    def _fit(self, want: Want, host: int) -> Fitted | None:
        if memory.least(want.footprint, want.load.options).total > host:
            return None
        room = min(host, self._available()) if self._offloads else host
        options = memory.fit(want.footprint, want.load.options, room, splits=not want.load.embedding)
        return Fitted(options, want.load.placement, memory.need(want.footprint, options))

    def _waiting(self, ticket: Ticket) -> Waiting:
        return Waiting(ticket.id, ticket.want, (ticket.rank, self._queue.share(ticket)), ticket.hold)

    def _loaded(self, member: Member, now: float) -> Loaded:
        return Loaded(
            member.key,
            member.digest,
            member.state,
            member.load,
            pools_of(member.need),
            len(member.inside),
            member.window,
            idle=now - member.last_used,
            reload=self.reload(member),
            model=member.model,
            is_pinned=any(model in self._pinned for model in member.models),
            fresh=self._fresh(member),
        )

    def _measure(self, now: float) -> None:
        """Bytes for all models together, measured only for somebody whose model isn't there as it has to be.

        And only when no load or stop is half done, since part of its memory would count twice or not at all; and not
        for every event while the same workers are there.
        """
        is_settled = self._capacity["host"] == 0 or all(member.state == "ready" for member in self._fleet)
        if not is_settled or not any(self._lacks(head.want) for (head,) in self._queue.heads({})):
            return
        workers = frozenset(member.run for member in self._fleet)
        if workers == self._measured[0] and 0 <= now - self._measured[1] < _VALID:
            return
        self._measured = workers, now
        ready = [(m.taken, m.load.options.use_mmap) for m in self._fleet if m.state == "ready"]
        self._capacity = {"host": memory.capacity(self._available(), ready)}
        self._answers.clear()

    def _lacks(self, want: Want) -> bool:
        member = self._fleet.of(want.key)
        return member is None or member.state == "stopping" or not want.is_served_by(member.digest, member.load)


def _hold(load: float) -> float:
    return min(_LONGEST_HOLD, max(_SHORTEST_HOLD, load))
