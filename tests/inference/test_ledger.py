"""The ledger of requests: as a machine that anything may happen to, and fed by the service over fake workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from runner.conversation import Message
from runner.inference.entry import ENTRY, Entry, Source
from runner.inference.ledger import Ledger
from runner.inference.requests import Chat, Complete, Embed, Finished, Piece
from runner.inference.resolve import Resolver
from runner.inference.service import Service
from runner.inference.texts import MOST_OF_A_KIND, Kind, Room, Texts
from tests.inference.conftest import THINKING_CHAT, Make, Served

SOURCE = Source("POST", "/api/chat", "ollama", "127.0.0.1")
ROOM = 4000  # bytes, so that little text fills it
KINDS: list[Kind] = ["prompt", "answer", "thinking", "calls", "body"]


class Anything(RuleBasedStateMachine):
    """Requests come, say things and end, while the settings change. What is held stays within bounds, and what came
    ends once."""

    live = Bundle("live")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ledger = Ledger(5, bodies=True, clock=lambda: self.now, room=ROOM)
        self.open: list[Entry] = []
        self.stops: list[str] = []
        self.ends: dict[int, str] = {}

    @rule(target=live, name=st.sampled_from(["a", "b", "c"]))
    def comes(self, name: str) -> Entry:
        self.now += 1
        entry = self.ledger.open(name, SOURCE, lambda: self.stops.append(name))
        assert sum(each.id == entry.id for each in self.open) == 0, "two under way go by one name"
        self.open.append(entry)
        return entry

    @rule(entry=live, kind=st.sampled_from(KINDS), text=st.text(max_size=3000), part=st.integers(0, 3))
    def says(self, entry: Entry, kind: Kind, text: str, part: int) -> None:
        if entry.texts is not None:
            entry.texts.add(kind, text, (part, 0))

    @rule(entry=consumes(live), status=st.sampled_from([200, 400, 499, 500]), failed=st.booleans())
    def ends_(self, entry: Entry, status: int, failed: bool) -> None:
        self.now += 1
        self.ledger.end(entry, status, ("worker_crashed", "it died") if failed else None)
        assert entry.end is not None
        expected = "cancelled" if status == 499 else "failed" if failed or status >= 400 else "done"
        self.ends[entry.number] = expected
        self.open.remove(entry)
        self.ledger.end(entry, 200)  # a second word of its end changes nothing
        assert entry.end.state == expected

    @rule(entry=live)
    def is_cancelled(self, entry: Entry) -> None:
        stopped = len(self.stops)
        was = entry.is_cancelled
        assert self.ledger.cancel(entry.id) == "cancelled"
        assert len(self.stops) == stopped + (not was), "whoever is told twice is stopped once"

    @rule(kept=st.integers(0, 6), bodies=st.booleans())
    def settings_change(self, kept: int, bodies: bool) -> None:
        self.ledger.take(kept, bodies=bodies)

    @invariant()
    def within_bounds(self) -> None:
        assert self.ledger.kept <= self.ledger.most
        assert self.ledger.text_bytes <= ROOM
        rows = self.ledger.rows(1000)
        held = [row.entry.texts for row in rows if row.entry.texts is not None]
        assert self.ledger.text_bytes == sum(texts.size for texts in held)
        if not self.ledger.bodies:
            assert self.ledger.text_bytes == 0

    @invariant()
    def all_are_there_once(self) -> None:
        rows = self.ledger.rows(1000)
        numbers = [row.entry.number for row in rows]
        assert numbers == sorted(numbers, reverse=True)
        assert len({row.entry.id for row in rows}) == len(rows)
        assert {row.entry.number for row in rows if row.total is None} == {entry.number for entry in self.open}
        assert all(self.ends[row.entry.number] == row.state for row in rows if row.total is not None)
        waiting, running, more = self.ledger.under_way(1000)
        assert (len(waiting), running, more) == (len(self.open), [], 0)


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(pieces=st.lists(st.text(max_size=200)), room=st.integers(0, 600))
def test_a_text_that_is_cut_is_a_beginning_and_says_what_is_missing(pieces: list[str], room: int) -> None:
    whole = "".join(pieces)
    texts = Texts(Room(room))
    for piece in pieces:
        texts.add("answer", piece)
    kept = texts.of("answer") or ""
    size = len(whole.encode("utf-8", "surrogatepass"))
    assert texts.size + texts.cut["answer"] == size
    assert texts.size <= room
    if size <= room:
        assert kept == whole.encode("utf-8", "surrogatepass").decode("utf-8", "ignore")
    assert whole.encode("utf-8", "surrogatepass").decode("utf-8", "ignore").startswith(kept)


def test_one_request_takes_no_more_than_its_share_and_the_oldest_go_first() -> None:
    ledger = Ledger(10, bodies=True, room=MOST_OF_A_KIND + 100)
    first, second = (ledger.open(name, SOURCE, lambda: None) for name in ("first", "second"))
    assert first.texts is not None
    first.texts.add("prompt", "é" * MOST_OF_A_KIND)
    assert first.texts.size == MOST_OF_A_KIND
    assert first.texts.cut["prompt"] == MOST_OF_A_KIND
    ledger.end(first, 200)
    assert second.texts is not None
    second.texts.add("answer", "y" * 200)  # there is room once the first is forgotten
    assert second.texts.of("answer") == "y" * 200
    assert ledger.find("first") is None
    assert ledger.cancel("first") == "unknown"


# -- fed by the service


def asked(text: str, model: str = "m", **more: object) -> Chat:
    return Chat(model, (Message("user", text),), **more)  # type: ignore[arg-type]


class Caller:
    """A request as an endpoint has it: answered in a context in which its entry is set."""

    def __init__(self, served: Served, *, bodies: bool = False) -> None:
        self.served = served
        self.ledger = Ledger(bodies=bodies, watcher=served.scheduler.view)

    async def answer(self, name: str, *requests: Chat | Complete) -> Entry:
        entry = self.ledger.open(name, SOURCE, lambda: None)
        token = ENTRY.set(entry)
        status = 499
        try:
            await asyncio.gather(*map(self._whole, requests))
            status = 200
        finally:
            ENTRY.reset(token)
            self.ledger.end(entry, status)
        return entry

    async def _whole(self, request: Chat | Complete) -> None:
        async with aclosing(self.served.service.generate(request)) as parts:
            async for _ in parts:
                pass

    async def until(self, condition: Callable[[], bool]) -> None:
        """Look whenever a worker has said something, and now and then: requests come without one."""
        async with asyncio.timeout(60):
            while not condition():
                happened = self.served.workers.something_happened
                happened.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(happened.wait(), 0.05)

    def states(self) -> dict[str, str]:
        return {row.entry.id: row.state for row in self.ledger.rows(10) if row.total is None}


async def test_it_is_told_how_far_a_request_has_come(served: Served, make: Make) -> None:
    for model in ("m", "n", "o"):
        make(model)
    caller = Caller(served)
    tasks = {}
    seen = set()

    def is_submitted(name: str) -> bool:
        seen.add(caller.states().get("talks"))
        row = caller.ledger.find(name)
        return row is not None and bool(row.entry.legs)

    def has_come_so_far() -> bool:
        seen.add(caller.states().get("talks"))
        counts = {row.entry.id: row.figures.completion_tokens for row in caller.ledger.rows(10)}
        return (
            caller.states() == {"talks": "generating", "holds": "prefill", "waits": "waiting"} and counts["holds"] == 0
        )

    # One after the other: their models are read on threads, and whoever is quicker would be ahead.
    for name, model, what in (("talks", "m", "talk:one two"), ("holds", "n", "hold"), ("waits", "o", "hold")):
        tasks[name] = asyncio.create_task(caller.answer(name, asked(what, model)))
        await caller.until(partial(is_submitted, name))
    await caller.until(has_come_so_far)
    assert "loading" in seen
    waiting, running, more = caller.ledger.under_way(10)
    assert [(row.entry.id, row.position) for row in waiting] == [("waits", 1)]  # two models may be loaded
    assert [row.entry.id for row in running] == ["talks", "holds"]
    assert (running[0].figures.completion_tokens, running[1].figures.completion_tokens) == (1, 0)
    assert running[0].figures.load is not None
    assert more == 0
    tasks["waits"].cancel()
    await asyncio.gather(tasks.pop("waits"), return_exceptions=True)
    for model in ("m", "n"):
        await caller.answer(f"release {model}", asked("release", model))
    await asyncio.gather(*tasks.values())
    row = caller.ledger.find("talks")
    assert row is not None
    assert (row.state, row.figures.prompt_tokens, row.figures.completion_tokens) == ("done", 2, 2)
    assert (row.entry.reason, row.entry.model) == ("stop", "m:latest")


async def test_several_choices_and_several_prompts_are_one_request(served: Served, make: Make) -> None:
    make("m")
    caller = Caller(served, bodies=True)
    entry = await caller.answer("choices", asked("say:a b", choices=3))
    assert entry.figures.completion_tokens == 9
    assert entry.texts is not None
    assert entry.texts.of("answer") == "[choice 1]\na b 0\n\n[choice 2]\na b 1\n\n[choice 3]\na b 2"
    entry = await caller.answer("prompts", *(Complete("m", f"say:{word}", raw=True) for word in ("x", "y")))
    assert (entry.figures.prompt_tokens, entry.figures.completion_tokens) == (4, 2)
    assert entry.texts is not None
    assert entry.texts.of("prompt") == "[prompt 1]\nsay:x\n\n[prompt 2]\nsay:y"


class FirstIsLast(Executor):
    """The first that is handed over is done when the test says so."""

    def __init__(self) -> None:
        self._first: tuple[Future[Any], Callable[[], Any]] | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        work = partial(fn, *args, **kwargs)
        if self._first is None:
            self._first = future, work
        else:
            future.set_result(work())
        return future

    def do_the_first(self) -> None:
        assert self._first is not None
        future, work = self._first
        future.set_result(work())


async def test_prompts_keep_their_order_whichever_is_read_first(served: Served, make: Make, resolver: Resolver) -> None:
    make("m")
    threads = FirstIsLast()
    served.service = Service(served.scheduler, resolver, threads)
    caller = Caller(served, bodies=True)
    prompts = [Complete("m", f"say:{word}", raw=True) for word in ("x", "y")]
    answered = asyncio.create_task(caller.answer("prompts", *prompts))

    def has_answered_the_second() -> bool:
        row = caller.ledger.find("prompts")
        return row is not None and row.entry.texts is not None and row.entry.texts.of("answer") == "y"

    await caller.until(has_answered_the_second)
    threads.do_the_first()
    texts = (await answered).texts
    assert texts is not None
    assert texts.of("prompt") == "[prompt 1]\nsay:x\n\n[prompt 2]\nsay:y"
    assert texts.of("answer") == "[choice 1]\nx\n\n[choice 2]\ny"


async def test_texts_are_kept_only_where_that_is_wanted(served: Served, make: Make) -> None:
    make("m", template=THINKING_CHAT)
    on, off = Caller(served, bodies=True), Caller(served)
    said = asked("say:<think>why not</think> because")
    entry = await on.answer("on", said)
    assert entry.texts is not None
    assert (entry.texts.of("thinking"), entry.texts.of("answer")) == ("why not", "because")
    assert entry.texts.of("prompt") == "say:<think>why not</think> because"
    assert (await off.answer("off", said)).texts is None
    assert off.ledger.text_bytes == 0
    token = ENTRY.set(entry := on.ledger.open("embed", SOURCE, lambda: None))
    await served.service.embed(Embed("m", ("one", (1, 2))))
    ENTRY.reset(token)
    assert entry.texts is not None
    assert entry.texts.of("prompt") == "[prompt 1]\none\n\n[prompt 2]\n1 2"
    on.ledger.take(200, bodies=False)
    assert on.ledger.text_bytes == 0


async def test_a_request_that_goes_on_in_another_worker_is_one(served: Served, make: Make, tmp_path: Path) -> None:
    make("m")
    caller = Caller(served, bodies=True)
    entry = await caller.answer("dies", asked(f"say-and-die:2:{tmp_path / 'deaths'}:a b c d e"))
    assert (tmp_path / "deaths").read_text() == "xx"
    assert entry.figures.completion_tokens == 5
    assert entry.texts is not None
    assert entry.texts.of("answer") == "a b c d e"
    assert entry.texts.of("prompt") is None or "say-and-die" in (entry.texts.of("prompt") or "")
    assert [row.state for row in caller.ledger.rows(10)] == ["done"]


async def test_what_was_counted_stays_when_the_client_leaves(served: Served, make: Make) -> None:
    make("m")
    caller = Caller(served)
    entry = caller.ledger.open("left", SOURCE, lambda: None)
    token = ENTRY.set(entry)
    async with aclosing(served.service.generate(asked("talk:one two three"))) as parts:
        async for part in parts:
            assert isinstance(part, Piece)
            break
    ENTRY.reset(token)
    caller.ledger.end(entry, 499)
    assert entry.end is not None
    assert (entry.end.state, entry.figures.completion_tokens, entry.figures.prompt_tokens) == ("cancelled", 1, 1)
    assert entry.figures.first_token is not None
    assert not entry.legs, "it holds nothing of the scheduler's any more"


async def test_nothing_is_noted_without_an_entry(served: Served, make: Make) -> None:
    make("m")
    ends = [part async for part in served.service.generate(asked("say:a")) if isinstance(part, Finished)]
    assert len(ends) == 1
