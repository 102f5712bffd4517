"""The engine's loop with prefixes that move between cells, RAM and files; on a context that only keeps books.

Each answer checks that all before it stands in the cells. What counts as long is made small, so that little is enough.
"""

from __future__ import annotations

import queue
from array import array
from collections import deque
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine import farewell
from runner.engine import reuse as reusing
from runner.engine import slots as slotting
from runner.engine.clerk import Clerk, Fetched, Filed, Listed, News
from runner.engine.crew import Crew
from runner.engine.embed import Embedder
from runner.engine.lanes import Lane, Lanes
from runner.engine.loop import Item, Loop
from runner.engine.outbox import Outbox
from runner.engine.reuse import Reuse
from runner.engine.sequence import Sequence
from runner.engine.shelf import Saved, Shelf
from runner.llama.context import Context
from runner.llama.model import Model
from runner.llama.state import Data, States
from runner.protocol.commands import Cancel, Stop
from runner.protocol.events import Done, Started
from tests.engine.test_loop import Cell, Cells, Inbox, NoEmbedder, Record, Script, Vocabulary, sequence, spoken


@pytest.fixture(scope="module", autouse=True)
def little_is_long() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reusing, "LEAST", 3)
        patch.setattr(farewell, "LEAST", 3)
        patch.setattr(slotting, "_LEAST", 2)
        patch.setattr(slotting, "_TRIM", 4)
        yield


class Remembering(Cells):
    """Cells whose sequences can be saved. Where they can't be cut, nobody may try to."""

    def __init__(self, sequences: int, cells: int, *, cuttable: bool) -> None:
        super().__init__(sequences, cells)
        self.cuttable = cuttable
        self.spoilt = False

    def size(self, seq: int) -> int:
        return 4 * len(self.held[seq])

    def forget(self, seq: int, start: int = 0) -> bool:
        assert self.cuttable or start in (0, len(self.held[seq]))
        return super().forget(seq, start)

    def save(self, seq: int) -> Data:
        return np.asarray(self.tokens(seq), np.int32).view(np.uint8)

    def restore(self, seq: int, data: Data) -> bool:
        assert not self.held[seq]
        tokens = data.view(np.int32).tolist()
        if self.spoilt or self.used + len(tokens) > self.cells:
            return False
        self.held[seq] = [Cell(token) for token in tokens]
        return True


Kept = dict[str, tuple["array[int]", Data]]


class Files:
    """A clerk whose news come through the inbox, each after so many others."""

    room = 10**9
    pace = 0.0

    def __init__(self, inbox: Mail, kept: Kept) -> None:
        self.inbox = inbox
        self.kept = kept
        self.reads = 0
        inbox.news.append(Listed(tuple(Saved(tokens, None, name) for name, (tokens, _) in kept.items())))

    def read(self, saved: Saved) -> None:
        self.reads += 1
        assert saved.file is not None
        found = self.kept.get(saved.file)
        self.inbox.news.append(Fetched(saved, None if found is None else found[1]))

    def write(self, saved: Saved, instead: Seq[str] = ()) -> bool:
        assert saved.data is not None
        name = saved.tokens.tobytes().hex()
        self.kept[name] = (saved.tokens[:], saved.data)
        self.inbox.news.append(Filed(saved, name))
        self.drop(instead)
        return True

    def drop(self, files: Seq[str]) -> None:
        for file in files:
            self.kept.pop(file, None)

    def close(self, _seconds: float) -> None:
        self.inbox.news.clear()


class Gone(Kept):
    """Files that were there when they were listed."""

    def get(self, name: str, default: object = None) -> None:  # type: ignore[override]
        return None


@dataclass
class Pause:
    """So many seconds in which nothing arrives."""

    seconds: float


class Killed(Exception):
    """The process ends in the midst of it all."""


class Mail(Inbox):
    """Arrivals by script. News come when the loop waits, or now and then before a step."""

    def __init__(self, arrivals: Seq[Seq[Item]], every: int = 1) -> None:
        super().__init__(arrivals)
        self.news: deque[News] = deque()
        self.every = every
        self.asked = 0
        self.now = 0.0

    def empty(self) -> bool:
        self.asked += 1
        return super().empty() and not (self.news and self.asked % self.every == 0)

    def get(self, timeout: float | None = None) -> Item:
        if self.news:
            return self.news.popleft()
        item: object = super().get()
        if isinstance(item, Pause):
            seconds = min(item.seconds, timeout or 0.0)
            self.now += seconds
            if seconds < item.seconds and timeout is not None:
                self._arrivals[0].appendleft(cast(Item, Pause(item.seconds - seconds)))
            raise queue.Empty
        if isinstance(item, Killed):
            raise item
        return cast(Item, item)


