"""Vectors of length one."""

from __future__ import annotations

import math
from array import array

from hypothesis import given
from hypothesis import strategies as st

from runner.inference.embed import unit_vectors


def floats(data: bytes, width: int) -> list[list[float]]:
    values = array("f", data).tolist()
    return [values[start : start + width] for start in range(0, len(values), width)]


def test_cut_then_scaled() -> None:
    data = array("f", [3.0, 4.0, 12.0, 0.0, 5.0, 1.0]).tobytes()
    assert floats(unit_vectors(data, 2, 3, 2), 2) == [[array("f", [0.6])[0], array("f", [0.8])[0]], [0.0, 1.0]]


def test_zeros_stay() -> None:
    assert floats(unit_vectors(bytes(8), 1, 2, 2), 2) == [[0.0, 0.0]]


@given(st.integers(1, 5), st.integers(1, 9), st.data())
def test_length_is_one(count: int, width: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.floats(-1e3, 1e3, width=32), min_size=count * width, max_size=count * width))
    dimensions = data.draw(st.integers(1, width))
    vectors = floats(unit_vectors(array("f", values).tobytes(), count, width, dimensions), dimensions)
    assert len(vectors) == count
    for index, vector in enumerate(vectors):
        original = array("f", values[index * width : index * width + dimensions])
        length = math.hypot(*vector)
        assert length == 0 if not any(original) else math.isclose(length, 1, rel_tol=1e-3)
