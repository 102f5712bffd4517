"""The engine's loop with a context that only keeps books: what stands in its cells must always be what was meant.

No threads and no time: the inbox is a script that says what arrives before which step.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine.crew import Crew
from runner.engine.echo import Echo
from runner.engine.embed import Embedder, Inputs
from runner.engine.lanes import Lane, Lanes
from runner.engine.loop import Item, Loop
from runner.engine.outbox import Outbox
from runner.engine.sequence import Request, Sequence
from runner.engine.slots import Slots
from runner.engine.text import TextStream
from runner.errors import LoadFailed
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.llama.sampler import Sampler
from runner.protocol.commands import Cancel, Generate, Stop, TokenPrompt
from runner.protocol.events import Done, Ended, Event, Failed, Logprob, Started, Stats, Text, Vectors
from runner.protocol.options import SampleOptions

END = 99  # the token that ends an answer
Row = npt.NDArray[np.float32]


class Vocabulary:
    """Each token is written as its number; 99 ends."""

    def ends(self, token: int) -> bool:
        return token == END

    def piece(self, token: int) -> bytes:
        return b"%d " % token

    spelling = piece


@dataclass(eq=False)
class Cell:
    """One cell: the token in it. Several sequences may hold it."""

    token: int


class Cells:
    """A context that knows which tokens stand in which sequence's cells. `outcomes` are of the next decodes."""

    is_split = False

    def __init__(self, sequences: int, cells: int, outcomes: Seq[Outcome] = ()) -> None:
        self.sequences, self.cells, self.batch = sequences, cells, 16
        self.outputs = sequences + 2
        self.outcomes = deque(outcomes)
        self.held: list[list[Cell]] = [[] for _ in range(sequences)]
        self.rows: list[tuple[int, int]] = []  # of each row with logits, its sequence id and how many cells that had
        self.decodes = 0
        self.outbox = Record()
        self.said_before: list[int] = []  # events that had been put before each decode

    def tokens(self, seq: int) -> list[int]:
        return [cell.token for cell in self.held[seq]]

    @property
    def used(self) -> int:
        return len({cell for held in self.held for cell in held})

    def forget(self, seq: int, start: int = 0) -> bool:
        del self.held[seq][start:]
        return True

    def share(self, source: int, target: int) -> None:
        assert not self.held[target]
        self.held[target] = self.held[source].copy()

    def clear(self) -> None:
        self.held = [[] for _ in range(self.sequences)]

    def decode(self, batch: Batch) -> Outcome:
        self.decodes += 1
        self.said_before.append(len(self.outbox.events))
        assert 0 < batch.size <= batch.capacity
        outcome = self.outcomes.popleft() if self.outcomes else Outcome.DONE
        if self.used + batch.size > self.cells:
            outcome = Outcome.NO_ROOM
        if outcome is Outcome.NO_ROOM:
            return outcome
        self.rows = []
        for row in range(batch.size):
            seq, position, token = (int(batch._seq[row, 0]), int(batch._pos[row]), int(batch._token[row]))
            assert position == len(self.held[seq])  # llama.cpp refuses gaps and overlaps
            self.held[seq].append(Cell(token))
            if batch._output[row]:
                self.rows.append((seq, position + 1))
        return outcome

    def logits(self, count: int) -> Row:
        """Each row says what it follows: how many tokens, and a sum over them that no other beginning has."""
        assert count == len(self.rows) <= self.outputs  # llama.cpp has made room for so many
        return np.stack([row_after(self.tokens(seq)[:size]) for seq, size in self.rows])


def row_after(tokens: Seq[int]) -> Row:
    """The logits behind these tokens, for a vocabulary of 100."""
    mark = 0
    for token in tokens:
        mark = (mark * 31 + token + 1) % 10_007
    row = ((np.arange(100) * 7 + mark) % 50 / 10).astype(np.float32)
    row[0] = mark  # larger than all others, so that a score tells as well what the row follows
    return row


class Script:
    """Says the tokens that it was given, then the end. It checks that all before them stands in the cells."""

    is_greedy = True

    def __init__(self, prompt: Seq[int], answer: Seq[int]) -> None:
        self.before = list(prompt)
        self.answer = deque(answer)
        self.closed = 0

    def sample(self, logits: Row) -> int:
        assert not self.closed
        assert logits[0] == row_after(self.before)[0]
        token = self.answer.popleft() if self.answer else END
        self.before.append(token)
        return token

    def close(self) -> None:
        self.closed += 1


