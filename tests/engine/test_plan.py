"""The plan of a step, alone and as the loop applies it, over any arrivals and cancels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runner.engine.plan import HEADROOM, Row, Snapshot, Step, Work, plan


def snapshot(
    running: list[Work] | None = None,
    waiting: list[Work] | None = None,
    *,
    slots: int = 8,
    cells: int = 1000,
    budget: int = 512,
    chunk: int = 256,
) -> Snapshot:
    return Snapshot(running or [], waiting or [], slots, cells, budget, chunk)


def decoding(key: int, cells: int = 10) -> Work:
    return Work(key, cells, 1, decoding=True)


def prefill(key: int, remaining: int, cells: int = 0) -> Work:
    return Work(key, cells, remaining)


# -- one step


def test_nothing_to_do() -> None:
    assert plan(snapshot()) == Step((), (), ())


def test_a_newcomer_starts_at_once() -> None:
    assert plan(snapshot(waiting=[prefill(1, 20)])) == Step((), (1,), (Row(1, 20),))


def test_a_long_prompt_takes_several_steps() -> None:
    assert plan(snapshot(waiting=[prefill(1, 900)])).rows == (Row(1, 512),)
    assert plan(snapshot([prefill(1, 388, cells=512)], cells=488)).rows == (Row(1, 388),)


def test_everybody_decodes_and_what_is_left_goes_to_the_oldest_prompt() -> None:
    running = [decoding(1), prefill(2, 300), decoding(3), prefill(4, 300)]
    assert plan(snapshot(running)).rows == (Row(1, 1), Row(3, 1), Row(2, 256))


def test_beside_decodes_only_a_chunk_of_prompt_is_computed() -> None:
    step = plan(snapshot([decoding(1)], [prefill(2, 500)]))
    assert step == Step((), (2,), (Row(1, 1), Row(2, 256)))
    assert plan(snapshot([], [prefill(2, 500)])).rows == (Row(2, 500),)


def test_several_newcomers_share_a_step() -> None:
    step = plan(snapshot(waiting=[prefill(key, 100) for key in range(8)]))
    assert step.admitted == (0, 1, 2, 3, 4, 5)
    assert step.rows[-1] == Row(5, 12)


def test_no_more_are_admitted_than_there_are_slots() -> None:
    assert plan(snapshot(waiting=[prefill(key, 1) for key in range(8)], slots=3)).admitted == (0, 1, 2)


def test_nobody_overtakes_the_one_that_does_not_fit_yet() -> None:
    step = plan(snapshot([decoding(1)], [prefill(2, 900), prefill(3, 5)], cells=500))
    assert step.admitted == ()


def test_a_newcomer_needs_room_beyond_its_prompt() -> None:
    fits = 1 + HEADROOM + 100 + HEADROOM  # the running one's next token and its headroom, the prompt and its own
    assert plan(snapshot([decoding(1)], [prefill(2, 100)], cells=fits)).admitted == (2,)
    assert plan(snapshot([decoding(1)], [prefill(2, 100)], cells=fits - 1)).admitted == ()


def test_alone_a_request_needs_no_headroom() -> None:
    assert plan(snapshot(waiting=[prefill(1, 100)], cells=100)).admitted == (1,)


def test_a_running_prompt_keeps_the_cells_that_it_still_needs() -> None:
    step = plan(snapshot([prefill(1, 800)], [prefill(2, 100)], cells=1000, budget=256))
    assert step.admitted == ()
    assert step.rows == (Row(1, 256),)


def test_when_cells_run_out_the_newest_give_theirs_up() -> None:
    running = [decoding(1, 40), decoding(2, 30), decoding(3, 20)]
    step = plan(snapshot(running, [prefill(4, 1)], cells=2))
    assert step == Step((3,), (), (Row(1, 1), Row(2, 1)))
    step = plan(snapshot([decoding(1, 40), prefill(2, 9, cells=0), prefill(3, 9, cells=0)], cells=1))
    assert step.preempted == (3, 2)
    assert step.rows == (Row(1, 1),)


def test_what_is_found_costs_cells_but_no_budget() -> None:
    """A hundred found in an idle prefix take a hundred cells; those that a running one lends take none."""
    found, lent = Work(2, 0, 8, found=100), Work(2, 0, 8)
    assert plan(snapshot([decoding(1, 10)], [found], cells=148)).admitted == ()
    assert plan(snapshot([decoding(1, 10)], [found], cells=300)).rows == (Row(1, 1), Row(2, 8))
    assert plan(snapshot([decoding(1, 10)], [lent], cells=148)).rows == (Row(1, 1), Row(2, 8))


def test_the_last_one_is_never_preempted() -> None:
    assert plan(snapshot([decoding(1, 10)], cells=1)) == Step((), (), (Row(1, 1),))


# -- any snapshot that the loop can be in

works = st.builds(
    lambda cells, remaining, decoding: Work(0, cells, 1 if decoding else remaining, decoding),
    st.integers(0, 60),
    st.integers(1, 60),
    st.booleans(),
)
newcomers = st.builds(
    lambda remaining, found: Work(0, 0, remaining, found=found), st.integers(1, 60), st.integers(0, 60)
)


@settings(max_examples=300)
@given(
    st.lists(works, max_size=6),
    st.lists(newcomers, max_size=6),
    st.integers(0, 3),
    st.integers(0, 120),
    st.integers(0, 40),
    st.integers(1, 64),
)
def test_a_plan_keeps_to_budget_and_cells(
    running: list[Work], waiting: list[Work], slots: int, free: int, extra: int, chunk: int
) -> None:
    running = [Work(key, work.cells, work.remaining, work.decoding) for key, work in enumerate(running)]
    waiting = [Work(100 + key, 0, work.remaining, found=work.found) for key, work in enumerate(waiting)]
    budget = len(running) + slots + extra + 1  # the worker sees to it that every slot could decode
    given_ = Snapshot(running, waiting, slots, free, budget, chunk)
    check(given_, plan(given_))


def check(given_: Snapshot, step: Step) -> None:
    """What holds for every plan."""
    keys = [work.key for work in given_.running]
    assert list(step.preempted) == keys[::-1][: len(step.preempted)]  # the newest, newest first
    assert (
        list(step.admitted) == [work.key for work in given_.waiting][: len(step.admitted)]
    )  # first come, first served
    assert len(step.admitted) <= given_.slots_free
    assert not (step.preempted and step.admitted)

    left = [work for work in given_.running if work.key not in step.preempted]
    eligible = {work.key: work for work in [*left, *given_.waiting[: len(step.admitted)]]}
    rows = {row.key: row.count for row in step.rows}
    assert len(rows) == len(step.rows)
    assert rows.keys() <= eligible.keys()
    assert all(1 <= count <= eligible[key].remaining for key, count in rows.items())

    freed = sum(work.cells for work in given_.running if work.key in step.preempted)
    assert sum(rows.values()) <= given_.budget
    assert sum(rows.values()) <= given_.cells_free + freed
    if len(step.admitted) > 1 or (step.admitted and left):  # alone, one that fits the context fits the cells
        found = sum(work.found for work in given_.waiting[: len(step.admitted)])
        assert sum(rows.values()) + found <= given_.cells_free + freed
    decodes = [work.key for work in left if work.decoding]
    if decodes and given_.cells_free + freed >= len(decodes):
        assert all(rows.get(key) == 1 for key in decodes)
    if decodes:
        assert sum(count for key, count in rows.items() if key not in decodes) <= given_.chunk
    if left and given_.cells_free + freed > 0:
        assert left[0].key in rows  # the oldest gets on in every step, so everybody becomes the oldest and ends
    if not given_.running and given_.waiting and given_.slots_free and given_.cells_free:
        assert step.rows


# -- as the loop applies it


@dataclass
class Request:
    key: int
    prompt: int
    answer: int  # tokens it will have generated when it ends
    computed: int = 0
    generated: int = 0
    preempted: int = 0

    @property
    def remaining(self) -> int:
        return self.prompt + self.generated - self.computed

    @property
    def work(self) -> Work:
        return Work(self.key, self.computed, self.remaining, self.generated > 0 and self.remaining == 1)


@dataclass
class Engine:
    """The loop's bookkeeping, without a model: a row computed is a row counted."""

    slots: int
    cells: int
    budget: int
    chunk: int
    running: list[Request] = field(default_factory=list)
    waiting: list[Request] = field(default_factory=list)
    ended: Counter[int] = field(default_factory=Counter)
    admissions: list[int] = field(default_factory=list)  # keys in the order of their first admission
    steps: int = 0

    @property
    def cells_busy(self) -> int:
        return sum(request.computed for request in self.running)

    def step(self) -> Step:
        given_ = Snapshot(
            [request.work for request in self.running],
            [request.work for request in self.waiting],
            self.slots - len(self.running),
            self.cells - self.cells_busy,
            self.budget,
            self.chunk,
        )
        step = plan(given_)
        check(given_, step)
        self.steps += 1
        for key in step.preempted:
            request = self.running.pop()
            assert request.key == key
            request.computed = 0
            request.preempted += 1
            self.waiting.insert(0, request)
        for key in step.admitted:
            request = self.waiting.pop(0)
            assert request.key == key
            if not request.preempted and key not in self.admissions:
                self.admissions.append(key)
            self.running.append(request)
        by_key = {request.key: request for request in self.running}
        for row in step.rows:
            by_key[row.key].computed += row.count
        assert self.cells_busy <= self.cells
        assert len(self.running) <= self.slots
        for request in list(self.running):
            if request.remaining == 0:
                request.generated += 1
                if request.generated == request.answer:
                    self.running.remove(request)
                    self.ended[request.key] += 1
        return step

    def cancel(self, key: int) -> None:
        for queue in (self.running, self.waiting):
            for request in list(queue):
                if request.key == key:
                    queue.remove(request)
                    self.ended[key] += 1

    def drain(self, most: int) -> None:
        """Until nobody is left."""
        until = self.steps + most
        while self.running or self.waiting:
            assert self.steps < until, "somebody starves"
            self.step()


