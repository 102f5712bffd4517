"""What the daemon can do with a model: answer, embed, load, unload, and say what is loaded.

The one object that the dialects call for inference. Puts the parts of this floor together and has no rules of its own.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from registry.errors import BadName
from registry.names import Name
from runner.errors import InvalidRequest
from runner.inference.caller import CALLER
from runner.inference.elsewhere import Fetch, with_images
from runner.inference.embed import embedded
from runner.inference.generate import answer
from runner.inference.rank import ranked
from runner.inference.requests import (
    AnswerPart,
    Chat,
    Complete,
    Detokenize,
    Embed,
    Embedded,
    Preview,
    Ranked,
    Rerank,
    Resident,
    Timings,
    Tokenize,
    Told,
)
from runner.inference.resolve import Resolver
from runner.inference.tell import told
from runner.scheduler.fleet import Member
from runner.scheduler.loop import Scheduler
from runner.scheduler.meters import Measured
from runner.scheduler.stream import Stream
from runner.scheduler.ticket import Priority, Want

T = TypeVar("T")


class Service:
    """Constructed by the daemon only. `threads` runs what reads the disk; `clock` is the scheduler's, in seconds;
    `fetch` gets images from other places, where that is allowed."""

    def __init__(
        self,
        scheduler: Scheduler,
        resolver: Resolver,
        threads: Executor,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        fetch: Fetch | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._resolver = resolver
        self._threads = threads
        self._clock = clock
        self._clock_ns = clock_ns
        self._fetch = fetch

    async def generate(self, request: Chat | Complete) -> AsyncGenerator[AnswerPart, None]:
        """Answer a request: pieces, then exactly one Finished.

        Raises a RunnerError before the first item for everything known before the first token, later for a late
        failure. Closing the iterator, or cancelling the task, cancels the request in the worker.
        """
        arrived = self._clock_ns()
        request = await with_images(request, self._fetch)
        if isinstance(request, Chat):
            want = await self._want(self._resolver.chat, request, priority=request.priority)
        else:
            want = await self._want(self._resolver.complete, request, priority=request.priority)
        async with aclosing(answer(self._scheduler, want, arrived, self._clock_ns)) as parts:
            async for part in parts:
                yield part

    async def embed(self, request: Embed) -> Embedded:
        """Vectors of length 1, in the order of the inputs. Without inputs the model is only loaded."""
        arrived = self._clock_ns()
        if not request.inputs:
            await self.load(request.model, options=request.options, keep_alive=request.keep_alive)
            return Embedded(b"", 0, 0, 0, Timings(total=self._clock_ns() - arrived))
        want = await self._want(self._resolver.embed, request, priority=request.priority)
        return await embedded(self._scheduler, want, request.dimensions, arrived, self._clock_ns)

    async def rerank(self, request: Rerank) -> Ranked:
        """A score for each document, in their order. Raises as `embed` does."""
        arrived = self._clock_ns()
        want = await self._want(self._resolver.rerank, request)
        return await ranked(self._scheduler, want, arrived, self._clock_ns)

    async def tell(self, question: Tokenize | Detokenize | Preview) -> Told:
        """Answer from the model's vocabulary and template. Raises as `generate` does, before its first item."""
        if isinstance(question, Preview):
            question = replace(question, of=await with_images(question.of, self._fetch))
        want = await self._want(self._resolver.question, question)
        return await told(self._scheduler, want)

    async def load(self, model: str, *, options: Mapping[str, Any], keep_alive: float | None) -> None:
        """Make a model resident; returns when it is. `keep_alive` in seconds, inf for ever, None as configured."""
        await self._make_resident(await self._want(self._resolver.load, model, options, keep_alive))

    async def pin(self, model: str) -> str:
        """Keep a model in memory, whoever else wants to be there; returns its full name when it is loaded.

        It stays pinned even if the load fails, with what is raised then: `unpin` takes that back.
        """
        want = await self._want(self._resolver.load, model, {}, None)
        self._scheduler.pin(want.model)
        await self._make_resident(want)
        return want.model

    def pinned(self) -> frozenset[str]:
        """Full names of the models that are pinned, loaded or not."""
        return self._scheduler.pinned()

    def unpin(self, model: str) -> bool:
        """From now on it is loaded and unloaded as others are. False if it wasn't pinned."""
        key = _key_of(model)
        mine = [each for each in self._scheduler.pinned() if Name.parse(each).key == key]
        for each in mine:
            self._scheduler.unpin(each)
        return bool(mine)

    async def _make_resident(self, want: Want) -> None:
        stream = Stream()
        request = self._scheduler.submit(want, stream)
        try:
            while await stream.take():
                pass
        finally:
            self._scheduler.cancel(request)

    async def unload(self, model: str) -> bool:
        """Let a model go; returns when that is decided, running requests finish first. False if it isn't loaded."""
        key = _key_of(model)
        for member in self._scheduler.residents():
            for served in member.models:
                if Name.parse(served).key == key:
                    return self._scheduler.unload(served)
        return False

    def residents(self) -> tuple[Resident, ...]:
        """The loaded models, those that stay longest first."""
        now, today = self._clock(), datetime.now(UTC)
        members = sorted(self._scheduler.residents(), key=lambda member: -_leaves(member, now))
        measured = {each.model: each for each in self._scheduler.measured()}
        return tuple(self._resident(member, measured[member.model], now, today) for member in members)

    def measured(self) -> tuple[Measured, ...]:
        """What was counted, model by model; to be read at once."""
        return self._scheduler.measured()

    def _resident(self, member: Member, measured: Measured, now: float, today: datetime) -> Resident:
        ready = member.ready
        sizes = [ready.weights_bytes, ready.kv_bytes, ready.compute_bytes] if ready else []
        parts = [(device, size) for by_device in sizes for device, size in by_device.items()]
        stays = _leaves(member, now) - now
        return Resident(
            name=member.model,
            digest=member.digest,
            state=member.state,
            size=sum(size for _, size in parts) or member.need.total,
            size_gpu=sum(size for device, size in parts if not _is_host(device)),
            context_length=ready.context_length if ready else member.load.options.num_ctx,
            sequences=ready.sequences if ready else member.load.options.num_parallel,
            running=member.stats.running if member.stats else len(member.inside),
            waiting=self._scheduler.waiting(member.model),
            expires_at=today + timedelta(seconds=stays) if math.isfinite(stays) else None,
            measured=measured,
        )

    async def _want(self, read: Callable[..., Want], *args: object, priority: Priority | None = None) -> Want:
        """What a request wants, for whoever asks. What the caller says beside the request counts before its body."""
        caller = CALLER.get()
        want = await self._in_thread(read, *args)
        return replace(want, client=caller.client, priority=caller.priority or priority or "interactive")

    async def _in_thread(self, function: Callable[..., T], *args: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *args)


def _key_of(model: str) -> object:
    """What equal names have in common. Raises InvalidRequest."""
    try:
        return Name.parse(model).key
    except BadName as error:
        raise InvalidRequest(str(error), field="model") from error


def _leaves(member: Member, now: float) -> float:
    """When a member goes if nobody comes: for a busy one counted from now."""
    if member.state == "stopping":
        return now
    return member.expires if member.expires is not None else now + member.keep_alive


def _is_host(device: str) -> bool:
    """Whether llama.cpp means the machine's own memory by this buffer."""
    return device.startswith("CPU") or device.endswith("_Host") or device in ("BLAS", "AMX")