class Inbox:
    """What arrives before each step. When nothing is left and the loop has nothing to do, Stop."""

    def __init__(self, arrivals: Seq[Seq[Item]]) -> None:
        self._arrivals = deque(deque(items) for items in arrivals)

    def empty(self) -> bool:
        if self._arrivals and not self._arrivals[0]:
            self._arrivals.popleft()  # the rest arrives before the next step
            return True
        return not self._arrivals

    def get(self, timeout: float | None = None) -> Item:
        assert timeout is None
        while self._arrivals and not self._arrivals[0]:
            self._arrivals.popleft()
        return self._arrivals[0].popleft() if self._arrivals else Stop()


class Record:
    """An outbox that keeps what is put."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def put(self, *events: Event) -> None:
        self.events += events

    def of(self, request: int) -> list[Event]:
        return [
            event for event in self.events if not isinstance(event, Stats) and getattr(event, "id", None) == request
        ]

    def said(self, request: int, choice: int) -> list[Event]:
        """What came of one choice."""
        return [
            event for event in self.of(request) if isinstance(event, Text | Ended | Done) and event.choice == choice
        ]

    def end(self, request: int) -> Done | Failed | Vectors:
        """The last event, which must be the only ending."""
        *before, last = self.of(request)
        assert not [event for event in before if isinstance(event, Done | Failed | Vectors)]
        assert isinstance(last, Done | Failed | Vectors)
        return last

    def text(self, request: int, choice: int = 0) -> str:
        return "".join(event.text for event in self.said(request, choice) if isinstance(event, Text))

    @property
    def stats(self) -> Stats:
        return [event for event in self.events if isinstance(event, Stats)][-1]


def sequence(
    request: int,
    prompt: Seq[int],
    answer: Seq[int] = (),
    *others: Seq[int],
    context_length: int = 60,
    echo: bool = False,
    logprobs: int | None = None,
    **options: Any,
) -> Sequence:
    """A request of one choice for each answer."""
    sampling = msgspec.structs.replace(SampleOptions(), **options)
    vocabulary = cast(Model, Vocabulary())
    echoed = Echo(vocabulary, prompt, None, logprobs) if echo else None
    choices = 1 + len(others)
    return Sequence(
        command=Generate(request, TokenPrompt(tuple(prompt)), sampling, choices=choices, logprobs=logprobs, echo=echo),
        tokens=list(prompt),
        prompt_tokens=len(prompt),
        context_length=context_length,
        truncated_tokens=0,
        in_thought=False,
        sampler=cast(Sampler, Script(prompt, answer)),
        text=TextStream(sampling.stop, position=len(echoed.text) if echoed else 0),
        arrived_ns=1,
        request=Request([cast(Sampler, Script(prompt, other)) for other in others], echoed),
    )


class NoEmbedder:
    """For loops that only generate."""

    def step(self, waiting: deque[Inputs]) -> list[Event]:
        raise AssertionError("nothing to embed")


def run(
    arrivals: Seq[Seq[Item]],
    *,
    sequences: int = 4,
    cells: int = 64,
    real_cells: int | None = None,
    outcomes: Seq[Outcome] = (),
    embedder: Any = None,
    drafts: Any = None,
) -> tuple[Record, Cells, Slots]:
    context = Cells(sequences, cells, outcomes)
    context.outputs += 8 if drafts else 0
    outbox = context.outbox
    lane = Lane(cast(Context, context))
    slots, context.cells = lane.slots, real_cells or cells
    loop = Loop(
        cast(Model, Vocabulary()),
        Lanes(lane),
        cast(Embedder, embedder or NoEmbedder()),
        cast("queue.SimpleQueue[Item]", Inbox(arrivals)),
        cast(Outbox, outbox),
        Crew(1),
        drafts,
    )
    loop.run()
    assert slots.free == sequences
    assert (slots.cells_used, slots.cells_busy) == (context.used, 0)
    assert [len(held) for held in context.held] == [len(slot.tokens) for slot in slots._slots]
    return outbox, context, slots


def closed(*items: Item) -> list[int]:
    return [cast(Script, item.sampler).closed for item in items if isinstance(item, Sequence)]


def spoken(tokens: Iterable[int]) -> str:
    return "".join(f"{token} " for token in tokens)


# -- one request


def test_a_request_starts_speaks_and_ends() -> None:
    one = sequence(1, [5, 6, 7], [10, 11])
    outbox, _, _ = run([[one]])
    started, first, second, done = outbox.of(1)
    assert started == Started(id=1, prompt_tokens=3)
    assert (first, second) == (Text(1, "10 ", 1, ids=(10,)), Text(1, "11 ", 1, ids=(11,)))
    assert isinstance(done, Done)
    assert (done.reason, done.stop, done.usage.completion_tokens) == ("stop", None, 2)
    assert closed(one) == [1]


@pytest.mark.parametrize(("wanted", "said"), [(0, ""), (1, "10 "), (2, "10 11 "), (3, "10 11 12 ")])
def test_num_predict(wanted: int, said: str) -> None:
    outbox, _, _ = run([[sequence(1, [5], [10, 11, 12, 13], num_predict=wanted)]])
    assert outbox.text(1) == said
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert (end.reason, end.usage.completion_tokens) == ("length", wanted)


def test_the_context_ends_an_answer() -> None:
    outbox, _, _ = run([[sequence(1, [5] * 7, range(10, 30), context_length=10)]])
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert (end.reason, end.usage.completion_tokens) == ("length", 3)


def test_a_stop_string_ends_an_answer_and_tokens_are_counted() -> None:
    outbox, _, _ = run([[sequence(1, [5], [10, 11, 12, 13], stop=("1 12",))]])
    assert outbox.text(1) == "10 1"
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert (end.reason, end.stop, end.usage.completion_tokens) == ("stop", "1 12", 3)


def test_what_was_held_back_comes_out_at_the_end() -> None:
    outbox, _, _ = run([[sequence(1, [5], [10, 11], stop=("11 2",))]])
    assert outbox.text(1) == "10 11 "
    assert sum(event.tokens for event in outbox.of(1) if isinstance(event, Text)) == 2


def test_the_next_turn_is_computed_from_where_the_last_one_ended() -> None:
    first, second = sequence(1, [5, 6], [10]), sequence(2, [5, 6, 10, 7], [11])
    outbox, _, _ = run([[first], [], [], [], [second]])
    started = outbox.of(2)[0]
    assert isinstance(started, Started)
    assert started.cached_tokens == 3
    assert outbox.text(2) == "11 "


def test_the_client_hears_of_the_start_before_the_prompt_is_computed() -> None:
    outbox, context, _ = run([[sequence(1, [5] * 40, [10])]])
    assert outbox.of(1)[0] == Started(id=1, prompt_tokens=40)
    assert context.said_before[0] == 1


# -- cancelled, stopped


@pytest.mark.parametrize("when", range(8))
def test_a_cancel_ends_a_request_at_any_step(when: int) -> None:
    one, other = sequence(1, [5] * 40, range(10, 18)), sequence(2, [6] * 3, range(20, 24))
    arrivals: list[list[Item]] = [[one, other], *[[] for _ in range(when)], [Cancel(1), Cancel(1), Cancel(77)]]
    outbox, _, _ = run(arrivals)
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert end.reason == "cancelled"
    assert outbox.text(2) == "20 21 22 23 "
    assert closed(one, other) == [1, 1]


def test_a_cancelled_prompt_is_reused_as_far_as_it_was_computed() -> None:
    prompt = list(range(1, 41))
    outbox, _, _ = run([[sequence(1, prompt)], [Cancel(1)], [sequence(2, prompt, [50])]])
    started = outbox.of(2)[0]
    assert isinstance(started, Started)
    assert started.cached_tokens == 16  # one batch
    assert outbox.text(2) == "50 "


def test_stop_ends_everybody_as_cancelled() -> None:
    items: list[Item] = [sequence(key, [5] * 10, range(10, 30)) for key in range(6)]
    outbox, _, _ = run([items, [], [Stop()]])
    for key in range(6):
        end = outbox.end(key)
        assert isinstance(end, Done)
        assert end.reason == "cancelled"
    assert closed(*items) == [1] * 6


# -- few cells


def test_the_preempted_come_back_and_say_the_same() -> None:
    items: list[Item] = [sequence(key, [key + 1] * 5, range(10, 90), context_length=100) for key in range(4)]
    outbox, _, _ = run([items], cells=100)
    stats = [event for event in outbox.events if isinstance(event, Stats)]
    assert stats[-1].preemptions > 0
    for key in range(4):
        assert outbox.text(key) == "".join(f"{token} " for token in range(10, 90))
        assert len([event for event in outbox.of(key) if isinstance(event, Started)]) == 1
    assert closed(*items) == [1] * 4


def test_stop_strings_and_limits_survive_a_preemption() -> None:
    options: list[dict[str, Any]] = [{}, {"num_predict": 75}, {"stop": ("80 81",)}, {"num_predict": 60}]
    items: list[Item] = [
        sequence(key, [key + 1] * 5, range(10, 90), context_length=100, **option) for key, option in enumerate(options)
    ]
    outbox, _, _ = run([items], cells=100)
    assert [event for event in outbox.events if isinstance(event, Stats)][-1].preemptions > 0
    for key, last in enumerate([90, 85, 80, 70]):
        assert outbox.text(key) == "".join(f"{token} " for token in range(10, last))


# -- when decodes fail


def test_no_room_gives_up_idle_prefixes_first() -> None:
    outbox, _, _ = run(
        [[sequence(1, [5] * 9, [10])], [], [], [], [sequence(2, [6] * 9, [20, 21])]],
        outcomes=[Outcome.DONE, Outcome.DONE, Outcome.NO_ROOM],
    )
    assert outbox.text(2) == "20 21 "
    assert [event for event in outbox.events if isinstance(event, Stats)][-1].preemptions == 0


def test_no_room_then_makes_the_newest_wait() -> None:
    items: list[Item] = [sequence(key, [key + 1] * 5, range(10, 14)) for key in range(3)]
    outbox, _, _ = run([items], cells=400, outcomes=[Outcome.DONE, Outcome.NO_ROOM, Outcome.DONE, Outcome.NO_ROOM])
    assert [event for event in outbox.events if isinstance(event, Stats)][-1].preemptions == 2
    for key in range(3):
        assert outbox.text(key) == "10 11 12 13 "


def test_a_fatal_decode_fails_those_in_it_and_nobody_else() -> None:
    running: list[Item] = [sequence(key, [key + 1] * 3, range(10, 20)) for key in range(4)]
    later: list[Item] = [sequence(10, [7] * 3, [30])]
    outbox, _, _ = run([[*running, *later]], cells=400, outcomes=[Outcome.DONE, Outcome.DONE, Outcome.FAILED])
    for key in range(4):
        end = outbox.end(key)
        assert isinstance(end, Failed)
        assert end.code == "internal_error"
    assert outbox.text(10) == "30 "
    assert closed(*running, *later) == [1] * 5


def test_room_that_the_count_does_not_know_of_is_respected() -> None:
    """llama.cpp may have fewer cells than it seems. Whoever had to wait doesn't come back before somebody has left."""
    items: list[Item] = [sequence(key, [key + 1] * 10, range(10, 14)) for key in range(4)]
    outbox, context, _ = run([items], cells=400, real_cells=30)
    for key in range(4):
        assert outbox.text(key) == "10 11 12 13 "
    assert context.decodes < 60


