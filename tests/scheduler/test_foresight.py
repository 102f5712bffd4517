"""What would come of a request, and that it does."""

from __future__ import annotations

from dataclasses import replace

from runner.errors import InsufficientMemory
from runner.scheduler.memory import HOST
from tests.fakes.scheduling import GIB, SMALL, Bench, Heard, want

MIB = 2**20
LARGE = replace(SMALL, weights=600 * MIB)


def names(bench: Bench, model: str, **asked: object) -> list[str]:
    return [type(each).__name__ for each in bench.scheduler.view.foresee(want(model, **asked)).decisions]  # type: ignore[arg-type]


def refused(heard: Heard) -> str:
    assert isinstance(heard.outcome, InsufficientMemory)
    return heard.outcome.message


def test_a_model_that_pins_leave_no_place_for_is_not_short_of_memory() -> None:
    bench = Bench(models=1)
    bench.scheduler.pin("a")
    bench.submit(want("a", has_work=False))
    bench.load("a")
    foreseen = bench.scheduler.view.foresee(want("b"))
    assert (names(bench, "b"), foreseen.is_full, foreseen.lack.fits) == (["Refuse"], True, True)
    message = refused(bench.submit(want("b")))
    assert message == (
        'there is no place for "b" beside what is pinned: "a". No more than 1 may be loaded at once '
        "(max_loaded_models). Unpin one of these models, or allow more"
    )
    [happened] = [each for each in bench.scheduler.view.history.of("b", "b") if each.what == "refused"]
    assert happened.words == "no more than 1 may be loaded at once (max_loaded_models), and that is what is pinned (a)"


def test_a_model_that_pins_leave_no_room_for_is_told_what_is_left_of_it() -> None:
    bench = Bench(models=2, memory=GIB)
    bench.scheduler.pin("a")
    bench.submit(want("a", has_work=False, footprint=LARGE))
    bench.load("a")
    foreseen = bench.scheduler.view.foresee(want("b", footprint=LARGE))
    assert (foreseen.is_full, foreseen.lack.fits, foreseen.lack.have) == (False, False, foreseen.room[HOST])
    assert foreseen.room[HOST] < GIB - 600 * MIB
    assert 'of memory, beside what is pinned: "a". They leave ' in refused(bench.submit(want("b", footprint=LARGE)))
    assert '"c" needs about 4.4 GB of memory, and 1.1 GB is available' in refused(
        bench.submit(want("c", footprint=replace(SMALL, weights=4 * GIB)))
    )


def test_who_goes_is_who_then_goes() -> None:
    bench = Bench(models=2)
    for model in ("old", "new"):
        bench.submit(want(model, has_work=False))
        bench.load(model)
        bench.advance(10)
    foreseen = bench.scheduler.view.foresee(want("b"))
    assert (foreseen.goes, foreseen.busy, foreseen.is_full) == (("old",), (), True)
    assert foreseen.fitted is not None
    bench.submit(want("b"))
    assert [bench.state(model) for model in ("old", "new")] == ["stopping", "ready"]
    bench.exit("old", 0)
    member = bench.member("b")
    assert member is not None
    assert member.load.options == foreseen.fitted.options


def test_who_is_busy_goes_when_it_is_done() -> None:
    bench = Bench(models=1)
    bench.submit(want("a"))
    bench.load("a")
    foreseen = bench.scheduler.view.foresee(want("b"))
    assert (names(bench, "b"), foreseen.goes, foreseen.busy) == (["Hold"], ("a",), ("a",))
    assert foreseen.room == foreseen.capacity  # once it has gone


def test_a_load_that_others_wait_for_is_not_driven_out() -> None:
    bench = Bench(models=1)
    bench.submit(want("a"))
    foreseen = bench.scheduler.view.foresee(want("b"))
    assert (names(bench, "b"), foreseen.busy) == (["Hold"], ("a",))


def test_a_model_in_its_own_way() -> None:
    bench = Bench(models=1)
    bench.submit(want("a"))
    bench.load("a")
    longer = bench.scheduler.view.foresee(want("a", num_ctx=4096))
    assert (longer.decisions, longer.goes, longer.busy) == ((), (), ("a",))
    assert names(bench, "a") == ["Serve"]
    assert longer.fitted is not None
    assert longer.fitted.options.num_ctx == 4096
