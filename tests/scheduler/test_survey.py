"""How much is asked of the memory plan: it takes milliseconds for each answer, and many may wait."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import InsufficientMemory
from runner.scheduler import memory
from runner.scheduler.memory import Footprint
from tests.fakes.scheduling import GIB, Bench, Heard, want

FEW = 12  # answers at one time, whoever waits


def sized(weights: int) -> Footprint:
    return Footprint(weights=weights, kv=1024, state=0, vocabulary=1000, width=64)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Footprint]:
    """The questions that were worked out."""
    asked: list[Footprint] = []
    place = memory.place

    def noting(footprint: Footprint, *more: Any, **named: Any) -> Any:
        asked.append(footprint)
        return place(footprint, *more, **named)

    monkeypatch.setattr(memory, "place", noting)
    return asked


def besieged(bench: Bench, models: int) -> list[Heard]:
    """One model is busy, and many others wait."""
    first = bench.submit(want("busy"))
    bench.load("busy")
    others = []
    for number in range(models):
        bench.advance(0.1)
        others.append(bench.submit(want(f"m{number}", footprint=sized(GIB + number))))
    return [first, *others]


def test_a_look_at_many_who_wait_asks_for_few(asked: list[Footprint]) -> None:
    bench = Bench(queue=1000, memory=16 * GIB)
    besieged(bench, 200)
    for taken in (0, 1, 2):  # somebody else uses the machine, too
        asked.clear()
        bench.memory = 16 * GIB - taken * 2**20
        bench.advance(1.0)
        assert 0 < len(asked) <= FEW


def test_when_much_has_changed_it_asks_for_few_at_a_time_and_soon_for_all(asked: list[Footprint]) -> None:
    bench = Bench(queue=1000, memory=64 * GIB)
    besieged(bench, 5)
    big = [bench.submit(want(f"big{number}", footprint=sized(40 * GIB + number))) for number in range(20)]
    assert not any(heard.outcome for heard in big)
    bench.memory = 16 * GIB
    bench.advance(1.0)
    until = bench.now + 1.0
    while bench.effects.wake_at is not None and bench.effects.wake_at <= until:
        asked.clear()
        bench.advance(bench.effects.wake_at - bench.now)
        assert len(asked) <= FEW
    assert all(isinstance(heard.outcome, InsufficientMemory) for heard in big)


def test_who_cannot_fit_hears_that_at_once_however_many_wait() -> None:
    bench = Bench(queue=1000, memory=16 * GIB)
    besieged(bench, 50)
    assert isinstance(bench.submit(want("big", footprint=sized(40 * GIB))).outcome, InsufficientMemory)
