"""Whether drafts pay: simulated sequences whose drafts come true as often as said."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.engine.odds import Odds


def after(accepted: int, of: int, times: int) -> Odds:
    odds = Odds()
    for _ in range(times):
        odds.learn(of, accepted)
    return odds


def spent(rate: float, price: float, tokens: int = 4000, seed: int = 1) -> tuple[float, int]:
    """Of `tokens` tokens, the time that they took in tokens without drafts, and how many were drafted."""
    chance, odds, time, said, drafted = Random(seed), Odds(), 0.0, 0, 0
    while said < tokens:
        length = odds.length(4, price)
        accepted = 0
        while accepted < length and chance.random() < rate:
            accepted += 1
        if length:
            odds.learn(length, accepted)
        drafted += length
        said += 1 + accepted
        time += 1.0 + length * price
    return time / said, drafted


@pytest.mark.parametrize("price", [0.0, 0.05, 0.2])
def test_drafts_that_come_true_are_long_where_rows_are_cheap(price: float) -> None:
    assert after(4, of=4, times=20).length(4, price) == 4


def test_a_free_row_is_always_taken() -> None:
    assert after(0, of=4, times=50).length(7, 0.0) == 7


def test_the_dearer_a_row_the_shorter_the_draft() -> None:
    odds = after(2, of=3, times=10)
    lengths = [odds.length(16, price / 20) for price in range(1, 10)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]


def test_nothing_is_drafted_where_there_is_no_room() -> None:
    assert Odds().length(0, 0.0) == 0


def test_where_a_row_costs_a_token_or_more_nothing_is_drafted() -> None:
    odds = after(4, of=4, times=50)
    assert sum(odds.length(4, 2.5) for _ in range(5000)) == 0


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("price", [0.02, 0.1, 0.3, 0.6, 1.0, 1.5])
def test_drafting_never_costs_more_than_a_few_hundredths(rate: float, price: float) -> None:
    time, _ = spent(rate, price)
    assert time <= 1.04


def test_drafting_pays_where_it_should() -> None:
    assert spent(0.9, 0.1)[0] < 0.5
    assert spent(0.6, 0.1)[0] < 0.75


def test_a_text_that_changes_its_ways_is_found_out() -> None:
    odds = after(0, of=4, times=50)
    tokens = 0
    while odds.rate < 0.8:
        if length := odds.length(4, 0.2):
            odds.learn(length, length)
        tokens += 1
        assert tokens < 1500


@given(
    st.lists(st.tuples(st.integers(1, 16), st.integers(0, 16)), max_size=60), st.integers(0, 64), st.floats(0.0, 100.0)
)
def test_a_length_is_never_more_than_there_is(seen: list[tuple[int, int]], most: int, price: float) -> None:
    odds = Odds()
    for drafted, accepted in seen:
        odds.learn(drafted, min(drafted, accepted))
        assert 0 <= odds.length(most, price) <= most
