"""The scheduler under everything at once, found by search: every request ends in exactly one outcome, nobody starves.

The outlets themselves refuse a second outcome; the rules below do what clients and workers may do, in any order.
"""

from __future__ import annotations

import math
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runner.errors import LoadFailed, Quarantined, ServerBusy
from runner.protocol.commands import Cancel, Embed, Generate
from runner.protocol.events import Done, Loading, Usage
from runner.scheduler.fleet import Member
from runner.scheduler.ticket import Priority
from tests.fakes.scheduling import GIB, SMALL, Bench, Heard, want

KEYS = {"a": "a", "b": "b", "b again": "b", "c": "c", "d": "d"}  # two models share a worker
MODELS = tuple(KEYS)
SIZES = {"a": SMALL, "b": SMALL, "c": replace(SMALL, weights=GIB), "d": replace(SMALL, weights=6 * GIB)}
OUTCOMES = (
    "Done",
    "Vectors",
    "str",
    "LoadFailed",
    "ServerBusy",
    "WorkerCrashed",
    "Quarantined",
    "InsufficientMemory",
)
COUNTS: Counter[str] = Counter()


class Storm(RuleBasedStateMachine):
    @initialize(
        models=st.integers(1, 3),
        queue=st.sampled_from([3, 50]),
        memory=st.sampled_from([2 * GIB, 64 * GIB]),
        queue_timeout=st.sampled_from([20.0, 600.0]),
    )
    def begin(self, models: int, queue: int, memory: int, queue_timeout: float) -> None:
        self.limit = models
        self.queue = queue
        self.bench = Bench(models=models, queue=queue, keep_alive=30, memory=memory, queue_timeout=queue_timeout)
        self.heard: list[Heard] = []
        self.sequences: dict[int, int] = {}
        self.were_pinned: dict[int, bool] = {}
        self.unloaded: set[int] = set()  # workers that somebody asked to go, or whose load won't do
        COUNTS["storms"] += 1

    @rule(
        models=st.lists(st.sampled_from(MODELS), min_size=1, max_size=8),
        num_ctx=st.sampled_from([1024, 1024, 1024, 4096]),
        keep_alive=st.sampled_from([None, None, 0.0, 5.0, math.inf]),
        work=st.sampled_from(["text", "text", "embedding", None]),
        client=st.sampled_from("xyz"),
        priority=st.sampled_from(["interactive", "interactive", "batch"]),
    )
    def ask(
        self,
        models: list[str],
        num_ctx: int,
        keep_alive: float | None,
        work: str | None,
        client: str,
        priority: Priority,
    ) -> None:
        for model in models:
            text = f"number {len(self.heard)}"
            key = KEYS[model]
            wanted = want(
                model, key=key, num_ctx=num_ctx, keep_alive=keep_alive, has_work=work is not None, footprint=SIZES[key],
                client=client, priority=priority, text=text,
            )  # fmt: skip
            if work == "embedding":
                wanted = replace(wanted, work=Embed(0, (text,)))
            members = [member for member in self.bench.scheduler.view.residents() if member.key == key]
            self.unloaded |= {m.run for m in members if not wanted.is_served_by(m.digest, m.load)}
            with suppress(ServerBusy, LoadFailed, Quarantined):
                self.heard.append(self.bench.submit(wanted))

    @rule(model=st.sampled_from(MODELS), on=st.booleans())
    def pin(self, model: str, on: bool) -> None:
        if on:
            self.bench.scheduler.pin(model)
        else:
            self.bench.scheduler.unpin(model)

    @rule(which=st.integers(0, 1000))
    def cancel(self, which: int) -> None:
        live = self._live()
        if live:
            self.bench.cancel(live[which % len(live)])

    @rule(which=st.integers(0, 1000), sequences=st.integers(1, 2))
    def finish_load(self, which: int, sequences: int) -> None:
        loading = self._in_state("loading")
        if loading:
            model = loading[which % len(loading)]
            self.sequences[self.bench.run(model)] = sequences
            self.bench.load(model, sequences)

    @rule(which=st.integers(0, 1000))
    def refuse_load(self, which: int) -> None:
        loading = self._in_state("loading")
        if loading:
            self.unloaded.add(self.bench.run(loading[which % len(loading)]))
            self.bench.refuse(loading[which % len(loading)])

    @rule(which=st.integers(0, 1000))
    def show_life(self, which: int) -> None:
        members = self.bench.scheduler.view.residents()
        if members:
            self.bench.scheduler.events(members[which % len(members)].run, [Loading(0.5)])

    @rule(which=st.integers(0, 1000))
    def answer(self, which: int) -> None:
        inside = [heard for heard in self._inside() if isinstance(heard.want.work, Generate)]
        if inside:
            self.bench.text(inside[which % len(inside)])

    @rule(which=st.integers(0, 1000))
    def finish(self, which: int) -> None:
        inside = self._inside()
        if inside:
            self._answer(inside[which % len(inside)])

    @rule(sequences=st.integers(1, 2))
    def get_on(self, sequences: int) -> None:
        """As things go where nothing is wrong: workers load, and everybody inside one has something new."""
        for model in self._in_state("loading"):
            self.sequences[self.bench.run(model)] = sequences
            self.bench.load(model, sequences)
        for heard in self._inside():
            if isinstance(heard.want.work, Generate):
                self.bench.text(heard)

    @rule(which=st.integers(0, 1000))
    def hang_at_one(self, which: int) -> None:
        """A worker doesn't let go of a request that nobody waits for."""
        inside = self._inside()
        if inside:
            self.bench.cancel(inside[which % len(inside)])
            self.bench.advance(61.0)

    @rule()
    def obey_cancels(self) -> None:
        self._obey_cancels()

    @rule(which=st.integers(0, 1000), how=st.sampled_from(["killed", "starved", "hung"]))
    def crash(self, which: int, how: str) -> None:
        members = self.bench.scheduler.view.residents()
        if members:
            fault = "it has shown no sign of life for 4 s" if how == "hung" else None
            model = members[which % len(members)].model
            self.bench.exit(model, -9, fault, starved=how == "starved", hung=how == "hung")
            COUNTS[how] += 1

    @rule()
    def exit_when_told(self) -> None:
        self._exit_when_told()

    @rule(model=st.sampled_from(MODELS))
    def unload(self, model: str) -> None:
        self.unloaded |= {member.run for member in self.bench.scheduler.view.residents() if model in member.models}
        self.bench.scheduler.unload(model)

    @rule(seconds=st.sampled_from([0.1, 6.0, 61.0]))
    def wait(self, seconds: float) -> None:
        given_up = {heard.id for heard in self.heard if heard.deaf}  # who keeps one hangs, and is ended
        self.unloaded |= {member.run for member in self.bench.scheduler.view.residents() if member.inside & given_up}
        self.bench.advance(seconds)

    @invariant()
    def limits_hold(self) -> None:
        members = self.bench.scheduler.view.residents()
        assert len(members) <= self.limit
        assert sum(member.need.total for member in members) <= self.bench.memory
        for member in members:
            assert len(member.inside) <= 2 * self.sequences.get(member.run, 0)
        newcomers = [heard for heard in self._live() if not heard.admissions and self._waits(heard)]
        assert len(newcomers) <= self.queue  # those whose worker died come on top

    @invariant()
    def nobody_is_sent_away_whom_a_worker_had(self) -> None:
        for heard in self.heard:
            if heard.want.work is not None and heard.admissions:
                assert not isinstance(heard.outcome, ServerBusy)
            COUNTS["answers begun and seen"] += bool(heard.events)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """Whoever waits has somebody to wait for: a load, a stop, requests inside a worker, or others for a moment."""
        if not any(self.bench.scheduler.view.waiting(model) for model in MODELS):
            return
        members = self.bench.scheduler.view.residents()
        is_busy = any(member.state in ("loading", "stopping") or member.inside for member in members)
        wakes = self.bench.effects.wake_at
        assert is_busy or (wakes is not None and wakes <= self.bench.now + 4.0)

    @invariant()
    def what_is_pinned_stays(self) -> None:
        """Nobody's request makes room by it, and no time."""
        pinned = self.bench.scheduler.view.pinned()
        for member in self.bench.scheduler.view.residents():
            is_pinned = pinned.intersection(member.models)
            is_hung = bool(member.inside)  # nobody is evicted who is busy
            if is_pinned and member.state == "stopping" and member.run not in self.unloaded and not is_hung:
                assert self.were_pinned.get(member.run) is not True, "it went while it was pinned"
        self.were_pinned = {
            member.run: bool(pinned.intersection(member.models))
            and member.state != "stopping"
            and not self._is_unfit(member)
            for member in self.bench.scheduler.view.residents()
        }

    @invariant()
    def first_come_first_served(self) -> None:
        """Among the requests of one client and class for one worker."""
        for mine in self._by_line().values():
            taken = [heard.id for heard in mine if heard.admissions]
            left = [heard.id for heard in mine if not heard.admissions and self._waits(heard)]
            COUNTS["pairs compared"] += len(taken) * len(left)
            assert max(taken, default=0) < min(left, default=math.inf)

    def teardown(self) -> None:
        """Let everything come to its end without further faults: each request has had exactly one outcome."""
        if not hasattr(self, "bench"):
            return
        for _ in range(10_000):
            if not self.bench.scheduler.view.residents() and not self._live():
                break
            for model in self._in_state("loading"):
                self.sequences[self.bench.run(model)] = 2
                self.bench.load(model, 2)
            for heard in self._inside():
                self._answer(heard)
            self._obey_cancels()
            self._exit_when_told()
            self.bench.advance(1.0)
            for member in self.bench.scheduler.view.residents():
                if not self._live():
                    self.bench.scheduler.unload(member.model)
        assert not self._live()
        assert not self.bench.scheduler.view.residents()
        for heard in self.heard:
            assert heard.deaf or heard.outcome is not None
            COUNTS["requests"] += 1
            COUNTS["cancelled" if heard.deaf else type(heard.outcome).__name__] += 1

    def _live(self) -> list[Heard]:
        return [heard for heard in self.heard if heard.outcome is None and not heard.deaf]

    def _ids_inside(self) -> set[int]:
        return {request for member in self.bench.scheduler.view.residents() for request in member.inside}

    def _inside(self) -> list[Heard]:
        ids = self._ids_inside()
        return [heard for heard in self._live() if heard.id in ids]

    def _in_state(self, state: str) -> list[str]:
        return [member.model for member in self.bench.scheduler.view.residents() if member.state == state]

    def _answer(self, heard: Heard) -> None:
        if isinstance(heard.want.work, Embed):
            self.bench.vectors(heard)
        else:
            self.bench.done(heard)

    def _waits(self, heard: Heard) -> bool:
        standing = self.bench.scheduler.view.standing(heard.id)
        return not heard.deaf and standing is not None and standing.position > 0

    def _by_line(self) -> dict[tuple[str, str, str], list[Heard]]:
        lines: dict[tuple[str, str, str], list[Heard]] = {}
        for heard in self.heard:
            lines.setdefault((heard.want.key, heard.want.client, heard.want.priority), []).append(heard)
        return lines

    def _is_unfit(self, member: Member) -> bool:
        """Somebody waits for the same worker, loaded in another way."""
        waiting = [heard for heard in self.heard if heard.want.key == member.key and self._waits(heard)]
        return any(not heard.want.is_served_by(member.digest, member.load) for heard in waiting)

    def _obey_cancels(self) -> None:
        for member in self.bench.scheduler.view.residents():
            told = {c.id for run, c in self.bench.effects.sent if run == member.run and isinstance(c, Cancel)}
            for request in sorted(member.inside & told):
                self.bench.scheduler.events(member.run, [Done(request, "cancelled", Usage())])

    def _exit_when_told(self) -> None:
        for member in self.bench.scheduler.view.residents():
            if member.run in self.bench.effects.stopped:
                for request in sorted(member.inside):  # it hangs at one of them, and gives the others up
                    COUNTS["given up"] += 1
                    self.bench.scheduler.events(member.run, [Done(request, "cancelled", Usage())])
                self.bench.exit(member.model, 0)


TestStorm = Storm.TestCase
TestStorm.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


def test_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """What the storms came to; runs after them."""
    with capsys.disabled():
        print(f"\n{dict(COUNTS)}")
    assert COUNTS["requests"] == COUNTS["cancelled"] + sum(n for name, n in COUNTS.items() if name in OUTCOMES)