def run(
    arrivals: Seq[Seq[Item]],
    *,
    cuttable: bool = True,
    sequences: int = 4,
    cells: int = 200,
    ram: int = 0,
    kept: Kept | None = None,
    every: int = 1,
    spoilt: bool = False,
    idle_cells: int | None = None,
) -> tuple[Record, Remembering, Reuse]:
    context = Remembering(sequences, cells, cuttable=cuttable)
    context.spoilt = spoilt
    lane = Lane(cast(Context, context), cast(States, context), cuttable=cuttable, idle_cells=idle_cells)
    slots = lane.slots
    inbox = Mail(arrivals, every)
    clerk = Files(inbox, kept) if kept is not None else None
    shelf = Shelf(ram, clerk.write if clerk else lambda _saved: None, cuttable=cuttable)
    reuse = Reuse(shelf, cast(Clerk, clerk), cuttable=cuttable)
    loop = Loop(
        cast(Model, Vocabulary()),
        Lanes(lane),
        cast(Embedder, NoEmbedder()),
        cast("queue.SimpleQueue[Item]", inbox),
        cast(Outbox, context.outbox),
        Crew(1),
        reuse=reuse,
        clock=lambda: inbox.now,
    )
    loop.run()
    assert slots.free == sequences
    assert (slots.cells_used, slots.cells_busy) == (context.used, 0)
    return context.outbox, context, reuse


def cached(outbox: Record, *requests: int) -> list[int]:
    starts = (outbox.of(request)[0] for request in requests)
    return [start.cached_tokens for start in starts if isinstance(start, Started)]


def later(*items: Item) -> list[list[Item]]:
    """Each when the one before has long ended."""
    return [part for item in items for part in ([item], *([[]] * 30))]


SYSTEM = list(range(1, 31))


@pytest.mark.parametrize("cuttable", [True, False])
def test_what_comes_together_and_begins_alike_is_computed_once(cuttable: bool) -> None:
    items: list[Item] = [sequence(key, [*SYSTEM, 40 + key], [50 + key]) for key in range(4)]
    outbox, _, reuse = run([items], cuttable=cuttable, ram=10_000)
    assert cached(outbox, *range(4)) == [0, 30, 30, 30]
    assert outbox.stats.prompt_tokens == 30 + 4
    assert reuse.counts.cells == 90
    for key in range(4):
        assert outbox.text(key) == f"{50 + key} "


def test_siblings_take_no_more_cells_than_they_hold() -> None:
    """Each with a prompt of its own would not fit."""
    items: list[Item] = [sequence(key, [*SYSTEM, 40 + key], [50 + key]) for key in range(4)]
    outbox, context, _ = run([items], cells=30 + 4 * 36)
    assert outbox.stats.preemptions == 0
    assert context.decodes <= 5


@pytest.mark.parametrize("when", range(4))
def test_when_the_first_of_them_is_cancelled_the_next_computes_it(when: int) -> None:
    items: list[Item] = [sequence(key, [*SYSTEM, 40 + key], [50 + key]) for key in range(3)]
    outbox, _, _ = run([items, *[[]] * when, [Cancel(0)]])
    for key in (1, 2):
        assert outbox.text(key) == f"{50 + key} "
    assert isinstance(outbox.end(0), Done)


def test_who_has_most_computed_goes_first_if_he_came_soon_after() -> None:
    busy = sequence(0, [90] * 3, range(50))
    first = sequence(1, SYSTEM, [50])
    cold, soon, late = sequence(2, [80] * 31, [51]), sequence(3, [*SYSTEM, 7], [52]), sequence(4, [*SYSTEM, 8], [53])
    cold.arrived_ns, soon.arrived_ns, late.arrived_ns = 10**9, 10**9 + 5, 3 * 10**9
    outbox, _, _ = run([[first], [], [], [], [], [busy], [], [cold, soon, late]], sequences=2, cells=400)
    order = [event.id for event in outbox.events if isinstance(event, Started)]
    assert order == [1, 0, 3, 2, 4]


@pytest.mark.parametrize("cuttable", [True, False])
def test_a_third_request_begins_where_the_second_parted_from_the_first(cuttable: bool) -> None:
    items = [sequence(key, [*SYSTEM, 40 + key, 60 + key], [50]) for key in range(3)]
    outbox, _, _ = run(later(*items), cuttable=cuttable)
    assert cached(outbox, 0, 1, 2) == [0, 30 if cuttable else 0, 30]