def test_a_prompt_that_finds_no_room_alone_fails_and_an_answer_ends() -> None:
    outbox, _, _ = run([[sequence(1, [5] * 40), sequence(2, [6] * 10, range(10, 40))]], cells=400, real_cells=30)
    end = outbox.end(1)
    assert isinstance(end, Failed)
    assert "memory" in end.message
    end = outbox.end(2)
    assert isinstance(end, Done)
    assert (end.reason, end.usage.completion_tokens) == ("length", 21)


# -- several choices

ANSWERS = [range(10, 22), range(30, 36), range(50, 59), range(70, 71)]


def test_the_choices_of_a_request_begin_with_one_prompt() -> None:
    one = sequence(1, [5] * 20, *ANSWERS)
    others = [cast(Script, sampler) for sampler in one.request.unforked]
    outbox, context, _ = run([[one]], sequences=4, cells=60)
    assert isinstance(outbox.of(1)[0], Started)
    assert len([event for event in outbox.of(1) if isinstance(event, Started)]) == 1
    for choice, answer in enumerate(ANSWERS):
        assert outbox.text(1, choice) == spoken(answer)
    assert [event.choice for event in outbox.of(1) if isinstance(event, Ended)] == [3, 1, 2]
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert (end.choice, end.reason) == (0, "stop")
    assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (20, sum(map(len, ANSWERS)))
    assert outbox.stats.prompt_tokens == 20  # computed once
    assert context.decodes == 2 + 12  # the prompt is longer than a batch
    assert [script.closed for script in others] == [1, 1, 1]
    assert closed(one) == [1]


