"""The times at which requests are due. All seeds are fixed, so these are facts and not chances."""

import math
import random
import statistics
from itertools import islice, pairwise

import pytest

from runner.bench.arrivals import offsets
from runner.bench.shape import Rate


def gaps(rate: Rate, count: int, seed: int = 1) -> list[float]:
    return [later - sooner for sooner, later in pairwise(islice(offsets(rate, random.Random(seed)), count + 1))]


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_gaps_have_the_mean_of_the_rate_and_the_spread_of_the_burstiness(burstiness: float) -> None:
    found = gaps(Rate(20.0, burstiness), 20_000)
    mean = statistics.fmean(found)
    assert mean == pytest.approx(1 / 20, rel=0.03)
    # A gamma distribution's deviation is its mean divided by the square root of its shape.
    assert statistics.pstdev(found) / mean == pytest.approx(1 / math.sqrt(burstiness), rel=0.05)
    assert min(found) >= 0


def test_a_metronome() -> None:
    assert gaps(Rate(8.0, math.inf), 100) == pytest.approx([0.125] * 100)


def test_the_first_is_due_at_once_and_a_seed_says_all() -> None:
    assert next(offsets(Rate(1.0), random.Random(1))) == 0.0
    assert gaps(Rate(3.0), 50, seed=7) == gaps(Rate(3.0), 50, seed=7)
    assert gaps(Rate(3.0), 50, seed=7) != gaps(Rate(3.0), 50, seed=8)
