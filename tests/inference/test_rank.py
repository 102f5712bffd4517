"""From a head's outputs to scores."""

from __future__ import annotations

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import RunnerError
from runner.inference.rank import scores_of


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=9))
def test_one_output_becomes_a_share_of_one(values: list[float]) -> None:
    scores = scores_of(array("f", values).tobytes(), 1)
    assert all(0 <= score <= 1 for score in scores)
    order = sorted(range(len(values)), key=values.__getitem__)
    assert [scores[index] for index in order] == sorted(scores)


def test_of_several_outputs_the_first_counts_as_it_is() -> None:
    assert scores_of(array("f", [0.25, 0.75, 1.0, 0.0]).tobytes(), 2) == (0.25, 1.0)
    assert scores_of(array("f", [0.0]).tobytes(), 1) == (0.5,)


def test_no_number_is_no_score() -> None:
    with pytest.raises(RunnerError, match="no number"):
        scores_of(array("f", [1.0, math.nan]).tobytes(), 1)
