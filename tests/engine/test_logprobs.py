"""Log-probabilities of one row of logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from runner.engine.logprobs import LEAST, Scores

rows = arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(-50, 50, width=32))


@given(rows, st.integers(0, 70))
def test_they_are_the_logarithms_of_a_distribution(row: np.ndarray, top: int) -> None:
    scores = Scores(row, top)
    all_of_them = [scores.of(token).logprob for token in range(len(row))]
    assert math.fsum(map(math.exp, all_of_them)) == pytest.approx(1.0, abs=1e-4)
    likeliest = sorted(range(len(row)), key=lambda token: (-row[token], token))[:top]
    found = scores.of(0).top
    assert [logprob for _, logprob in found] == [all_of_them[token] for token in likeliest]
    assert [row[token] for token, _ in found] == [row[token] for token in likeliest]
    if top:
        assert found[0] == (int(row.argmax()), max(all_of_them))  # what greedy sampling takes is the first of them


@given(rows)
def test_they_are_what_float64_says(row: np.ndarray) -> None:
    wide = row.astype(np.float64)
    expected = wide - wide.max() - np.log(np.exp(wide - wide.max()).sum())
    scores = Scores(row, 1)
    assert [scores.of(token).logprob for token in range(len(row))] == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_token_that_cannot_be_is_very_unlikely_and_no_infinity() -> None:
    row = np.array([1.0, -np.inf, 2.0], np.float32)
    scores = Scores(row, 3)
    assert scores.of(1).logprob == LEAST
    assert scores.of(1).top[2] == (1, LEAST)
    assert math.exp(scores.of(0).logprob) + math.exp(scores.of(2).logprob) == pytest.approx(1.0)


def test_a_broken_row_has_no_number_that_json_lacks() -> None:
    with np.errstate(invalid="ignore"):
        scores = Scores(np.array([np.nan, 1.0, 2.0], np.float32), 2)
        assert [scores.of(token).logprob for token in range(3)] == [LEAST] * 3
        assert all(logprob == LEAST for _, logprob in scores.of(0).top)


def test_what_is_written_into_the_row_later_changes_no_alternative() -> None:
    row = np.array([3.0, 1.0, 2.0], np.float32)
    scores = Scores(row, 2)
    before = scores.of(1)
    row[0] = -np.inf
    assert scores.of(1) == before
    assert before.top[0][0] == 0
