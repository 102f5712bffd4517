"""The scheduler's loop as a state machine: events in, effects out, no clock but the test's."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import pytest

from runner.errors import InsufficientMemory, ServerBusy
from runner.protocol.events import Done, Stats
from runner.protocol.totals import Totals
from runner.scheduler.loop import Limits
from tests.fakes.scheduling import GIB, SMALL, Bench, ready, want


def test_a_request_loads_its_model_and_is_served() -> None:
    bench = Bench()
    heard = bench.submit(want("a"))
    assert bench.state("a") == "loading"
    assert not heard.admissions
    bench.now = 2.0
    bench.load("a")
    assert bench.worked_on(bench.run("a")) == [heard.id]
    assert heard.admissions[0].load_ns == heard.admissions[0].waited_ns == 2 * 10**9
    bench.text(heard)
    bench.done(heard)
    assert isinstance(heard.outcome, Done)
    assert [type(event).__name__ for event in heard.events] == ["Started", "Text"]


def test_a_worker_holds_at_most_twice_its_sequences() -> None:
    bench = Bench()
    requests = [bench.submit(want("a")) for _ in range(7)]
    bench.load("a", sequences=2)
    run = bench.run("a")
    assert bench.worked_on(run) == [r.id for r in requests[:4]]
    bench.done(requests[1])
    assert bench.worked_on(run) == [r.id for r in requests[:5]]


def test_a_swap_that_waits_lets_newcomers_in_before_it_for_a_moment_only() -> None:
    bench = Bench(models=1)
    first = bench.submit(want("a"))
    bench.load("a", sequences=4)
    swap = bench.submit(want("b"))
    run = bench.run("a")
    early = bench.submit(want("a"))  # nothing is gained if the one who waits is alone with that
    assert bench.worked_on(run) == [first.id, early.id]
    assert bench.effects.wake_at is not None
    bench.advance(bench.effects.wake_at - bench.now)
    newcomer = bench.submit(want("a"))
    assert bench.worked_on(run) == [first.id, early.id]
    bench.done(first)
    bench.done(early)
    assert bench.state("a") == "stopping"
    assert bench.effects.stopped == [run]
    bench.exit("a", 0)
    assert bench.state("b") == "loading"
    bench.load("b")
    bench.done(swap)
    bench.exit("b", 0)
    bench.load("a")
    bench.done(newcomer)
    assert isinstance(newcomer.outcome, Done)


def test_who_came_before_the_swap_is_served_before_it() -> None:
    bench = Bench(models=1)
    first = bench.submit(want("a"))
    bench.load("a", sequences=1)
    second, third = bench.submit(want("a")), bench.submit(want("a"))
    bench.submit(want("b"))
    bench.done(first)
    assert bench.worked_on(bench.run("a")) == [first.id, second.id, third.id]
    bench.done(second)
    bench.done(third)
    assert bench.state("a") == "stopping"


def test_a_load_blocks_nobody_who_needs_none() -> None:
    bench = Bench(models=2)
    first = bench.submit(want("a"))
    bench.load("a")
    bench.submit(want("b"))
    assert bench.state("b") == "loading"
    bench.done(first)
    later = bench.submit(want("a"))
    assert later.admissions


def test_loads_of_several_models_go_on_at_the_same_time() -> None:
    bench = Bench(models=3)
    for model in ("a", "b", "c"):
        bench.submit(want(model))
    assert [bench.state(model) for model in ("a", "b", "c")] == ["loading"] * 3


def test_evicts_the_least_recently_used() -> None:
    bench = Bench(models=2)
    for model in ("a", "b"):
        heard = bench.submit(want(model))
        bench.load(model)
        bench.done(heard)
        bench.now += 1
    again = bench.submit(want("a"))
    bench.done(again)
    bench.submit(want("c"))
    assert (bench.state("a"), bench.state("b")) == ("ready", "stopping")


def test_a_busy_model_is_not_evicted_while_an_idle_one_will_do() -> None:
    bench = Bench(models=2)
    busy = bench.submit(want("a"))
    bench.load("a", sequences=4)
    bench.now = 1
    idle = bench.submit(want("b"))
    bench.load("b")
    bench.done(idle)
    bench.submit(want("c"))
    assert (bench.state("a"), bench.state("b")) == ("ready", "stopping")
    beside = bench.submit(want("a"))  # nothing waits for a busy model, so the resident one goes on serving
    assert beside.admissions
    bench.exit("b", 0)
    assert bench.state("c") == "loading"
    bench.done(busy)


def test_a_load_that_nobody_waits_for_gives_way() -> None:
    bench = Bench(models=1)
    heard = bench.submit(want("a"))
    bench.cancel(heard)
    assert bench.state("a") == "loading"  # whoever cancelled will often ask again
    bench.submit(want("b"))
    assert bench.state("a") == "stopping"
    bench.exit("a", 0)
    assert bench.state("b") == "loading"


class TestContextLength:
    def test_a_smaller_one_never_reloads(self) -> None:
        bench = Bench()
        first = bench.submit(want("a", num_ctx=4096))
        bench.load("a")
        smaller = bench.submit(want("a", num_ctx=1024, named=frozenset({"num_ctx"})))
        assert smaller.admissions
        bench.done(first)

    def test_a_larger_one_reloads_when_idle(self) -> None:
        bench = Bench()
        first = bench.submit(want("a", num_ctx=1024))
        bench.load("a")
        larger = bench.submit(want("a", num_ctx=4096))
        behind = bench.submit(want("a", num_ctx=1024))
        assert not larger.admissions
        assert not behind.admissions
        bench.done(first)
        assert bench.state("a") == "stopping"
        bench.exit("a", 0)
        bench.load("a")
        assert larger.admissions[0].options.num_ctx == 4096
        assert behind.admissions

    def test_one_that_cannot_be_is_refused_and_the_model_stays(self) -> None:
        bench = Bench(memory=4 * GIB)
        footprint = replace(SMALL, kv=2**20)
        bench.submit(want("a", footprint=footprint, has_work=False))
        bench.load("a")
        refused = bench.submit(want("a", footprint=footprint, num_ctx=8192))
        assert isinstance(refused.outcome, InsufficientMemory)
        assert bench.state("a") == "ready"


class TestOtherOptions:
    def test_one_that_was_asked_for_reloads(self) -> None:
        bench = Bench()
        bench.submit(want("a", num_batch=512))
        bench.load("a")
        other = bench.submit(want("a", num_batch=256, named=frozenset({"num_batch"})))
        assert not other.admissions

    def test_one_that_nobody_named_stays_as_it_is(self) -> None:
        bench = Bench()
        bench.submit(want("a", num_batch=256, named=frozenset({"num_batch"})))
        bench.load("a")
        assert bench.submit(want("a", num_batch=512)).admissions

    def test_another_model_under_the_same_name_reloads(self) -> None:
        bench = Bench()
        bench.submit(want("a"))
        bench.load("a")
        same_load = bench.submit(want("a", digest="only the SYSTEM differs"))
        assert same_load.admissions
        other = want("a", digest="other weights")
        other_weights = msgspec.structs.replace(other.load, weights=("/weights/other",))
        assert not other.is_served_by("digest of a", other_weights)


class TestKeepAlive:
    def test_counts_from_the_moment_of_idleness(self) -> None:
        bench = Bench(keep_alive=300)
        heard = bench.submit(want("a"))
        bench.load("a")
        bench.advance(1000)
        assert bench.state("a") == "ready"
        bench.done(heard)
        assert bench.effects.wake_at == 1300
        bench.advance(299)
        assert bench.state("a") == "ready"
        bench.advance(1)
        assert bench.state("a") == "stopping"

    def test_the_last_explicit_value_sticks(self) -> None:
        bench = Bench(keep_alive=300)
        first = bench.submit(want("a", keep_alive=60))
        bench.load("a", sequences=4)
        second = bench.submit(want("a"))
        bench.done(first)
        bench.done(second)
        assert bench.effects.wake_at == 60

    def test_zero_unloads_after_the_reply(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a", keep_alive=0))
        bench.load("a")
        assert bench.state("a") == "ready"
        bench.done(heard)
        assert bench.state("a") == "stopping"

    def test_zero_does_not_turn_away_who_waits(self) -> None:
        bench = Bench()
        requests = [bench.submit(want("a", keep_alive=0)) for _ in range(5)]
        bench.load("a", sequences=1)
        for request in requests:
            bench.done(request)
        assert [type(r.outcome) for r in requests] == [Done] * 5
        assert bench.state("a") == "stopping"

    def test_forever(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a", keep_alive=math.inf))
        bench.load("a")
        bench.done(heard)
        bench.advance(10**9)
        assert bench.state("a") == "ready"
        assert bench.effects.wake_at is None

    def test_a_load_without_work_starts_the_timer(self) -> None:
        bench = Bench(keep_alive=300)
        heard = bench.submit(want("a", has_work=False, keep_alive=10))
        bench.load("a")
        assert heard.outcome == "resident"
        bench.advance(9)
        again = bench.submit(want("a", has_work=False))
        assert again.outcome == "resident"
        bench.advance(9)
        assert bench.state("a") == "ready"
        bench.advance(1)
        assert bench.state("a") == "stopping"


class TestPinned:
    def test_it_stays_whoever_comes_and_however_long(self) -> None:
        bench = Bench(models=2, keep_alive=60)
        bench.scheduler.pin("a")
        for model in ("a", "b"):
            bench.submit(want(model, has_work=False))
            bench.load(model)
        bench.advance(30)
        bench.submit(want("b", has_work=False))
        bench.submit(want("c"))
        assert (bench.state("a"), bench.state("b")) == ("ready", "stopping")
        bench.advance(1000)
        assert bench.state("a") == "ready"

    def test_where_all_are_pinned_others_are_refused_at_once_with_their_names(self) -> None:
        bench = Bench()
        bench.scheduler.pin("a")
        busy = bench.submit(want("a"))
        bench.load("a")
        refused = bench.submit(want("b"))
        assert isinstance(refused.outcome, InsufficientMemory)
        assert '"a"' in refused.outcome.message
        assert not busy.outcome
        bench.scheduler.unpin("a")
        assert bench.submit(want("b")).outcome is None

    def test_whoever_looks_after_them_is_told_of_a_death_and_of_nothing_else(self) -> None:
        bench = Bench()
        lost: list[str] = []
        bench.scheduler.on_lost = lost.append
        bench.scheduler.pin("a")
        bench.submit(want("a", has_work=False))
        bench.load("a")
        bench.exit("a")
        assert lost == ["a"]
        bench.submit(want("a", has_work=False))
        bench.load("a")
        bench.scheduler.unload("a")
        bench.exit("a", 0)
        assert lost == ["a"]

    def test_it_is_loaded_anew_for_a_longer_context(self) -> None:
        bench = Bench()
        bench.scheduler.pin("a")
        bench.submit(want("a", has_work=False))
        bench.load("a")
        bench.submit(want("a", num_ctx=4096))
        assert bench.state("a") == "stopping"


class TestQueue:
    def test_a_deadline_in_it(self) -> None:
        bench = Bench(queue_timeout=20)
        bench.submit(want("a"))
        bench.load("a", sequences=1)
        bench.submit(want("a"))
        bench.advance(5)
        late = bench.submit(want("a"))
        assert bench.effects.wake_at == 25
        bench.advance(20)
        assert isinstance(late.outcome, ServerBusy)
        assert 1 <= late.outcome.retry_after <= 60

    def test_a_full_one_has_room_for_who_has_fewest_in_it(self) -> None:
        bench = Bench(queue=4)
        greedy = [bench.submit(want("a", client="x")) for _ in range(4)]
        with pytest.raises(ServerBusy):
            bench.submit(want("a", client="x"))
        modest = bench.submit(want("a", client="y"))
        assert isinstance(greedy[3].outcome, ServerBusy)
        assert not any(heard.outcome for heard in (*greedy[:3], modest))
        bench.load("a", sequences=1)
        assert bench.worked_on(bench.run("a")) == [greedy[0].id, modest.id]


class TestOtherLimits:
    def test_a_keep_alive_that_nobody_asked_for_is_the_new_one(self) -> None:
        bench = Bench(models=2, keep_alive=300)
        for model, keep_alive in (("a", None), ("b", 60)):
            heard = bench.submit(want(model, keep_alive=keep_alive))
            bench.load(model)
            bench.done(heard)
        bench.scheduler.relimit(Limits(models=2, queue=100, keep_alive=10))
        bench.advance(10)
        assert (bench.state("a"), bench.state("b")) == ("stopping", "ready")

    def test_a_smaller_queue_turns_newcomers_away_and_keeps_who_waits(self) -> None:
        bench = Bench(queue=5)
        waiting = [bench.submit(want("a")) for _ in range(5)]
        bench.scheduler.relimit(Limits(models=1, queue=2, keep_alive=300))
        with pytest.raises(ServerBusy):
            bench.submit(want("a"))
        bench.load("a", sequences=4)
        assert all(heard.admissions for heard in waiting)

    def test_idle_models_beyond_a_smaller_limit_go_at_once_and_busy_ones_later(self) -> None:
        bench = Bench(models=4)
        heard = {}
        for model in ("pinned", "old", "young", "busy"):
            heard[model] = bench.submit(want(model))
            bench.load(model)
            bench.advance(1)
            if model != "busy":
                bench.done(heard[model])
        bench.scheduler.pin("pinned")
        bench.scheduler.relimit(Limits(models=3, queue=100, keep_alive=300))
        states = [bench.state(model) for model in ("pinned", "old", "young", "busy")]
        assert states == ["ready", "stopping", "ready", "ready"]
        bench.scheduler.relimit(Limits(models=1, queue=100, keep_alive=300))
        assert (bench.state("pinned"), bench.state("young"), bench.state("busy")) == ("ready", "stopping", "ready")
        bench.done(heard["busy"])
        assert (bench.state("pinned"), bench.state("busy")) == ("ready", "stopping")
        told = bench.scheduler.view.history.of("young")[-1]
        assert (told.what, told.words) == ("evicted", "no more than 1 may be loaded at once now (max_loaded_models)")

    def test_room_for_more_models_is_used_at_once(self) -> None:
        bench = Bench(models=1)
        bench.submit(want("a"))
        bench.load("a")
        bench.submit(want("b"))
        assert bench.state("b") == "absent"
        bench.scheduler.relimit(Limits(models=2, queue=100, keep_alive=300))
        assert bench.state("b") == "loading"


class TestAnotherLoadBySettings:
    """A model's load is another one from a generation of the settings on; its key differs then."""

    def test_who_came_before_is_served_and_leaves_nothing_behind(self) -> None:
        bench = Bench(models=1)
        running = bench.submit(want("b"))
        bench.load("b")
        early = bench.submit(want("a", keep_alive=math.inf))  # waits for room
        bench.scheduler.change("a", 1)
        bench.done(running)
        bench.exit("b", 0)
        bench.load("a")
        assert early.admissions
        bench.done(early)
        assert bench.state("a") == "stopping"

    def test_who_comes_after_has_another_worker_which_a_latecomer_does_not_end(self) -> None:
        bench = Bench(models=2)
        bench.scheduler.change("a", 1)
        late = bench.submit(want("a", key="old"))  # read before the settings changed, handed over after
        later = bench.submit(want("a", key="new", generation=1))
        for member in bench.scheduler.view.residents():
            bench.scheduler.events(member.run, [ready()])
        old, new = bench.scheduler.view.residents()
        assert (old.inside, new.inside) == ({late.id}, {later.id})
        bench.done(later)
        bench.done(late)
        assert (old.state, new.state, new.keep_alive) == ("stopping", "ready", 300.0)

    def test_what_is_loaded_goes_and_a_pinned_one_is_missed(self) -> None:
        bench = Bench(models=2)
        lost: list[str] = []
        bench.scheduler.on_lost = lost.append
        bench.scheduler.pin("a")
        bench.submit(want("a", has_work=False))
        bench.load("a")
        bench.submit(want("b", key="a", has_work=False))
        bench.scheduler.change("a", 1)  # its worker goes on for the other
        assert (bench.state("b"), lost) == ("ready", ["a"])
        bench.submit(want("a", key="a", has_work=False, generation=1))
        bench.scheduler.change("b", 2)
        bench.scheduler.change("a", 2)
        assert (bench.state("a"), lost) == ("stopping", ["a", "a"])
        bench.exit("a", 0)
        assert lost == ["a", "a"]

    def test_who_came_by_the_new_ones_before_they_were_told_keeps_its_worker(self) -> None:
        bench = Bench(models=3)
        bench.submit(want("a", key="before", has_work=False))
        bench.scheduler.events(bench.run("a"), [ready()])
        bench.submit(want("a", key="after", num_batch=64, generation=1, has_work=False))
        bench.scheduler.change("a", 1)
        before, after = bench.scheduler.view.residents()
        assert (before.state, after.state, after.keep_alive) == ("stopping", "loading", 300.0)

    def test_who_waited_in_a_shared_worker_takes_nothing_back(self) -> None:
        bench = Bench(models=3)
        first = bench.submit(want("a", key="shared", client="x"))
        bench.load("a")
        second = bench.submit(want("b", key="shared", client="x"))
        old = bench.submit(want("a", key="shared", client="x"))
        bench.scheduler.change("a", 1)
        new = bench.submit(want("a", key="after", num_batch=64, generation=1))
        bench.scheduler.events(bench.scheduler.view.residents()[-1].run, [ready()])
        bench.done(new)
        other = bench.submit(want("b", key="shared", generation=1))  # the worker is right for this one
        for each in (first, second, old, other):
            bench.done(each)
        bench.advance(1)
        shared, after = bench.scheduler.view.residents()
        assert (shared.names["a"], after.state, after.keep_alive) == (0.0, "ready", 300.0)

    def test_a_pin_keeps_the_worker_of_today_only(self) -> None:
        bench = Bench(models=2, keep_alive=10)
        bench.scheduler.pin("a")
        for key in ("before", "after"):  # the model was made anew under its name
            bench.submit(want("a", key=key, has_work=False))
            bench.scheduler.events(bench.scheduler.view.residents()[-1].run, [ready()])
        bench.advance(20)
        assert {m.key: m.state for m in bench.scheduler.view.residents()} == {"before": "stopping", "after": "ready"}


