"""Work on the store that takes a while: on threads of its own, watched by any number of callers.

The same work happens once however many ask for it; whoever comes later sees where it stands. When the last watcher
leaves, a job is cancelled, unless it was to stay. Knows nothing of sources: how to pull is given.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from modelfiles.instructions import Modelfile
from registry.create import create
from registry.digests import Digest
from registry.errors import Cancelled, NotFound
from registry.names import Name
from registry.progress import Cancel, Progress, Report
from registry.quantize import Quantization, Quantizer
from registry.resolve import Publication, Wanted
from registry.store import Store
from registry.verify import Sample, Verified, verify
from runner.errors import ShuttingDown
from runner.inference.quantizer import quantize

Pull = Callable[[Wanted, Report, Cancel], object]
Push = Callable[[Publication, Report, Cancel], object]
Work = Callable[[Report, Cancel], object]
_Key = tuple[str, Digest | None]
_DONE = "success"  # as a pull and a create call their end
_AS_IT_IS = Quantization()


class Jobs:
    """Constructed by the daemon only. `pull` fetches a model into the store, `push` publishes one; `threads` runs jobs
    and nothing else; `quantizer` makes models smaller that are created so, one at a time: it takes all cores, and space
    that is counted beforehand."""

    def __init__(
        self, store: Store, pull: Pull, push: Push, threads: Executor, quantizer: Quantizer = quantize
    ) -> None:
        self._store = store
        self._pull = pull
        self._push = push
        self._threads = threads
        self._quantizer = quantizer
        self._mill = asyncio.Lock()  # held from a quantization's start until its thread has ended
        self._is_stopping = False
        self._by_key: dict[Hashable, _Job] = {}
        self._running: set[_Job] = set()

    async def pull(self, wanted: Wanted) -> AsyncGenerator[Progress, None]:
        """Pull a model and tell how it goes. Raises what the pull raises, to everybody who watches."""
        key = _same(wanted)
        async with aclosing(self.run(lambda *told: self._pull(wanted, *told), key=("pull", key))) as watched:
            async for progress in watched:
                yield progress

    async def push(self, wanted: Publication) -> AsyncGenerator[Progress, None]:
        """Push a model and tell how it goes. Raises what the push raises, to everybody who watches."""
        async with aclosing(self.run(lambda *told: self._push(wanted, *told), key=("push", wanted))) as watched:
            async for progress in watched:
                yield progress

    async def run(
        self, work: Work, *, key: Hashable | None = None, stays: bool = False, threads: Executor | None = None
    ) -> AsyncGenerator[Progress, None]:
        """Do a piece of work and tell how it goes. Raises what the work raises, to everybody who watches.

        Work under a `key` that is under way already is joined. With `stays` it goes on when nobody watches any more.
        `threads` are others to do it on, for work that may wait for other work. Raises ShuttingDown after `stop`.
        """
        while key is not None and (job := self._by_key.get(key)) is not None and job.is_given_up:
            await job.ended.wait()  # its thread still holds what new work needs
        job = self._by_key.get(key) if key is not None else None
        if job is None:
            job = self._start(work, stays, threads)
            if key is not None:
                self._by_key[key] = job
                job.when_ended(lambda: self._by_key.pop(key, None))
        async with aclosing(job.watch()) as watched:  # a watcher must be seen to leave
            async for progress in watched:
                yield progress

    async def create(
        self,
        name: str,
        modelfile: Modelfile,
        *,
        base: Path | None,
        files: Mapping[str, Digest],
        quantization: Quantization = _AS_IT_IS,
    ) -> AsyncGenerator[Progress, None]:
        """Create a model and tell how it goes; a FROM that names a model which isn't here is pulled first."""
        wanted = Name.parse(name)

        def make(report: Report, cancelled: Cancel) -> object:
            return create(
                self._store,
                wanted,
                modelfile,
                base=base,
                files=files,
                progress=report,
                cancelled=cancelled,
                quantization=quantization,
                quantizer=self._quantizer,
            )

        def work(report: Report, cancelled: Cancel) -> object:
            try:
                return make(report, cancelled)
            except NotFound as missing:
                self._pull(Wanted(reference=missing.name), _within(report), cancelled)
            return make(report, cancelled)

        is_quantized = quantization.kind is not None or quantization.draft is not None
        async with aclosing(self._quantized(make) if is_quantized else self.run(work)) as watched:
            async for progress in watched:
                yield progress

    async def _quantized(self, make: Work) -> AsyncGenerator[Progress, None]:
        """A creation that quantizes, when it is its turn. The turn isn't waited for on a thread, nor kept for a base
        that has to be pulled first."""
        missing = ""
        try:
            async with aclosing(self._in_turn(make)) as watched:
                async for progress in watched:
                    yield progress
        except NotFound as error:
            missing = error.name
        if not missing:
            return
        async with aclosing(self.pull(Wanted(reference=missing))) as pulled:
            async for progress in pulled:
                if progress.status != _DONE:
                    yield progress
        async with aclosing(self._in_turn(make)) as watched:
            async for progress in watched:
                yield progress

    async def _in_turn(self, make: Work) -> AsyncGenerator[Progress, None]:
        if self._mill.locked():
            yield Progress("waiting for another quantization")
        await self._mill.acquire()
        try:
            job = self._start(make, False)
        except BaseException:
            self._mill.release()
            raise
        job.when_ended(self._mill.release)
        async with aclosing(job.watch()) as watched:
            async for progress in watched:
                yield progress

    async def verify(
        self, models: Sequence[str], *, sample: Sample | None, repair: bool
    ) -> AsyncGenerator[Progress | Verified, None]:
        """Verify the store, or some models of it, and tell how it goes; what was found comes last."""
        names = [Name.parse(each) for each in models]
        found: list[Verified] = []

        def work(report: Report, cancelled: Cancel) -> None:
            found.append(
                verify(
                    self._store,
                    models=names,
                    sample=sample,
                    repair=repair,
                    fetch=self._pull,
                    progress=report,
                    cancelled=cancelled,
                )
            )

        async with aclosing(self.run(work)) as watched:
            async for progress in watched:
                yield progress
        for each in found:
            yield each

    def stop(self) -> None:
        """Begin nothing more, and end all that is under way: whoever watches is told at once, by ShuttingDown. What was
        fetched stays, so the same pull goes on with it another time."""
        self._is_stopping = True
        for job in self._running:
            job.stop()

    async def close(self, grace: float) -> bool:
        """Cancel everything; whether all of it ended within `grace` seconds."""
        jobs = list(self._running)
        for job in jobs:
            job.give_up()
        waits = [asyncio.create_task(job.ended.wait()) for job in jobs]
        if not waits:
            return True
        _, late = await asyncio.wait(waits, timeout=grace)
        for wait in late:
            wait.cancel()
        return not late

    def _start(self, work: Work, stays: bool, threads: Executor | None = None) -> _Job:
        if self._is_stopping:
            raise _shutting_down()
        job = _Job(threads or self._threads, work, stays)
        self._running.add(job)
        job.when_ended(lambda: self._running.discard(job))
        return job


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("Runner is shutting down", retry_after=2)


