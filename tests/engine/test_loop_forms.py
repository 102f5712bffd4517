"""The engine's loop with answers that keep to a form: several tokens may follow from one step."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Seq
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine.constrain import Guide
from runner.engine.loop import Item
from runner.engine.sequence import Sequence
from runner.errors import InvalidRequest
from runner.protocol.events import Done, Ended, Failed, Started, Stats, Text
from tests.engine.test_loop import END, Row, closed, row_after, run, sequence

RUNS = [[10, 11, 12], [13], [14, 15]]


class Runs(Guide):
    """A guide whose form is these runs of tokens: the first of each is chosen, the others have to follow.

    It checks that all before them stands in the cells.
    """

    def __init__(self, prompt: Seq[int], runs: Seq[Seq[int]], fails_after: int) -> None:
        self.before = list(prompt)
        self.closed = 0
        self._left_runs = deque(map(list, runs))
        self._left_steps = fails_after

    @property
    def is_complete(self) -> bool:
        return not self._left_runs

    def choose(self, logits: Row) -> list[int]:
        assert not self.closed
        assert logits[0] == row_after(self.before)[0]
        self._left_steps -= 1
        if self._left_steps < 0:
            raise InvalidRequest("too complex", field="format")
        tokens = self._left_runs.popleft() if self._left_runs else [END]
        self.before += tokens
        return tokens

    def close(self) -> None:
        self.closed += 1


def formed(
    request: int,
    prompt: Seq[int],
    runs: Seq[Seq[int]] = RUNS,
    *others: Seq[Seq[int]],
    fails_after: int = 99,
    **more: Any,
) -> Sequence:
    """A request of one choice for each form; `fails_after` so many steps the first one can't be kept to."""
    made = sequence(request, prompt, [], *([] for _ in others), **more)
    made.sampler = Runs(prompt, runs, fails_after)
    made.request.unforked[:] = [Runs(prompt, other, 99) for other in others]
    return made


def said(runs: Seq[Seq[int]]) -> str:
    return "".join(f"{token} " for each in runs for token in each)


def test_what_has_to_follow_is_computed_in_one_step_and_told_as_one_text() -> None:
    one = formed(1, [5, 6])
    outbox, context, _ = run([[one]])
    assert outbox.of(1)[1:4] == [
        Text(1, "10 11 12 ", 3, ids=(10, 11, 12)),
        Text(1, "13 ", 1, ids=(13,)),
        Text(1, "14 15 ", 2, ids=(14, 15)),
    ]
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert (end.reason, end.usage.completion_tokens) == ("stop", 6)
    assert context.decodes == 3  # the prompt, the first run, the second; nobody asks what follows a complete answer
    assert closed(one) == [1]


@pytest.mark.parametrize(
    ("wanted", "text", "reason"),
    [(1, "10 ", "length"), (2, "10 11 ", "length"), (4, "10 11 12 13 ", "length"), (6, said(RUNS), "stop")],
)
def test_num_predict_cuts_a_run(wanted: int, text: str, reason: str) -> None:
    outbox, _, _ = run([[formed(1, [5], num_predict=wanted)]])
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert (outbox.text(1), end.reason, end.usage.completion_tokens) == (text, reason, wanted)


def test_the_context_cuts_a_run() -> None:
    outbox, _, _ = run([[formed(1, [5] * 7, [list(range(10, 40))], context_length=10)]])
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert (outbox.text(1), end.reason) == ("10 11 12 ", "length")


def test_a_stop_string_ends_a_run() -> None:
    outbox, _, _ = run([[formed(1, [5], stop=("11",))]])
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert (outbox.text(1), end.reason, end.stop, end.usage.completion_tokens) == ("10 ", "stop", "11", 2)


def test_an_end_token_ends_the_answer() -> None:
    outbox, _, _ = run([[formed(1, [5], [[10, 11], [12, END]])]])
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert (outbox.text(1), end.reason, end.usage.completion_tokens) == ("10 11 12 ", "stop", 3)


def test_a_form_that_cannot_be_kept_to_fails_its_request_and_no_other() -> None:
    one, other = formed(1, [5], fails_after=1), formed(2, [6])
    outbox, _, _ = run([[one, other]])
    end = outbox.end(1)
    assert isinstance(end, Failed)
    assert (end.code, end.message, end.field) == ("invalid_request_error", "too complex", "format")
    assert outbox.text(1) == "10 11 12 "
    assert outbox.text(2) == said(RUNS)
    assert closed(one, other) == [1, 1]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_one_choice_that_fails_takes_the_others_with_it(steps: int) -> None:
    one = formed(1, [5], RUNS, RUNS, RUNS, fails_after=steps)
    choices = [one.sampler, *one.request.unforked]
    outbox, _, _ = run([[one, formed(2, [6])]])
    end = outbox.end(1)
    assert isinstance(end, Failed)
    assert [runs.closed for runs in choices if isinstance(runs, Runs)] == [1, 1, 1]
    assert outbox.text(2) == said(RUNS)


def test_each_choice_keeps_to_its_form() -> None:
    forms = (RUNS, [[20], [21, 22]], [[30, 31, 32, 33]])
    outbox, _, _ = run([[formed(1, [5, 6], *forms)]])
    for choice, form in enumerate(forms):
        assert outbox.text(1, choice) == said(form)
        assert [event.reason for event in outbox.said(1, choice) if isinstance(event, Ended | Done)] == ["stop"]
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert end.usage.completion_tokens == 13


def test_the_preempted_come_back_where_they_were() -> None:
    runs = [[100 + 4 * index + more for more in range(1 + index % 4)] for index in range(25)]
    items: list[Item] = [formed(key, [key + 1] * 5, runs, context_length=100) for key in range(4)]
    outbox, _, _ = run([items], cells=100)
    assert [event for event in outbox.events if isinstance(event, Stats)][-1].preemptions > 0
    for key in range(4):
        assert outbox.text(key) == said(runs)
        assert len([event for event in outbox.of(key) if isinstance(event, Started)]) == 1
    assert closed(*items) == [1] * 4


forms = st.lists(st.lists(st.integers(10, 90), min_size=1, max_size=12), min_size=1, max_size=6)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 25), forms, st.sampled_from([-1, 1, 7]), st.integers(0, 6)), min_size=1, max_size=6
    ),
    st.integers(1, 4),
    st.integers(100, 160),
)
def test_every_answer_is_whole_or_cut_where_it_should_be(
    wanted: list[tuple[int, list[list[int]], int, int]], sequences: int, cells: int
) -> None:
    """With plain requests between them, in little room."""
    items: list[Item] = []
    for key, (prompt, runs, limit, plain) in enumerate(wanted):
        items.append(formed(key, [1 + key % 3] * prompt, runs, num_predict=limit, context_length=100))
        items.append(sequence(100 + key, [1 + key % 3] * prompt, range(10, 10 + plain), context_length=100))
    outbox, _, _ = run([items], sequences=sequences, cells=cells)
    assert closed(*items) == [1] * len(items)
    for key, (_, runs, limit, plain) in enumerate(wanted):
        tokens = [token for each in runs for token in each]
        kept = tokens if limit < 0 else tokens[:limit]
        end = outbox.end(key)
        assert isinstance(end, Done)
        assert outbox.text(key) == said([kept])
        assert (end.reason, end.usage.completion_tokens) == ("stop" if kept == tokens else "length", len(kept))
        assert outbox.text(100 + key) == said([range(10, 10 + plain)])
