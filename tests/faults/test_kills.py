"""Workers that die while people listen: nobody sees it, nothing is left behind, and neighbours go on."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import mul
from pathlib import Path

import psutil
import pytest

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.faults import crowd
from tests.faults.crowd import CALLS, SIGNALS, Crowd, Stream, chat, stream, undisturbed, wait_for

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

KILLS = int(os.environ.get("FAULTS_KILLS", "500"))
STREAMS = 32
CALLERS = 2  # more for each victim, whose answers are calls of a tool
VICTIMS = ("demo", "other")
SEED = 20261121
WARM = 25  # kills after which descriptors and memory are first counted
MORE_MEMORY = 32 * 2**20  # bytes that the daemon may have gained over all kills behind these
MORE_DESCRIPTORS = 8
LONG = {"num_predict": 400, "ignore_eos": True}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with crowd.no_core_dumps(), Daemon(tmp_path / "kills", max_loaded_models=3, num_parallel=8) as running:
        yield running


def apart(batch: int) -> str:
    """A Modelfile whose model has a worker of its own, though the weights are demo's."""
    return f"FROM {{path}}\nPARAMETER num_batch {batch}\n"


def worker_of(daemon: Daemon, but: set[int]) -> psutil.Process | None:
    return next((worker for worker in daemon.workers() if worker.pid not in but), None)


def are_loaded(daemon: Daemon, crowds: list[Crowd], again: int) -> bool:
    """Whether each victim has been loaded, to the end, once more than so often, or somebody saw something wrong."""
    if any(each.seen.wrong for each in crowds):
        return True
    return all(crowd.counted(daemon, "model_load_seconds_count", f"{name}:latest") > again for name in VICTIMS)


def got_on(crowds: list[Crowd], seen: list[int]) -> bool:
    """Whether each of these has seen so many pieces of answers, or somebody something wrong."""
    return any(each.seen.wrong for each in crowds) or all(
        each.seen.pieces >= least for each, least in zip(crowds, seen, strict=True)
    )


def tokens(daemon: Daemon) -> list[int]:
    """What the daemon has got of each victim's workers so far. Its clients may read it after the next one is there."""
    return [int(crowd.counted(daemon, "generation_tokens_total", f"{name}:latest")) for name in VICTIMS]


def have_worked(daemon: Daemon, crowds: list[Crowd], least: list[int]) -> bool:
    """Whether there are so many tokens of each victim, or somebody saw something wrong."""
    if any(each.seen.wrong for each in crowds):
        return True
    return all(now >= wanted for now, wanted in zip(tokens(daemon), least, strict=True))


