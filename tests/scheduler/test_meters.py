"""What is counted of requests: each once, whatever happens to it or to its worker."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from runner.errors import ServerBusy
from runner.protocol.commands import Embed
from runner.protocol.events import Done, Failed, Started, Stats, Text, Usage, Vectors
from runner.protocol.totals import Tally, Totals
from runner.scheduler.meters import Measured
from tests.fakes.scheduling import Bench, Heard, want


def measured(bench: Bench, model: str = "a") -> Measured:
    (found,) = (each for each in bench.scheduler.view.measured() if each.model == model)
    return found


def tell(bench: Bench, *events: object) -> None:
    bench.scheduler.events(bench.run("a"), events)  # type: ignore[arg-type]


def total(tally: Tally) -> tuple[int, float]:
    spread = tally.spread()
    return sum(spread.counts), round(spread.sum, 6)


def finish(bench: Bench, heard: Heard, tokens: int = 3) -> None:
    usage = Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=tokens, prefill_ns=10**9, decode_ns=2 * 10**9)
    tell(bench, Done(heard.id, "stop", usage))


def test_a_request_from_its_arrival_to_its_end() -> None:
    bench = Bench()
    heard = bench.submit(want())
    assert (measured(bench).running, measured(bench).waiting) == (0, 1)
    bench.now = 2.0
    bench.load("a")
    assert (measured(bench).running, measured(bench).waiting) == (0, 1)  # in the worker, where it waits its turn
    bench.now = 3.0
    tell(bench, Started(id=heard.id, prompt_tokens=10, cached_tokens=4))
    assert (measured(bench).running, measured(bench).waiting) == (1, 0)
    bench.now = 4.0
    tell(bench, Text(heard.id, "a", 1))
    bench.now = 4.5
    tell(bench, Text(heard.id, "b", 1))
    bench.now = 5.0
    finish(bench, heard)  # its third token never became text
    now = measured(bench)
    meters = now.meters
    assert (now.running, now.waiting) == (0, 0)
    assert meters.outcomes == {("generate", "stop"): 1}
    assert (meters.prompt_tokens, meters.looked_up, meters.cached_tokens, meters.completion_tokens) == (10, 10, 4, 3)
    assert total(meters.loads) == (1, 2.0)
    assert total(meters.queue) == (1, 3.0)
    assert total(meters.first_token) == (1, 4.0)
    assert total(meters.gaps) == (1, 0.5)
    assert total(meters.whole) == (1, 5.0)
    assert (total(meters.prefill), total(meters.decode)) == ((1, 1.0), (1, 2.0))
    assert (total(meters.prompts), total(meters.answers)) == ((1, 10), (1, 3))


def test_gaps_are_between_the_pieces_of_one_choice() -> None:
    bench = Bench()
    heard = bench.submit(want())
    bench.load("a")
    tell(bench, Started(id=heard.id, prompt_tokens=1), Text(heard.id, "echo", 0, 0))
    assert total(measured(bench).meters.first_token)[0] == 0  # the prompt is no answer
    bench.now = 1.0
    tell(bench, Text(heard.id, "x", 1, 0), Text(heard.id, "y", 1, 1))
    bench.now = 3.0
    tell(bench, Text(heard.id, "x", 2, 0))
    assert total(measured(bench).meters.gaps) == (1, 2.0)
    assert measured(bench).meters.completion_tokens == 4


@pytest.mark.parametrize("when", ["queued", "running", "too late"])
def test_a_cancelled_request_is_counted_as_such_once(when: str) -> None:
    bench = Bench()
    heard = bench.submit(want())
    if when != "queued":
        bench.load("a")
        tell(bench, Started(id=heard.id, prompt_tokens=10), Text(heard.id, "a", 1))
    bench.cancel(heard)
    bench.cancel(heard)
    if when != "queued":
        reason = "cancelled" if when == "running" else "stop"
        tell(bench, Done(heard.id, reason, Usage(prompt_tokens=10, completion_tokens=3)))  # type: ignore[arg-type]
    meters = measured(bench).meters
    assert meters.outcomes == {("generate", "cancelled"): 1}
    assert meters.completion_tokens == (0 if when == "queued" else 3)
    assert total(meters.whole)[0] == 0


def test_a_request_that_its_worker_died_under_is_one_request() -> None:
    bench = Bench()
    heard = bench.submit(want())
    bench.load("a")
    tell(bench, Started(id=heard.id, prompt_tokens=10, cached_tokens=2))
    bench.exit("a")
    assert (measured(bench).running, measured(bench).waiting) == (0, 1)
    bench.load("a")
    tell(bench, Started(id=heard.id, prompt_tokens=10), Text(heard.id, "a", 1))
    finish(bench, heard)
    meters = measured(bench).meters
    assert meters.outcomes == {("generate", "stop"): 1}
    assert (meters.prompt_tokens, meters.cached_tokens, meters.completion_tokens) == (10, 2, 3)
    assert (meters.deaths, total(meters.loads)[0], total(meters.queue)[0]) == (1, 2, 1)


def test_what_a_worker_told_before_it_died_stays_counted() -> None:
    bench = Bench()
    heard = bench.submit(want())
    bench.load("a")
    tell(bench, Started(id=heard.id, prompt_tokens=10), Text(heard.id, "a", 2))
    bench.exit("a")
    bench.load("a")
    tell(bench, Text(heard.id, "b", 1))
    finish(bench, heard)
    meters = measured(bench).meters
    assert meters.outcomes == {("generate", "stop"): 1}
    assert (meters.completion_tokens, meters.resumes, meters.quarantines) == (3, 1, 0)


def test_the_counters_of_workers_add_up() -> None:
    bench = Bench()
    bench.submit(want())
    bench.load("a")
    for steps in (3, 5):
        tell(bench, Stats.of(Totals(steps=steps), running=1, waiting=0, cells_used=1, cells_busy=1, cells=9))
        assert measured(bench).engine.steps == steps
    bench.exit("a")
    assert measured(bench).engine.steps == 5
    bench.load("a")
    assert measured(bench).engine.steps == 5
    tell(bench, Stats.of(Totals(steps=2), running=1, waiting=0, cells_used=1, cells_busy=1, cells=9))
    assert measured(bench).engine.steps == 7


def test_failures_and_refusals() -> None:
    bench = Bench(queue=1)
    heard = bench.submit(want())
    with pytest.raises(ServerBusy):
        bench.submit(want())
    bench.load("a")
    tell(bench, Failed(heard.id, "context_length_exceeded", "too long", tokens=9, limit=4))
    meters = measured(bench).meters
    assert meters.outcomes == {("generate", "context_length_exceeded"): 1}
    assert meters.rejections == {"server_busy": 1}


def test_loads_and_vectors() -> None:
    bench = Bench()
    bench.submit(want(has_work=False))
    embed = bench.submit(replace(want(), work=Embed(0, ("a", "b"))))
    bench.now = 1.0
    bench.load("a")
    assert measured(bench).running == 1
    bench.now = 4.0
    tell(bench, Vectors(embed.id, b"", 2, 3, Usage(prompt_tokens=6, prefill_ns=10**9)))
    meters = measured(bench).meters
    assert meters.outcomes == {("load", "done"): 1, ("embed", "done"): 1}
    assert meters.prompt_tokens == 6
    assert meters.looked_up == 0
    assert total(meters.queue) == (1, 3.0)


def test_the_end_of_the_daemon_ends_every_request_once() -> None:
    bench = Bench()
    bench.submit(want())
    bench.load("a")
    bench.submit(want("b"))
    bench.scheduler.close(lambda: None)
    bench.scheduler.abort()
    outcomes: Counter[str] = Counter()
    for each in bench.scheduler.view.measured():
        for (_, outcome), count in each.meters.outcomes.items():
            outcomes[outcome] += count
    assert outcomes == {"shutting_down": 2}
