"""What would come of a request: the plan is asked about one that nobody made, and its reasons are told. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from runner.scheduler.memory import Fitted, Lack, Room
from runner.scheduler.plan import Decision, Evict, Load, Loaded, Refuse, Snapshot, left, plan
from runner.scheduler.ticket import Want


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would be decided for a request, and the load that it would get (`fitted`; None if it is refused).

    `goes` are the models that have to go for it, now or as soon as they can; those of them that are `busy` have to end
    what they compute first, which may be its own model, loaded in another way. Then there is `room` for it, in bytes by
    pool; `capacity` is for all models together, nothing where nobody knows yet. `lack` is the pool that decides as long
    as nobody has gone; with `is_full` memory isn't the matter, but that there are as many models as `limit` allows.
    """

    decisions: tuple[Decision, ...]
    lack: Lack
    room: Room
    capacity: Room
    limit: int
    fitted: Fitted | None = None
    goes: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    is_full: bool = False


def foresee(snapshot: Snapshot, want: Want, lack: Callable[[Want, Room], Lack]) -> Foreseen:
    """For a snapshot in whose lines there is a request with this want, and nothing else. `lack` tells which pool
    decides within some room."""
    decisions = tuple(plan(snapshot))
    capacity, limit = snapshot.capacity, max(1, snapshot.limit)
    for each in decisions:
        if isinstance(each, Refuse):
            found = lack(want, each.room)
            return Foreseen(decisions, found, each.room, capacity, limit, is_full=each.is_full)
    mine = next((member for member in snapshot.fleet if member.key == want.key), None)
    others = [member for member in snapshot.fleet if member.key != want.key]
    beside = left(capacity, [member.holds for member in others])
    load = next((each.fitted for each in decisions if isinstance(each, Load)), None)
    if load is not None:
        return Foreseen(decisions, lack(want, beside), beside, capacity, limit, load)
    staying = [member for member in others if member.state != "stopping"]
    victims: list[Loaded] = []
    is_served = mine is not None and mine.state != "stopping" and want.is_served_by(mine.digest, mine.load)
    if not is_served:
        victims = _victims(snapshot, staying)
    room = left(capacity, [member.holds for member in staying if member not in victims])
    fitted = snapshot.fits(want, room)
    would = snapshot.fits(want, beside)
    waited = [*victims, *([mine] if mine and not is_served and mine.state != "stopping" else [])]
    return Foreseen(
        decisions,
        lack(want, beside),
        room,
        capacity,
        limit,
        fitted,
        goes=tuple(member.model for member in victims),
        busy=tuple(member.model for member in waited if member.inside),
        is_full=bool(victims and fitted and would and would.layers >= fitted.layers),
    )


def _victims(snapshot: Snapshot, others: list[Loaded]) -> list[Loaded]:
    """Who would go if all were idle, and the request's own worker had gone."""
    idle = [replace(member, inside=0) for member in others]
    keys = {each.key for each in plan(replace(snapshot, fleet=idle)) if isinstance(each, Evict)}
    return [member for member in others if member.key in keys]