class PlanMachine(RuleBasedStateMachine):
    """Arrivals, steps and cancels in any order."""

    @initialize(
        slots=st.integers(1, 5), cells=st.integers(20, 200), budget=st.integers(0, 40), chunk=st.integers(1, 30)
    )
    def begin(self, slots: int, cells: int, budget: int, chunk: int) -> None:
        self.engine = Engine(slots, cells, slots + budget, chunk)
        self.sent: list[int] = []
        self.tokens = 0

    @rule(prompt=st.integers(1, 200), answer=st.integers(1, 60))
    def arrive(self, prompt: int, answer: int) -> None:
        prompt = min(prompt, self.engine.cells - 1)  # one request always fits: the mailbox refuses longer ones
        answer = min(answer, self.engine.cells - prompt)
        self.sent.append(len(self.sent))
        self.tokens += prompt + answer
        self.engine.waiting.append(Request(self.sent[-1], prompt, answer))

    @precondition(lambda self: self.engine.running or self.engine.waiting)
    @rule(times=st.integers(1, 20))
    def step(self, times: int) -> None:
        for _ in range(times):
            if self.engine.running or self.engine.waiting:
                self.engine.step()

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.engine.cancel(data.draw(st.sampled_from(self.sent)))

    @invariant()
    def nobody_is_lost_or_ends_twice(self) -> None:
        if not hasattr(self, "engine"):
            return
        present = [request.key for request in [*self.engine.running, *self.engine.waiting]]
        assert all(count == 1 for count in self.engine.ended.values())
        assert sorted([*present, *self.engine.ended]) == self.sent
        assert self.engine.admissions == sorted(self.engine.admissions)  # first come, first served

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        self.engine.drain(most=200 + 20 * self.tokens)
        assert sorted(self.engine.ended) == self.sent
        assert self.engine.cells_busy == 0


