"""The plan alone: snapshots in, decisions out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.protocol.devices import Placement
from runner.scheduler.fleet import State
from runner.scheduler.memory import Fitted, Footprint, Room, least
from runner.scheduler.plan import (
    Decision,
    Evict,
    Hold,
    Load,
    Loaded,
    Refuse,
    Serve,
    Snapshot,
    Waiting,
    plan,
)
from runner.scheduler.ticket import Want
from tests.fakes.scheduling import GIB, want

PLENTY = 64 * GIB


def loaded(
    model: str,
    *,
    state: State = "ready",
    inside: int = 0,
    window: int = 2,
    idle: float = 0.0,
    reload: float = 1.0,
    size: int = GIB,
    num_ctx: int = 1024,
    is_pinned: bool = False,
    fresh: float = 0.0,
) -> Loaded:
    wanted = want(model, num_ctx=num_ctx)
    holds = {"host": size}
    return Loaded(
        model, wanted.digest, state, wanted.load, holds, inside, window, idle, reload, model, is_pinned, fresh
    )


def fits(want: Want, room: Room) -> Fitted | None:
    """One size only: the least."""
    need = least(want.footprint, want.load.options)
    return Fitted(want.load.options, Placement(), need) if need.total <= room["host"] else None


def snapshot(
    waiting: list[tuple[int, str]],
    fleet: list[Loaded],
    limit: int = 1,
    capacity: int = PLENTY,
    *,
    held: dict[int, float] | None = None,
    now: float = 0.0,
) -> Snapshot:
    """`held` says of requests until when they let others be served before them."""
    lines: dict[str, list[Waiting]] = {}
    for number, model in waiting:
        lines.setdefault(model, []).append(Waiting(number, want(model), hold=(held or {}).get(number)))
    return Snapshot(list(lines.values()), fleet, limit, {"host": capacity}, fits, now)


def needs(footprint: Footprint) -> list[list[Waiting]]:
    return [[Waiting(1, want("big", footprint=footprint))]]


def test_nobody_waits() -> None:
    assert plan(snapshot([], [loaded("a")])) == []


def test_serves_up_to_the_window_in_order_of_arrival_across_models() -> None:
    fleet = [loaded("a", inside=1), loaded("b")]
    decisions = plan(snapshot([(1, "b"), (2, "a"), (3, "a"), (4, "b"), (5, "b")], fleet, limit=2))
    assert decisions == [Serve(1), Serve(2), Serve(4)]


def test_begins_every_load_for_which_there_is_room() -> None:
    size = least(want("b").footprint, want("b").load.options).total
    fleet = [loaded("a", inside=1)]
    three = [(1, "b"), (2, "c"), (3, "d")]
    decisions = plan(snapshot(three, fleet, limit=9, capacity=GIB + 2 * size))
    assert [type(decision) for decision in decisions] == [Load, Load, Hold]
    assert [type(decision) for decision in plan(snapshot(three, fleet, limit=3))] == [Load, Load, Hold]


def test_a_full_house_evicts_and_waits_for_the_place() -> None:
    assert plan(snapshot([(1, "b")], [loaded("a")])) == [Evict("a", 1)]
    assert plan(snapshot([(1, "b")], [loaded("a", state="stopping")])) == []


def test_one_who_is_leaving_makes_one_place_only() -> None:
    fleet = [loaded("a", state="stopping"), loaded("b")]
    assert plan(snapshot([(1, "c")], fleet, limit=2)) == []
    assert plan(snapshot([(1, "c"), (2, "d")], fleet, limit=2)) == [Evict("b", 2)]


def test_a_swap_lets_residents_be_served_until_its_hold_is_over() -> None:
    fleet = [loaded("a", inside=1, window=9), loaded("b", inside=1)]
    waiting = [(1, "a"), (2, "c"), (3, "a"), (4, "b"), (5, "d")]
    assert plan(snapshot(waiting, fleet, limit=2)) == [Serve(1), Hold(2), Serve(3), Serve(4)]
    assert plan(snapshot(waiting, fleet, limit=2, held={2: 3.0}, now=2.9)) == [Serve(1), Serve(3), Serve(4)]
    assert plan(snapshot(waiting, fleet, limit=2, held={2: 3.0}, now=3.0)) == [Serve(1)]


def test_a_hold_that_is_over_holds_behind_another_swap_too() -> None:
    fleet = [loaded("a", inside=1, window=9)]
    waiting = [(1, "c"), (2, "a"), (3, "d"), (4, "a")]
    lines = {
        model: [Waiting(n, want(model), hold=9.0 if n == 1 else 0.0) for n, m in waiting if m == model]
        for model in "acd"
    }
    decisions = plan(Snapshot(list(lines.values()), fleet, 1, {"host": PLENTY}, fits, 5.0))
    assert decisions == [Serve(2)]


def test_who_is_waited_for_goes_last_and_only_when_the_hold_is_over() -> None:
    fleet = [loaded("a", idle=9), loaded("b", idle=1)]
    assert plan(snapshot([(1, "c"), (2, "a")], fleet, limit=2)) == [Evict("b", 1), Serve(2)]
    waiting = [(1, "c"), (2, "a"), (3, "b")]
    assert plan(snapshot(waiting, fleet, limit=2)) == [Hold(1), Serve(2), Serve(3)]
    assert plan(snapshot(waiting, fleet, limit=2, held={1: 5.0}, now=5.0)) == [Evict("a", 1), Hold(2), Serve(3)]


def test_who_is_fresh_is_not_taken_from_those_who_wait_for_it() -> None:
    waiting, fresh = [(1, "c"), (2, "a"), (3, "b")], loaded("a", fresh=9.0)
    assert plan(snapshot(waiting, [fresh], held={1: 5.0}, now=8.0)) == [Serve(2)]
    assert plan(snapshot(waiting, [fresh], held={1: 5.0}, now=9.0)) == [Evict("a", 1), Hold(2)]
    assert plan(snapshot([(1, "c")], [fresh], now=8.0)) == [Evict("a", 1)]


def test_a_swap_with_a_victim_does_not() -> None:
    fleet = [loaded("a", inside=1), loaded("b")]
    assert plan(snapshot([(2, "c"), (3, "a")], fleet, limit=2)) == [Evict("b", 2), Serve(3)]


def test_a_model_that_was_chosen_to_go_serves_nobody() -> None:
    assert plan(snapshot([(1, "b"), (2, "a")], [loaded("a")], held={1: 0.0})) == [Evict("a", 1), Hold(2)]


def test_a_loading_model_is_left_to_those_who_wait_for_it() -> None:
    fleet = [loaded("a", state="loading")]
    assert plan(snapshot([(1, "b"), (2, "a")], fleet)) == [Hold(1)]
    assert plan(snapshot([(1, "b")], fleet)) == [Evict("a", 1)]


def test_refuses_what_cannot_fit_and_looks_at_the_next() -> None:
    huge = want("huge", footprint=Footprint(8 * GIB, 0, 0, 1000, 64))
    lines = [[Waiting(1, huge), Waiting(2, huge)], [Waiting(3, want("a"))]]
    assert plan(Snapshot(lines, [loaded("a")], 1, {"host": 4 * GIB}, fits)) == [Refuse(1), Refuse(2), Serve(3)]


def test_refuses_at_once_behind_a_swap_that_waits() -> None:
    huge = [Waiting(2, want("huge", footprint=Footprint(8 * GIB, 0, 0, 1000, 64)))]
    fleet = [loaded("a", inside=1)]
    lines = [[Waiting(1, want("b"), hold=0.0)], huge]
    assert plan(Snapshot(lines, fleet, 1, {"host": 4 * GIB}, fits, 1.0)) == [Refuse(2)]


def test_refuses_what_only_pinned_models_leave_no_room_for_and_names_them() -> None:
    fleet = [loaded("pinned", size=3 * GIB, is_pinned=True), loaded("busy", inside=1)]
    lines = needs(Footprint(2 * GIB, 0, 0, 1000, 64))
    assert plan(Snapshot(lines, fleet, 5, {"host": 4 * GIB}, fits)) == [Refuse(1, ("pinned",))]
    places = [loaded(model, is_pinned=True) for model in "ab"]
    assert plan(snapshot([(1, "c")], places, limit=2)) == [Refuse(1, ("a", "b"), is_full=True)]


def test_evicts_what_is_cheapest_to_have_been_wrong_about() -> None:
    fleet = [loaded("a", idle=1), loaded("b", idle=3), loaded("c", idle=2)]
    assert plan(snapshot([(1, "d")], fleet, limit=3)) == [Evict("b", 1)]
    fleet = [loaded("quick", idle=10, reload=1), loaded("slow", idle=60, reload=30)]
    assert plan(snapshot([(1, "d")], fleet, limit=2)) == [Evict("quick", 1)]
    fleet = [loaded("pinned", idle=99, is_pinned=True), loaded("b", idle=1)]
    assert plan(snapshot([(1, "d")], fleet, limit=2)) == [Evict("b", 1)]


def test_evicts_no_more_than_it_takes() -> None:
    fleet = [loaded("small", idle=9, size=GIB // 2), loaded("large", idle=3, size=3 * GIB), loaded("other", idle=1)]
    lines = needs(Footprint(3 * GIB, 0, 0, 1000, 64))
    assert plan(Snapshot(lines, fleet, 9, {"host": 5 * GIB}, fits)) == [Evict("large", 1)]


def test_evicts_nobody_when_it_would_not_be_enough() -> None:
    footprint = Footprint(3 * GIB, 0, 0, 1000, 64)
    fleet = [loaded("idle", size=GIB), loaded("busy", size=3 * GIB, inside=1)]
    lines = [[Waiting(1, want("big", footprint=footprint))]]
    assert plan(Snapshot(lines, fleet, 5, {"host": 5 * GIB}, fits)) == [Hold(1)]


_MODELS = ("a", "b", "c", "d")
_STATES: tuple[State, ...] = ("loading", "ready", "ready", "stopping")


@st.composite
def _snapshots(draw: st.DrawFn) -> Snapshot:
    resident = draw(st.lists(st.sampled_from(_MODELS), unique=True, max_size=3))
    fleet = []
    for model in resident:
        state = draw(st.sampled_from(_STATES))
        window = 0 if state == "loading" else draw(st.integers(2, 4))
        inside = draw(st.integers(0, window)) if window else 0
        fleet.append(
            loaded(
                model,
                state=state,
                inside=inside,
                window=window,
                idle=draw(st.floats(0, 9)),
                reload=draw(st.floats(0.1, 9)),
                is_pinned=draw(st.booleans()),
                num_ctx=draw(st.sampled_from([512, 1024])),
            )
        )
    waiting = [(number, draw(st.sampled_from(_MODELS))) for number in range(1, draw(st.integers(0, 8)) + 1)]
    held = {number: draw(st.floats(0, 2)) for number, _ in waiting if draw(st.booleans())}
    capacity = draw(st.sampled_from([PLENTY, 3 * GIB, 4 * GIB]))
    limit = max(len(fleet), draw(st.integers(1, 3)))
    return snapshot(waiting, fleet, limit=limit, capacity=capacity, held=held, now=1.0)


@given(_snapshots())
def test_decisions_keep_every_limit(given: Snapshot) -> None:
    decisions = plan(given)
    fleet = {member.key: member for member in given.fleet}
    wants = {waiting.id: waiting.want for line in given.lines for waiting in line}
    inside = {member.key: member.inside for member in given.fleet}
    served = [decision.id for decision in decisions if isinstance(decision, Serve)]
    evicted = [decision.key for decision in decisions if isinstance(decision, Evict)]
    loads = [wants[decision.id].key for decision in decisions if isinstance(decision, Load)]
    assert len(set(served)) == len(served)
    assert len(set(evicted)) == len(evicted)
    for request in served:
        member = fleet[wants[request].key]
        assert member.state == "ready"
        assert wants[request].is_served_by(member.digest, member.load)
        inside[member.key] += 1
        assert inside[member.key] <= member.window
    for model in evicted:
        assert fleet[model].state != "stopping"
        assert inside[model] == 0, "somebody is in it, or was just let in"
        victims_for = {decision.key: wants[decision.by].key for decision in decisions if isinstance(decision, Evict)}
        assert not fleet[model].is_pinned or victims_for[model] == model
    assert len(set(loads)) == len(loads)
    assert all(model not in fleet for model in loads)
    assert len(fleet) + len(loads) <= given.limit
    taken = sum(member.holds["host"] for member in given.fleet)
    taken += sum(decision.fitted.pools["host"] for decision in decisions if isinstance(decision, Load))
    assert not loads or taken <= given.capacity["host"]
    # Within a line, nobody overtakes.
    for line in given.lines:
        flags = [waiting.id in served for waiting in line]
        assert flags == sorted(flags, reverse=True)
    # Nobody gets into a worker, and nobody's load is begun, before a swap whose hold is over.
    over = [line[0] for line in given.lines if line[0].hold is not None and line[0].hold <= given.now]
    stuck = [each.id for each in over if not _gets_on(each, fleet, decisions)]
    began = served + [decision.id for decision in decisions if isinstance(decision, Load)]
    assert all(request < min(stuck, default=99) for request in began)


def _gets_on(waiting: Waiting, fleet: dict[str, Loaded], decisions: list[Decision]) -> bool:
    """Whether it is more than a swap that nothing was done about."""
    done = {decision.id for decision in decisions if not isinstance(decision, Evict | Hold)}
    leaving = [member for member in fleet.values() if member.state == "stopping"]
    leaving += [fleet[decision.key] for decision in decisions if isinstance(decision, Evict)]
    return waiting.id in done or waiting.want.key in fleet or bool(leaving)  # it may be their place that it waits for


@given(_snapshots())
def test_somebody_gets_on_or_there_is_something_to_wait_for(given: Snapshot) -> None:
    if not any(given.lines) or plan(given):
        return
    assert any(member.state in ("loading", "stopping") or member.inside for member in given.fleet)
