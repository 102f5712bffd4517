"""The plan alone: snapshots in, decisions out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.scheduler.fleet import State
from runner.scheduler.memory import Footprint, Need
from runner.scheduler.plan import Evict, Load, Loaded, Refuse, Serve, Snapshot, Waiting, plan
from tests.fakes.scheduling import GIB, want

PLENTY = 64 * GIB


def loaded(
    model: str,
    *,
    state: State = "ready",
    inside: int = 0,
    window: int = 2,
    last_used: float = 0.0,
    size: int = GIB,
    num_ctx: int = 1024,
) -> Loaded:
    wanted = want(model, num_ctx=num_ctx)
    return Loaded(model, wanted.digest, state, wanted.load, Need(size, 0), inside, window, last_used)


def snapshot(waiting: list[tuple[int, str]], fleet: list[Loaded], limit: int = 1, capacity: int = PLENTY) -> Snapshot:
    lines: dict[str, list[Waiting]] = {}
    for number, model in waiting:
        lines.setdefault(model, []).append(Waiting(number, want(model)))
    return Snapshot(list(lines.values()), fleet, limit, capacity)


def test_nobody_waits() -> None:
    assert plan(snapshot([], [loaded("a")])) == []


def test_serves_up_to_the_window_in_order_of_arrival_across_models() -> None:
    fleet = [loaded("a", inside=1), loaded("b")]
    decisions = plan(snapshot([(1, "b"), (2, "a"), (3, "a"), (4, "b"), (5, "b")], fleet, limit=2))
    assert decisions == [Serve(1), Serve(2), Serve(4)]


def test_begins_one_load_at_a_time_with_the_room_that_is_left() -> None:
    decisions = plan(snapshot([(1, "b"), (2, "c")], [loaded("a", inside=1)], limit=3, capacity=4 * GIB))
    assert decisions == [Load(1, 3 * GIB)]


def test_a_full_house_evicts_and_waits_for_the_place() -> None:
    assert plan(snapshot([(1, "b")], [loaded("a")])) == [Evict("a")]
    assert plan(snapshot([(1, "b")], [loaded("a", state="stopping")])) == []


def test_one_who_is_leaving_makes_one_place_only() -> None:
    fleet = [loaded("a", state="stopping"), loaded("b")]
    assert plan(snapshot([(1, "c")], fleet, limit=2)) == []
    assert plan(snapshot([(1, "c"), (2, "d")], fleet, limit=2)) == [Evict("b")]


def test_a_waiting_swap_ends_the_round() -> None:
    fleet = [loaded("a", inside=1), loaded("b", inside=1)]
    assert plan(snapshot([(1, "a"), (2, "c"), (3, "a"), (4, "b")], fleet, limit=2)) == [Serve(1)]


def test_a_swap_with_a_victim_does_not() -> None:
    fleet = [loaded("a", inside=1), loaded("b")]
    assert plan(snapshot([(2, "c"), (3, "a")], fleet, limit=2)) == [Evict("b"), Serve(3)]


def test_a_model_that_was_chosen_to_go_serves_nobody() -> None:
    assert plan(snapshot([(1, "b"), (2, "a")], [loaded("a")])) == [Evict("a")]


def test_a_loading_model_is_left_to_those_who_wait_for_it() -> None:
    fleet = [loaded("a", state="loading")]
    assert plan(snapshot([(1, "b"), (2, "a")], fleet)) == []
    assert plan(snapshot([(1, "b")], fleet)) == [Evict("a")]


def test_refuses_what_cannot_fit_and_looks_at_the_next() -> None:
    huge = want("huge", footprint=Footprint(8 * GIB, 0, 0, 1000, 64))
    lines = [[Waiting(1, huge), Waiting(2, huge)], [Waiting(3, want("a"))]]
    decisions = plan(Snapshot(lines, [loaded("a")], 1, 4 * GIB))
    assert [type(decision) for decision in decisions] == [Refuse, Refuse, Serve]
    assert isinstance(decisions[0], Refuse)
    assert decisions[0].need > 8 * GIB
    assert decisions[0].have == 4 * GIB


def test_evicts_no_more_than_it_takes() -> None:
    fleet = [loaded("a", last_used=3), loaded("b", last_used=1), loaded("c", last_used=2)]
    assert plan(snapshot([(1, "d")], fleet, limit=3)) == [Evict("b")]


def test_evicts_nobody_when_it_would_not_be_enough() -> None:
    footprint = Footprint(3 * GIB, 0, 0, 1000, 64)
    fleet = [loaded("idle", size=GIB), loaded("busy", size=3 * GIB, inside=1)]
    lines = [[Waiting(1, want("big", footprint=footprint))]]
    assert plan(Snapshot(lines, fleet, 5, 5 * GIB)) == []


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
                last_used=draw(st.floats(0, 9)),
                num_ctx=draw(st.sampled_from([512, 1024])),
            )
        )
    waiting = [(number, draw(st.sampled_from(_MODELS))) for number in range(1, draw(st.integers(0, 8)) + 1)]
    return snapshot(waiting, fleet, limit=max(len(fleet), draw(st.integers(1, 3))), capacity=PLENTY)


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
    assert len(loads) <= 1
    assert all(model not in fleet for model in loads)
    assert len(fleet) + len(loads) <= given.limit
    # Within a line, nobody overtakes.
    for line in given.lines:
        flags = [waiting.id in served for waiting in line]
        assert flags == sorted(flags, reverse=True)


@given(_snapshots())
def test_somebody_gets_on_or_there_is_something_to_wait_for(given: Snapshot) -> None:
    if not any(given.lines) or plan(given):
        return
    assert any(member.state in ("loading", "stopping") or member.inside for member in given.fleet)