TestPlanMachine = PlanMachine.TestCase
TestPlanMachine.settings = settings(max_examples=80, stateful_step_count=30)


def test_a_crowd_over_few_cells_ends_in_order_and_all_preempted_come_back() -> None:
    engine = Engine(slots=8, cells=256, budget=64, chunk=32)
    engine.waiting = [Request(key, 20, 60) for key in range(40)]
    requests = list(engine.waiting)
    engine.drain(most=20_000)
    assert sum(request.preempted for request in requests) > 0
    assert all(engine.ended[request.key] == 1 for request in requests)
    assert engine.admissions == list(range(40))


def test_plentiful_cells_preempt_nobody() -> None:
    engine = Engine(slots=8, cells=8 * 80, budget=64, chunk=32)
    engine.waiting = [Request(key, 20, 60) for key in range(40)]
    requests = list(engine.waiting)
    engine.drain(most=2000)
    assert all(request.preempted == 0 for request in requests)


def test_a_stream_of_newcomers_starves_neither_decodes_nor_the_longest_prompt() -> None:
    """A prompt longer than all others together waits at the head, and nobody who came after it goes first."""
    engine = Engine(slots=4, cells=400, budget=64, chunk=32)
    engine.waiting = [Request(0, 10, 50), Request(1, 390, 5)]
    for key in range(2, 200):
        engine.waiting.append(Request(key, 5, 5))
        engine.step()
    assert engine.ended[0] == 1
    assert engine.ended[1] == 1


@pytest.mark.parametrize("when", range(0, 60, 7))
def test_a_cancel_at_any_point_frees_everything(when: int) -> None:
    engine = Engine(slots=3, cells=100, budget=16, chunk=8)
    engine.waiting = [Request(key, 30, 10) for key in range(5)]
    for _ in range(when):
        if engine.running or engine.waiting:
            engine.step()
    for key in range(5):
        engine.cancel(key)
    assert engine.cells_busy == 0
    assert dict(engine.ended) == dict.fromkeys(range(5), 1)
