"""The engine's loop with a context that only keeps books: what stands in its cells must always be what was meant.

No threads and no time: the inbox is a script that says what arrives before which step.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Sequence as Seq
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine.embed import Embedder, Inputs
from runner.engine.loop import Item, Loop
from runner.engine.outbox import Outbox
from runner.engine.sequence import Sequence
from runner.engine.slots import Slots
from runner.engine.text import TextStream
from runner.errors import LoadFailed
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.llama.sampler import Sampler
from runner.protocol.commands import Cancel, Generate, Stop, TokenPrompt
from runner.protocol.events import Done, Event, Failed, Started, Stats, Text, Vectors
from runner.protocol.options import SampleOptions

END = 99  # the token that ends an answer


class Vocabulary:
    """Each token is written as its number; 99 ends."""

    def ends(self, token: int) -> bool:
        return token == END

    def piece(self, token: int) -> bytes:
        return b"%d " % token


class Cells:
    """A context that knows which tokens stand in which sequence's cells. `outcomes` are of the next decodes."""

    def __init__(self, sequences: int, cells: int, outcomes: Seq[Outcome] = ()) -> None:
        self.sequences, self.cells, self.batch = sequences, cells, 16
        self.outcomes = deque(outcomes)
        self.held: list[list[int]] = [[] for _ in range(sequences)]
        self.rows: dict[int, int] = {}  # row with logits -> its sequence id
        self.decodes = 0
        self.outbox = Record()
        self.said_before: list[int] = []  # events that had been put before each decode

    def forget(self, seq: int, start: int = 0) -> bool:
        del self.held[seq][start:]
        return True

    def clear(self) -> None:
        self.held = [[] for _ in range(self.sequences)]

    def decode(self, batch: Batch) -> Outcome:
        self.decodes += 1
        self.said_before.append(len(self.outbox.events))
        assert 0 < batch.size <= batch.capacity
        outcome = self.outcomes.popleft() if self.outcomes else Outcome.DONE
        if sum(map(len, self.held)) + batch.size > self.cells:
            outcome = Outcome.NO_ROOM
        if outcome is Outcome.NO_ROOM:
            return outcome
        self.rows = {}
        for row in range(batch.size):
            seq, position, token = (int(batch._seq[row, 0]), int(batch._pos[row]), int(batch._token[row]))
            assert position == len(self.held[seq])  # llama.cpp refuses gaps and overlaps
            self.held[seq].append(token)
            if batch._output[row]:
                self.rows[row] = seq
        return outcome


class Script:
    """Says the tokens that it was given, then the end. It checks that all before them stands in the cells."""

    def __init__(self, answer: Seq[int]) -> None:
        self.answer = deque(answer)
        self.closed = 0
        self.sequence: Sequence | None = None

    def sample(self, context: Any, row: int) -> int:
        assert self.sequence is not None
        assert not self.closed
        assert context.rows[row] == self.sequence.slot
        assert len(context.rows) <= context.sequences  # llama.cpp has made room for so many rows of logits
        assert context.held[self.sequence.slot] == self.sequence.tokens
        return self.answer.popleft() if self.answer else END

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

    def get(self) -> Item:
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

    def end(self, request: int) -> Done | Failed | Vectors:
        """The last event, which must be the only ending."""
        *before, last = self.of(request)
        assert not [event for event in before if isinstance(event, Done | Failed | Vectors)]
        assert isinstance(last, Done | Failed | Vectors)
        return last

    def text(self, request: int) -> str:
        return "".join(event.text for event in self.of(request) if isinstance(event, Text))


def sequence(
    request: int, prompt: Seq[int], answer: Seq[int] = (), *, context_length: int = 60, **options: Any
) -> Sequence:
    sampling = msgspec.structs.replace(SampleOptions(), **options)
    script = Script(answer)
    made = Sequence(
        command=Generate(request, TokenPrompt(tuple(prompt)), sampling),
        tokens=list(prompt),
        prompt_tokens=len(prompt),
        context_length=context_length,
        truncated_tokens=0,
        in_thought=False,
        sampler=cast(Sampler, script),
        text=TextStream(sampling.stop),
        arrived_ns=1,
    )
    script.sequence = made
    return made


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
) -> tuple[Record, Cells, Slots]:
    context = Cells(sequences, real_cells or cells, outcomes)
    outbox = context.outbox
    slots = Slots(sequences, cells, context.forget, reuse=True)
    loop = Loop(
        cast(Model, Vocabulary()),
        cast(Context, context),
        slots,
        cast(Embedder, embedder or NoEmbedder()),
        cast("queue.SimpleQueue[Item]", Inbox(arrivals)),
        cast(Outbox, outbox),
        context.batch,
    )
    loop.run()
    assert slots.free == sequences
    assert [len(held) for held in context.held] == [len(slot.tokens) for slot in slots._slots]
    return outbox, context, slots


def closed(*items: Item) -> list[int]:
    return [cast(Script, item.sampler).closed for item in items if isinstance(item, Sequence)]


# -- one request


def test_a_request_starts_speaks_and_ends() -> None:
    one = sequence(1, [5, 6, 7], [10, 11])
    outbox, _, _ = run([[one]])
    started, first, second, done = outbox.of(1)
    assert started == Started(id=1, prompt_tokens=3)
    assert (first, second) == (Text(1, "10 ", 1), Text(1, "11 ", 1))
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


# -- anything at any time

requests = st.tuples(
    st.lists(st.integers(1, 3), min_size=1, max_size=30), st.integers(0, 20), st.sampled_from([-1, 0, 1, 5])
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(requests, min_size=1, max_size=8),
    st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=25),
    st.lists(st.sampled_from([*[Outcome.DONE] * 6, Outcome.NO_ROOM, Outcome.FAILED]), max_size=30),
    st.integers(1, 4),
    st.integers(60, 120),
)
def test_every_request_ends_exactly_once(
    wanted: list[tuple[list[int], int, int]],
    ticks: list[list[int]],
    outcomes: list[Outcome],
    sequences: int,
    cells: int,
) -> None:
    """Each request arrives where its number is drawn first, and is cancelled where it is drawn again."""
    made = {key: sequence(key, prompt, range(10, 10 + answer), num_predict=limit) for key, (prompt, answer, limit) in
            enumerate(wanted)}  # fmt: skip
    arrivals: list[list[Item]] = []
    sent: set[int] = set()
    for tick in ticks:
        arrivals.append([])
        for key in tick:
            arrivals[-1].append(Cancel(key) if key in sent or key not in made else made[key])
            sent.add(key)
    outbox, _, _ = run(arrivals, sequences=sequences, cells=cells, outcomes=outcomes)
    for key, (_, answer, _) in enumerate(wanted):
        if key not in sent:
            assert outbox.of(key) == []
            continue
        end = outbox.end(key)
        assert cast(Script, made[key].sampler).closed == 1
        whole = "".join(f"{token} " for token in range(10, 10 + answer))
        assert whole.startswith(outbox.text(key))
        if isinstance(end, Done):
            assert end.usage.completion_tokens == len(outbox.text(key).split())
            if end.reason == "stop":
                assert outbox.text(key) == whole


# -- embeddings


class Pooling(Cells):
    """A context for embeddings: a vector says of which tokens it was made."""

    def pooled(self, seq: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        assert self.held[seq]
        return np.full(width, sum(self.held[seq]), np.float32)


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
