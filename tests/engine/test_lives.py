"""Whole lives of requests under the plan: any arrivals, cancels, choices and drafts, over real slots and few cells."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runner.protocol.commands import Adapter, Adapters
from tests.engine.planning import Engine

prompts = st.lists(st.integers(0, 2), min_size=1, max_size=40)


class PlanMachine(RuleBasedStateMachine):
    @initialize(
        slots=st.integers(1, 4),
        cells=st.integers(60, 140),
        extra=st.integers(0, 28),
        chunk=st.integers(1, 24),
        drafts=st.integers(0, 8),
        chance=st.randoms(use_true_random=False),
    )
    def begin(self, slots: int, cells: int, extra: int, chunk: int, drafts: int, chance: Random) -> None:
        self.engine = Engine(slots, cells, slots + extra + 1, chunk, drafts)
        self.engine.wants = lambda: chance.randint(0, 4)
        self.engine.hits = lambda: chance.randint(0, 4)
        self.engine.cached = lambda life: chance.choice([0, 0, 5, 40])
        self.lengths: dict[int, list[int]] = {}
        self.tokens = 0
        self.cancelled: set[int] = set()

    @rule(
        prompt=prompts,
        lengths=st.lists(st.integers(1, 20), min_size=1, max_size=3),
        group=st.sampled_from([(), (), (Adapter("a"),), (Adapter("a", 0.5),), (Adapter("a"), Adapter("b"))]),
    )
    def submit(self, prompt: list[int], lengths: list[int], group: Adapters) -> None:
        request = len(self.lengths)
        self.lengths[request] = lengths
        self.tokens += len(prompt) * len(lengths) + sum(lengths)
        self.engine.submit(request, prompt, *lengths, group=group)

    @precondition(lambda self: self.engine.running or self.engine.waiting)
    @rule(times=st.integers(1, 20))
    def step(self, times: int) -> None:
        for _ in range(times):
            if self.engine.running or self.engine.waiting:
                self.engine.step()
                self.engine.check_books()

    @precondition(lambda self: self.lengths)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(sorted(self.lengths)))
        if not self.engine.ended[request]:
            self.cancelled.add(request)
        self.engine.cancel(request)
        self.engine.check_books()

    @invariant()
    def nobody_is_lost_or_ends_twice(self) -> None:
        if not hasattr(self, "engine"):
            return
        present = {life.request for life in [*self.engine.running, *self.engine.waiting]}
        ended = {request for request, count in self.engine.ended.items() if count}
        assert all(count <= 1 for count in self.engine.ended.values())
        assert present | ended == set(self.lengths)
        assert not present & ended

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        self.engine.drain(most=200 + 20 * self.tokens)
        self.nobody_is_lost_or_ends_twice()
        self.engine.check_empty()
        for request, lengths in self.lengths.items():
            if request not in self.cancelled:  # whatever happened on the way, everybody has said what he would alone
                for choice, length in enumerate(lengths):
                    expected = [(7 * request + 3 * choice + place) % 5 for place in range(length)]
                    assert self.engine.said[request, choice] == expected


TestPlanMachine = PlanMachine.TestCase
TestPlanMachine.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def test_a_crowd_over_few_cells_ends_and_all_preempted_come_back() -> None:
    engine = Engine(slots=8, cells=256, budget=64, chunk=32)
    for key in range(40):
        engine.submit(key, [key] * 20, 60)
    engine.drain(most=20_000)
    assert engine.preemptions > 0
    assert all(engine.ended[key] == 1 for key in range(40))
    engine.check_empty()


def test_plentiful_cells_preempt_nobody() -> None:
    engine = Engine(slots=8, cells=8 * 80, budget=64, chunk=32)
    for key in range(40):
        engine.submit(key, [key] * 20, 60)
    engine.drain(most=2000)
    assert engine.preemptions == 0


def test_drafts_make_no_difference_but_to_the_number_of_steps() -> None:
    plain, drafting = (Engine(slots=4, cells=400, budget=64, chunk=32, drafts=drafts) for drafts in (0, 8))
    drafting.wants = drafting.hits = lambda: 3
    for engine in (plain, drafting):
        for key in range(6):
            engine.submit(key, [key] * 10, 40, 30)
        engine.drain(most=2000)
    assert drafting.said == plain.said
    assert drafting.steps < plain.steps * 2 / 3


def test_a_stream_of_newcomers_starves_neither_decodes_nor_the_longest_prompt() -> None:
    """A prompt longer than all others together waits at the head, and nobody who came after it goes first for long."""
    engine = Engine(slots=4, cells=400, budget=64, chunk=32)
    engine.cached = lambda life: 5 if life.request > 1 else 0  # all who come later have the bonus
    engine.submit(0, [1] * 10, 50)
    engine.submit(1, [2] * 390, 5)
    for key in range(2, 200):
        engine.submit(key, [3] * 5, 5)
        engine.step()
    assert engine.ended[0] == 1
    assert engine.ended[1] == 1


@pytest.mark.parametrize("when", range(0, 60, 7))
def test_a_cancel_at_any_point_frees_everything(when: int) -> None:
    engine = Engine(slots=3, cells=100, budget=16, chunk=8, drafts=4)
    engine.wants, engine.hits = (lambda: 3), (lambda: 1)
    for key in range(5):
        engine.submit(key, [1] * 30, 10, 10)
    for _ in range(when):
        if engine.running or engine.waiting:
            engine.step()
    for key in range(5):
        engine.cancel(key)
    assert dict(engine.ended) == dict.fromkeys(range(5), 1)
    engine.check_empty()