def test_a_prompt_that_cannot_be_cut_is_found_up_to_its_last_token() -> None:
    outbox, _, _ = run(later(*(sequence(key, SYSTEM, [50, 51]) for key in range(3))), cuttable=False)
    assert cached(outbox, 0, 1, 2) == [0, 29, 29]


@pytest.mark.parametrize("cuttable", [True, False])
def test_what_lost_its_cells_comes_back_from_ram(cuttable: bool) -> None:
    prompts = [[key, *range(40, 69)] for key in range(6)]
    items = [sequence(key, prompts[key % 6], [50]) for key in range(12)]
    outbox, _, reuse = run(later(*items), cuttable=cuttable, cells=70, sequences=2, ram=10_000)
    assert cached(outbox, *range(12)) == [0] * 6 + [29] * 6
    assert reuse.counts.ram >= 4 * 29
    assert all(outbox.text(key) == "50 " for key in range(12))


@pytest.mark.parametrize("ram", [0, 10_000])
def test_prefixes_that_nobody_uses_leave_the_way_of_those_who_run(ram: int) -> None:
    prompts = [[key, *range(40, 69)] for key in range(6)]
    items = [sequence(key, prompts[key % 6], [50]) for key in range(12)]
    outbox, context, reuse = run(later(*items), cells=1000, sequences=8, ram=ram, idle_cells=35)
    assert cached(outbox, *range(12)) == [0] * 6 + [29] * 6
    assert bool(reuse.counts.ram) == bool(ram)
    assert (context.used <= 2 * 35) == bool(ram)  # without RAM they would be lost, so they stay


def test_the_only_conversation_stays_where_it_is() -> None:
    turns = [list(range(1, 40 * turn)) for turn in range(1, 5)]
    items = [sequence(turn, tokens, []) for turn, tokens in enumerate(turns)]
    outbox, _, reuse = run(later(*items), cells=1000, ram=10_000, idle_cells=35)
    assert cached(outbox, *range(4)) == [0, 39, 79, 119]
    assert reuse.counts.demotions == 0


@pytest.mark.parametrize("cuttable", [True, False])
@pytest.mark.parametrize("ram", [0, 10_000])
def test_what_a_worker_knew_the_next_one_finds_in_files(cuttable: bool, ram: int) -> None:
    kept: Kept = {}
    prompts = [[key, *range(40, 69)] for key in range(6)]
    first = [sequence(key, prompt, [50]) for key, prompt in enumerate(prompts)]
    run(later(*first), cuttable=cuttable, cells=70, sequences=2, ram=ram, kept=kept)
    second: list[Item] = [sequence(key, prompt, [50]) for key, prompt in enumerate(prompts)]
    outbox, _, reuse = run([second], cuttable=cuttable, cells=150, ram=ram, kept=dict(kept), every=3)
    assert cached(outbox, *range(6)) == [29] * 6
    assert reuse.counts.disk == 6 * 29


def pause(seconds: float) -> Item:
    return cast(Item, Pause(seconds))


@pytest.mark.parametrize("cuttable", [True, False])
def test_while_nobody_is_there_prefixes_are_brought_into_files(cuttable: bool) -> None:
    kept: Kept = {}
    prompts = [[key, *range(40, 69)] for key in range(3)]
    items: list[Item] = [sequence(key, prompt, [50]) for key, prompt in enumerate(prompts)]
    with pytest.raises(Killed):
        run([*later(*items), [pause(2)], [pause(2)], [cast(Item, Killed())]], cuttable=cuttable, ram=10_000, kept=kept)
    written = {tuple(tokens[:30]) for tokens, _ in kept.values()}
    assert written >= {tuple(prompt) for prompt in prompts}


def test_nothing_is_brought_into_files_in_a_shorter_pause() -> None:
    kept: Kept = {}
    with pytest.raises(Killed):
        run([*later(sequence(1, SYSTEM, [50])), [pause(2)], [cast(Item, Killed())]], ram=10_000, kept=kept)
    assert kept == {}


def test_a_conversation_that_has_grown_has_one_file() -> None:
    kept: Kept = {}
    turns = [list(range(1, 40 * turn)) for turn in range(1, 4)]
    script: list[list[Item]] = []
    for turn, tokens in enumerate(turns):
        script += [*later(sequence(turn, tokens, [])), [pause(4)]]
    with pytest.raises(Killed):
        run([*script, [], [], [cast(Item, Killed())]], cells=1000, ram=10_000, kept=kept)
    assert [tokens.tolist() for tokens, _ in kept.values()] == turns[-1:]