def test_cells_that_choices_share_are_taken_once() -> None:
    """Four times the prompt would not fit."""
    outbox, _, _ = run([[sequence(1, [5] * 40, *ANSWERS)]], sequences=4, cells=40 + 4 * 13)
    assert outbox.stats.preemptions == 0
    assert [outbox.text(1, choice) for choice in range(4)] == [spoken(answer) for answer in ANSWERS]


@pytest.mark.parametrize("sequences", [1, 2, 3])
def test_more_choices_than_sequences_take_turns(sequences: int) -> None:
    outbox, _, _ = run([[sequence(1, [5] * 20, *ANSWERS), sequence(2, [6], [90])]], sequences=sequences, cells=80)
    assert [outbox.text(1, choice) for choice in range(4)] == [spoken(answer) for answer in ANSWERS]
    assert outbox.text(2) == "90 "
    assert len([event for event in outbox.of(1) if isinstance(event, Started)]) == 1


def test_each_choice_has_its_own_stop_and_its_own_limit() -> None:
    outbox, _, _ = run([[sequence(1, [5], [10, 11, 12], [20, 11], [30, 31, 32, 33, 34], stop=("11",), num_predict=4)]])
    assert [outbox.text(1, choice) for choice in range(3)] == ["10 ", "20 ", "30 31 32 33 "]
    ends = {event.choice: (event.reason, event.stop) for event in outbox.of(1) if isinstance(event, Ended | Done)}
    assert ends == {0: ("stop", "11"), 1: ("stop", "11"), 2: ("length", None)}