class TestUnload:
    def test_idle(self) -> None:
        bench = Bench()
        bench.submit(want("a", has_work=False))
        bench.load("a")
        assert bench.scheduler.unload("a")
        assert bench.effects.stopped == [bench.run("a")]
        assert not bench.scheduler.unload("a")

    def test_running_requests_finish_first(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        bench.load("a", sequences=4)
        assert bench.scheduler.unload("a")
        assert not bench.effects.stopped
        later = bench.submit(want("a"))
        assert not later.admissions
        bench.done(heard)
        assert bench.effects.stopped
        bench.exit("a", 0)
        bench.load("a")
        assert later.admissions

    def test_what_is_not_loaded(self) -> None:
        assert not Bench().scheduler.unload("a")

    def test_while_it_loads_those_who_wait_are_served(self) -> None:
        bench = Bench()
        heard = bench.submit(want("a"))
        assert bench.scheduler.unload("a")
        bench.load("a")
        bench.done(heard)
        assert isinstance(heard.outcome, Done)
        assert bench.state("a") == "stopping"


class TestSharedWorkers:
    """Models whose wants have the same key have one worker."""

    def test_one_load_serves_both_names(self) -> None:
        bench = Bench(models=2)
        first, second = bench.submit(want("a", key="blob")), bench.submit(want("b", key="blob"))
        bench.load("a", sequences=2)
        assert bench.worked_on(bench.run("a")) == [first.id, second.id]
        (member,) = bench.scheduler.view.residents()
        assert (member.key, member.model, member.models) == ("blob", "a", ("a", "b"))

    def test_unload_takes_a_name_away_and_the_last_one_the_worker(self) -> None:
        bench = Bench()
        for model in ("a", "b"):
            bench.submit(want(model, key="blob", has_work=False))
        bench.load("a")
        assert bench.scheduler.unload("a")
        (member,) = bench.scheduler.view.residents()
        assert (member.state, member.models) == ("ready", ("b",))
        assert not bench.scheduler.unload("a")
        assert bench.scheduler.unload("b")
        assert member.state == "stopping"

    def test_the_longest_keep_alive_holds_and_the_last_of_a_name_sticks(self) -> None:
        bench = Bench()
        for model, seconds in (("a", 900.0), ("b", 60.0), ("a", 30.0)):
            bench.submit(want(model, key="blob", has_work=False, keep_alive=seconds))
            if bench.state("a") == "loading":
                bench.load("a")
        assert bench.effects.wake_at == 60
        bench.advance(60)
        assert bench.state("a") == "stopping"

    def test_what_a_worker_counts_is_told_of_one_name(self) -> None:
        bench = Bench()
        for model in ("a", "b"):
            bench.submit(want(model, key="blob"))
        bench.load("a", sequences=1)
        bench.scheduler.events(
            bench.run("a"), [Stats.of(Totals(steps=5), running=1, waiting=1, cells_used=1, cells_busy=1, cells=9)]
        )
        told = {each.model: each for each in bench.scheduler.view.measured()}
        assert [told[model].engine.steps for model in ("a", "b")] == [5, 0]
        assert [told[model].waiting for model in ("a", "b")] == [1, 1]

    def test_a_model_of_another_key_by_now_leaves_its_former_worker(self) -> None:
        bench = Bench(models=2)
        bench.submit(want("a", key="old", has_work=False, keep_alive=math.inf))
        bench.load("a")
        bench.submit(want("a", key="new", has_work=False))
        run = max(bench.effects.loads)
        bench.scheduler.events(run, [ready()])
        assert {member.key: member.state for member in bench.scheduler.view.residents()} == {
            "old": "stopping",
            "new": "ready",
        }


def test_stats_are_kept_for_whoever_asks() -> None:
    bench = Bench()
    bench.submit(want("a"))
    bench.load("a")
    stats = Stats(
        running=1, waiting=0, cells_used=3, cells=9, steps=1, prompt_tokens=3, completion_tokens=0, preemptions=0
    )
    bench.scheduler.events(bench.run("a"), [stats])
    member = bench.member("a")
    assert member is not None
    assert member.stats == stats


def test_a_limit_of_memory_that_has_changed_counts_at_once() -> None:
    bench = Bench(memory=1)
    refused = bench.submit(want("a"))
    assert isinstance(refused.outcome, InsufficientMemory)
    bench.memory = 64 * GIB
    bench.scheduler.relimit(Limits(1, 100, 300.0))
    bench.submit(want("a"))
    assert bench.state("a") == "loading"


class TestAPinnedModelThatIsGone:
    def bench(self) -> tuple[Bench, list[str]]:
        bench, lost = Bench(models=2), list[str]()
        bench.scheduler.on_lost = lost.append
        bench.scheduler.pin("a")
        bench.submit(want("a", has_work=False))
        bench.load("a")
        return bench, lost

    def test_is_missed_when_its_load_for_somebody_is_refused(self) -> None:
        bench, lost = self.bench()
        bench.submit(want("a", num_ctx=4096))
        bench.exit("a", 0)
        assert lost == []  # somebody waits for it
        bench.refuse("a")
        bench.exit("a", 1)
        assert lost == ["a"]

    def test_is_missed_when_nobody_waits_for_it_any_more(self) -> None:
        bench, lost = self.bench()
        longer = bench.submit(want("a", num_ctx=4096))
        bench.cancel(longer)
        assert lost == ["a"]

    def test_is_missed_when_it_had_to_be_ended(self) -> None:
        bench, lost = self.bench()
        stuck = bench.submit(want("a"))
        bench.cancel(stuck)
        bench.advance(100)
        assert bench.state("a") == "stopping"
        bench.done(stuck, "cancelled")
        bench.exit("a", 0)
        assert lost == ["a"]

    def test_is_left_alone_where_it_was_unloaded(self) -> None:
        bench, lost = self.bench()
        bench.scheduler.unload("a")
        bench.exit("a", 0)
        assert lost == []
