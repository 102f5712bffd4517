"""Sequences in two lanes, with contexts that only keep books: who goes where, who moves, and when the wide lane stands.

No time and no sleeping: the clock is a number, and the inbox a script that says what arrives before which step.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Sequence as Seq
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine import lanes as lanes_module
from runner.engine.cost import Cost
from runner.engine.crew import Crew
from runner.engine.embed import Embedder
from runner.engine.lanes import PATIENCE, Lane, Lanes, Wide, need
from runner.engine.loop import Item, Loop, Widened
from runner.engine.outbox import Outbox
from runner.engine.sequence import Sequence
from runner.errors import LoadFailed
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.protocol.commands import Cancel, Stop
from runner.protocol.events import Done, Ended, Failed, Started, Stats, Text
from tests.engine.test_loop import (
    Cell,
    Cells,
    Inbox,
    NoEmbedder,
    Record,
    Vocabulary,
    closed,
    requests,
    scores,
    sequence,
    spoken,
)
from tests.engine.test_loop import Script as Chooser


class Split(Cells):
    """A context whose sequences have cells of their own. A decode that finds none is a fault of the books."""

    is_split = True

    def __init__(self, sequences: int, length: int, outcomes: Seq[Outcome] = ()) -> None:
        super().__init__(sequences, sequences * length, outcomes)
        self.length = length
        self.is_closed = False
        self.ids: list[list[int]] = []  # of each decode

    def share(self, source: int, target: int) -> None:
        assert not self.held[target]
        self.held[target] = [Cell(cell.token) for cell in self.held[source]]

    def decode(self, batch: Batch) -> Outcome:
        assert not self.is_closed
        self.ids.append(list(dict.fromkeys(int(seq) for seq in batch._seq[: batch.size, 0])))
        outcome = super().decode(batch)
        assert max(map(len, self.held)) <= self.length
        return outcome

    def close(self) -> None:
        self.is_closed = True


class Pool(Cells):
    def close(self) -> None:
        """Nothing to free."""


class Clock:
    """Stands still but where somebody waits."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class PatientInbox(Inbox):
    """Lets the time pass when there is nothing and somebody waits for a limited time, and for a minute or so before the
    arrivals that `pauses` names."""

    def __init__(self, arrivals: Seq[Seq[Item]], clock: Clock, pauses: dict[int, float]) -> None:
        super().__init__(arrivals)
        self._clock = clock
        self._count, self._pauses = len(arrivals), dict(pauses)
        self.waits: list[float] = []

    def empty(self) -> bool:
        self._clock.now += self._pauses.pop(self._count - len(self._arrivals), 0.0)
        return super().empty()

    def get(self, timeout: float | None = None) -> Item:
        if timeout is not None and not any(self._arrivals):
            self.waits.append(timeout)
            self._clock.now += timeout
            raise queue.Empty
        return super().get()


class Machine:
    """A loop with a pool and a plan for a wide lane of `sequences` slots of `length` cells."""

    def __init__(
        self,
        *,
        pool: int = 2,
        cells: int = 200,
        sequences: int = 6,
        length: int = 64,
        outcomes: Seq[Outcome] = (),
        wide_outcomes: Seq[Outcome] = (),
        refuses: int = 0,
    ) -> None:
        self.pool = Pool(pool, cells, outcomes)
        self.wide: list[Split] = []
        self.outbox = self.pool.outbox
        self.clock = Clock()

        def make() -> Context:
            nonlocal refuses
            if refuses:
                refuses -= 1
                raise LoadFailed("no memory")
            self.wide.append(Split(sequences, length, wide_outcomes))
            return cast(Context, self.wide[-1])

        self.lanes = Lanes(Lane(cast(Context, self.pool)), Wide(make, sequences, length))

    def run(self, arrivals: Seq[Seq[Item]], pauses: dict[int, float] | None = None) -> Record:
        self.inbox = PatientInbox(arrivals, self.clock, pauses or {})
        loop = Loop(
            cast(Model, Vocabulary()),
            self.lanes,
            cast(Embedder, NoEmbedder()),
            cast("queue.SimpleQueue[Item]", self.inbox),
            cast(Outbox, self.outbox),
            Crew(1),
            clock=self.clock,
        )
        loop.run()
        assert self.lanes.running == []
        for lane, context in zip(self.lanes, [self.pool, *self.wide[-1:]], strict=False):
            assert (lane.slots.cells_used, lane.slots.cells_busy) == (context.used, 0)
            assert [len(held) for held in context.held] == [len(slot.tokens) for slot in lane.slots._slots]
        self.lanes.close()
        return self.outbox

    @property
    def is_wide(self) -> list[bool]:
        return [event.is_wide for event in self.outbox.events if isinstance(event, Stats)]


