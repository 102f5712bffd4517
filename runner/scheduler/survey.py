"""What the plan is told: the heads of the queue, the fleet, and how much room there is.

Reads the scheduler's state and the machine's memory, and changes neither. Decides nothing.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

from runner.protocol.options import LoadOptions
from runner.scheduler import memory
from runner.scheduler.fleet import Fleet, Member
from runner.scheduler.memory import Fitted, Footprint, Lack, Room
from runner.scheduler.pace import Pace
from runner.scheduler.plan import Decision, Hold, Loaded, Serve, Snapshot, Waiting
from runner.scheduler.queue import Queue
from runner.scheduler.recovery import Recovery
from runner.scheduler.stock import Stock
from runner.scheduler.ticket import Ticket, Want

_SHORTEST_HOLD, _LONGEST_HOLD = 0.5, 4.0  # seconds
_NOBODY = 2**62  # the id of a request that nobody made
_VALID = 0.25  # seconds that a measurement holds
_MOST_AGE = 10.0  # seconds that a reading may be older than the loads under way, to plan further ones by it
_REMEMBERED = 64  # answers of what fits
_ENOUGH = 1024  # requests of which it is known that they fit, beside those that wait
_AT_ONCE = 4  # answers to be found at one time, some milliseconds each, about requests whose turn hasn't come
_LATER = 0.05  # seconds until the next ones
_LIKE = 8  # a pool is as large as it was if it has lost less than one part of so many

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
        self._fresh_at = -math.inf  # when a reading was last taken that loads may be planned by
        self._is_stale = False
        self._answers: OrderedDict[_Question, Fitted | None] = OrderedDict()
        self._enough: OrderedDict[tuple[str, LoadOptions, bool], Room] = OrderedDict()  # room that a request fits in
        self._found = 0  # answers, at this time
        self._is_behind = False  # there were more to be found

    def snapshot(self, now: float) -> Snapshot:
        """Everything as it stands."""
        if now != self._now:
            self._found, self._is_behind = 0, False
        self._now = now
        windows = {m.key: self._recovery.window(m.key, m.window, len(m.inside), now) for m in self._fleet}
        heads = self._recovery.fronts(self._queue.heads({m.key: windows[m.key] - len(m.inside) for m in self._fleet}))
        self._measure(now, (ticket.want for line in heads for ticket in line))
        if not self._capacity:  # nobody is loaded for, or refused, before the first reading
            heads = [line for line in heads if self._fleet.of(line[0].want.key) is not None]
        return Snapshot(
            lines=[[self._waiting(ticket) for ticket in line] for line in heads],
            fleet=[self._loaded(member, windows[member.key], now) for member in self._fleet],
            limit=self.limit,
            capacity=self._capacity,
            fits=self.fits,
            now=now,
            is_known=self._is_known,
        )

    def foresee(self, want: Want, now: float) -> Snapshot:
        """As `snapshot`, if nobody waited but somebody with this want. Workers that others wait for count as busy."""
        self._measure(now, (want,), asks=True)
        found = self.snapshot(now)
        fleet = [
            replace(each, inside=each.inside or len(self._queue.line(each.key))) if each.key != want.key else each
            for each in found.fleet
        ]
        return replace(found, lines=[[Waiting(_NOBODY, want)]], fleet=fleet, capacity=self._capacity)

    def forget(self) -> None:
        """What was read may not hold any more: how much models may take has been changed."""
        self._measured = frozenset(), -math.inf

    def allowed(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Those that may be carried out now. By a reading that is too old nobody is loaded for, evicted or refused: a
        new one is on its way. Everybody keeps his turn, and workers that are there go on."""
        return [each for each in decisions if not self._is_stale or isinstance(each, Serve | Hold)]

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
        room = self._allowed(want, room)
        asked = (want.footprint, want.load.options, want.load.embedding, frozenset(room.items()))
        if asked not in self._answers:
            self._found += 1
            self._answers[asked] = memory.place(
                want.footprint, want.load.options, self._stock.devices(), room, splits=not want.load.embedding
            )
            if len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        if (found := self._answers[asked]) is not None:
            self._enough[want.digest, want.load.options, want.load.embedding] = room
            if len(self._enough) > _ENOUGH + len(self._queue):
                self._enough.popitem(last=False)
        return found

    def _is_known(self, want: Want, room: Room) -> bool:
        """Whether a request fits in this room or one much like it, as was found before. Also where too much has been
        looked for already at this time: then `next_stale` is soon."""
        enough = self._enough.get((want.digest, want.load.options, want.load.embedding))
        if enough is not None and all(room.get(pool, 0) >= size - size // _LIKE for pool, size in enough.items()):
            return True
        self._is_behind |= self._found >= _AT_ONCE
        return self._found >= _AT_ONCE

    def _allowed(self, want: Want, room: Room) -> Room:
        """What of a room a model may take after it ran out of memory."""
        small = self._recovery.small(want.key, self._now)
        return room if small is None else {pool: min(size, small.most.get(pool, size)) for pool, size in room.items()}

    def lack(self, want: Want, room: Room) -> Lack:
        """Which pool decides whether a request's model fits within this room, and by how much."""
        room = self._allowed(want, room)
        return memory.lack(want.footprint, want.load.options, self._stock.devices(), room)

    def least(self, want: Want) -> int:
        """Bytes of the host's memory that the smallest load for a request takes on the CPU alone."""
        return memory.least(want.footprint, want.load.options).host

    def reload(self, member: Member) -> float:
        """Seconds that it would take to have a worker back."""
        return self._pace.load(member.key, member.need.weights)

    def hold(self, want: Want) -> float:
        """Seconds that a swap lets others be served before it: as long as its load takes, within bounds."""
        return _hold(self._pace.load(want.key, want.footprint.weights))

    def next_stale(self, now: float) -> float | None:
        """When the next worker is fresh no longer, as far as that changes anything for somebody, or there is more to be
        found out."""
        if self._is_behind:
            return now + _LATER
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
            is_pinned=self._fleet.is_kept(member, self._pinned),
            fresh=self._fresh(member),
        )

    def _measure(self, now: float, wants: Iterable[Want], *, asks: bool = False) -> None:
        """Bytes for all models together, measured only for somebody whose model isn't there as it has to be, and for
        who only asks.

        And only while no load is half done, since part of its memory would count twice or not at all; and not for every
        event while the same workers are there.
        """
        there = [member for member in self._fleet if member.ready is not None]  # who stops has all until it is gone
        held = [(member.taken, member.load.options.use_mmap) for member in there]
        self._stock.holds(memory.room_with({}, held))
        if not asks and not any(map(self._lacks, wants)):
            return
        if len(there) < len(self._fleet):
            begun = min(member.began for member in self._fleet if member.ready is None)
            self._is_stale = begun - self._fresh_at > _MOST_AGE
            return
        workers = frozenset(member.run for member in self._fleet)
        is_recent = workers == self._measured[0] and 0 <= now - self._measured[1] < _VALID
        if is_recent and not self._is_stale:
            return
        self._is_stale = not self._stock.is_fresh()
        if self._is_stale and (is_recent or not self._capacity):
            return
        self._measured = workers, now
        if not self._is_stale:
            self._fresh_at = now
        self._capacity = memory.room_with(self._stock.room(), held)
        self._answers.clear()

    def _lacks(self, want: Want) -> bool:
        member = self._fleet.of(want.key)
        return member is None or member.state == "stopping" or not want.is_served_by(member.digest, member.load)


def _hold(load: float) -> float:
    return min(_LONGEST_HOLD, max(_SHORTEST_HOLD, load))
