"""What strangers' cells cost, learned from steps that cost what a formula says."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.engine.cost import Cost


def learned(cost: Cost, rows: int, fixed: float, cell: float, *, steps: int = 200, noise: float = 0.0) -> Cost:
    """After steps of as many rows while their answers grow from 100 to 300 tokens."""
    dice = random.Random(rows)
    for step in range(steps):
        cells = rows * (100 + step % 200)
        cost.saw(rows, cells, (fixed + cell * cells) * dice.uniform(1 - noise, 1 + noise))
    return cost


def test_before_enough_was_measured_nothing_is_known() -> None:
    assert Cost().saving(4, 1000) is None
    assert learned(Cost(), 4, 0.01, 1e-6, steps=20).saving(4, 1000) is None
    assert learned(Cost(), 4, 0.01, 1e-6).saving(5, 1000) is None


def test_steps_that_are_all_alike_tell_nothing() -> None:
    cost = Cost()
    for _ in range(500):
        cost.saw(4, 256, 0.01)
    assert cost.saving(4, 256) is None


@pytest.mark.parametrize(("rows", "fixed", "cell", "cells"), [(2, 0.01, 1e-6, 400), (8, 0.01, 1e-6, 2000)])
def test_a_split_cache_saves_the_part_of_strangers(rows: int, fixed: float, cell: float, cells: int) -> None:
    found = learned(Cost(), rows, fixed, cell).saving(rows, cells)
    assert found == pytest.approx(cell * cells * (rows - 1) / rows / (fixed + cell * cells), rel=0.001)


def test_where_cells_cost_nothing_nothing_is_saved() -> None:
    assert learned(Cost(), 8, 0.02, 0.0).saving(8, 2000) == pytest.approx(0.0, abs=1e-9)
    assert learned(Cost(), 8, 0.02, -1e-8).saving(8, 2000) == 0.0


def test_one_alone_has_no_strangers() -> None:
    assert learned(Cost(), 1, 0.01, 1e-5).saving(1, 200) == 0.0


def test_noise_makes_it_hold_back_until_more_was_seen() -> None:
    few = learned(Cost(), 8, 0.02, 1e-6, steps=40, noise=0.5).saving(8, 1600)
    many = learned(Cost(), 8, 0.02, 1e-6, steps=2000, noise=0.1).saving(8, 1600)
    assert few is None
    assert many == pytest.approx(1e-6 * 1400 / 0.0216, rel=0.4)


def test_what_was_long_ago_is_forgotten() -> None:
    cost = learned(Cost(), 8, 0.5, 0.0)
    learned(cost, 8, 0.001, 1e-6, steps=8000)
    assert cost.saving(8, 1600) == pytest.approx(1e-6 * 1400 / 0.0026, rel=0.05)


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 100_000), st.floats(0, 100)), max_size=200),
    st.integers(0, 100_000),
)
def test_any_measurements_give_a_share_or_nothing(steps: list[tuple[int, int, float]], cells: int) -> None:
    cost = Cost()
    for rows, filled, seconds in steps:
        cost.saw(rows, filled, seconds)
    for rows in range(1, 4):
        saving = cost.saving(rows, cells)
        assert saving is None or saving >= 0.0
