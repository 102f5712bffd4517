"""A worker that falls silent is noticed in time, and a daemon that slept itself blames nobody."""

from __future__ import annotations

import pytest

from runner.scheduler.pulse import FIRST, SHORTEST, SILENCE, STARVED, Pulse, Shortage


def beating(until: int = 10, step: float = 0.0) -> Pulse:
    pulse = Pulse()
    for second in range(until + 1):
        assert pulse.beat(step, float(second)) is None
    return pulse


def test_nothing_is_expected_before_the_first_beat() -> None:
    pulse = Pulse()
    pulse.heard(0.0)
    assert pulse.due is None


def test_silence_is_noticed_within_five_seconds() -> None:
    pulse = beating(10)
    now = 10.0
    while (fault := pulse.look(now)) is None:
        assert pulse.due is not None
        assert pulse.due > now
        now = pulse.due
    assert now <= 10.0 + SILENCE < 15.0
    assert "no sign of life for 4 s" in fault


def test_one_that_does_not_get_to_run_is_given_longer() -> None:
    pulse, now, looks = beating(0), SILENCE, 0
    while (fault := pulse.look(now, lambda: True)) is None:
        assert pulse.due is not None
        now, looks = pulse.due, looks + 1
    assert (now, looks) == (STARVED, STARVED - SILENCE)
    assert "no sign of life for 30 s" in fault
    pulse = beating(0)
    assert pulse.look(SILENCE, lambda: True) is None
    assert pulse.look(SILENCE + 1, lambda: False) is not None, "now it is stopped"
    pulse = beating(0)
    assert pulse.look(SILENCE, lambda: True) is None
    assert pulse.beat(0.0, SILENCE + 0.5) is None
    assert pulse.look(SILENCE + 1, lambda: False) is None, "it was heard of again"
    assert pulse.due == 2 * SILENCE + 0.5


@pytest.mark.parametrize("late", [2.0, 30.0, 100_000.0])
def test_who_slept_himself_starts_over(late: float) -> None:
    pulse = beating(0)
    assert pulse.due == SILENCE
    assert pulse.look(SILENCE + late) is None
    assert pulse.due == 2 * SILENCE + late
    assert pulse.look(pulse.due) is not None


def test_anything_that_is_heard_counts() -> None:
    pulse = beating(0)
    pulse.heard(3.0)
    assert pulse.look(SILENCE) is None
    assert pulse.due == 3.0 + SILENCE


def test_a_first_step_may_take_long() -> None:
    assert beating(0).beat(FIRST, 1.0) is None
    assert "one step for 601 s" in (beating(0).beat(FIRST + 1, 1.0) or "")


def test_a_step_may_take_many_times_as_long_as_others() -> None:
    pulse = beating(0)
    for step in (1.0, 2.0, 0.0):
        assert pulse.beat(step, 5.0) is None
    assert pulse.beat(SHORTEST, 70.0) is None
    assert pulse.beat(SHORTEST + 1, 71.0) is not None
    pulse = beating(0)
    for step in (10.0, 0.0):
        assert pulse.beat(step, 5.0) is None
    assert pulse.beat(200.0, 300.0) is None
    assert pulse.beat(201.0, 301.0) is not None


def test_a_silence_that_was_announced_is_waited_for_and_no_other() -> None:
    pulse = beating(10)
    assert pulse.beat(0.0, 11.0, 30.0) is None
    assert pulse.due == SILENCE
    assert pulse.look(SILENCE) is None
    assert pulse.due == 11.0 + SILENCE + 30.0
    assert pulse.look(pulse.due) is not None
    pulse = beating(10)
    assert pulse.beat(0.0, 11.0, 30.0) is None
    assert pulse.look(SILENCE) is None
    assert pulse.beat(0.0, 20.0) is None
    assert pulse.due == 20.0 + SILENCE, "it is over"
    assert pulse.look(pulse.due) is not None


def test_only_a_shortage_of_memory_about_when_it_died_is_to_blame() -> None:
    shortage = Shortage(3)
    assert not shortage.is_to_blame(3)
    assert shortage.is_to_blame(4), "it never gave a sign of life"
    shortage.alive(4, 10.0)
    assert shortage.is_to_blame(4), "the sign may be older than what was counted"
    shortage.alive(4, 10.1)
    assert shortage.is_to_blame(4), "the same of one that came with it"
    shortage.alive(4, 11.0)
    assert not shortage.is_to_blame(4), "somebody else, a second ago"
    assert shortage.is_to_blame(5)