@pytest.mark.parametrize(("wanted", "texts"), [(0, ["", "", ""]), (1, ["10 ", "20 ", ""])])
def test_choices_that_end_at_once(wanted: int, texts: list[str]) -> None:
    outbox, _, _ = run([[sequence(1, [5], [10, 11], [20, 21], [], num_predict=wanted)]])
    assert [outbox.text(1, choice) for choice in range(3)] == texts
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert end.usage.completion_tokens == 2 * wanted


@pytest.mark.parametrize("when", range(12))
def test_a_cancel_ends_all_choices(when: int) -> None:
    one = sequence(1, [5] * 40, *ANSWERS)
    scripts = [cast(Script, sampler) for sampler in [one.sampler, *one.request.unforked]]
    arrivals: list[list[Item]] = [[one, sequence(2, [6], range(30, 60))], *[[] for _ in range(when)], [Cancel(1)]]
    outbox, _, _ = run(arrivals, sequences=3, cells=200)
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert end.reason == "cancelled"
    said = sum(len(outbox.text(1, choice).split()) for choice in range(4))
    assert end.usage.completion_tokens == said
    assert [script.closed for script in scripts] == [1] * 4
    assert outbox.text(2) == spoken(range(30, 60))


def test_preempted_choices_are_computed_anew_each_alone_and_say_the_same() -> None:
    """Four answers of 30 tokens behind 20 of a prompt don't fit 64 cells, not even with the prompt shared."""
    answers = [range(start, start + 30) for start in (2, 20, 40, 60)]
    outbox, _, _ = run([[sequence(1, [5] * 20, *answers)]], sequences=4, cells=64)
    assert outbox.stats.preemptions > 0
    assert [outbox.text(1, choice) for choice in range(4)] == [spoken(answer) for answer in answers]


def test_a_fatal_decode_fails_the_request_once_whoever_of_it_waits() -> None:
    one = sequence(1, [5], *ANSWERS)
    scripts = [cast(Script, sampler) for sampler in [one.sampler, *one.request.unforked]]
    outbox, _, _ = run([[one, sequence(2, [6], [90])]], sequences=2, outcomes=[Outcome.DONE] * 3 + [Outcome.FAILED])
    assert isinstance(outbox.end(1), Failed)
    assert [script.closed for script in scripts] == [1] * 4
    assert outbox.text(2) == "90 "


def test_the_next_turn_finds_what_any_choice_left_behind() -> None:
    prompt = [5] * 10
    outbox, _, _ = run(
        [[sequence(1, prompt, [10, 11], [20, 21])], *[[] for _ in range(5)], [sequence(2, [*prompt, 20, 21, 6], [30])]]
    )
    started = outbox.of(2)[0]
    assert isinstance(started, Started)
    assert started.cached_tokens == 12
    assert outbox.text(2) == "30 "


# -- scores


def scores(outbox: Record, request: int, choice: int = 0) -> list[Logprob]:
    return [each for event in outbox.said(request, choice) if isinstance(event, Text) for each in event.logprobs]


