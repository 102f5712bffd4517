"""Pulls and creates: one flight per name, watched by many, cancelled by the last."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelfiles.parse import parse
from registry.digests import digest_of
from registry.errors import BadName, Cancelled, NotFound, Unreachable
from registry.gguf.quantizations import quant_type
from registry.progress import Cancel, Progress, Report
from registry.quantize import Order, Planned, Quantization, Watch
from registry.resolve import Publication, Wanted
from registry.store import Store
from runner.errors import ShuttingDown
from runner.inference.jobs import Jobs
from tests import tiny_gguf
from tests.inference.conftest import Make

DIGEST = digest_of(b"weights")


@dataclass
class Source:
    """A pull whose steps the test allows one by one."""

    pulled: list[str] = field(default_factory=list)
    steps: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    ended: list[str] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def pull(self, wanted: Wanted, report: Report, cancelled: Cancel) -> object:
        self.pulled.append(wanted.reference)
        self.begun.set()
        try:
            for done in range(1, 4):
                while not self.steps.acquire(timeout=0.01):
                    if cancelled():
                        raise Cancelled("the caller changed its mind")
                report(Progress("pulling", DIGEST, 3, done))
            if self.error is not None:
                raise self.error
            report(Progress("success"))
            return None
        finally:
            self.ended.append(wanted.reference)
            self.over.set()

    def push(self, wanted: Publication, report: Report, cancelled: Cancel) -> object:
        return self.pull(Wanted(reference=f"{wanted.model} to {wanted.target}"), report, cancelled)

    def allow(self, steps: int = 3) -> None:
        self.steps.release(steps)


@dataclass
class Works:
    jobs: Jobs
    source: Source


@pytest.fixture
async def works(store: Store) -> AsyncIterator[Works]:
    source = Source()
    with ThreadPoolExecutor(4) as threads:
        jobs = Jobs(store, source.pull, source.push, threads)
        yield Works(jobs, source)
        assert await jobs.close(10)


async def collect(items: AsyncIterator[Progress]) -> list[Progress]:
    return [item async for item in items]


async def test_progress_then_success(works: Works) -> None:
    works.source.allow()
    seen = await collect(works.jobs.pull(Wanted(reference="m")))
    assert seen[-1] == Progress("success")
    assert seen[-2].completed == 3
    assert [p.completed for p in seen[:-1]] == sorted(p.completed for p in seen[:-1])


async def test_who_comes_later_joins_and_sees_where_it_stands(works: Works) -> None:
    first = works.jobs.pull(Wanted(reference="m"))
    works.source.allow(1)
    assert (await anext(first)).completed == 1
    second = works.jobs.pull(Wanted(reference="M:latest"))
    assert (await anext(second)).completed == 1
    works.source.allow(2)
    for rest in await asyncio.gather(collect(first), collect(second)):
        assert rest[-1] == Progress("success")
    assert works.source.pulled == ["m"]


async def test_one_who_leaves_takes_nothing_from_the_others(works: Works) -> None:
    first, second = works.jobs.pull(Wanted(reference="m")), works.jobs.pull(Wanted(reference="m"))
    works.source.allow(1)
    await anext(first)
    await anext(second)
    await first.aclose()
    works.source.allow(2)
    assert (await collect(second))[-1] == Progress("success")


async def test_the_last_who_leaves_cancels_and_the_next_begins_anew(works: Works) -> None:
    first = works.jobs.pull(Wanted(reference="m"))
    works.source.allow(1)
    await anext(first)
    await first.aclose()
    again = works.jobs.pull(Wanted(reference="m"))
    task = asyncio.create_task(collect(again))
    await asyncio.to_thread(works.source.over.wait, 10)
    works.source.allow()
    assert (await task)[-1] == Progress("success")
    assert works.source.pulled == ["m", "m"]


async def test_cancelling_the_task_is_leaving(works: Works) -> None:
    task = asyncio.create_task(collect(works.jobs.pull(Wanted(reference="m"))))
    await asyncio.to_thread(works.source.begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await works.jobs.close(10)
    assert works.source.ended == ["m"]


async def test_an_error_reaches_everybody(works: Works) -> None:
    works.source.error = Unreachable("the hub doesn't answer")
    tasks = [asyncio.create_task(collect(works.jobs.pull(Wanted(reference="m")))) for _ in range(3)]
    works.source.allow()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Unreachable] * 3


async def test_a_name_that_is_none(works: Works) -> None:
    with pytest.raises(BadName):
        await collect(works.jobs.pull(Wanted(reference="no name")))


async def test_create(works: Works, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "w.gguf"
    path.write_bytes(tiny_gguf.model().build())
    seen = await collect(works.jobs.create("mine", parse(f"FROM {path}"), base=tmp_path, files={}))
    assert seen[0].status == "gathering model components"
    assert store.show("mine").parameters == {}


async def test_work_that_stays_goes_on_alone_and_is_found_again(works: Works) -> None:
    def work(report: Report, cancelled: Cancel) -> object:
        return works.source.pull(Wanted(reference="m"), report, cancelled)

    async with aclosing(works.jobs.run(work, key="one", stays=True)) as first:
        works.source.allow(1)
        assert (await anext(first)).completed == 1
    works.source.allow(2)
    assert [each.status for each in await collect(works.jobs.run(work, key="one"))][-1] == "success"
    assert works.source.pulled == ["m"]


async def test_create_pulls_a_base_that_is_not_here(
    works: Works, make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull(wanted: Wanted, report: Report, cancelled: Cancel) -> object:
        report(Progress("pulling"))
        made = make("base")
        report(Progress("success"))
        return made

    monkeypatch.setattr(works.jobs, "_pull", pull)
    modelfile = parse("FROM base\nPARAMETER temperature 0\n")
    seen = await collect(works.jobs.create("mine", modelfile, base=None, files={}))
    said = [progress.status for progress in seen]
    assert "pulling" in said
    assert "success" not in said, "the pull's end isn't that of the creation"
    assert store.show("mine").parameters == {"temperature": 0.0}


async def test_create_with_a_base_that_is_nowhere(works: Works) -> None:
    works.source.error = NotFound("base")
    works.source.allow()
    with pytest.raises(NotFound):
        await collect(works.jobs.create("mine", parse("FROM base"), base=None, files={}))


async def test_closing_cancels_what_runs(works: Works) -> None:
    async with aclosing(works.jobs.pull(Wanted(reference="m"))) as items:
        works.source.allow(1)
        await anext(items)
        assert await works.jobs.close(10)
        with pytest.raises(Cancelled):
            await collect(items)


@dataclass
class Mill:
    """A quantizer that works until it is stopped, and says when it begins and ends."""

    begun: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    inside: list[int] = field(default_factory=list)

    def __call__(self, order: Order, planned: Planned, watch: Watch) -> None:
        self.inside.append(1)
        self.begun.set()
        try:
            planned(1, False)
            while True:
                self.over.wait(0.01)
                watch()
        finally:
            self.inside.pop()
            self.over.set()


async def test_a_quantizer_is_stopped_when_nobody_waits_for_it_and_works_for_one_at_a_time(
    store: Store, tmp_path: Path
) -> None:
    tensors = [tiny_gguf.Tensor("token_embd.weight", (64, 4), tiny_gguf.F16)]
    (tmp_path / "tiny.gguf").write_bytes(tiny_gguf.model(tensors=tensors, extra={"general.file_type": 1}).build())
    mill, asked = Mill(), Quantization(quant_type("Q8_0"))
    with ThreadPoolExecutor(4) as threads:
        jobs = Jobs(store, Source().pull, Source().push, threads, mill)

        def make(name: str) -> AsyncGenerator[Progress, None]:
            return jobs.create(name, parse("FROM ./tiny.gguf"), base=tmp_path, files={}, quantization=asked)

        async with aclosing(make("one")) as first, aclosing(make("two")) as second:
            async for step in first:
                if step.status == "quantizing F16 model to Q8_0":
                    break
            async for step in second:
                if step.status == "waiting for another quantization":
                    break
            assert mill.inside == [1]
        assert await jobs.close(10)
    assert mill.inside == []
    assert list(store.list()) == []
    assert list((store.root / "ingest").iterdir()) == []


async def test_quantizations_that_wait_for_their_turn_keep_no_other_work_waiting(store: Store, tmp_path: Path) -> None:
    tensors = [tiny_gguf.Tensor("token_embd.weight", (64, 4), tiny_gguf.F16)]
    (tmp_path / "tiny.gguf").write_bytes(tiny_gguf.model(tensors=tensors, extra={"general.file_type": 1}).build())
    mill, source, asked = Mill(), Source(), Quantization(quant_type("Q8_0"))
    source.allow()
    with ThreadPoolExecutor(2) as threads:
        jobs = Jobs(store, source.pull, source.push, threads, mill)

        async def make(name: str, waiting: asyncio.Semaphore) -> None:
            modelfile = parse("FROM ./tiny.gguf")
            async for step in jobs.create(name, modelfile, base=tmp_path, files={}, quantization=asked):
                if step.status in ("quantizing F16 model to Q8_0", "waiting for another quantization"):
                    waiting.release()

        under_way = asyncio.Semaphore(0)
        made = [asyncio.create_task(make(f"m{number}", under_way)) for number in range(4)]
        for _ in made:
            await under_way.acquire()
        async with asyncio.timeout(30):
            assert (await collect(jobs.pull(Wanted(reference="m"))))[-1] == Progress("success")
        # The daemon ends: all are told at once, those in the queue too, which never begin.
        jobs.stop()
        async with asyncio.timeout(30):
            ends = await asyncio.gather(*made, return_exceptions=True)
        assert [type(each) for each in ends] == [ShuttingDown] * 4
        assert await jobs.close(10)
    assert mill.inside == []


async def test_a_quantization_pulls_its_base_first_without_taking_a_turn(store: Store, tmp_path: Path) -> None:
    tensors = [tiny_gguf.Tensor("token_embd.weight", (64, 4), tiny_gguf.F16)]
    (tmp_path / "tiny.gguf").write_bytes(tiny_gguf.model(tensors=tensors, extra={"general.file_type": 1}).build())
    mill, source, asked = Mill(), Source(), Quantization(quant_type("Q8_0"))
    with ThreadPoolExecutor(2) as threads:
        jobs = Jobs(store, source.pull, source.push, threads, mill)
        base = parse("FROM hf.co/org/repo:F16")
        local = parse("FROM ./tiny.gguf")
        async with (
            aclosing(jobs.create("one", base, base=None, files={}, quantization=asked)) as first,
            aclosing(jobs.create("two", local, base=tmp_path, files={}, quantization=asked)) as second,
        ):
            source.allow(1)
            async for step in first:
                if step.status == "pulling":
                    break
            async for step in second:
                if step.status == "quantizing F16 model to Q8_0":
                    break
            assert (mill.inside, source.pulled) == ([1], ["hf.co/org/repo:F16"])
        assert await jobs.close(10)


async def test_stopping_tells_watchers_at_once_and_begins_nothing_more(store: Store) -> None:
    go, begun = threading.Event(), threading.Event()

    def deaf(report: Report, cancelled: Cancel) -> None:
        begun.set()
        assert go.wait(30)

    with ThreadPoolExecutor(1) as threads:
        jobs = Jobs(store, Source().pull, Source().push, threads)
        watching = asyncio.create_task(collect(jobs.run(deaf)))
        assert await asyncio.to_thread(begun.wait, 30)
        jobs.stop()
        async with asyncio.timeout(30):
            with pytest.raises(ShuttingDown):
                await watching
        with pytest.raises(ShuttingDown):
            await collect(jobs.run(deaf))
        assert not await jobs.close(0.01), "the work itself is waited for when the daemon ends"
        go.set()
        assert await jobs.close(10)
