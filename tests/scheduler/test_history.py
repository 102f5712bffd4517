"""What is remembered of each model, and that the loop tells it."""

from __future__ import annotations

import msgspec
import pytest

from runner.protocol.devices import Device
from runner.protocol.events import Stats
from runner.scheduler import telling
from runner.scheduler.history import History
from runner.scheduler.memory import Footprint
from runner.scheduler.pools import Held, by_pool, held
from runner.scheduler.rates import Rate, Rates
from tests.fakes.scheduling import GIB, Bench, ready, want


def words(bench: Bench, model: str) -> list[tuple[str, str]]:
    return [(each.what, each.words) for each in bench.scheduler.view.history.of(model, model)]


def whats(bench: Bench, model: str) -> list[str]:
    return [what for what, _ in words(bench, model)]


def test_a_life_is_told_in_order_with_both_clocks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    bench = Bench(keep_alive=60.0)
    bench.submit(want("a", has_work=False))
    bench.advance(2.5)
    bench.load("a")
    bench.advance(60.0)
    loading, loaded, expired = bench.scheduler.view.history.of("a")
    assert (loading.what, loading.at, loaded.what, loaded.at, expired.at) == ("loading", 0.0, "loaded", 2.5, 62.5)
    assert "context 1024" in loading.words
    assert loaded.words.startswith("in 2.5 s, all on the CPU")
    assert f'"a" is loaded {loaded.words}' in caplog.messages, "the log says what `runner why` says"
    assert expired.words == "nobody asked for it for 60 s (keep_alive)"
    assert loading.time > 1.7e9


def test_an_eviction_says_for_whom_and_a_reload_says_why() -> None:
    bench = Bench()
    bench.submit(want("a", has_work=False))
    bench.load("a")
    bench.advance(40.0)
    bench.submit(want("b", has_work=False))
    assert words(bench, "a")[-1] == ("evicted", 'for "b": idle for 40 s, and its own load took 0 s')
    bench.exit("a", 0)
    bench.load("b")
    bench.submit(want("b", num_ctx=4096, has_work=False))
    assert words(bench, "b")[-1] == ("replaced", "a request needs a context of 4096, and it was loaded with 1024")
    assert bench.scheduler.view.history.counts("a")["evicted"] == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"num_batch": 256, "named": frozenset({"num_batch"})}, "asks for num_batch 256, and it was loaded with 512"),
        ({"digest": "another"}, "the model itself was changed"),
    ],
)
def test_why_it_is_loaded_again(changed: dict[str, object], words: str) -> None:
    before = want("a")
    assert words in telling.replaced(want("a", **changed), before.digest, before.load)  # type: ignore[arg-type]


def test_deaths_resumed_requests_and_the_pause_that_follows() -> None:
    bench = Bench()
    heard = [bench.submit(want("a", text=f"number {number}")) for number in range(4)]
    while not bench.scheduler.view.pause("a"):
        bench.load("a", sequences=4)
        bench.exit("a")
    assert all(each.outcome is not None for each in heard)
    told = whats(bench, "a")
    assert told.count("died") == 4  # the third was put down to a request that had been in the second as well
    assert "resumed" in told
    assert told[-1] == "paused"
    assert bench.scheduler.view.pause("a") == pytest.approx(10.0)
    assert dict(words(bench, "a"))["died"] == "killed by SIGKILL"


def test_an_unload_a_bad_file_and_one_that_is_too_large() -> None:
    bench = Bench(memory=GIB)
    bench.submit(want("a", has_work=False))
    bench.load("a")
    bench.scheduler.unload("a")
    bench.exit("a", 0)
    assert words(bench, "a")[-1] == ("unloaded", "by request")
    bench.submit(want("b"))
    bench.refuse("b", "unknown architecture")
    assert words(bench, "b")[-1] == ("failed", "unknown architecture")
    bench.exit("b", 0)
    bench.submit(want("c", footprint=Footprint(8 * GIB, 1, 0, 1000, 64)))
    what, said = words(bench, "c")[-1]
    assert what == "refused"
    assert "it needs at least 8.7 GB" in said
    assert "1.1 GB for models" in said


def test_the_circumstances_of_a_load_are_kept() -> None:
    bench = Bench(memory=4 * GIB)
    bench.submit(want("a", named=frozenset({"num_ctx"}), has_work=False))
    order = bench.scheduler.view.history.order("a")
    assert order is not None
    assert (order.named, order.room) == (frozenset({"num_ctx"}), {"host": 4 * GIB})


def test_it_is_bounded_by_happenings_and_by_keys() -> None:
    history = History(lambda: 0.0, lambda: 0.0)
    for number in range(100):
        history.note("a", "a", "loaded", str(number))
    assert [each.words for each in history.of("a")] == [str(number) for number in range(60, 100)]
    for number in range(1000):
        history.ordered(str(number), str(number), "")
    assert history.of("a") == ()
    assert history.order("0") is None
    assert history.order("999") is not None


