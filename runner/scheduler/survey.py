"""What the plan is told: the heads of the queue, the fleet, and how much room there is.

Reads the scheduler's state and the machine's memory, and changes neither. Decides nothing.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Container
from dataclasses import replace

from runner.protocol.options import LoadOptions
from runner.scheduler import memory
from runner.scheduler.fleet import Fleet, Member
from runner.scheduler.memory import Fitted, Footprint, Room
from runner.scheduler.pace import Pace
from runner.scheduler.plan import Loaded, Snapshot, Waiting
from runner.scheduler.queue import Queue
from runner.scheduler.recovery import Recovery
from runner.scheduler.stock import Stock
from runner.scheduler.ticket import Ticket, Want

_SHORTEST_HOLD, _LONGEST_HOLD = 0.5, 4.0  # seconds
_NOBODY = 2**62  # the id of a request that nobody made
_VALID = 0.25  # seconds that a measurement holds
_REMEMBERED = 64  # answers of what fits

_Question = tuple[Footprint, LoadOptions, bool, frozenset[tuple[str, int]]]


class Survey:
    """`stock` takes the readings. `pinned` are full names of models, of the caller's."""

    def __init__(
        self,
        queue: Queue,
        fleet: Fleet,
        pace: Pace,
        stock: Stock,
        pinned: Container[str],
        recovery: Recovery,
        *,
        limit: int,
    ) -> None:
        self._queue = queue
        self._fleet = fleet
        self._pace = pace
        self._stock = stock
        self._pinned = pinned
        self._recovery = recovery
        self.limit = limit
        self._capacity: Room = {}
        self._now = 0.0  # of the latest snapshot
        self._measured: tuple[frozenset[int], float] = (frozenset(), -math.inf)
        self._answers: OrderedDict[_Question, Fitted | None] = OrderedDict()

    def snapshot(self, now: float) -> Snapshot:
        """Everything as it stands."""
        self._now = now
        self._measure(now)
        windows = {m.key: self._recovery.window(m.key, m.window, len(m.inside), now) for m in self._fleet}
        heads = self._recovery.fronts(self._queue.heads({m.key: windows[m.key] - len(m.inside) for m in self._fleet}))
        if not self._capacity:  # nobody is loaded for, or refused, before the first reading
            heads = [line for line in heads if self._fleet.of(line[0].want.key) is not None]
        return Snapshot(
            lines=[[self._waiting(ticket) for ticket in line] for line in heads],
            fleet=[self._loaded(member, windows[member.key], now) for member in self._fleet],
            limit=self.limit,
            capacity=self._capacity,
            fits=self.fits,
            now=now,
        )

    def foresee(self, want: Want, now: float) -> Snapshot:
        """As `snapshot`, if nobody waited but somebody with this want."""
        self._measure(now, want)
        return replace(self.snapshot(now), lines=[[Waiting(_NOBODY, want)]], capacity=self._capacity)

    def whole(self) -> int:
        """Bytes that there are for all models together, of all pools."""
        return sum(self._capacity.values())

    def left(self) -> Room:
        """Bytes of each pool that no worker takes; none before the first reading."""
        left = dict(self._capacity)
        for member in self._fleet:
            for pool, size in member.need.pools.items():
                left[pool] = max(0, left.get(pool, 0) - size)
        return left

    def fits(self, want: Want, room: Room) -> Fitted | None:
        """The best load for a request within this room; None if not even the smallest fits."""
        if (small := self._recovery.small(want.key, self._now)) is not None:
            room = {pool: min(size, small.most) for pool, size in room.items()}
        asked = (want.footprint, want.load.options, want.load.embedding, frozenset(room.items()))
        if asked not in self._answers:
            self._answers[asked] = memory.place(
                want.footprint, want.load.options, self._stock.devices(), room, splits=not want.load.embedding
            )
            if len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        return self._answers[asked]

    def shortage(self, want: Want) -> tuple[int, int]:
        """Bytes that the smallest load for a request takes, and bytes that there are for all models together."""
        need = memory.least(want.footprint, want.load.options, self._stock.devices())
        return need.total, sum(self._capacity.get(pool, 0) for pool in need.pools)

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

    def _waiting(self, ticket: Ticket) -> Waiting:
        return Waiting(ticket.id, ticket.want, (ticket.rank, self._queue.share(ticket)), ticket.hold)

    def _loaded(self, member: Member, window: int, now: float) -> Loaded:
        return Loaded(
            member.key,
            member.digest,
            member.state,
            member.load,
            member.need.pools,
            len(member.inside),
            window,
            idle=now - member.last_used,
            reload=self.reload(member),
            model=member.model,
            is_pinned=any(model in self._pinned for model in member.models),
            fresh=self._fresh(member),
        )

    def _measure(self, now: float, also: Want | None = None) -> None:
        """Bytes for all models together, measured only for somebody (`also`, or in the queue) whose model isn't there
        as it has to be.

        And only when no load or stop is half done, since part of its memory would count twice or not at all; and not
        for every event while the same workers are there.
        """
        is_settled = not self._capacity or all(member.state == "ready" for member in self._fleet)
        wants = [line[0].want for line in self._queue.heads({})] + ([also] if also else [])
        if not is_settled or not any(map(self._lacks, wants)):
            return
        workers = frozenset(member.run for member in self._fleet)
        if workers == self._measured[0] and 0 <= now - self._measured[1] < _VALID:
            return
        ready = [(m.taken, m.load.options.use_mmap) for m in self._fleet if m.state == "ready"]
        self._stock.holds(memory.room_with({}, ready))
        if not self._stock.is_fresh():
            return  # what was read before still counts; whoever reads anew has all be settled again
        self._measured = workers, now
        self._capacity = memory.room_with(self._stock.room(), ready)
        self._answers.clear()

    def _lacks(self, want: Want) -> bool:
        member = self._fleet.of(want.key)
        return member is None or member.state == "stopping" or not want.is_served_by(member.digest, member.load)


def _hold(load: float) -> float:
    return min(_LONGEST_HOLD, max(_SHORTEST_HOLD, load))
