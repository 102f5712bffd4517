"""What the daemon can do with a model: answer, embed, load, unload, and say what is loaded.

The one object that the dialects call for inference. Puts the parts of this floor together and has no rules of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from registry.errors import BadName
from registry.names import Name
from runner.errors import InvalidRequest
from runner.inference.caller import CALLER
from runner.inference.elsewhere import Fetch, with_images
from runner.inference.embed import embedded
from runner.inference.entry import ENTRY
from runner.inference.generate import answer
from runner.inference.passage import place, submit
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
    Timings,
    Tokenize,
    Told,
)
from runner.inference.residents import Overview, Resident, Surroundings, overview
from runner.inference.resolve import Resolver
from runner.inference.tell import told
from runner.inference.texts import MOST_OF_A_KIND
from runner.inference.why import Explained, explain
from runner.protocol.commands import Generate, Work
from runner.scheduler.breaker import CrashLoop
from runner.scheduler.devices import Inventory
from runner.scheduler.loop import Scheduler
from runner.scheduler.meters import Measured
from runner.scheduler.ticket import Priority, Want

T = TypeVar("T")


class Service:
    """Constructed by the daemon only. `threads` runs what reads the disk; `clock` is the scheduler's, in seconds;
    `fetch` gets images from other places, where that is allowed; `around` tells of the machine; `inventory` is waited
    for before the first request."""

    def __init__(
        self,
        scheduler: Scheduler,
        resolver: Resolver,
        threads: Executor,
        clock: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        fetch: Fetch | None = None,
        around: Surroundings | None = None,
        inventory: Inventory | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._resolver = resolver
        self._threads = threads
        self._clock = clock
        self._clock_ns = clock_ns
        self._fetch = fetch
        self._around = around or Surroundings()
        self._inventory = inventory

    async def generate(self, request: Chat | Complete) -> AsyncGenerator[AnswerPart, None]:
        """Answer a request: pieces, then exactly one Finished.

        Raises a RunnerError before the first item for everything known before the first token, later for a late
        failure. Closing the iterator, or cancelling the task, cancels the request in the worker.
        """
        arrived, among = self._clock_ns(), place()
        request = await with_images(request, self._fetch)
        if isinstance(request, Chat):
            want = await self._want(self._resolver.chat, request, priority=request.priority)
        else:
            want = await self._want(self._resolver.complete, request, priority=request.priority)
        async with aclosing(answer(self._scheduler, want, arrived, self._clock_ns, among)) as parts:
            async for part in parts:
                yield part

    async def embed(self, request: Embed) -> Embedded:
        """Vectors of length 1, in the order of the inputs. Without inputs the model is only loaded."""
        arrived = self._clock_ns()
        if not request.inputs:
            await self.load(request.model, options=request.options, keep_alive=request.keep_alive)
            return Embedded(b"", 0, 0, 0, Timings(total=self._clock_ns() - arrived))
        want = await self._want(self._resolver.embed, request, priority=request.priority)
        _keep_inputs(request)
        return await embedded(self._scheduler, want, request.dimensions, arrived, self._clock_ns)

    def fetch_by(self, fetch: Fetch | None) -> None:
        """Get images from other places by this from now on, or not at all."""
        self._fetch = fetch

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
        return self._scheduler.view.pinned()

    def unpin(self, model: str) -> bool:
        """From now on a model, by its name or an alias, comes and goes as others do. False if it wasn't pinned.

        Raises InvalidRequest.
        """
        by_key = {Name.parse(each).key: each for each in self._scheduler.view.pinned()}
        alias = self._resolver.alias(model)
        mine = by_key.get(_key_of(model)) or (by_key.get(_key_of(alias)) if alias is not None else None)
        return mine is not None and self._scheduler.unpin(mine)

    async def _make_resident(self, want: Want) -> None:
        submitted = submit(self._scheduler, want)
        try:
            while await submitted.stream.take():
                pass
        finally:
            self._scheduler.cancel(submitted.id)

    async def unload(self, model: str) -> bool:
        """Let a model go; returns when that is decided, running requests finish first. False if it isn't loaded."""
        key = _key_of(model)
        for member in self._scheduler.view.residents():
            for served in member.models:
                if Name.parse(served).key == key:
                    return self._scheduler.unload(served)
        return False

    def residents(self) -> tuple[Resident, ...]:
        """The loaded models, those that stay longest first."""
        return tuple(each for each in self.overview().residents if each.state not in ("queued", "paused"))

    def overview(self) -> Overview:
        """What is loaded, what waits, and the memory there is."""
        return overview(self._scheduler, self._around, self._clock(), datetime.now(UTC))

    async def why(self, model: str, options: Mapping[str, Any]) -> Explained:
        """Why the model is where it is, and what a request with these options would find. Raises as `load` does."""
        if self._inventory is not None:
            await self._inventory.read()
        account = await self._in_thread(self._resolver.account, model, options)
        now, today = self._clock(), datetime.now(UTC)
        residents = overview(self._scheduler, self._around, now, today).residents
        return explain(account, residents, self._scheduler, self._around, now, today)

    def measured(self) -> tuple[Measured, ...]:
        """What was counted, model by model; to be read at once."""
        return self._scheduler.view.measured()

    def crash_loops(self) -> tuple[CrashLoop, ...]:
        """The models that are left alone for a while because their workers kept dying."""
        return self._scheduler.view.crash_loops()

    async def _want(self, read: Callable[..., Want], *args: object, priority: Priority | None = None) -> Want:
        """What a request wants, for whoever asks, once it is known which devices there are.

        What the caller says beside the request counts before its body.
        """
        if self._inventory is not None:
            await self._inventory.known()
        caller = CALLER.get()
        want = await self._in_thread(read, *args)
        return replace(
            want,
            work=_to_be_shown(want.work),
            client=caller.client,
            priority=caller.priority or priority or "interactive",
        )

    async def _in_thread(self, function: Callable[..., T], *args: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *args)


def _to_be_shown(work: Work | None) -> Work | None:
    """What is to be done; where texts are kept, the worker is to tell the rendered prompt."""
    entry = ENTRY.get()
    if entry is None or entry.texts is None or not isinstance(work, Generate):
        return work
    return msgspec.structs.replace(work, show=MOST_OF_A_KIND)


def _keep_inputs(request: Embed) -> None:
    """Where texts are kept, what vectors are made of is what a prompt is elsewhere."""
    entry = ENTRY.get()
    if entry is None or entry.texts is None:
        return
    for number, given in enumerate(request.inputs):
        text = given if isinstance(given, str) else " ".join(map(str, given))
        entry.texts.add("prompt", text, (number, 0))


def _key_of(model: str) -> tuple[str, str, str, str]:
    """What equal names have in common. Raises InvalidRequest."""
    try:
        return Name.parse(model).key
    except BadName as error:
        raise InvalidRequest(str(error), field="model") from error
