"""The arithmetic: percentiles, rates, goodput, and what counts as what."""

import json
from array import array
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.bench.client import Failed, Outcome
from runner.bench.shape import Goals, Level, Users
from runner.bench.spread import percentile, spread
from runner.bench.summary import is_good, ratios, summaries, summarise
from runner.bench.turn import Turn

TWO = Users(2)
GOOD = Outcome(
    due=10.0,
    started=10.0,
    ended=11.5,
    delay=0.001,
    first=10.5,
    last=11.4,
    gaps=array("d", [0.1] * 8 + [0.2] * 2),
    chunks=11,
    prompt_tokens=100,
    output_tokens=10,
    cached_tokens=0,
    wanted=10,
)


def turn(*outcomes: Outcome, level: Level = TWO, number: int = 0, target: str = "a", **more: object) -> Turn:
    base = Turn(target, level, number, started=10.0, ended=12.0, outcomes=list(outcomes))
    for name, value in more.items():
        setattr(base, name, value)
    return base


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 100))
def test_percentiles_are_numpys(values: list[float], percent: float) -> None:
    assert percentile(sorted(values), percent) == pytest.approx(float(np.percentile(values, percent)), abs=1e-6)


def test_a_spread_by_hand() -> None:
    found = spread(range(1, 102))
    assert found is not None
    assert (found.mean, found.p50, found.p95, found.p99, found.max) == (51, 51, 96, 100, 101)
    assert spread([]) is None
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_rates() -> None:
    late = replace(GOOD, started=10.5, ended=12.0)
    lost = replace(GOOD, failure=Failed("timeout", "too late"), output_tokens=None, first=None)
    found = summarise([turn(GOOD, late, lost), turn(GOOD, number=1, started=0.0, ended=6.0)], Goals())
    assert (found.ok, found.failed, found.failures) == (3, 1, {"timeout": 1})
    assert found.seconds == 8.0
    assert found.output_rate == 30 / 8
    assert found.total_rate == 330 / 8
    assert found.request_rate == 3 / 8
    assert found.output_rates == {0: 20 / 2.0, 1: 10 / 6.0}
    assert found.tpot is not None
    assert found.tpot.p50 == pytest.approx(0.1)
    assert found.user_rate == pytest.approx(10)
    assert found.gap is not None
    assert found.gap.max == 0.2
    assert found.chunk_tokens == 30 / 33
    assert found.goodput is None


def test_what_isnt_counted_is_not_made_up() -> None:
    uncounted = replace(GOOD, output_tokens=None, prompt_tokens=None, cached_tokens=None)
    found = summarise([turn(uncounted)], Goals())
    assert (found.output_rate, found.total_rate, found.user_rate, found.tpot) == (None, None, None, None)
    assert (found.input_tokens, found.cached_tokens, found.uncounted) == (None, None, 1)
    assert summarise([turn(replace(GOOD, wanted=11), GOOD)], Goals()).short == 1


@pytest.mark.parametrize(
    ("goals", "good"),
    [
        (Goals(ttft=0.5, itl=0.2, tpot=0.1001, e2e=1.5), True),
        (Goals(ttft=0.499), False),
        (Goals(itl=0.19), False),
        (Goals(tpot=0.0999), False),
        (Goals(e2e=1.4), False),
    ],
)
def test_an_answer_is_good_when_it_keeps_to_every_goal(goals: Goals, good: bool) -> None:
    assert is_good(GOOD, goals) is good


def test_a_goal_for_gaps_looks_past_a_single_hiccup() -> None:
    hiccup = replace(GOOD, gaps=array("d", [0.1] * 99 + [5.0]), chunks=101)
    assert is_good(hiccup, Goals(itl=0.1))
    assert not is_good(replace(GOOD, gaps=array("d", [0.1] * 9 + [5.0])), Goals(itl=0.1))


def test_what_could_not_be_measured_met_no_goal() -> None:
    one = replace(GOOD, gaps=array("d"), chunks=1, output_tokens=1, last=10.5)
    assert is_good(one, Goals(ttft=1.0, itl=0.001, tpot=0.001))
    nothing = replace(one, chunks=0, first=None, last=None, output_tokens=0)
    assert not is_good(nothing, Goals(ttft=1.0))
    assert not is_good(nothing, Goals(itl=1.0))
    assert not is_good(replace(GOOD, output_tokens=None), Goals(tpot=1.0))
    assert not is_good(replace(GOOD, failure=Failed("x", "x")), Goals(e2e=100.0))


def test_goodput() -> None:
    slow = replace(GOOD, first=11.4)
    lost = replace(GOOD, failure=Failed("x", "x"))
    found = summarise([turn(GOOD, GOOD, slow, lost)], Goals(ttft=0.6)).goodput
    assert found is not None
    assert (found.per_second, found.share) == (2 / 2.0, 2 / 4)


def test_a_turn_that_was_cut_counts_only_where_there_is_no_whole_one() -> None:
    whole, cut = turn(GOOD, GOOD), turn(GOOD, number=1, cut=True, ended=100.0)
    alone = turn(level=Users(8), cut=True, unfinished=3)
    first, second = summaries([whole, cut, alone], Goals())
    assert (first.ok, first.seconds, first.cut) == (2, 2.0, False)
    assert (second.ok, second.cut, second.unfinished, second.output_rates) == (0, True, 3, {})


def test_ratios_are_taken_round_by_round() -> None:
    ours = [turn(GOOD, GOOD, number=0), turn(GOOD, number=1), turn(GOOD, GOOD, GOOD, number=2)]
    theirs = [turn(GOOD, number=number, target="b") for number in range(2)]
    first, other = summaries([*ours, *theirs], Goals())
    assert ratios(first, other) == (1.5, 1.0, 2.0)
    none = summaries([turn(GOOD, target="c", number=9)], Goals())[0]
    assert ratios(first, none) is None


def test_order_of_loads_and_servers() -> None:
    turns = [turn(GOOD, level=level, target=name) for level in (Users(8), Users(1)) for name in ("b", "a")]
    assert [(str(each.level), each.target) for each in summaries(turns, Goals())] == [
        ("8 users", "b"),
        ("8 users", "a"),
        ("1 user", "b"),
        ("1 user", "a"),
    ]


def test_figures_fit_into_json() -> None:
    from runner.bench.report import result

    for each in (turn(GOOD), turn(), turn(replace(GOOD, last=10.5, gaps=array("d")))):
        json.dumps(result(summarise([each], Goals(ttft=1.0))), allow_nan=False)