def test_kills_under_streams(daemon: Daemon, tally: Callable[[str], None]) -> None:
    """Two models' workers are killed over and over, both at the same time; a third model is left alone."""
    for name, batch in (("calm", 256), ("other", 384)):
        daemon.create(name, demo_gguf(), apart(batch))
    calm_texts = undisturbed(daemon, "calm")
    (calm_worker,) = daemon.workers()
    calls = undisturbed(daemon, questions=CALLS)
    assert all("get_weather" in call for call in calls.values())
    texts = undisturbed(daemon)
    lots = random.Random(SEED)
    began = time.monotonic()
    calm = Crowd(daemon, "calm", 1, calm_texts, pause=0.25)
    victims = [Crowd(daemon, name, STREAMS // 2, texts) for name in VICTIMS]
    callers = [Crowd(daemon, name, CALLERS, calls, pause=0.1) for name in VICTIMS]
    level, kills, rounds = (0, 0), 0, 0
    while kills < KILLS:
        # Somewhere in an answer, or before one, but with something new in each, which is not what the worker before had
        # left behind: one that dies before it has done anything, over and over, is a crash loop, which is left alone.
        wait_for(partial(are_loaded, daemon, [*victims, *callers], rounds), 120, "workers that are ready", step=0.05)
        rounds += 1
        least = [count + lots.randrange(1, 25) for count in tokens(daemon)]
        wait_for(partial(have_worked, daemon, [*victims, *callers], least), 120, "answers go on")
        wrong = [each.seen.wrong[:3] for each in [*victims, *callers] if each.seen.wrong]
        assert not wrong, wrong
        killed = [worker for worker in daemon.workers() if worker.pid != calm_worker.pid]
        for worker in killed:
            worker.send_signal(SIGNALS[kills % len(SIGNALS)])
            kills += 1
        for worker in killed:
            worker.wait(20)
        if kills <= min(WARM, KILLS // 2):
            level = (crowd.descriptors(daemon), crowd.resident(daemon))
    seen, calm_seen = crowd.together([each.close() for each in victims]), calm.close()
    called = crowd.together([each.close() for each in callers])
    took = time.monotonic() - began
    wait_for(lambda: crowd.zombies(daemon) == 0, 5, "no zombies")
    more = (crowd.descriptors(daemon) - level[0], crowd.resident(daemon) - level[1])
    longest, neighbours = max(seen.gaps), max(calm_seen.gaps)
    names = ("worker_deaths_total", "request_resumes_total", "requests_quarantined_total")
    metrics = {name: sum(crowd.counted(daemon, name, f"{each}:latest") for each in VICTIMS) for name in names}
    tally(
        f"workers killed under {STREAMS} streams: {kills} in {took:.0f} s; "
        f"answers: {seen.requests}, failed or different: "
        f"{len(seen.wrong)}, resumed {metrics['request_resumes_total']:.0f} times; "
        f"zombies 0, descriptors {more[0]:+d}, memory {more[1] / 2**20:+.1f} MiB; "
        f"longest pause in a stream {longest:.1f} s"
    )
    tally(f"calls of tools among them: {called.requests}, failed or different: {len(called.wrong)}")
    tally(
        f"answers of another model meanwhile: {calm_seen.requests}, failed or different: {len(calm_seen.wrong)}; "
        f"longest pause in a stream {neighbours:.2f} s"
    )
    assert not seen.wrong, seen.wrong[:3]
    assert called.requests > 0
    assert not called.wrong, called.wrong[:3]
    assert not calm_seen.wrong, calm_seen.wrong[:3]
    assert calm_worker.is_running(), "the other model's worker is the one that it was"
    assert more[0] <= MORE_DESCRIPTORS
    assert more[1] <= MORE_MEMORY
    assert metrics["worker_deaths_total"] == kills
    assert metrics["requests_quarantined_total"] == 0


def test_vectors_come_though_their_worker_is_killed(daemon: Daemon, tally: Callable[[str], None]) -> None:
    """An embedding shows no progress on its way. Chats that are inside with it go on as well."""
    texts = undisturbed(daemon)
    body = {"model": "demo", "input": [f"Text number {number}, and what it tells" for number in range(400)]}
    expected = daemon.post("/api/embed", body)["embeddings"]
    victims = Crowd(daemon, "demo", 2, texts)
    kills = 0
    with ThreadPoolExecutor(1) as pool:
        while kills < 4:
            (worker,) = wait_for(daemon.workers, 60, "a worker")
            wait_for(partial(got_on, [victims], [victims.seen.pieces + 20]), 60, "answers go on")
            answer = pool.submit(daemon.post, "/api/embed", body)
            wait_for(lambda: crowd.counted(daemon, "num_requests_running", "demo:latest") > 2, 60, "three are inside")
            worker.send_signal(SIGNALS[kills])
            worker.wait(20)
            kills += 1
            found = answer.result(120)["embeddings"]
            assert len(found) == len(expected)
            assert all(sum(map(mul, one, other)) > 0.999 for one, other in zip(found, expected, strict=True))
    seen = victims.close()
    assert not seen.wrong, seen.wrong[:3]
    resumes = crowd.counted(daemon, "request_resumes_total", "demo:latest")
    tally(
        f"workers killed over {len(expected)} inputs to embed: {kills}, failed or different: 0; resumed {resumes:.0f}"
    )
    assert resumes >= kills


@pytest.mark.parametrize("when", ["idle", "prefill", "decode"])
def test_a_stopped_worker_is_noticed(daemon: Daemon, tally: Callable[[str], None], when: str) -> None:
    """And nobody who listens to it sees more of that than a pause."""
    texts = undisturbed(daemon)
    answer = ""
    if when == "decode":
        answer = undisturbed(daemon, questions=crowd.QUESTIONS[:1], options=LONG)[crowd.QUESTIONS[0]]
    (worker,) = daemon.workers()
    running: Stream | None = None
    if when == "decode":
        running = Stream(daemon, chat(crowd.QUESTIONS[0], options=LONG))
        wait_for(lambda: running.lines, 60, "the first word", step=0.001)
    elif when == "prefill":
        running = Stream(daemon, chat("x " * 3500, options={"num_predict": 4}))
        wait_for(lambda: crowd.counted(daemon, "num_requests_running", "demo:latest"), 60, "the prompt is computed")
    worker.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    before = len(running.lines) if running is not None else 0
    worker.wait(20)
    took = time.monotonic() - began
    tally(f"a worker stopped while {when}: noticed after {took:.1f} s")
    assert took < 5.0
    if running is not None:
        text = running.text()
        assert (before > 0) == (when == "decode")
        assert len(running.lines) > before + 1, "it was stopped before its end"
        assert text == (answer or undisturbed(daemon, questions=["x " * 3500], options={"num_predict": 4})["x " * 3500])
    assert undisturbed(daemon) == texts


@pytest.mark.parametrize("when", ["spawned", "loading", "idle", "unloading"])
@pytest.mark.parametrize("by", SIGNALS)
def test_kills_between_answers(daemon: Daemon, when: str, by: signal.Signals) -> None:
    texts = undisturbed(daemon)
    (first,) = daemon.workers()
    if when == "idle":
        first.send_signal(by)
        first.wait(20)
    elif when == "unloading":
        daemon.post("/api/generate", {"model": "demo", "keep_alive": 0})
        if first.is_running():
            first.send_signal(by)
        first.wait(20)
    else:
        first.kill()
        first.wait(20)
        waiting = Crowd(daemon, "demo", 4, texts)
        victim = wait_for(lambda: worker_of(daemon, {first.pid}), 30, "another worker")
        if when == "loading":
            wait_for(lambda: crowd.blob_is_open(victim.pid), 30, "the weights are mapped")
        victim.send_signal(by)
        victim.wait(20)
        seen = wait_for(lambda: waiting.seen if waiting.seen.requests >= 4 else None, 60, "answers")
        waiting.close()
        assert not seen.wrong, seen.wrong[:3]
    assert undisturbed(daemon) == texts
    assert crowd.zombies(daemon) == 0


@pytest.mark.parametrize("when", ["two workers", "a load", "a grammar on trial"])
def test_nothing_outlives_a_killed_daemon(daemon: Daemon, tally: Callable[[str], None], when: str) -> None:
    daemon.create("other", demo_gguf(), apart(384))
    undisturbed(daemon)
    if when == "two workers":
        undisturbed(daemon, "other")
    elif when == "a grammar on trial":
        body = chat("x", options={"num_predict": 4}) | {"format": {"type": "object", "properties": {"a": {}}}}
        list(stream(daemon, body))
    assert daemon.process is not None
    own = psutil.Process(daemon.process.pid)
    if when == "a load":
        (loaded,) = daemon.workers()
        waiting = Crowd(daemon, "other", 1, {"x": ""})
        wait_for(lambda: worker_of(daemon, {loaded.pid}), 30, "another worker")
    children = own.children(recursive=True)
    assert len(children) >= (1 if when == "a load" else 2)
    daemon.process.kill()
    daemon.process.wait()
    began = time.monotonic()
    wait_for(lambda: not any(crowd.is_alive(child) for child in children), 1.0, "they end with the daemon")
    if when == "a load":
        waiting.close()
    tally(f"processes of a killed daemon with {when}: {len(children)}, gone after {time.monotonic() - began:.2f} s")