def test_a_conversation_that_has_grown_a_little_keeps_its_file_until_the_end() -> None:
    first, second = list(range(1, 80)), list(range(1, 88))

    def files(last: Item) -> list[list[int]]:
        kept: Kept = {}
        script = [*later(sequence(1, first, [])), [pause(4)], *later(sequence(2, second, [])), [pause(4)], [], [last]]
        with suppress(Killed):
            run(script, cells=1000, ram=10_000, kept=kept)
        return [tokens.tolist() for tokens, _ in kept.values()]

    assert files(cast(Item, Killed())) == [first]
    assert files(Stop()) == [second]


def test_a_file_that_is_gone_is_computed_anew() -> None:
    outbox, _, reuse = run(
        [[sequence(1, [*SYSTEM, 5], [50])]], kept=Gone(a=(array("i", SYSTEM), np.zeros(0, np.uint8)))
    )
    assert cached(outbox, 1) == [0]
    assert outbox.text(1) == "50 "
    assert reuse.counts.disk == 0


def test_a_state_that_is_refused_is_computed_anew_and_not_tried_again() -> None:
    prompts = [[key, *range(40, 69)] for key in range(4)]
    items = [sequence(key, prompts[key % 4], [50]) for key in range(8)]
    outbox, _, reuse = run(later(*items), cells=70, sequences=2, ram=10_000, spoilt=True)
    assert cached(outbox, *range(8)) == [0] * 8
    assert reuse.counts.ram == 0
    assert all(outbox.text(key) == "50 " for key in range(8))


def test_who_is_cancelled_while_his_file_is_read_leaves_and_the_state_stays() -> None:
    kept: Kept = {}
    run([[sequence(0, SYSTEM, [50])]], ram=10_000, kept=kept)
    one, two = sequence(1, [*SYSTEM, 5], [51]), sequence(2, [*SYSTEM, 6], [52])
    outbox, _, _ = run([[one, Cancel(1)], [], [], [two]], ram=10_000, kept=kept, every=2)
    assert isinstance(outbox.end(1), Done)
    assert cached(outbox, 2) == [30]


def test_the_preempted_go_on_with_what_was_saved() -> None:
    items: list[Item] = [sequence(key, [key + 1] * 5, range(10, 90), context_length=100) for key in range(4)]
    outbox, _, reuse = run([items], cells=100, ram=100_000)
    assert outbox.stats.preemptions > 0
    assert reuse.counts.ram > 0
    for key in range(4):
        assert outbox.text(key) == spoken(range(10, 90))


prompts = st.lists(st.integers(1, 2), min_size=1, max_size=24)


@settings(max_examples=150, deadline=None)
@given(
    wanted=st.lists(st.tuples(prompts, st.lists(st.integers(0, 12), min_size=1, max_size=3)), min_size=1, max_size=10),
    ticks=st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=24),
    sequences=st.integers(1, 4),
    cells=st.integers(48, 160),
    ram=st.sampled_from([0, 200, 5000]),
    cuttable=st.booleans(),
    files=st.booleans(),
    every=st.integers(1, 4),
)
def test_whatever_comes_and_goes_everybody_ends_once_and_says_the_same(
    wanted: list[tuple[list[int], list[int]]],
    ticks: list[list[int]],
    sequences: int,
    cells: int,
    ram: int,
    cuttable: bool,
    files: bool,
    every: int,
) -> None:
    made: dict[int, Sequence] = {}
    scripts: dict[int, list[Script]] = {}
    for key, (prompt, lengths) in enumerate(wanted):
        answers = [range(1, 1 + length) for length in lengths]
        made[key] = sequence(key, prompt, *answers, context_length=48)
        scripts[key] = [cast(Script, sampler) for sampler in [made[key].sampler, *made[key].request.unforked]]
    arrivals: list[list[Item]] = []
    sent: set[int] = set()
    for tick in ticks:
        arrivals.append([])
        for key in tick:
            if key in made:
                arrivals[-1].append(Cancel(key) if key in sent else made[key])
                sent.add(key)
    kept: Kept | None = {} if files else None
    outbox, _, _ = run(arrivals, cuttable=cuttable, sequences=sequences, cells=cells, ram=ram, kept=kept, every=every)
    for key in sent:
        end = outbox.end(key)
        assert isinstance(end, Done)
        assert [script.closed for script in scripts[key]] == [1] * len(scripts[key])
        for choice, length in enumerate(wanted[key][1]):
            text = outbox.text(key, choice)
            assert spoken(range(1, 1 + length)).startswith(text)
            if end.reason == "stop":
                assert text == spoken(range(1, 1 + length))