def expected(before: Seq[int], token: int) -> float:
    row = row_after(before).astype(np.float64)
    return float(row[token] - np.log(np.exp(row - row.max()).sum()) - row.max())


def test_without_being_asked_nobody_scores() -> None:
    outbox, _, _ = run([[sequence(1, [5], [10, 11])]])
    assert scores(outbox, 1) == []


@pytest.mark.parametrize("top", [0, 1, 5])
def test_every_token_is_scored_by_the_row_it_came_from(top: int) -> None:
    answer = [10, 11, 12]
    outbox, _, _ = run([[sequence(1, [5, 6], answer, logprobs=top)]])
    found = scores(outbox, 1)
    assert [score.token for score in found] == [b"10 ", b"11 ", b"12 ", b"99 "]
    assert [score.offset for score in found] == [0, 3, 6, 9]
    assert [score.is_end for score in found] == [False, False, False, True]
    for place, (score, token) in enumerate(zip(found, [*answer, END], strict=True)):
        before = [5, 6, *answer[:place]]
        assert score.logprob == pytest.approx(max(-9999.0, expected(before, token)))
        likeliest = np.lexsort((np.arange(100), -row_after(before)))[:top]
        assert [other.token for other in score.top] == [b"%d " % token for token in likeliest]
        assert [other.logprob for other in score.top] == sorted((other.logprob for other in score.top), reverse=True)


def test_the_text_is_the_same_with_scores_and_without() -> None:
    plain, _, _ = run([[sequence(1, [5], range(10, 30))]])
    scored, _, _ = run([[sequence(1, [5], range(10, 30), logprobs=3)]])
    assert scored.text(1) == plain.text(1)


def test_scores_go_with_the_text_that_their_tokens_begin_in() -> None:
    outbox, _, _ = run([[sequence(1, [5], [10, 11, 12, 13, 14], stop=("13 15", "4 "), logprobs=0)]])
    assert outbox.text(1) == "10 11 12 13 1"
    assert [score.token for score in scores(outbox, 1)] == [b"10 ", b"11 ", b"12 ", b"13 ", b"14 "]
    outbox, _, _ = run([[sequence(1, [5], [10, 11, 12, 13, 14], stop=("1 12 1",), logprobs=0)]])
    assert outbox.text(1) == "10 1"
    assert [score.token for score in scores(outbox, 1)] == [b"10 ", b"11 "]  # 12 and 13 are in the stop string


@pytest.mark.parametrize("size", [1, 2, 5, 16, 17, 50])
def test_an_echoed_prompt_comes_first_with_each_token_scored(size: int) -> None:
    prompt = [(3 * place) % 17 + 1 for place in range(size)]
    outbox, _, _ = run([[sequence(1, prompt, [20, 21], echo=True, logprobs=1, num_predict=1)]], cells=200)
    assert outbox.text(1) == spoken([*prompt, 20])
    first, *found = scores(outbox, 1)
    assert (first.token, first.logprob, first.offset, first.top) == (b"%d " % prompt[0], None, 0, ())
    assert len(found) == size
    for place, (score, token) in enumerate(zip(found, [*prompt[1:], 20], strict=True), start=1):
        assert score.token == b"%d " % token
        assert score.logprob == pytest.approx(max(-9999.0, expected([*prompt, 20][:place], token)))
        assert score.offset == len(spoken(prompt[:place]))
        assert len(score.top) == 1


def test_an_echo_without_scores_reuses_what_stands_there() -> None:
    prompt = list(range(1, 21))
    outbox, _, _ = run([[sequence(1, prompt, [50])], *[[] for _ in range(4)], [sequence(2, prompt, [51], echo=True)]])
    started = outbox.of(2)[0]
    assert isinstance(started, Started)
    assert started.cached_tokens == 19
    assert outbox.text(2) == spoken([*prompt, 51])


def test_an_echo_with_scores_reuses_nothing_and_harms_no_prefix() -> None:
    prompt = list(range(1, 21))
    again = sequence(3, [*prompt, 50, 6], [52])
    scored = sequence(2, prompt, [51], echo=True, logprobs=0, num_predict=0)
    outbox, _, _ = run(
        [[sequence(1, prompt, [50])], *[[] for _ in range(4)], [scored], *[[] for _ in range(9)], [again]]
    )
    assert outbox.of(2)[0] == Started(id=2, prompt_tokens=20, cached_tokens=0)
    assert len(scores(outbox, 2)) == 20
    started = outbox.of(3)[0]
    assert isinstance(started, Started)
    assert started.cached_tokens == 21