def crowd(count: int, answer: Seq[int] = range(10, 20), **options: int) -> list[Item]:
    return [sequence(key, [key + 1] * 5, answer, num_predict=len(answer) + 1, **options) for key in range(count)]


def all_said(outbox: Record, items: Seq[Item], answer: Seq[int] = range(10, 20)) -> None:
    for item in items:
        assert isinstance(item, Sequence)
        assert outbox.text(item.id) == spoken(answer)
        end = outbox.end(item.id)
        assert isinstance(end, Done)
        assert end.reason == "stop"
        assert len([event for event in outbox.of(item.id) if isinstance(event, Started)]) == 1
    assert closed(*items) == [1] * len(items)


# -- what a sequence is likely to need


@pytest.mark.parametrize(
    ("prompt", "wanted", "expected"),
    [(10, 20, 30), (10, 300, 266), (10, 4000, 2010), (10, -1, 266), (10, 0, 10), (2900, 500, 3000)],
)
def test_an_answer_is_taken_to_be_ordinary_unless_a_long_one_was_asked_for(
    prompt: int, wanted: int, expected: int
) -> None:
    assert need(sequence(1, [5] * prompt, num_predict=wanted, context_length=3000)) == expected


def test_what_has_been_said_already_counts() -> None:
    one = sequence(1, [5] * 10, num_predict=-1, context_length=3000)
    one.tokens += [6] * 500
    assert need(one) == 510


# -- who goes where


def test_a_few_stay_in_the_pool() -> None:
    machine, items = Machine(), crowd(2)
    all_said(machine.run([items]), items)
    assert machine.wide == []