def test_a_shared_worker_is_told_of_by_its_key_and_by_its_name() -> None:
    history = History(lambda: 0.0)
    history.note("blob", "first", "loaded", "")
    history.note("other", "second", "refused", "")
    assert [each.what for each in history.of("second", "blob")] == ["loaded", "refused"]
    assert [each.what for each in history.of("second")] == ["refused"]


def stats(decoded: int, spent: float, *, prefilled: int = 0) -> Stats:
    return Stats(
        completion_tokens=decoded, prompt_tokens=prefilled, wait_ns=round(spent * 1e9), running=1, waiting=0,
        cells_used=0, cells=0,
    )  # fmt: skip


def test_rates_are_of_the_last_seconds() -> None:
    rates = Rates()
    for second in range(20):
        rates.add(1, stats(10 * second if second < 10 else 90 + 100 * (second - 9), second), float(second))
    assert rates.of(1, 19.0) == Rate(decode=100.0)
    assert rates.of(2, 19.0) == Rate()
    assert rates.of(1, 24.0) == Rate()  # idle since
    rates.forget(1)
    assert rates.of(1, 19.0) == Rate()


def test_idle_time_is_no_time_of_the_rate() -> None:
    rates = Rates()
    rates.add(1, stats(0, 0.0), 0.0)
    rates.add(1, stats(100, 2.0), 2.0)
    assert rates.of(1, 3.0) == Rate(decode=50.0)
    rates.add(1, stats(150, 2.5, prefilled=30), 60.0)
    assert rates.of(1, 60.0) == Rate(decode=100.0, prefill=60.0)
    rates.add(1, stats(150, 2.5, prefilled=30), 64.0)
    assert rates.of(1, 66.0) == Rate()


def test_the_first_report_counts_from_nothing() -> None:
    rates = Rates()
    rates.add(1, stats(20, 0.5), 100.0)
    assert rates.of(1, 100.0) == Rate(decode=40.0)


def test_buffers_are_summed_by_device_and_by_memory() -> None:
    loaded = msgspec.structs.replace(
        ready(),
        weights_bytes={"CPU_Mapped": 10, "CUDA0": 30},
        kv_bytes={"CUDA0": 5, "Vulkan1": 7},
        compute_bytes={"CUDA_Host": 1, "CUDA0": 2, "MTL0": 3},
    )
    igpu = Device(name="Vulkan1", backend="vulkan", kind="igpu")
    found = held(loaded, [igpu])
    assert found == (
        Held("CPU", "host", 10, 0, 1),
        Held("CUDA0", "CUDA0", 30, 5, 2),
        Held("MTL0", "host", 0, 0, 3),
        Held("Vulkan1", "host", 0, 7, 0),
    )
    assert by_pool(found) == {"host": 21, "CUDA0": 37}


@pytest.mark.parametrize(
    ("gpu_layers", "words"),
    [
        (0, "all on the CPU"),
        (10, "10 of 25 layers on CUDA0 and CUDA1, the rest on the CPU"),
        (25, "all on CUDA0 and CUDA1"),
    ],
)
def test_where_it_lies(gpu_layers: int, words: str) -> None:
    assert telling.placed(["CUDA0", "CUDA1"], gpu_layers, 24) == words


def test_what_would_be_done_changes_nothing() -> None:
    bench = Bench()
    assert [type(each).__name__ for each in bench.scheduler.view.foresee(want("a")).decisions] == ["Load"]
    bench.submit(want("a", has_work=False))
    assert bench.scheduler.view.foresee(want("a")).decisions == ()  # it loads already
    bench.load("a")
    assert [type(each).__name__ for each in bench.scheduler.view.foresee(want("a")).decisions] == ["Serve"]
    [evict] = bench.scheduler.view.foresee(want("b")).decisions
    assert (type(evict).__name__, bench.state("a")) == ("Evict", "ready")


def test_where_a_newcomer_would_stand() -> None:
    bench = Bench()
    assert bench.scheduler.view.prospect("a").waiting == 0
    assert bench.scheduler.view.prospect("a").eta is None
    bench.submit(want("a"))
    bench.submit(want("a"))
    assert bench.scheduler.view.prospect("a").waiting == 2
    [(first, count)] = bench.scheduler.view.queued()
    assert (first.model, count) == ("a", 2)
    bench.load("a", sequences=2)
    assert (bench.scheduler.view.prospect("a").waiting, bench.scheduler.view.prospect("a").eta) == (0, 0.0)


def test_pins_are_told_once_each() -> None:
    bench = Bench()
    bench.scheduler.pin("a")
    bench.scheduler.pin("a")
    bench.submit(want("a", has_work=False))
    bench.load("a")
    assert bench.scheduler.unpin("a")
    assert not bench.scheduler.unpin("a")
    assert whats(bench, "a") == ["pinned", "loading", "loaded", "unpinned"]
