"""What to do next about those who wait: a pure function of a snapshot.

Those who wait are looked at in order of arrival. Each is served, refused, gets a load begun or room made for one, or
waits. The first who waits for a model that nothing idle can make room for stops the round: nobody who came after it is
admitted anywhere, so the busy models drain and its turn comes.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner.protocol.commands import Load as LoadCommand
from runner.scheduler.fleet import State
from runner.scheduler.memory import Need, least
from runner.scheduler.ticket import Want


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request in the queue. Smaller ids came earlier."""

    id: int
    want: Want


@dataclass(frozen=True, slots=True)
class Loaded:
    """A worker as the plan sees it. It may hold `window` requests and holds `inside`."""

    key: str
    digest: str
    state: State
    load: LoadCommand
    need: Need
    inside: int
    window: int
    last_used: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The heads of the waiting lines (each one worker's, first come first), the fleet, and the limits.

    `limit` workers may be loaded at once, and `capacity` bytes are there for all of them together.
    """

    lines: Sequence[Sequence[Waiting]]
    fleet: Sequence[Loaded]
    limit: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Serve:
    """Hand the request to its worker."""

    id: int


@dataclass(frozen=True, slots=True)
class Load:
    """Begin a load for this request, within `room` bytes. The request goes on waiting."""

    id: int
    room: int


@dataclass(frozen=True, slots=True)
class Evict:
    """Stop this idle (or unwanted) worker: the request `by` needs its place."""

    key: str
    by: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Refuse:
    """Even alone on this machine the model would not fit."""

    id: int
    need: int
    have: int


Decision = Serve | Load | Evict | Refuse


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would be decided for a request. A load of its model takes at least `need` bytes, and beside the workers
    there are `have` left; None where nobody knows, since a device takes a part."""

    decisions: tuple[Decision, ...]
    need: int
    have: int | None


def plan(snapshot: Snapshot) -> list[Decision]:
    """Decide everything that can be decided now, in the order in which to do it."""
    lines = [list(line) for line in snapshot.lines if line]
    room = _Room(snapshot, wanted={line[0].want.key for line in lines})
    decisions: list[Decision] = []
    order = [(line[0].id, index, 0) for index, line in enumerate(lines)]
    heapq.heapify(order)
    while order:
        _, index, place = heapq.heappop(order)
        line = lines[index]
        made, settled = room.place(line[place])
        decisions += made
        if room.is_over:
            break
        if settled and place + 1 < len(line):  # nobody overtakes within a line, so only then look at the next
            heapq.heappush(order, (line[place + 1].id, index, place + 1))
    return decisions


class _Room:
    """The fleet as it will be once the decisions made so far are carried out.

    `_claims` are the loads that earlier requests will begin as soon as somebody who is stopping has gone. `is_over`
    ends the round: somebody is blocked, or a load was begun and its true size has to be known before going on.
    """

    def __init__(self, snapshot: Snapshot, wanted: set[str]) -> None:
        self.is_over = False
        self._limit = max(1, snapshot.limit)
        self._capacity = snapshot.capacity
        self._wanted = wanted
        self._inside: dict[str, int] = {loaded.key: loaded.inside for loaded in snapshot.fleet}
        self._present: dict[str, int] = {loaded.key: loaded.need.total for loaded in snapshot.fleet}
        self._staying: Mapping[str, Loaded] = {m.key: m for m in snapshot.fleet if m.state != "stopping"}
        self._leaving: set[str] = {m.key for m in snapshot.fleet if m.state == "stopping"}
        self._claims: list[int] = []

    def place(self, waiting: Waiting) -> tuple[list[Decision], bool]:
        """What to do for this request, and whether it no longer waits after that."""
        want = waiting.want
        loaded = self._staying.get(want.key)
        if loaded is None or want.key in self._leaving:
            return self._make_room(waiting)
        if not want.is_served_by(loaded.digest, loaded.load):
            return self._replace(waiting, loaded), False
        if loaded.state == "loading":
            return [], False
        if want.work is not None:
            if self._inside[want.key] >= loaded.window:
                return [], False
            self._inside[want.key] += 1
        return [Serve(waiting.id)], True

    def _replace(self, waiting: Waiting, loaded: Loaded) -> list[Decision]:
        """The model is loaded in a way that won't do: stop it when it is idle, then load it again."""
        if loaded.state == "loading" or self._inside[loaded.key]:
            return []
        self._leave(loaded)
        self._claims.append(least(waiting.want.footprint, waiting.want.load.options).total)
        return [Evict(loaded.key, waiting.id)]

    def _make_room(self, waiting: Waiting) -> tuple[list[Decision], bool]:
        bytes_needed = least(waiting.want.footprint, waiting.want.load.options).total
        if bytes_needed > self._capacity:
            return [Refuse(waiting.id, bytes_needed, self._capacity)], True
        held = sum(self._present.values()) + sum(self._claims)
        count = len(self._present) + len(self._claims)
        is_there = waiting.want.key in self._present  # its old worker is still stopping
        if not is_there and count < self._limit and held + bytes_needed <= self._capacity:
            self.is_over = True
            return [Load(waiting.id, self._capacity - held)], False
        victims: list[Loaded] = []
        for candidate in [None, *self._evictable(waiting)]:
            if candidate is not None:
                victims.append(candidate)
            if self._would_fit(bytes_needed, victims):
                for victim in victims:
                    self._leave(victim)
                self._claims.append(bytes_needed)
                return [Evict(victim.key, waiting.id) for victim in victims], False
        self.is_over = True
        return [], False

    def _would_fit(self, bytes_needed: int, victims: Sequence[Loaded]) -> bool:
        """Whether there is room once these, and all who are stopping already, have gone."""
        out = self._leaving | {victim.key for victim in victims}
        held = [size for key, size in self._present.items() if key not in out]
        held += self._claims
        return len(held) < self._limit and sum(held) + bytes_needed <= self._capacity

    def _evictable(self, waiting: Waiting) -> list[Loaded]:
        """Idle workers, and loads that nobody waits for any more; least recently used first."""
        free = [
            loaded
            for key, loaded in self._staying.items()
            if key not in self._leaving
            and not self._inside[key]
            and (loaded.state == "ready" or key not in self._wanted)
        ]
        return sorted(free, key=lambda loaded: loaded.last_used)

    def _leave(self, loaded: Loaded) -> None:
        self._leaving.add(loaded.key)
