"""What a step costs, learned from steps that cost what a formula says."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.engine.cost import FIRST_GUESS, Cost


def learned(fixed: float, row: float, cell: float, *, steps: int = 300, noise: float = 0.0) -> Cost:
    """After the steps of one to eight users whose answers grow."""
    dice = random.Random(1)
    cost = Cost()
    for step in range(steps):
        rows = 1 + step // 40 % 8
        cells = rows * (100 + step % 40 * 10)
        seconds = fixed + row * rows + cell * rows * cells
        cost.saw(rows, cells, seconds * dice.uniform(1 - noise, 1 + noise))
    return cost


def test_before_anything_was_measured_there_is_a_first_guess() -> None:
    assert Cost().crossover(100) == FIRST_GUESS
    assert learned(0.02, 0.001, 1e-7, steps=20).crossover(100) == FIRST_GUESS


def test_steps_that_are_all_alike_tell_nothing() -> None:
    cost = Cost()
    for _ in range(500):
        cost.saw(1, 256, 0.01)
    assert cost.crossover(100) == FIRST_GUESS


@pytest.mark.parametrize(
    ("fixed", "cell", "tokens"), [(0.02, 1e-6, 100), (0.002, 1e-6, 100), (0.02, 1e-6, 1000), (0.02, 1e-8, 100)]
)
def test_it_is_where_passing_over_strangers_cells_costs_another_pass(fixed: float, cell: float, tokens: int) -> None:
    found = learned(fixed, 0.001, cell).crossover(tokens)
    assert cell * found * (found - 1) * tokens == pytest.approx(fixed, rel=0.01)


def test_it_stands_some_noise() -> None:
    exact, noisy = (learned(0.02, 0.002, 1e-6, steps=3000, noise=noise).crossover(200) for noise in (0.0, 0.2))
    assert noisy == pytest.approx(exact, rel=0.35)


def test_where_cells_cost_nothing_a_pool_is_as_good() -> None:
    assert math.isinf(learned(0.02, 0.001, -1e-9).crossover(100))


def test_what_was_long_ago_is_forgotten() -> None:
    cost = learned(0.5, 0.001, 1e-8)
    for step in range(8000):
        rows = 1 + step % 8
        cells = rows * (100 + step % 37 * 10)
        cost.saw(rows, cells, 0.001 + 0.0001 * rows + 1e-7 * rows * cells)
    found = cost.crossover(100)
    assert 1e-7 * found * (found - 1) * 100 == pytest.approx(0.001, rel=0.05)


@given(
    st.lists(st.tuples(st.integers(1, 32), st.integers(0, 100_000), st.floats(0, 100)), max_size=200),
    st.floats(0, 10_000),
)
def test_any_measurements_give_a_number(steps: list[tuple[int, int, float]], tokens: float) -> None:
    cost = Cost()
    for rows, cells, seconds in steps:
        cost.saw(rows, cells, seconds)
    assert cost.crossover(tokens) >= 1
