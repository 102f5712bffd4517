"""The scheduler under everything at once, found by search: every request ends in exactly one outcome, nobody starves.

The outlets themselves refuse a second outcome; the rules below do what clients and workers may do, in any order.
"""

from __future__ import annotations

import math
from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runner.errors import LoadFailed, Quarantined, ServerBusy
from runner.protocol.commands import Cancel
from runner.protocol.events import Done, Loading, Usage
from tests.fakes.scheduling import Bench, Heard, want

MODELS = ("a", "b", "c")


class Storm(RuleBasedStateMachine):
    @initialize(models=st.integers(1, 3), queue=st.sampled_from([3, 50]))
    def begin(self, models: int, queue: int) -> None:
        self.limit = models
        self.queue = queue
        self.bench = Bench(models=models, queue=queue, keep_alive=30)
        self.heard: list[Heard] = []
        self.sequences: dict[int, int] = {}
        self.were_inside: set[int] = set()
        self.was_blocked: int | None = None

    @rule(
        models=st.lists(st.sampled_from(MODELS), min_size=1, max_size=8),
        num_ctx=st.sampled_from([1024, 1024, 1024, 4096]),
        keep_alive=st.sampled_from([None, None, 0.0, 5.0, math.inf]),
        has_work=st.sampled_from([True, True, True, False]),
    )
    def ask(self, models: list[str], num_ctx: int, keep_alive: float | None, has_work: bool) -> None:
        for model in models:
            text = f"number {len(self.heard)}"
            wanted = want(model, num_ctx=num_ctx, keep_alive=keep_alive, has_work=has_work, text=text)
            with suppress(ServerBusy, LoadFailed, Quarantined):
                self.heard.append(self.bench.submit(wanted))
            self.nobody_overtakes_a_waiting_swap()

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
            self.bench.refuse(loading[which % len(loading)])

    @rule(which=st.integers(0, 1000))
    def show_life(self, which: int) -> None:
        members = self.bench.scheduler.residents()
        if members:
            self.bench.scheduler.events(members[which % len(members)].run, [Loading(0.5)])

    @rule(which=st.integers(0, 1000))
    def answer(self, which: int) -> None:
        inside = self._inside()
        if inside:
            self.bench.text(inside[which % len(inside)])

    @rule(which=st.integers(0, 1000))
    def finish(self, which: int) -> None:
        inside = self._inside()
        if inside:
            self.bench.done(inside[which % len(inside)])

    @rule()
    def obey_cancels(self) -> None:
        self._obey_cancels()

    @rule(which=st.integers(0, 1000))
    def crash(self, which: int) -> None:
        members = self.bench.scheduler.residents()
        if members:
            self.bench.exit(members[which % len(members)].model, -9)

    @rule()
    def exit_when_told(self) -> None:
        self._exit_when_told()

    @rule(model=st.sampled_from(MODELS))
    def unload(self, model: str) -> None:
        self.bench.scheduler.unload(model)

    @rule(seconds=st.sampled_from([0.1, 6.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.bench.advance(seconds)

    @invariant()
    def limits_hold(self) -> None:
        members = self.bench.scheduler.residents()
        assert len(members) <= self.limit
        for member in members:
            assert len(member.inside) <= 2 * self.sequences.get(member.run, 0)
        assert sum(self.bench.scheduler.waiting(model) for model in MODELS) <= self.queue + 12  # replays come on top

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """Whoever waits has somebody to wait for: a load, a stop, or requests inside a worker."""
        if not any(self.bench.scheduler.waiting(model) for model in MODELS):
            return
        assert any(
            member.state in ("loading", "stopping") or member.inside for member in self.bench.scheduler.residents()
        )

    @invariant()
    def nobody_overtakes_a_waiting_swap(self) -> None:
        """As long as somebody waits for busy models to make room, nobody who came later is admitted anywhere."""
        inside, blocked = self._ids_inside(), self._blocked()
        newcomers = inside - self.were_inside
        if self.was_blocked is not None and blocked == self.was_blocked:
            assert all(newcomer < blocked for newcomer in newcomers)
        self.were_inside, self.was_blocked = inside, blocked

    def teardown(self) -> None:
        """Let everything come to its end without further faults: each request has had exactly one outcome."""
        if not hasattr(self, "bench"):
            return
        for _ in range(10_000):
            if not self.bench.scheduler.residents() and not self._live():
                break
            for model in self._in_state("loading"):
                self.sequences[self.bench.run(model)] = 2
                self.bench.load(model, 2)
            for heard in self._inside():
                self.bench.done(heard)
            self._obey_cancels()
            self._exit_when_told()
            self.bench.advance(1.0)
            for member in self.bench.scheduler.residents():
                if not self._live():
                    self.bench.scheduler.unload(member.model)
        assert not self._live()
        assert not self.bench.scheduler.residents()
        for heard in self.heard:
            assert heard.deaf or heard.outcome is not None

    def _live(self) -> list[Heard]:
        return [heard for heard in self.heard if heard.outcome is None and not heard.deaf]

    def _ids_inside(self) -> set[int]:
        return {request for member in self.bench.scheduler.residents() for request in member.inside}

    def _inside(self) -> list[Heard]:
        ids = self._ids_inside()
        return [heard for heard in self._live() if heard.id in ids]

    def _in_state(self, state: str) -> list[str]:
        return [member.model for member in self.bench.scheduler.residents() if member.state == state]

    def _blocked(self) -> int | None:
        """The oldest request that waits, if it is for an absent model and no place is coming free."""
        members = self.bench.scheduler.residents()
        waiting = [heard for heard in self._live() if heard.id not in self._ids_inside()]
        if not waiting or any(member.state != "ready" for member in members):
            return None
        oldest = min(waiting, key=lambda heard: heard.id)
        return oldest.id if all(member.model != oldest.want.model for member in members) else None

    def _obey_cancels(self) -> None:
        for member in self.bench.scheduler.residents():
            told = {c.id for run, c in self.bench.effects.sent if run == member.run and isinstance(c, Cancel)}
            for request in sorted(member.inside & told):
                self.bench.scheduler.events(member.run, [Done(request, "cancelled", Usage())])

    def _exit_when_told(self) -> None:
        for member in self.bench.scheduler.residents():
            if member.run in self.bench.effects.stopped:
                self.bench.exit(member.model, 0)


TestStorm = Storm.TestCase
TestStorm.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
