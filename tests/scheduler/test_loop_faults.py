"""The scheduler's loop when things go wrong: cancels, full queues, deaths, refusals, too little memory, the end."""

from __future__ import annotations

import pytest

from runner.errors import (
    Cancelled,
    ContextOverflow,
    InsufficientMemory,
    LoadFailed,
    ServerBusy,
    ShuttingDown,
    WorkerCrashed,
)
from runner.protocol.events import Done, Failed
from runner.scheduler.memory import Footprint
from tests.fakes.scheduling import GIB, Bench, want


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

    def test_fails_what_had_begun_to_answer(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.load("a")
        bench.text(heard)
        bench.exit("a", -11)
        assert isinstance(heard.outcome, WorkerCrashed)
        assert "SIGSEGV" in heard.outcome.message

    def test_twice_under_a_request_fails_it(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        for _ in range(2):
            bench.load("a")
            bench.exit("a", -6)
        assert isinstance(heard.outcome, WorkerCrashed)
        fresh = bench.submit(want("a"))
        bench.load("a")
        assert fresh.admissions

    def test_keeps_the_place_in_the_queue(self) -> None:
        bench = Bench()
        first, second = bench.submit(want("a")), bench.submit(want("a"))
        bench.load("a", sequences=1)
        third = bench.submit(want("a"))
        bench.exit("a", -9)
        bench.load("a", sequences=1)
        assert bench.worked_on(bench.run("a")) == [first.id, second.id]
        assert not third.admissions

    def test_of_a_loading_worker_is_worth_one_more_load(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.exit("a", -9)
        assert bench.state("a") == "loading"
        bench.exit("a", -9)
        assert isinstance(heard.outcome, LoadFailed)
        assert "SIGKILL" in heard.outcome.message
        assert bench.state("a") == "absent"

    def test_by_our_own_hand_is_not(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.exit("a", -9, "the load made no progress for 300 s")
        assert isinstance(heard.outcome, LoadFailed)
        assert bench.state("a") == "absent"

    def test_three_times_in_a_minute_is_a_pause(self) -> None:
        bench = Bench()
        for _ in range(3):
            heard = bench.submit(want("a"))
            bench.load("a")
            bench.text(heard)
            bench.exit("a", -9)
        with pytest.raises(LoadFailed, match="three times within a minute"):
            bench.submit(want("a"))
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


class TestMemory:
    def test_what_can_never_fit_is_refused_at_once(self) -> None:
        bench = Bench(memory=4 * GIB)
        heard = bench.submit(want("a", footprint=Footprint(8 * GIB, 1024, 0, 1000, 64)))
        assert isinstance(heard.outcome, InsufficientMemory)
        assert "8.1 GiB" in heard.outcome.message
        assert "4.0 GiB" in heard.outcome.message
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
