"""The engine's loop with several sets of adapters: a decode is of one set, and all say what they would alone."""

from __future__ import annotations

import queue
from collections.abc import Sequence as Seq
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine.crew import Crew
from runner.engine.embed import Embedder
from runner.engine.lanes import Lane, Lanes
from runner.engine.loop import Item, Loop
from runner.engine.outbox import Outbox
from runner.engine.sequence import Sequence
from runner.errors import LoadFailed, RunnerError
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.protocol.commands import Adapter, Adapters, Cancel
from runner.protocol.events import Done, Failed, Started
from tests.engine.test_loop import Cells, Inbox, NoEmbedder, Record, Vocabulary, closed, sequence, spoken

BASE: Adapters = ()
A, B, BAD = ((Adapter(name),) for name in ("a", "b", "bad"))


class Switched(Cells):
    """Cells that know with what they were computed: those of one sequence with one set, which stands at each decode."""

    def __init__(self, sequences: int, cells: int) -> None:
        super().__init__(sequences, cells)
        self.applied: Adapters = BASE
        self.computed_with: dict[int, Adapters] = {}  # of each cell
        self.switches = 0

    def apply(self, adapters: Adapters) -> None:
        if adapters == BAD:
            raise LoadFailed("no adapter")
        self.switches += adapters != self.applied
        self.applied = adapters

    def decode(self, batch: Batch) -> Outcome:
        outcome = super().decode(batch)
        seqs = {int(batch._seq[row, 0]) for row in range(batch.size)}
        for cell in (cell for seq in seqs for cell in self.held[seq]):
            assert self.computed_with.setdefault(id(cell), self.applied) == self.applied
        self.kept = [*getattr(self, "kept", []), *(cell for held in self.held for cell in held)]  # so that ids stay
        return outcome


def ask(request: int, prompt: Seq[int], answer: Seq[int], adapters: Adapters, *others: Seq[int]) -> Sequence:
    made = sequence(request, prompt, answer, *others)
    made.command = msgspec.structs.replace(made.command, adapters=adapters)
    return made


def run(arrivals: Seq[Seq[Item]], *, sequences: int = 4, cells: int = 64) -> tuple[Record, Switched]:
    context = Switched(sequences, cells)
    lane = Lane(cast(Context, context))
    ticks = iter(range(1_000_000))
    loop = Loop(
        cast(Model, Vocabulary()),
        Lanes(lane),
        cast(Embedder, NoEmbedder()),
        cast("queue.SimpleQueue[Item]", Inbox(arrivals)),
        cast(Outbox, context.outbox),
        Crew(1),
        clock=lambda: next(ticks) / 200,  # a few steps make a turn
        apply=lambda _, adapters: context.apply(adapters),
    )
    loop.run()
    assert (lane.slots.free, lane.slots.cells_busy) == (sequences, 0)
    return context.outbox, context


def test_they_take_turns_and_say_what_they_would_alone() -> None:
    items: list[Item] = [
        ask(number, [5, 6, 7], range(10, 40), adapters) for number, adapters in enumerate((BASE, A, B, A))
    ]
    outbox, context = run([items], cells=200)
    for number in range(4):
        assert outbox.text(number) == spoken(range(10, 40))
    assert 3 <= context.switches < context.decodes / 2  # not for every step
    assert closed(*items) == [1] * 4


def test_what_was_computed_with_others_is_no_prefix() -> None:
    arrivals: list[list[Item]] = []
    for number, adapters in enumerate((BASE, A, A, BASE, B)):
        arrivals += [[ask(number, [5, 6, 7], [10], adapters)], *[[] for _ in range(8)]]
    outbox, _ = run(arrivals)
    cached = [started.cached_tokens for number in range(5) if isinstance(started := outbox.of(number)[0], Started)]
    assert cached == [0, 0, 2, 2, 0]


def test_adapters_that_cannot_be_had_fail_those_who_want_them() -> None:
    items: list[Item] = [ask(0, [5], [10, 11], BASE), ask(1, [6], [12], BAD, [13]), ask(2, [7], [14, 15], A)]
    outbox, _ = run([items])
    end = outbox.end(1)
    assert isinstance(end, Failed)
    assert end.code == LoadFailed.code != RunnerError.code
    assert (outbox.text(0), outbox.text(2)) == ("10 11 ", "14 15 ")
    assert closed(*items) == [1] * 3


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_mix_comes_to_its_ends(data: st.DataObject) -> None:
    prompts = st.lists(st.integers(1, 3), min_size=1, max_size=20)
    arrivals: list[list[Item]] = []
    expected: dict[int, list[list[int]]] = {}
    cancelled: set[int] = set()
    for _ in range(data.draw(st.integers(1, 6))):
        now: list[Item] = []
        for _ in range(data.draw(st.integers(0, 3))):
            request = len(expected)
            answers = data.draw(st.lists(st.lists(st.integers(10, 90), max_size=8), min_size=1, max_size=2))
            expected[request] = answers
            now.append(
                ask(request, data.draw(prompts), answers[0], data.draw(st.sampled_from((BASE, A, B))), *answers[1:])
            )
        if expected and data.draw(st.booleans()):
            cancelled.add(request := data.draw(st.sampled_from(sorted(expected))))
            now.append(Cancel(request))
        arrivals += [now, *[[] for _ in range(data.draw(st.integers(0, 4)))]]
    outbox, _ = run(arrivals, sequences=data.draw(st.integers(1, 4)), cells=data.draw(st.integers(64, 100)))
    for request, answers in expected.items():
        end: Any = outbox.end(request)
        assert isinstance(end, Done)
        if end.reason == "cancelled":
            assert request in cancelled
            continue
        for choice, answer in enumerate(answers):
            assert outbox.text(request, choice) == spoken(answer)


@pytest.mark.parametrize("first", [BASE, A])
def test_a_large_one_is_not_overtaken_for_ever(first: Adapters) -> None:
    """It needs all cells, and others of another group keep coming."""
    second = A if first == BASE else BASE
    crowd: list[list[Item]] = [[ask(number, [number + 40] * 6, range(10, 14), second)] for number in range(1, 40)]
    crowd[1].append(ask(0, [5] * 40, range(10, 20), first))
    outbox, _ = run(crowd, sequences=3, cells=64)
    assert outbox.text(0) == spoken(range(10, 20))
    ends = [event.id for event in outbox.events if isinstance(event, Done)]
    assert ends.index(0) < 30
