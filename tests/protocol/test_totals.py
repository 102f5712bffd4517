"""Numbers that only grow, and that may be added up in any order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.protocol.codec import FrameReader, pack_events, unpack_events
from runner.protocol.events import Stats
from runner.protocol.totals import Spread, Tally, Totals

BOUNDS = (1.0, 2.0, 4.0)
VALUES = st.lists(st.floats(0, 10, width=16))


def spread_of(values: list[float]) -> Spread:
    tally = Tally(BOUNDS)
    for value in values:
        tally.add(value)
    return tally.spread()


@given(VALUES, VALUES)
def test_two_spreads_are_the_spread_of_both(one: list[float], other: list[float]) -> None:
    assert spread_of(one) + spread_of(other) == spread_of([*one, *other])


@given(VALUES)
def test_a_value_counts_at_the_first_bound_that_it_does_not_pass(values: list[float]) -> None:
    counts = spread_of(values).counts
    assert sum(counts) == len(values)
    for index, bound in enumerate(BOUNDS):
        assert sum(counts[: index + 1]) == sum(value <= bound for value in values)


def test_nothing_is_added_to_nothing() -> None:
    some = Totals(steps=3, step_tokens=spread_of([1, 5]), wait_ns=7)
    assert Totals() + some == some + Totals() == some
    assert (some + some).steps == 6
    assert (some + some).step_tokens.sum == 12


def test_what_crosses_the_pipe_comes_out_as_it_went_in() -> None:
    totals = Totals(steps=2, step_seconds=spread_of([0.5]), accepted_tokens=4)
    stats = Stats.of(totals, running=1, waiting=2, cells_used=3, cells_busy=2, cells=8)
    (body,) = FrameReader().feed(pack_events([stats]))
    assert unpack_events(body) == [stats]
    assert totals + stats == totals + totals
