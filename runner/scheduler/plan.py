"""What to do next about those who wait: a pure function of a snapshot.

Those who wait are looked at in order: by class, by share, by arrival. Each is served, refused, gets a load begun or
room made for one, or waits. The first who waits for a model that can't have room yet holds up all who come after it: at
first those whose models are loaded are still served, so that not every swap serves one request only; when its hold is
over only those are whose model is fresh from its load, so the busy models drain and its turn comes.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from runner.protocol.commands import Load as LoadCommand
from runner.scheduler.fleet import State
from runner.scheduler.memory import Fitted, Room
from runner.scheduler.ticket import Want

_INSTANT = 1e-3  # seconds: the shortest that a reload is taken to last


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request in the queue. Smaller `order` goes first, then smaller ids, which came earlier.

    `hold` is when nobody may overtake it any more, None if nothing has held it up yet.
    """

    id: int
    want: Want
    order: tuple[int, int] = (0, 0)  # class, share
    hold: float | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A worker as the plan sees it. It may hold `window` requests and holds `inside`; unused for `idle` seconds, it
    would take `reload` seconds to have it back."""

    key: str
    digest: str
    state: State
    load: LoadCommand
    holds: Room
    inside: int
    window: int
    idle: float = 0.0
    reload: float = 1.0
    model: str = ""
    is_pinned: bool = False
    fresh: float = 0.0  # until when it isn't taken from those who wait for it, lest it be loaded for one request only


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The heads of the waiting lines (each one worker's, in order), the fleet, and the limits.

    `limit` workers may be loaded at once, and `capacity` is there for all of them together. `fits` gives the best load
    for a request within some room, None if there is none. That takes its time: where `is_known` says so, it need not be
    asked whether there is one, as long as the request's turn hasn't come.
    """

    lines: Sequence[Sequence[Waiting]]
    fleet: Sequence[Loaded]
    limit: int
    capacity: Room
    fits: Callable[[Want, Room], Fitted | None]
    now: float = 0.0
    is_known: Callable[[Want, Room], bool] = lambda want, room: False


@dataclass(frozen=True, slots=True)
class Serve:
    """Hand the request to its worker."""

    id: int


@dataclass(frozen=True, slots=True)
class Load:
    """Begin a load for this request. The request goes on waiting."""

    id: int
    fitted: Fitted


@dataclass(frozen=True, slots=True)
class Evict:
    """Stop this idle (or unwanted) worker: somebody, the request `by`, needs its place."""

    key: str
    by: int


