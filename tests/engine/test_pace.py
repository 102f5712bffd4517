"""What is learned from the times of steps. Time is made up: each step's is what its rows cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.engine.pace import GOAL, LEAST, Pace

BUDGET = 512


def warm() -> Pace:
    """One that has seen the first step, from which nothing is learned."""
    pace = Pace(BUDGET)
    pace.observe(1, 100, 60.0)
    return pace


def learned(cost: Callable[[int], float], *, prompt: float, rows: int = 4) -> Pace:
    """Somebody's prompt, then steps of one row to `rows` rows, each as long as it takes."""
    pace = warm()
    pace.observe(0, 100, 100 * prompt)
    for count in range(1, rows + 1):
        pace.observe(count, 0, cost(count))
    return pace


def test_with_nobody_decoding_the_whole_budget_is_the_prompts() -> None:
    assert Pace(BUDGET).chunk(0) == BUDGET
    assert learned(lambda rows: 9.0, prompt=9.0).chunk(0) == BUDGET


def test_as_much_of_a_prompt_as_keeps_the_step_within_the_goal() -> None:
    pace = learned(lambda rows: 0.03 + 0.01 * rows, prompt=0.01)
    assert pace.chunk(1) == pytest.approx((GOAL - 0.04) / 0.01, abs=1)
    assert pace.chunk(4) == pytest.approx((GOAL - 0.07) / 0.01, abs=1)


def test_a_fast_machine_computes_whole_batches_beside_decodes() -> None:
    assert learned(lambda rows: 0.005, prompt=0.0001).chunk(2) == BUDGET


def test_in_a_crowd_that_fills_the_step_prompts_get_as_long_as_the_decodes() -> None:
    pace = learned(lambda rows: 0.1 * rows, prompt=0.02, rows=8)
    assert pace.chunk(8) == 40


def test_however_slow_a_prompt_gets_on() -> None:
    assert learned(lambda rows: 0.1, prompt=5.0).chunk(3) == LEAST


def test_what_prompts_cost_is_learned_beside_decodes_as_well() -> None:
    pace = learned(lambda rows: 0.1, prompt=0.001)
    for _ in range(20):
        pace.observe(3, 50, 0.1 + 50 * 0.01)
    assert pace.chunk(3) == 40


def test_a_few_slow_steps_are_nothing_to_learn_from() -> None:
    pace = learned(lambda rows: 0.1, prompt=0.01)
    for _ in range(5):
        pace.observe(1, 0, 0.1)
        pace.observe(1, 50, 0.6)
    before = pace.chunk(1)
    pace.observe(1, 0, 30.0)
    pace.observe(1, 50, 30.0)
    assert pace.chunk(1) == before


def test_between_what_was_seen_times_are_in_between() -> None:
    pace = warm()
    pace.observe(2, 0, 0.2)
    pace.observe(6, 0, 0.4)
    assert pace.step(4) == pytest.approx(0.3)
    assert pace.step(8) == pytest.approx(0.5)  # and beyond as they went on
    assert pace.step(0) == 0.0


def test_what_another_row_costs() -> None:
    bound_by_memory, bound_by_rows = learned(lambda rows: 0.1, prompt=0.0), learned(lambda rows: 0.1 * rows, prompt=0.1)
    assert bound_by_memory.row(1, 3) == 0.0
    assert bound_by_rows.row(1, 3) == pytest.approx(0.1)


def test_rows_of_a_large_step_are_not_free_because_sizes_are_counted_together() -> None:
    pace = learned(lambda rows: 0.01 * rows, prompt=0.01, rows=128)
    assert pace.row(100, 1) == pytest.approx(0.01, rel=0.3)


def test_what_an_unseen_row_costs_is_at_most_what_the_others_do() -> None:
    """Else a prompt's token that took long once would keep larger steps from ever being tried."""
    pace = warm()
    pace.observe(0, 100, 900.0)
    pace.observe(1, 0, 0.5)
    assert pace.row(1, 4) <= 0.5
    pace.observe(2, 0, 0.5)
    assert pace.row(1, 4) == 0.0


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 512), st.floats(0, 100)), max_size=30), st.integers(0, 256)
)
def test_whatever_was_seen_answers_are_within_bounds(seen: list[tuple[int, int, float]], rows: int) -> None:
    pace = Pace(BUDGET)
    for each in seen:
        pace.observe(*each)
    assert LEAST <= pace.chunk(rows) <= BUDGET
    assert pace.step(rows) >= 0.0
    assert pace.row(rows, 4) >= 0.0
