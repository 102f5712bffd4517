"""The engine's loop with drafts, over the context that only keeps books: right, wrong and half right ones, at any time.

Each script checks that the row it draws from follows exactly what it has said so far: a cell too many or too few fails.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from random import Random
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine.draft import Speculation
from runner.engine.pace import Pace
from runner.engine.sequence import Sequence
from runner.llama.context import Outcome
from runner.protocol.commands import Cancel
from runner.protocol.events import Done
from tests.engine.test_loop import ANSWERS, Item, Script, closed, requests, run, scores, sequence, spoken

WRONG = 98


class Guesses:
    """Drafts what a sequence is going to say, but for chance: `right` of 5 tokens are."""

    def __init__(self, seed: int = 1, right: int = 4) -> None:
        self._chance = Random(seed)
        self._right = right
        self.closed = 0

    def propose(self, decoding: Seq[Sequence], rows: int, pace: Pace) -> None:
        for each in decoding:
            assert each.speculation is not None
            ahead = list(cast(Script, each.sampler).answer)[: min(self._chance.randint(0, 4), rows, each.most_drafted)]
            each.speculation.draft = [token if self._chance.randrange(5) < self._right else WRONG for token in ahead]
            rows = max(0, rows - len(ahead))

    def close(self) -> None:
        self.closed += 1


def speculating(*sequences: Sequence) -> list[Item]:
    for each in sequences:
        each.speculation = Speculation(None, 0, 4)
    return [*sequences]


@pytest.mark.parametrize("right", [0, 3, 5])
def test_an_answer_is_the_same_however_right_its_drafts_are(right: int) -> None:
    guesses = Guesses(right=right)
    outbox, context, _ = run([speculating(sequence(1, [5, 6], range(10, 50)))], drafts=guesses)
    assert outbox.text(1) == spoken(range(10, 50))
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert end.usage.completion_tokens == 40
    assert end.usage.drafted_tokens == outbox.stats.drafted_tokens > 0
    assert end.usage.accepted_tokens == outbox.stats.accepted_tokens
    assert end.usage.accepted_tokens <= end.usage.drafted_tokens
    assert context.decodes == 2 + 40 - end.usage.accepted_tokens - 1
    assert guesses.closed == 1


def test_every_token_is_scored_by_its_row() -> None:
    plain, _, _ = run([[sequence(1, [5], range(10, 40), logprobs=2)]])
    drafting, _, _ = run([speculating(sequence(1, [5], range(10, 40), logprobs=2))], drafts=Guesses())
    assert scores(drafting, 1) == scores(plain, 1)


def test_nothing_is_drawn_past_a_limit() -> None:
    for limit in range(1, 12):
        one = sequence(1, [5], range(10, 40), num_predict=limit)
        script = cast(Script, one.sampler)
        outbox, _, _ = run([speculating(one)], drafts=Guesses(right=5))
        assert outbox.text(1) == spoken(range(10, 10 + limit))
        assert len(script.before) == 1 + limit


def test_a_stop_string_within_a_draft_ends_the_answer() -> None:
    outbox, _, _ = run([speculating(sequence(1, [5], range(10, 40), stop=("15 1",)))], drafts=Guesses(right=5))
    assert outbox.text(1) == spoken(range(10, 15))
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert (end.reason, end.stop, end.usage.completion_tokens) == ("stop", "15 1", 7)


def test_choices_that_draft() -> None:
    outbox, _, _ = run([speculating(sequence(1, [5] * 20, *ANSWERS))], cells=80, drafts=Guesses())
    assert [outbox.text(1, choice) for choice in range(4)] == [spoken(answer) for answer in ANSWERS]


def test_the_preempted_come_back_and_draft_again() -> None:
    items = speculating(*(sequence(key, [key + 1] * 5, range(10, 90), context_length=100) for key in range(4)))
    outbox, _, _ = run([items], cells=100, drafts=Guesses())
    assert outbox.stats.preemptions > 0
    for key in range(4):
        assert outbox.text(key) == spoken(range(10, 90))
    assert closed(*items) == [1] * 4


@settings(max_examples=200, deadline=None)
@given(
    st.lists(requests, min_size=1, max_size=6),
    st.lists(st.lists(st.integers(0, 7), max_size=3), max_size=25),
    st.lists(st.sampled_from([*[Outcome.DONE] * 8, Outcome.NO_ROOM, Outcome.FAILED]), max_size=30),
    st.integers(1, 4),
    st.integers(60, 120),
    st.integers(0, 1000),
    st.integers(0, 5),
)
def test_every_request_ends_exactly_once_and_leaves_nothing(
    wanted: list[tuple[list[int], list[int], int, bool, int | None]],
    ticks: list[list[int]],
    outcomes: list[Outcome],
    sequences: int,
    cells: int,
    seed: int,
    right: int,
) -> None:
    """As without drafts: requests arrive where they are drawn first, and are cancelled where they are drawn again."""
    made: dict[int, Sequence] = {}
    for key, (prompt, lengths, limit, echo, logprobs) in enumerate(wanted):
        answers = [range(10 + choice, 10 + choice + length) for choice, length in enumerate(lengths)]
        made[key] = sequence(key, prompt, *answers, num_predict=limit, echo=echo, logprobs=logprobs)
    speculating(*made.values())
    arrivals: list[list[Item]] = []
    sent: set[int] = set()
    for tick in ticks:
        arrivals.append([])
        for key in tick:
            arrivals[-1].append(Cancel(key) if key in sent or key not in made else made[key])
            sent.add(key)
    drafts = Guesses(seed, right)
    outbox, _, _ = run(arrivals, sequences=sequences, cells=cells, outcomes=outcomes, drafts=drafts)
    for key, (prompt, lengths, _, echo, _) in enumerate(wanted):
        if key not in sent:
            assert outbox.of(key) == []
            continue
        end = outbox.end(key)
        said = 0
        for choice, length in enumerate(lengths):
            opening = spoken(prompt) if echo else ""
            whole = opening + spoken(range(10 + choice, 10 + choice + length))
            text = outbox.text(key, choice)
            assert whole.startswith(text)
            said += len(text.removeprefix(opening).split())
        if isinstance(end, Done):
            assert end.usage.completion_tokens == said
