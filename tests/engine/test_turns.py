"""Whose turn it is: no group waits for more than one turn of each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.engine.turns import Turns
from runner.protocol.commands import Adapter, Adapters

A, B, C = ((Adapter(name),) for name in "abc")
BASE: Adapters = ()


def test_a_turn_lasts_a_while_and_then_it_is_the_next_ones() -> None:
    turns, went = Turns(1.0), []
    for tenth in range(0, 60, 4):
        first, *_ = turns.order([BASE, A, B], tenth / 10)
        turns.took(first, tenth / 10)
        went.append(first)
    assert went == [*[BASE] * 3, *[A] * 3, *[B] * 3, *[BASE] * 3, *[A] * 3]


def test_who_is_alone_goes_on() -> None:
    turns = Turns(1.0)
    turns.took(A, 0.0)
    assert turns.order([A], 5.0) == [A]
    assert turns.order([], 5.0) == []


def test_newcomers_wait_for_those_who_waited_before() -> None:
    turns = Turns(1.0)
    assert turns.order([A, B], 0.0) == [A, B]
    turns.took(A, 0.0)
    assert turns.order([A, B, C], 0.5) == [A, B, C]
    assert turns.order([C, A, B], 1.5) == [B, A, C]


@given(st.data())
def test_everybody_has_a_turn_within_a_round(data: st.DataObject) -> None:
    turns, now = Turns(1.0), 0.0
    waiting: dict[Adapters, set[Adapters]] = {}  # who has gone since each group came or went itself
    there: set[Adapters] = set()
    groups = [(Adapter(str(number)),) for number in range(5)]
    for _ in range(data.draw(st.integers(1, 60))):
        there ^= set(data.draw(st.lists(st.sampled_from(groups), max_size=2, unique=True)))
        if not there:
            continue
        waiting = {group: waiting.get(group, set()) for group in there}
        first, *_ = turns.order([group for group in groups if group in there], now)
        turns.took(first, now)
        now += data.draw(st.floats(0.3, 2.0))
        for group, gone in waiting.items():
            if group != first:
                gone.add(first)
        waiting[first] = set()
        assert all(len(gone) < len(groups) for gone in waiting.values())


@given(st.lists(st.integers(1, 3), max_size=30))
def test_a_stream_of_new_groups_starves_nobody(newcomers: list[int]) -> None:
    turns, old = Turns(0.0), (Adapter("old"),)
    turns.order([old], 0.0)
    present: list[Adapters] = [old]
    for step, count in enumerate(newcomers):
        present += [(Adapter(f"{step}-{number}"),) for number in range(count)]
        first, *_ = turns.order(present, float(step))
        turns.took(first, float(step))
        if first == old:
            return
        present.remove(first)
    assert not newcomers