def test_every_choice_begins_with_the_echo() -> None:
    outbox, _, _ = run([[sequence(1, [5, 6, 7], [10], [20], [], echo=True, logprobs=2)]], sequences=2)
    for choice, answer in enumerate(([10], [20], [])):
        assert outbox.text(1, choice) == spoken([5, 6, 7, *answer])
        assert [score.token for score in scores(outbox, 1, choice)] == [
            b"%d " % token for token in (5, 6, 7, *answer, END)
        ]


def test_scoring_survives_a_preemption() -> None:
    prompt = [place % 9 + 1 for place in range(30)]
    items: list[Item] = [
        sequence(1, [5] * 20, range(10, 60), context_length=100),
        sequence(2, prompt, range(10, 50), echo=True, logprobs=1, context_length=100),
    ]
    outbox, _, _ = run([items], cells=200, outcomes=[*[Outcome.DONE] * 5, Outcome.NO_ROOM])
    assert outbox.stats.preemptions > 0
    assert outbox.text(2) == spoken([*prompt, *range(10, 50)])
    assert [score.token for score in scores(outbox, 2)] == [b"%d " % t for t in (*prompt, *range(10, 50), END)]


# -- anything at any time

requests = st.tuples(
    st.lists(st.integers(1, 3), min_size=1, max_size=30),
    st.lists(st.integers(0, 20), min_size=1, max_size=4),
    st.sampled_from([-1, 0, 1, 5]),
    st.booleans(),
    st.sampled_from([None, 0, 3]),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(requests, min_size=1, max_size=8),
    st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=25),
    st.lists(st.sampled_from([*[Outcome.DONE] * 6, Outcome.NO_ROOM, Outcome.FAILED]), max_size=30),
    st.integers(1, 4),
    st.integers(60, 120),
)
def test_every_request_ends_exactly_once(
    wanted: list[tuple[list[int], list[int], int, bool, int | None]],
    ticks: list[list[int]],
    outcomes: list[Outcome],
    sequences: int,
    cells: int,
) -> None:
    """Each request arrives where its number is drawn first, and is cancelled where it is drawn again."""
    made: dict[int, Sequence] = {}
    scripts: dict[int, list[Script]] = {}
    for key, (prompt, lengths, limit, echo, logprobs) in enumerate(wanted):
        answers = [range(10 + choice, 10 + choice + length) for choice, length in enumerate(lengths)]
        made[key] = sequence(key, prompt, *answers, num_predict=limit, echo=echo, logprobs=logprobs)
        scripts[key] = [cast(Script, sampler) for sampler in [made[key].sampler, *made[key].request.unforked]]
    arrivals: list[list[Item]] = []
    sent: set[int] = set()
    for tick in ticks:
        arrivals.append([])
        for key in tick:
            arrivals[-1].append(Cancel(key) if key in sent or key not in made else made[key])
            sent.add(key)
    outbox, _, _ = run(arrivals, sequences=sequences, cells=cells, outcomes=outcomes)
    for key, (prompt, lengths, _, echo, logprobs) in enumerate(wanted):
        if key not in sent:
            assert outbox.of(key) == []
            continue
        end = outbox.end(key)
        assert [script.closed for script in scripts[key]] == [1] * len(lengths)
        said = 0
        for choice, length in enumerate(lengths):
            text = outbox.text(key, choice)
            opening = spoken(prompt) if echo else ""
            answer = spoken(range(10 + choice, 10 + choice + length))
            assert text == "" or (opening + answer).startswith(text)
            if text and echo:
                assert text.startswith(opening)
            if logprobs is not None:
                tokens = b"".join(score.token for score in scores(outbox, key, choice) if not score.is_end)
                assert tokens.decode() == text
            said += len(text.removeprefix(opening).split())
            ended = [event for event in outbox.said(key, choice) if isinstance(event, Ended | Done)]
            if isinstance(end, Done) and end.reason != "cancelled":
                assert len(ended) == 1
                if ended[0].reason == "stop":
                    assert text == opening + answer
        if isinstance(end, Done):
            assert end.usage.completion_tokens == said


# -- embeddings


