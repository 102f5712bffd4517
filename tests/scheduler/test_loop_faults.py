"""The scheduler's loop when things go wrong: cancels, full queues, deaths, refusals, too little memory, the end."""

from __future__ import annotations

import pytest

from runner.errors import (
    Cancelled,
    ContextOverflow,
    InsufficientMemory,
    LoadFailed,
    Quarantined,
    ServerBusy,
    ShuttingDown,
    WorkerCrashed,
)
from runner.protocol.commands import Generate, Resumed
from runner.protocol.events import Done, Failed, Started, Vectors
from runner.scheduler.failures import Exit
from runner.scheduler.memory import Footprint
from tests.fakes.scheduling import GIB, Bench, embedding, want


class TestCancel:
    def test_in_the_queue(self) -> None:
        bench = Bench()
        first = bench.submit(want("a"))
        bench.load("a")
        waiting = [bench.submit(want("b")), bench.submit(want("a"))]
        bench.cancel(waiting[0])
        assert waiting[1].admissions, "nobody waits for a swap any more"
        bench.done(first)

    def test_while_its_model_loads(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.cancel(heard)
        bench.load("a")
        assert bench.worked_on(bench.run("a")) == []

    def test_while_it_runs_the_place_is_free_when_the_worker_says_so(self) -> None:
        bench = Bench()
        requests = [bench.submit(want("a")) for _ in range(3)]
        bench.load("a", sequences=1)
        bench.text(requests[0])
        bench.cancel(requests[0])
        run = bench.run("a")
        assert bench.cancels(run) == [requests[0].id]
        assert not requests[2].admissions
        bench.text(requests[0])
        bench.done(requests[0], "cancelled")
        assert requests[2].admissions

    def test_after_the_end_is_of_no_effect(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.load("a")
        bench.done(heard)
        bench.cancel(heard)
        bench.cancel(heard)
        assert bench.cancels(bench.run("a")) == []

    def test_a_worker_that_does_not_let_go_is_ended(self) -> None:
        bench = Bench()
        stuck = bench.submit(want("a"))
        bench.load("a", sequences=4)
        other = bench.submit(want("a"))
        bench.cancel(stuck)
        bench.advance(59)
        assert not bench.effects.stopped
        bench.advance(1)
        assert bench.effects.stopped == [bench.run("a")]
        bench.exit("a", -9)
        bench.load("a")
        bench.done(other)
        assert isinstance(other.outcome, Done)

    def test_and_those_beside_it_that_it_gives_up_then_get_another(self) -> None:
        bench = Bench()
        stuck, other = bench.submit(want("a")), bench.submit(want("a", text="other"))
        bench.load("a", sequences=4)
        bench.text(other)
        bench.cancel(stuck)
        bench.advance(60)
        for heard in (stuck, other):  # the worker hears that it is to end, and obeys
            bench.done(heard, "cancelled")
        assert other.outcome is None
        bench.exit("a", 0)
        bench.load("a")
        (*_, (_, work)) = bench.effects.sent
        assert isinstance(work, Generate)
        assert work.resumed == (Resumed((1,), 1),)
        bench.done(other)
        assert isinstance(other.outcome, Done)


class TestQueueLimit:
    def test_more_than_may_wait_are_told_when_to_come_back(self) -> None:
        bench = Bench(queue=3)
        bench.submit(want("a"))
        bench.load("a", sequences=1)
        admitted = bench.submit(want("a"))
        waiting = [bench.submit(want("a")) for _ in range(3)]
        with pytest.raises(ServerBusy) as caught:
            bench.submit(want("a"))
        assert isinstance(caught.value.retry_after, int)
        assert caught.value.retry_after >= 1
        bench.cancel(waiting[0])
        assert bench.submit(want("a")).outcome is None
        assert admitted.admissions

    def test_who_needs_not_wait_is_not_counted(self) -> None:
        bench = Bench(queue=1)
        bench.submit(want("a"))
        bench.load("a", sequences=8)
        for _ in range(15):
            assert bench.submit(want("a")).admissions

    def test_whom_a_worker_had_already_is_not_sent_away_by_newcomers(self) -> None:
        bench = Bench(queue=3)
        bench.submit(want("a", has_work=False))
        bench.load("a", sequences=4)
        streams = [bench.submit(want("a", client="x", text=f"{number}")) for number in range(6)]
        for heard in streams:
            bench.text(heard)
        bench.exit("a", -9)
        newcomers = [bench.submit(want("a", client="y")) for _ in range(3)]
        with pytest.raises(ServerBusy):
            bench.submit(want("a", client="y"))
        bench.load("a", sequences=4)
        for heard in [*streams, *newcomers]:
            bench.done(heard)
            assert isinstance(heard.outcome, Done)

    @pytest.mark.parametrize("has_begun", [True, False])
    def test_nor_by_time(self, has_begun: bool) -> None:
        bench = Bench(queue_timeout=20.0)
        heard = bench.submit(want("a"))
        bench.load("a")
        if has_begun:
            bench.text(heard)
        bench.advance(30)
        bench.exit("a", -9)
        newcomer = bench.submit(want("a", text="new"))
        bench.advance(15)
        assert heard.outcome is None
        assert bench.effects.wake_at == 50.0
        bench.advance(5)
        assert heard.outcome is None
        assert isinstance(newcomer.outcome, ServerBusy)
        bench.load("a")
        bench.done(heard)
        assert isinstance(heard.outcome, Done)


class TestDeath:
    def test_is_not_seen_when_nothing_was_sent(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.load("a")
        run = bench.run("a")
        bench.exit("a", -11)
        assert heard.outcome is None
        assert bench.run("a") != run
        bench.load("a")
        bench.done(heard)
        assert isinstance(heard.outcome, Done)
        assert len(heard.admissions) == 2

    def test_is_not_seen_after_that_either(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.load("a")
        for number in range(20):
            bench.text(heard, "ab")
            bench.exit("a", -11)
            bench.load("a")
            (*_, (_, work)) = bench.effects.sent
            assert isinstance(work, Generate)
            assert work.resumed == (Resumed((1,) * (number + 1), 2 * (number + 1)),)
        bench.done(heard)
        assert isinstance(heard.outcome, Done)
        assert (len(heard.admissions), len([e for e in heard.events if isinstance(e, Started)])) == (1, 1)

    def test_twice_under_a_request_that_does_not_get_on_quarantines_it(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        for _ in range(2):
            bench.load("a")
            bench.exit("a", -6)
        assert isinstance(heard.outcome, Quarantined)
        with pytest.raises(Quarantined):
            bench.submit(want("a"))
        assert bench.state("a") == "absent"
        fresh = bench.submit(want("a", text="something else"))
        bench.load("a")
        assert fresh.admissions
        assert bench.submit(want("a", digest="changed")).outcome is None
        bench.advance(3600)
        assert bench.submit(want("a")).outcome is None

    def test_keeps_the_place_in_the_queue(self) -> None:
        bench = Bench()
        first, second = bench.submit(want("a")), bench.submit(want("a"))
        bench.load("a", sequences=1)
        third = bench.submit(want("a"))
        for heard in (first, second):
            bench.text(heard)
        bench.exit("a", -9)
        bench.load("a", sequences=1)
        assert bench.worked_on(bench.run("a")) == [first.id, second.id]
        assert not third.admissions

    def test_who_may_have_done_it_goes_first_and_alone_when_it_is_counted(self) -> None:
        bench = Bench()
        heard = [bench.submit(want("a", text=f"{number}")) for number in range(6)]
        bench.load("a", sequences=8)
        bench.text(heard[0])
        bench.started(heard[2], heard[4])
        bench.exit("a", -9)
        bench.load("a", sequences=8)
        run = bench.run("a")
        assert bench.worked_on(run) == [heard[2].id, heard[0].id], "and beside it, who is in the middle of an answer"
        bench.text(heard[0])
        assert bench.worked_on(run) == [heard[2].id, heard[0].id]
        bench.text(heard[2])
        assert bench.worked_on(run) == [heard[2].id, heard[0].id, heard[4].id]
        late = bench.submit(want("a", text="late"))
        assert not late.admissions
        bench.exit("a", -9)
        bench.load("a", sequences=8)
        assert bench.worked_on(bench.run("a")) == [heard[4].id], "counted, and so tried again before all others"
        bench.exit("a", -9)
        assert isinstance(heard[4].outcome, Quarantined)
        bench.load("a", sequences=8)
        for each in (*heard[:4], heard[5], late):
            bench.done(each)
            assert isinstance(each.outcome, Done)

    def test_nobody_waits_for_a_suspect_for_ever(self) -> None:
        bench = Bench()
        slow, other = bench.submit(want("a", text="slow")), bench.submit(want("a", text="other"))
        bench.load("a", sequences=2)
        bench.text(other)
        bench.exit("a", -9)
        bench.load("a", sequences=2)
        assert bench.worked_on(bench.run("a")) == [slow.id]
        bench.advance(9)
        assert bench.worked_on(bench.run("a")) == [slow.id]
        assert bench.effects.wake_at == 10.0
        bench.advance(1)
        assert bench.worked_on(bench.run("a")) == [slow.id, other.id]

    def test_embeddings_are_tried_together_and_then_alone(self) -> None:
        bench = Bench()
        stream = bench.submit(want("a", text="stream"))
        inputs = [bench.submit(embedding("a", f"{number}")) for number in range(6)]
        bench.load("a", sequences=8)
        bench.text(stream)
        bench.exit("a", -9)
        bench.load("a", sequences=8)
        late = bench.submit(want("a", text="late"))
        assert bench.worked_on(bench.run("a")) == [stream.id, *(heard.id for heard in inputs)], "nobody reads on later"
        bench.text(stream)
        bench.vectors(inputs[5])
        bench.exit("a", -9)
        killer, quick = inputs[0], inputs[1:5]
        bench.load("a", sequences=8)
        bench.text(stream)
        assert bench.worked_on(bench.run("a")) == [stream.id, killer.id]
        bench.exit("a", -9)
        bench.load("a", sequences=8)
        assert bench.worked_on(bench.run("a")) == [killer.id]
        bench.exit("a", -9)
        bench.load("a", sequences=8)
        assert isinstance(killer.outcome, Quarantined)
        for heard in quick:
            assert bench.worked_on(bench.run("a"))[-1] == heard.id
            bench.vectors(heard)
        for heard in (stream, late):
            bench.done(heard)
        assert all(isinstance(heard.outcome, Vectors) for heard in inputs[1:])
        assert isinstance(stream.outcome, Done)
        assert isinstance(late.outcome, Done)

    def test_one_embedding_that_kills_is_no_crash_loop(self) -> None:
        bench = Bench()
        killer, *others = [bench.submit(embedding("a", f"{number}")) for number in range(6)]
        for _ in range(4):
            bench.load("a", sequences=8)
            assert killer.id in bench.worked_on(bench.run("a"))
            bench.exit("a", -9)
        assert isinstance(killer.outcome, Quarantined)
        bench.load("a", sequences=8)
        for heard in others:
            bench.vectors(heard)
        assert all(isinstance(heard.outcome, Vectors) for heard in others)

    def test_of_a_loading_worker_is_worth_one_more_load(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.exit("a", -9)
        assert bench.state("a") == "loading"
        bench.exit("a", -9)
        assert isinstance(heard.outcome, LoadFailed)
        assert "SIGKILL" in heard.outcome.message
        assert bench.state("a") == "absent"

    def test_of_one_that_was_silent_is_so_too(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.scheduler.exited(bench.run("a"), Exit(-9, "it has shown no sign of life for 4 s", hung=True))
        assert (heard.outcome, bench.state("a")) == (None, "loading")

    def test_by_our_own_hand_is_not(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.exit("a", -9, "the load made no progress for 300 s")
        assert isinstance(heard.outcome, LoadFailed)
        assert bench.state("a") == "absent"

    def test_three_times_in_a_minute_is_a_pause(self) -> None:
        bench = Bench()
        for _ in range(3):
            bench.submit(want("a", has_work=False))
            bench.load("a")
            bench.exit("a", -9)
        with pytest.raises(LoadFailed, match="three times within a minute"):
            bench.submit(want("a"))
        (loop,) = bench.scheduler.view.crash_loops()
        assert (loop.key, loop.model, loop.pause, loop.words) == ("a", "a", 10.0, "killed by SIGKILL")
        assert bench.submit(want("b")).outcome is None
        bench.advance(10)
        assert bench.submit(want("a")).outcome is None

    def test_of_an_idle_worker_is_repaired_on_the_next_request(self) -> None:
        bench = Bench()
        bench.submit(want("a", has_work=False))
        bench.load("a")
        bench.exit("a", -9)
        assert bench.state("a") == "absent"
        heard = bench.submit(want("a"))
        bench.load("a")
        assert heard.admissions

    def test_reports_of_a_worker_that_is_gone_are_ignored(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.load("a")
        old = bench.run("a")
        bench.exit("a", -9)
        bench.scheduler.events(old, [Failed(heard.id, "internal_error", "late")])
        assert heard.outcome is None


class TestFailures:
    def test_a_refused_load_fails_those_who_wait_for_it(self) -> None:
        bench = Bench(models=2)
        heard = [bench.submit(want("a")), bench.submit(want("a"))]
        other = bench.submit(want("b"))
        bench.refuse("a", "unknown architecture")
        assert [type(each.outcome) for each in heard] == [LoadFailed] * 2
        assert other.outcome is None
        bench.exit("a", 1)
        assert bench.submit(want("a")).outcome is None
        assert bench.state("a") == "loading"

    def test_a_worker_says_what_is_wrong_with_a_request(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.load("a")
        bench.scheduler.events(
            bench.run("a"), [Failed(heard.id, "context_length_exceeded", "too long", tokens=9, limit=8)]
        )
        assert isinstance(heard.outcome, ContextOverflow)
        assert (heard.outcome.tokens, heard.outcome.limit) == (9, 8)

    def test_a_request_that_the_worker_gave_up_is_cancelled(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.load("a")
        bench.done(heard, "cancelled")
        assert isinstance(heard.outcome, Cancelled)


class TestOutOfMemory:
    """A load that ran out of memory is tried once more, with less."""

    BIG = Footprint(GIB, 100_000, 0, 1000, 64)

    def starve(self, bench: Bench, how: str) -> None:
        if how == "said":
            bench.scheduler.events(bench.run("a"), [Failed(None, "insufficient_memory", "failed to allocate")])
            bench.exit("a", 1)
        else:
            run = bench.run("a")
            bench.scheduler.exited(run, Exit(-9, starved=True) if how == "killed" else Exit(-6, tail="std::bad_alloc"))

    @pytest.mark.parametrize("how", ["said", "killed", "aborted"])
    def test_steps_down_once_and_then_says_so(self, how: str) -> None:
        bench = Bench(memory=16 * GIB)
        heard = bench.submit(want("a", footprint=self.BIG, num_parallel=4, num_ctx=8192))
        (first,) = bench.effects.loads.values()
        self.starve(bench, how)
        assert heard.outcome is None
        assert bench.state("a") == "loading"
        second = bench.effects.loads[bench.run("a")][1]
        assert second.options.cells < first[1].options.cells
        assert second.options.num_ctx == first[1].options.num_ctx
        assert "ran out of memory" in bench.scheduler.view.smaller("a")
        self.starve(bench, how)
        assert isinstance(heard.outcome, InsufficientMemory)
        assert "17 GB available" in heard.outcome.message
        assert bench.state("a") == "absent"
        assert not bench.scheduler.view.crash_loops()

    def test_of_a_request_in_work_goes_on_in_a_smaller_one(self) -> None:
        bench = Bench(memory=16 * GIB)
        heard = bench.submit(want("a", footprint=self.BIG, num_parallel=4, num_ctx=8192))
        bench.load("a")
        bench.text(heard)
        bench.scheduler.exited(bench.run("a"), Exit(-9, starved=True))
        assert "ran out of memory" in bench.scheduler.view.smaller("a")
        bench.load("a")
        bench.done(heard)
        assert isinstance(heard.outcome, Done)

    @pytest.mark.parametrize("is_idle", [True, False])
    def test_of_a_worker_that_could_not_have_been_smaller_leaves_the_model_as_it_is(self, is_idle: bool) -> None:
        big = Footprint(weights=GIB, kv=2**16, state=0, vocabulary=1000, width=64)
        bench = Bench(memory=int(1.75 * GIB))
        heard = bench.submit(want("a", num_ctx=8192, footprint=big))
        bench.load("a")
        bench.text(heard)
        if is_idle:
            bench.done(heard)
        bench.scheduler.exited(bench.run("a"), Exit(-9, starved=True))
        bench.memory = 64 * GIB
        again = bench.submit(want("a", num_ctx=8192, footprint=big)) if is_idle else heard
        assert (again.outcome, bench.state("a")) == (None, "loading")

    def test_a_load_that_is_the_smallest_already_fails(self) -> None:
        bench = Bench(memory=16 * GIB)
        heard = bench.submit(want("a", footprint=self.BIG, num_parallel=1))
        self.starve(bench, "killed")
        assert isinstance(heard.outcome, InsufficientMemory)


class TestMemory:
    def test_what_can_never_fit_is_refused_at_once(self) -> None:
        bench = Bench(memory=4 * GIB)
        heard = bench.submit(want("a", footprint=Footprint(8 * GIB, 1024, 0, 1000, 64)))
        assert isinstance(heard.outcome, InsufficientMemory)
        assert "8.7 GB" in heard.outcome.message
        assert "4.3 GB" in heard.outcome.message
        assert bench.state("a") == "absent"

    def test_idle_models_go_until_it_fits(self) -> None:
        bench = Bench(models=8, memory=10 * GIB)
        big = Footprint(3 * GIB, 1024, 0, 1000, 64)
        for model in ("a", "b", "c"):
            heard = bench.submit(want(model, footprint=big))
            bench.load(model)
            bench.done(heard)
            bench.now += 1
        assert [bench.state(m) for m in "abc"] == ["ready"] * 3
        bench.submit(want("d", footprint=Footprint(5 * GIB, 1024, 0, 1000, 64)))
        assert [bench.state(m) for m in "abc"] == ["stopping", "stopping", "ready"]
        bench.exit("a", 0)
        assert bench.state("d") == "absent"
        bench.exit("b", 0)
        assert bench.state("d") == "loading"

    def test_memory_is_waited_for_while_models_are_busy(self) -> None:
        bench = Bench(models=8, memory=10 * GIB)
        big = Footprint(6 * GIB, 1024, 0, 1000, 64)
        busy = bench.submit(want("a", footprint=big))
        bench.load("a")
        heard = bench.submit(want("b", footprint=big))
        assert heard.outcome is None
        assert bench.state("b") == "absent"
        bench.done(busy)
        bench.exit("a", 0)
        assert bench.state("b") == "loading"


class TestShutdown:
    def test_those_who_wait_are_told_and_those_who_run_may_finish(self) -> None:
        bench = Bench()
        running = bench.submit(want("a"))
        bench.load("a", sequences=1)
        inside = bench.submit(want("a"))
        waiting = bench.submit(want("a"))
        drained: list[bool] = []
        bench.scheduler.close(lambda: drained.append(True))
        assert isinstance(waiting.outcome, ShuttingDown)
        with pytest.raises(ShuttingDown):
            bench.submit(want("a"))
        bench.done(running)
        assert not drained
        bench.done(inside)
        assert drained == [True]
        assert bench.state("a") == "stopping"
        bench.exit("a", 0)

    def test_abort_ends_everything(self) -> None:
        bench = Bench(models=2)
        running = bench.submit(want("a"))
        bench.load("a")
        bench.submit(want("b"))
        drained: list[bool] = []
        bench.scheduler.close(lambda: drained.append(True))
        bench.scheduler.abort()
        assert isinstance(running.outcome, ShuttingDown)
        assert drained == [True]
        assert sorted(bench.effects.loads) == sorted(set(bench.effects.stopped))

    def test_a_death_during_the_end_is_not_repaired(self) -> None:
        bench = Bench()
        running = bench.submit(want("a"))
        bench.load("a")
        bench.scheduler.close(lambda: None)
        bench.exit("a", -9)
        assert isinstance(running.outcome, WorkerCrashed)
        assert bench.state("a") == "absent"


def test_a_worker_that_ended_answers_is_in_no_crash_loop() -> None:
    """Who is inside when it dies may have come just now."""
    bench = Bench()
    for _ in range(6):
        first = bench.submit(want("a"))
        if bench.state("a") == "loading":
            bench.load("a", 2)
        bench.text(first)
        bench.done(first)
        late = bench.submit(want("a"))
        bench.exit("a", -9)
        assert bench.state("a") == "loading"
        bench.load("a", 2)
        bench.text(late)
        bench.done(late)
        assert isinstance(late.outcome, Done)