class Known(Cost):
    """A cost that is known already."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def saving(self, rows: int, cells: int) -> float | None:
        return self._share


@pytest.mark.parametrize(
    ("users", "share", "is_wide"),
    [(8, 0.3, False), (9, 0.3, True), (9, 0.05, False), (16, 0.05, False), (17, 0.05, True)],
)
def test_what_was_measured_decides_for_more_than_a_few_and_as_many_as_the_pool_has_sequences(
    users: int, share: float, is_wide: bool
) -> None:
    machine, items = Machine(pool=16, cells=400), crowd(users)
    machine.lanes.cost = Known(share)
    all_said(machine.run([items, *[[] for _ in range(4)], [Widened()]]), items)
    assert (machine.wide != []) == is_wide


def test_more_than_the_pool_has_cells_for_are_a_crowd_whatever_its_steps_take() -> None:
    """Eight of sixteen tokens each."""
    for cells, is_wide in ((200, False), (120, True)):
        machine, items = Machine(pool=16, cells=cells), crowd(8)
        machine.lanes.cost = Known(0.0)
        all_said(machine.run([items, *[[] for _ in range(4)], [Widened()]]), items)
        assert (machine.wide != []) == is_wide


def test_a_crowd_gets_the_wide_lane_and_nobody_is_lost() -> None:
    machine, items = Machine(), crowd(9)
    outbox = machine.run([items, [], [], [Widened()]])
    all_said(outbox, items)
    (wide,) = machine.wide
    assert wide.decodes > 0
    assert max(map(len, wide.ids)) == 6
    assert all(ids == list(range(ids[0], ids[0] + len(ids))) for ids in wide.ids)  # without a gap, in order
    assert machine.is_wide[-1] is False  # given up in the end


def test_a_long_prompt_goes_to_the_pool_and_waits_for_nobody() -> None:
    machine = Machine()
    long = sequence(77, [9] * 80, range(10, 20), context_length=200)
    items = crowd(8)
    outbox = machine.run([items, [], [], [Widened()], [], [long]])
    all_said(outbox, [*items, long])
    assert not any(9 in {cell.token for cell in held} for held in machine.wide[0].held)


def test_while_the_wide_lane_is_made_the_pool_goes_on() -> None:
    machine, items = Machine(), crowd(5)
    outbox = machine.run([items, *[[] for _ in range(100)], [Widened()]])
    all_said(outbox, items)


def test_without_memory_for_it_everybody_stays_in_the_pool(capsys: pytest.CaptureFixture[str]) -> None:
    machine, items, late = Machine(refuses=1), crowd(5), sequence(50, [9], [10])
    outbox = machine.run([items, [], [Widened()], [], [late]])
    all_said(outbox, items)
    assert machine.wide == []
    assert "no memory" in capsys.readouterr().err


def test_it_is_tried_again_after_a_while() -> None:
    machine, first, second = Machine(refuses=1), crowd(5), crowd(9)[5:]
    outbox = machine.run([first, [], [Widened()], second, [], [Widened()]], {3: PATIENCE})
    all_said(outbox, [*first, *second])
    assert len(machine.wide) == 1


# -- when it is given up


def test_it_is_given_up_after_a_while_and_made_again() -> None:
    machine, first = Machine(), crowd(5)
    outbox = machine.run([first, [], [Widened()]])
    all_said(outbox, first)
    assert machine.wide[0].is_closed
    assert sum(machine.inbox.waits) == pytest.approx(PATIENCE)
    assert machine.lanes.wide is None


def test_it_is_not_given_up_under_anybody() -> None:
    machine, items = Machine(), crowd(5, range(10, 50))
    late = sequence(60, [9], range(10, 60), num_predict=60)
    outbox = machine.run([items, [], [Widened()], [], [], [late]], {5: 2 * PATIENCE})
    all_said(outbox, items, range(10, 50))
    assert outbox.text(60) == spoken(range(10, 60))


# -- who outgrows a slot


def test_whoever_outgrows_a_slot_goes_on_in_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "ANSWER", 4)
    machine = Machine(length=16, cells=400)
    items = [sequence(key, [key + 1] * 5, range(10, 50), context_length=100) for key in range(6)]
    outbox = machine.run([items, [], [Widened()]])
    all_said(outbox, items, range(10, 50))
    assert outbox.stats.preemptions >= 4
    assert machine.wide[0].decodes > 8


def test_choices_in_the_wide_lane_are_copies() -> None:
    machine = Machine(sequences=8)
    items = crowd(4)
    asked = sequence(70, [7, 8, 9], [20, 21], [30], [40, 41, 42], num_predict=9)
    outbox = machine.run([items, [], [Widened()], [asked]])
    all_said(outbox, items)
    assert [outbox.text(70, choice) for choice in range(3)] == ["20 21 ", "30 ", "40 41 42 "]


def test_more_choices_than_slots_wait() -> None:
    machine = Machine(sequences=3)
    items = crowd(4)
    asked = sequence(70, [7, 8, 9], *[[20 + n] * 9 for n in range(7)], num_predict=10)
    outbox = machine.run([items, [], [Widened()], [asked]])
    for choice in range(7):
        assert outbox.text(70, choice) == spoken([20 + choice] * 9)


# -- cancelled, failed


@pytest.mark.parametrize("when", range(8))
def test_a_cancel_in_either_lane(when: int) -> None:
    machine, items = Machine(), crowd(7)
    victims = [Cancel(1), Cancel(5)]
    outbox = machine.run([items, [], [Widened()], *[[] for _ in range(when)], victims])
    for key in (1, 5):
        end = outbox.end(key)
        assert isinstance(end, Done)
    others = [item for item in items if isinstance(item, Sequence) and item.id not in (1, 5)]
    all_said(outbox, others)


def test_stop_while_the_wide_lane_is_being_made() -> None:
    machine, items = Machine(), crowd(5)
    outbox = machine.run([items, [], [Stop()]])
    for key in range(5):
        assert isinstance(outbox.end(key), Done)
    assert machine.wide[0].is_closed


def test_a_failed_decode_fails_only_those_in_its_lane() -> None:
    machine, items = Machine(wide_outcomes=[Outcome.DONE, Outcome.FAILED]), crowd(7)
    outbox = machine.run([items, [], [Widened()]])
    ends = [outbox.end(key) for key in range(7)]
    assert [isinstance(end, Failed) for end in ends] == [False] * 2 + [True] * 5


def test_without_room_in_the_wide_lane_everybody_goes_on_all_the_same() -> None:
    machine, items = Machine(wide_outcomes=[Outcome.DONE, *[Outcome.NO_ROOM] * 6]), crowd(7)
    all_said(machine.run([items, [], [Widened()]]), items)


def test_both_lanes_share_what_is_computed_beside_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.engine.pace.Pace.chunk", lambda _, decodes: 4 if decodes else 1 << 20)
    machine, items = Machine(), crowd(4, range(10, 60))
    long = sequence(80, [9] * 90, [20], context_length=200)
    short = sequence(81, [8] * 40, [20], num_predict=2)
    outbox = machine.run([items, [], [Widened()], [], [], [long, short]])
    all_said(outbox, items, range(10, 60))
    assert outbox.text(80) == outbox.text(81) == "20 "


# -- anything at any time


@settings(max_examples=200, deadline=None)
@given(
    st.lists(requests, min_size=1, max_size=10),
    st.lists(st.lists(st.integers(0, 11), max_size=4), max_size=25),
    st.lists(st.sampled_from([*[Outcome.DONE] * 6, Outcome.NO_ROOM, Outcome.FAILED]), max_size=30),
    st.lists(st.sampled_from([*[Outcome.DONE] * 9, Outcome.NO_ROOM, Outcome.FAILED]), max_size=30),
    st.integers(1, 3),
    st.integers(2, 5),
    st.integers(24, 60),
    st.integers(0, 25),
)
def test_every_request_ends_exactly_once(
    wanted: list[tuple[list[int], list[int], int, bool, int | None]],
    ticks: list[list[int]],
    outcomes: list[Outcome],
    wide_outcomes: list[Outcome],
    pool: int,
    sequences: int,
    length: int,
    widened: int,
) -> None:
    """Each request arrives where its number is drawn first, and is cancelled where it is drawn again."""
    machine = Machine(
        pool=pool, cells=120, sequences=sequences, length=length, outcomes=outcomes, wide_outcomes=wide_outcomes
    )
    made: dict[int, Sequence] = {}
    choosers: dict[int, list[Chooser]] = {}
    for key, (prompt, lengths, limit, echo, logprobs) in enumerate(wanted):
        answers = [range(10 + choice, 10 + choice + length) for choice, length in enumerate(lengths)]
        made[key] = sequence(key, prompt, *answers, num_predict=limit, echo=echo, logprobs=logprobs)
        choosers[key] = [cast(Chooser, sampler) for sampler in [made[key].sampler, *made[key].request.unforked]]
    arrivals: deque[list[Item]] = deque()
    sent: set[int] = set()
    for place, tick in enumerate(ticks):
        arrivals.append([Widened()] if place == widened else [])
        for key in tick:
            arrivals[-1].append(Cancel(key) if key in sent or key not in made else made[key])
            sent.add(key)
    outbox = machine.run(list(arrivals))
    for key, (prompt, lengths, _, echo, logprobs) in enumerate(wanted):
        if key not in sent:
            assert outbox.of(key) == []
            continue
        end = outbox.end(key)
        assert [chooser.closed for chooser in choosers[key]] == [1] * len(lengths)
        for choice, length_ in enumerate(lengths):
            text = outbox.text(key, choice)
            whole = (spoken(prompt) if echo else "") + spoken(range(10 + choice, 10 + choice + length_))
            assert whole.startswith(text)
            if logprobs is not None:
                assert b"".join(s.token for s in scores(outbox, key, choice) if not s.is_end).decode() == text
            if isinstance(end, Done) and end.reason != "cancelled":
                (ended,) = [event for event in outbox.said(key, choice) if isinstance(event, Ended | Done)]
                assert ended.reason != "stop" or text == whole
        assert all(isinstance(event, Text | Started | Ended | Done | Failed) for event in outbox.of(key))