class Pooling(Cells):
    """A context for embeddings: a vector says of which tokens it was made."""

    def pooled(self, seq: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        assert self.held[seq]
        return np.full(width, sum(self.tokens(seq)), np.float32)


def embedder(context: Pooling) -> Embedder:
    return Embedder(lambda: cast(Context, context), width=2)


def inputs(request: int, *lengths: int) -> Inputs:
    return Inputs(request, [[request] * length for length in lengths], 0, 1)


def values(vectors: Event) -> list[float]:
    assert isinstance(vectors, Vectors)
    return [float(value) for value in np.frombuffer(vectors.data, "<f4").reshape(vectors.count, vectors.width)[:, 0]]


def test_inputs_of_many_requests_share_decodes() -> None:
    context = Pooling(sequences=3, cells=16)
    outbox, _, _ = run(
        [[inputs(1, 2, 3), inputs(2, 1), inputs(3, 16), inputs(4, 1, 1, 1, 1)]], embedder=embedder(context)
    )
    assert values(outbox.end(1)) == [2.0, 3.0]
    assert values(outbox.end(2)) == [2.0]
    assert values(outbox.end(3)) == [48.0]
    assert values(outbox.end(4)) == [4.0] * 4
    assert context.decodes == 4
    assert [event.id for event in outbox.events if isinstance(event, Vectors)] == [1, 2, 3, 4]


def test_a_request_without_inputs_has_no_vectors_and_harms_nobody() -> None:
    outbox, _, _ = run([[inputs(1)], [], [inputs(4, 1), inputs(2, 3), inputs(3)]], embedder=embedder(Pooling(3, 16)))
    for key in (1, 3):
        end = outbox.end(key)
        assert isinstance(end, Vectors)
        assert (end.count, end.data) == (0, b"")
    assert values(outbox.end(2)) == [6.0]


def test_a_partly_embedded_request_can_be_cancelled() -> None:
    context = Pooling(sequences=2, cells=16)
    outbox, _, _ = run([[inputs(1, 1, 1, 1, 1, 1), inputs(2, 1)], [Cancel(1)]], embedder=embedder(context))
    end = outbox.end(1)
    assert isinstance(end, Done)
    assert end.reason == "cancelled"
    assert values(outbox.end(2)) == [2.0]


def test_a_failed_decode_fails_the_inputs_in_it_and_nobody_else() -> None:
    context = Pooling(sequences=2, cells=16, outcomes=[Outcome.FAILED])
    outbox, _, _ = run([[inputs(1, 1), inputs(2, 1, 1), inputs(3, 1)]], embedder=embedder(context))
    for key in (1, 2):
        assert isinstance(outbox.end(key), Failed)
    assert values(outbox.end(3)) == [3.0]


def test_a_context_that_cannot_be_made_fails_all_that_wait_for_it() -> None:
    def refuse() -> Context:
        raise LoadFailed("no memory")

    outbox, _, _ = run([[inputs(1, 1), inputs(2, 1)]], embedder=Embedder(refuse, width=2))
    for key in (1, 2):
        end = outbox.end(key)
        assert isinstance(end, Failed)
        assert (end.code, end.message) == ("load_failed", "no memory")


def test_embeddings_and_answers_take_turns() -> None:
    context = Pooling(sequences=1, cells=16)
    outbox, generating, _ = run([[sequence(1, [5], range(10, 20)), inputs(2, *[1] * 10)]], embedder=embedder(context))
    assert outbox.text(1) == "".join(f"{token} " for token in range(10, 20))
    assert values(outbox.end(2)) == [2.0] * 10
    assert generating.decodes == 11
    kinds = [type(event) for event in outbox.events if isinstance(event, Text | Vectors)]
    assert kinds.index(Vectors) >= 8


@pytest.mark.parametrize("busy", [True, False])
def test_while_somebody_decodes_inputs_come_in_small_steps(busy: bool) -> None:
    """As long as a step with a chunk of somebody's prompt, but for an input that is longer by itself."""
    context = Pooling(sequences=64, cells=2048)
    context.batch = 2048
    lengths = [100, 100, 100, 300, *[1] * 40]
    sizes: list[int] = []
    decode = context.decode

    def measured(batch: Batch) -> Outcome:
        sizes.append(batch.size)
        return decode(batch)

    context.decode = measured  # type: ignore[method-assign]
    arrivals: list[Item] = [inputs(2, *lengths)]
    if busy:
        arrivals.append(sequence(1, [5], range(10, 20)))
    outbox, generating, _ = run([arrivals], embedder=embedder(context))
    assert values(outbox.end(2)) == [2.0 * length for length in lengths]
    assert sum(sizes) == sum(lengths)
    if busy:
        assert sizes == [200, 100, 300, 40]
        assert generating.decodes == 11
    else:
        assert sizes == [sum(lengths)]