@dataclass(frozen=True, slots=True)
class Hold:
    """From now on this request is held up by busy or wanted workers: its hold begins."""

    id: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Even alone on this machine, beside the `pinned` models, it would not fit into the `room` there is then; or these
    are as many models as may be loaded at once (`is_full`)."""

    id: int
    pinned: tuple[str, ...] = ()
    is_full: bool = False
    room: Room = field(default_factory=dict, compare=False)


Decision = Serve | Load | Evict | Hold | Refuse


Mode = Literal["open", "residents", "closed"]
"""Who is still looked after in this round: everybody, those whose worker is there, those whose worker is fresh."""


def plan(snapshot: Snapshot) -> list[Decision]:
    """Decide everything that can be decided now, in the order in which to do it."""
    lines = [list(line) for line in snapshot.lines if line]
    house = _House(snapshot, lines)
    decisions: list[Decision] = []
    order = [(line[0].order, line[0].id, index, 0) for index, line in enumerate(lines)]
    heapq.heapify(order)
    while order:
        _, _, index, place = heapq.heappop(order)
        line = lines[index]
        made, settled = house.place(line[place])
        decisions += made
        if settled and place + 1 < len(line):  # nobody overtakes within a line, so only then look at the next
            following = line[place + 1]
            heapq.heappush(order, (following.order, following.id, index, place + 1))
    return decisions


class _House:
    """The fleet as it will be once the decisions made so far are carried out.

    `_held` is what workers and begun loads take; `_claims` are the loads that earlier requests will begin as soon as
    somebody who is stopping has gone.
    """

    def __init__(self, snapshot: Snapshot, lines: Sequence[Sequence[Waiting]]) -> None:
        self._snapshot = snapshot
        self._mode: Mode = "open"
        self._limit = max(1, snapshot.limit)
        self._inside: dict[str, int] = {member.key: member.inside for member in snapshot.fleet}
        self._held: dict[str, Room] = {member.key: member.holds for member in snapshot.fleet}
        self._staying: Mapping[str, Loaded] = {m.key: m for m in snapshot.fleet if m.state != "stopping"}
        self._leaving: set[str] = {m.key for m in snapshot.fleet if m.state == "stopping"}
        self._begun: set[str] = set()
        self._claims: dict[str, Room] = {}
        self._heads = {line[0].want.key: line[0] for line in lines}

    def place(self, waiting: Waiting) -> tuple[list[Decision], bool]:
        """What to do for this request, and whether it no longer waits after that."""
        want = waiting.want
        loaded = self._staying.get(want.key)
        if loaded is None or want.key in self._leaving:
            return self._make_room(waiting)
        if not want.is_served_by(loaded.digest, loaded.load):
            return self._replace(waiting, loaded)
        if loaded.state == "loading" or (self._mode == "closed" and not self._is_fresh(loaded)):
            return [], False
        if want.work is not None:
            if self._inside[want.key] >= loaded.window:
                return [], False
            self._inside[want.key] += 1
        return [Serve(waiting.id)], True

    def _replace(self, waiting: Waiting, loaded: Loaded) -> tuple[list[Decision], bool]:
        """The model is loaded in a way that won't do: stop it when it is idle, then load it again."""
        has_turn = self._mode == "open" and loaded.state != "loading" and not self._inside[loaded.key]
        if not has_turn and self._is_known(waiting.want):
            return [], False
        best = self._best(waiting.want)
        if best is None:
            return [self._refusal(waiting)], True
        if has_turn:
            self._leaving.add(loaded.key)
            self._claims[loaded.key] = best.pools
            return [Evict(loaded.key, waiting.id)], False
        return [], False

    def _make_room(self, waiting: Waiting) -> tuple[list[Decision], bool]:
        want = waiting.want
        if self._mode != "open" or want.key in self._begun:
            if not self._is_known(want) and self._best(want) is None:
                return [self._refusal(waiting)], True
            self._mode = "closed" if self._mode == "residents" and self._is_over(waiting) else self._mode
            return [], False
        best = self._best(want)
        if best is None:
            return [self._refusal(waiting)], True
        if want.key not in self._held and (fitted := self._fitting(want, best, set())) is not None:
            self._begun.add(want.key)
            self._held[want.key] = fitted.pools
            return [Load(waiting.id, fitted)], False
        victims = self._victims(want, best)
        if victims is None:
            return self._held_up(waiting)
        wanted = [victim for victim in victims if self._is_wanted(victim)]
        if wanted and (not self._is_over(waiting) or any(self._is_fresh(victim) for victim in wanted)):
            return self._held_up(waiting)
        self._leaving |= {victim.key for victim in victims}
        self._claims[want.key] = (self._fitting(want, best, self._leaving) or best).pools
        return [Evict(victim.key, waiting.id) for victim in victims], False

    def _held_up(self, waiting: Waiting) -> tuple[list[Decision], bool]:
        """It has to wait for workers that are busy. Nobody else's load comes before its own."""
        self._mode = "closed" if self._is_over(waiting) else "residents"
        return ([Hold(waiting.id)] if waiting.hold is None else []), False

    def _is_over(self, waiting: Waiting) -> bool:
        return waiting.hold is not None and waiting.hold <= self._snapshot.now

    def _is_fresh(self, member: Loaded) -> bool:
        return member.fresh > self._snapshot.now

    def _best(self, want: Want) -> Fitted | None:
        """The best load that there can be, with nobody in memory but those that are pinned."""
        room = self._beside_pinned(want)
        return None if room is None else self._snapshot.fits(want, room)

    def _is_known(self, want: Want) -> bool:
        """Whether there is a load for it, as it was found before."""
        room = self._beside_pinned(want)
        return room is not None and self._snapshot.is_known(want, room)

    def _beside_pinned(self, want: Want) -> Room | None:
        """The room that there can be, None if others are pinned in all places."""
        pinned = self._pinned(want)
        if len(pinned) >= self._limit:
            return None
        return self._beside(pinned)

    def _beside(self, pinned: Sequence[Loaded]) -> Room:
        return left(self._snapshot.capacity, [member.holds for member in pinned])

    def _pinned(self, want: Want) -> list[Loaded]:
        return [member for member in self._staying.values() if member.is_pinned and member.key != want.key]

    def _refusal(self, waiting: Waiting) -> Refuse:
        """It can't be loaded: for those that are pinned, if it would fit without them, else by itself."""
        capacity, pinned = self._snapshot.capacity, self._pinned(waiting.want)
        if self._snapshot.fits(waiting.want, capacity) is None:
            return Refuse(waiting.id, room=capacity)
        names = tuple(member.model for member in pinned)
        return Refuse(waiting.id, names, len(pinned) >= self._limit, self._beside(pinned))

    def _fitting(self, want: Want, best: Fitted, gone: set[str]) -> Fitted | None:
        """The load beside those who are there without the ones `gone`, if that is as good as the best one."""
        there = [room for key, room in self._held.items() if key not in gone]
        there += [room for key, room in self._claims.items() if key != want.key]
        if len(there) >= self._limit:
            return None
        fitted = self._snapshot.fits(want, left(self._snapshot.capacity, there))
        return fitted if fitted and fitted.layers >= best.layers else None

    def _victims(self, want: Want, best: Fitted) -> list[Loaded] | None:
        """The fewest who have to go, once all who are stopping have gone; None if all who may go aren't enough."""
        victims: list[Loaded] = []
        candidates = self._evictable(want)
        while self._fitting(want, best, self._leaving | {victim.key for victim in victims}) is None:
            if not candidates:
                return None
            victims.append(candidates.pop(0))
        for victim in victims[::-1]:  # small ones that were taken first may have become needless, dear ones above all
            others = [other for other in victims if other is not victim]
            if self._fitting(want, best, self._leaving | {other.key for other in others}) is not None:
                victims = others
        return victims

    def _evictable(self, want: Want) -> list[Loaded]:
        """Idle workers, and loads that nobody waits for any more. First come those for which nobody waits, and among
        these whichever it would be cheapest to have been wrong about: long unused, and quickly back."""
        free = [
            member
            for member in self._staying.values()
            if member.key not in self._leaving
            and member.key != want.key
            and not member.is_pinned
            and not self._inside[member.key]
            and (member.state == "ready" or member.key not in self._heads)
        ]
        return sorted(
            free,
            key=lambda member: (
                self._is_wanted(member) and 1 + self._is_fresh(member),
                -member.idle / max(_INSTANT, member.reload),
            ),
        )

    def _is_wanted(self, member: Loaded) -> bool:
        """Whether somebody waits whom it could serve as it is."""
        head = self._heads.get(member.key)
        return head is not None and head.want.is_served_by(member.digest, member.load)


def left(capacity: Room, taken: Sequence[Room]) -> Room:
    """What is left of each pool."""
    return {pool: size - sum(room.get(pool, 0) for room in taken) for pool, size in capacity.items()}