def _within(report: Report) -> Report:
    """For a pull that is a part of other work: its end isn't the work's, and a client would leave at the word."""
    return lambda progress: None if progress.status == _DONE else report(progress)


def _same(wanted: Wanted) -> Wanted:
    """One spelling of what is wanted, whatever the case of its name: pulls of the same are one."""
    if "://" in wanted.reference or "@" in wanted.reference:
        return wanted
    return replace(wanted, reference="/".join(Name.parse(wanted.reference).key))


class _Job:
    """One piece of work on a thread, and what it has said so far. All but the work itself runs on the event loop."""

    def __init__(self, threads: Executor, work: Work, stays: bool) -> None:
        self.ended = asyncio.Event()
        self._stays = stays
        self._stopped = False
        self._error: BaseException | None = None
        self._said: dict[_Key, Progress] = {}  # the latest of each step, in order of appearance
        self._watchers: set[_Watcher] = set()
        self._callbacks: list[Callable[[], object]] = []
        self._cancelled = threading.Event()
        loop = asyncio.get_running_loop()

        def report(progress: Progress) -> None:
            loop.call_soon_threadsafe(self._tell, progress)

        self._future = loop.run_in_executor(threads, work, report, self._cancelled.is_set)
        self._future.add_done_callback(self._on_end)

    @property
    def is_given_up(self) -> bool:
        """Whether nobody watched any more, so that it is on its way to its end."""
        return self._cancelled.is_set()

    def give_up(self) -> None:
        """Ask the work to stop."""
        self._cancelled.set()

    def stop(self) -> None:
        """As `give_up`; who watches doesn't wait until it has stopped."""
        self._stopped = True
        self.give_up()
        for watcher in self._watchers:
            watcher.news.set()

    def when_ended(self, callback: Callable[[], object]) -> None:
        """Have this called at the end."""
        self._callbacks.append(callback)

    async def watch(self) -> AsyncGenerator[Progress, None]:
        """What has been said so far, then everything as it comes; raises the error that ended the work."""
        watcher = _Watcher(self._said)
        self._watchers.add(watcher)
        try:
            while True:
                is_over = self.ended.is_set()  # before the last look, lest something be said in between
                for progress in watcher.take():
                    yield progress
                if is_over or self._stopped:
                    break
                await watcher.news.wait()
        finally:
            self._watchers.discard(watcher)
            if not self._watchers and not self._stays and not self.ended.is_set():
                self.give_up()
        if self._stopped and (not self.ended.is_set() or isinstance(self._error, Cancelled)):
            raise _shutting_down()
        if self._error is not None:
            raise self._error

    def _tell(self, progress: Progress) -> None:
        self._said[progress.status, progress.digest] = progress
        for watcher in self._watchers:
            watcher.tell(progress)

    def _on_end(self, future: asyncio.Future[object]) -> None:
        self._error = asyncio.CancelledError() if future.cancelled() else future.exception()
        self.ended.set()
        for callback in self._callbacks:
            callback()
        for watcher in self._watchers:
            watcher.news.set()


class _Watcher:
    """What one watcher has not seen yet: at most the latest of each step, however slow it is."""

    def __init__(self, said: Mapping[_Key, Progress]) -> None:
        self.news = asyncio.Event()
        self._unseen = dict(said)

    def tell(self, progress: Progress) -> None:
        self._unseen[progress.status, progress.digest] = progress
        self.news.set()

    def take(self) -> list[Progress]:
        self.news.clear()
        unseen, self._unseen = self._unseen, {}
        return list(unseen.values())
