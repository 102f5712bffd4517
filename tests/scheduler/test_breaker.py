"""Workers that keep dying are left alone for a while."""

from __future__ import annotations

from runner.scheduler.breaker import LONGEST_PAUSE, Breaker


def test_three_deaths_in_a_minute() -> None:
    breaker = Breaker()
    assert not breaker.died("a", 0.0)
    assert not breaker.died("a", 30.0)
    assert breaker.pause("a", 30.0) == 0
    assert breaker.died("a", 59.0)
    assert breaker.pause("a", 60.0) == 9.0
    assert breaker.pause("a", 69.0) == 0
    assert breaker.pause("b", 60.0) == 0


def test_slow_deaths_are_no_loop() -> None:
    breaker = Breaker()
    assert not any(breaker.died("a", 31.0 * n) for n in range(50))


def test_pauses_grow_and_peace_shortens_them() -> None:
    breaker = Breaker()
    now, pauses = 0.0, []
    for _ in range(8):
        while not breaker.died("a", now):
            pass
        pauses.append(breaker.pause("a", now))
        now += pauses[-1]
    assert pauses == [10, 20, 40, 80, 160, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    now += 10_000
    while not breaker.died("a", now):
        pass
    assert breaker.pause("a", now) == 10
