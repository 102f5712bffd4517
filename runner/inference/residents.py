"""What is loaded, what waits, and what the machine has: the scheduler's state as values for whoever looks.

Made anew whenever somebody asks, and never kept. Decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, TypeAlias

from runner.protocol.devices import Device
from runner.scheduler.fleet import Member
from runner.scheduler.loop import Scheduler
from runner.scheduler.meters import Measured
from runner.scheduler.pools import CPU, Held, device_names, held
from runner.scheduler.rates import Rate
from runner.scheduler.telling import placed
from runner.scheduler.ticket import Want

State: TypeAlias = Literal["queued", "loading", "ready", "stopping", "paused"]
"""`queued`: requests wait for it, and it isn't loaded yet; `paused`: its worker kept dying, and it is left alone."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A memory that models are loaded into: "host", or a device's own. In bytes."""

    name: str
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of the machine beside the scheduler.

    `pid` gives the process of a worker by its run, `pools` measures memory, `devices` are those that llama.cpp can use
    (none: nobody has looked), `problems` say what keeps it from others that are there, `log_of` is the file in which a
    model's worker writes, `most_loaded` and `most_queued` are the limits in force: of workers, and of those who wait.
    """

    pid: Callable[[int], int | None] = lambda run: None
    pools: Callable[[], Sequence[Pool]] = tuple
    devices: Callable[[], Sequence[Device]] = tuple
    problems: Callable[[], Sequence[str]] = tuple
    log_of: Callable[[str], Path] = lambda model: Path()
    most_loaded: Callable[[], int] = lambda: 0
    most_queued: Callable[[], int] = lambda: 0


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that is loaded, or is to be. Sizes are bytes; `expires_at` is None while it stays for ever.

    Models in `shared_with` have the same worker: its memory, cells and speed are in each one's row.
    """

    name: str
    digest: str
    state: State
    size: int  # weights, KV cache and buffers together
    size_gpu: int
    context_length: int
    sequences: int
    running: int
    waiting: int  # in the queue, or for their turn in the worker
    expires_at: datetime | None
    measured: Measured | None = None  # what was counted of it since the daemon began
    queued: int = 0  # of those waiting, in the queue
    estimate: float | None = None  # seconds until the turn of a request that came now; None: nobody knows
    progress: float = 0.0  # of a load, 0 to 1
    pause: float = 0.0  # seconds for which it is still left alone
    memory: tuple[Held, ...] = ()
    devices: tuple[str, ...] = ()
    gpu_layers: int = 0
    layers: int = 0
    context_from: str = ""
    cells: int = 0  # of the KV cache, a token each
    cells_used: int = 0  # hold something, idle prefixes included
    cells_busy: int = 0  # are held by running requests
    rate: Rate = field(default_factory=Rate)
    loaded_at: datetime | None = None
    load_seconds: float = 0.0
    pid: int | None = None
    shared_with: tuple[str, ...] = ()
    is_pinned: bool = False

    @property
    def placement(self) -> str:
        """Where it lies, in words; nothing before it is loaded."""
        return placed(self.devices, self.gpu_layers, self.layers) if self.layers else ""

    @property
    def status(self) -> str:
        """Its state for people: loading 43 %, crash loop, again in 12 s."""
        if self.state == "loading":
            return f"loading {self.progress:.0%}".replace("%", " %") if self.progress else "loading"
        if self.state == "paused":
            return f"crash loop, again in {max(1, math.ceil(self.pause))} s"
        return self.state


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at one moment. `queued` requests wait in the queue, of at most `most_queued`."""

    residents: tuple[Resident, ...]
    pools: tuple[Pool, ...]
    queued: int
    most_queued: int
    most_loaded: int


def overview(scheduler: Scheduler, around: Surroundings, now: float, today: datetime) -> Overview:
    """Those that are loaded, the longest stay first, then those that wait, and those that are left alone."""
    measured = {each.model: each for each in scheduler.view.measured()}
    members = sorted(scheduler.view.residents(), key=lambda member: -leaves(member, now))
    found = [each for member in members for each in of_member(member, scheduler, around, measured, now, today)]
    there = {each.name for each in found}
    waiting = scheduler.view.queued()
    for want, count in waiting:
        if want.model not in there:
            found.append(_queued(want, count, scheduler, measured.get(want.model), today))
            there.add(want.model)
    for loop in scheduler.view.crash_loops():
        if loop.model not in there:
            counted = measured.get(loop.model)
            found.append(Resident(loop.model, "", "paused", 0, 0, 0, 0, 0, 0, today, counted, pause=loop.pause))
    queued = sum(count for _, count in waiting)
    return Overview(tuple(found), tuple(around.pools()), queued, around.most_queued(), around.most_loaded())


def of_member(
    member: Member,
    scheduler: Scheduler,
    around: Surroundings,
    measured: Mapping[str, Measured],
    now: float,
    today: datetime,
) -> Iterable[Resident]:
    """A row for each model that a worker serves."""
    ready, stats = member.ready, member.stats
    holdings = held(ready, around.devices()) if ready else ()
    order = scheduler.view.history.order(member.key)
    pinned = scheduler.view.pinned()
    stays = math.inf if scheduler.view.is_kept(member) else leaves(member, now) - now
    prospect = scheduler.view.prospect(member.key)
    for model in member.models:
        counted = measured.get(model)
        yield Resident(
            name=model,
            digest=member.digest,
            state=member.state,
            size=sum(each.total for each in holdings) or member.need.total,
            size_gpu=sum(each.total for each in holdings if each.device != CPU),
            context_length=ready.context_length if ready else member.load.options.num_ctx,
            sequences=ready.sequences if ready else member.load.options.num_parallel,
            running=counted.running if counted else 0,
            waiting=counted.waiting if counted else 0,
            expires_at=today + timedelta(seconds=stays) if math.isfinite(stays) else None,
            measured=counted,
            queued=counted.queued if counted else 0,
            estimate=prospect.eta,
            progress=member.progress if ready is None else 1.0,
            memory=holdings,
            devices=device_names(ready.devices) if ready else (),
            gpu_layers=ready.gpu_layers if ready else 0,
            layers=ready.layers if ready else 0,
            context_from=order.context_from if order else "",
            cells=stats.cells if stats else ready.cells if ready else 0,
            cells_used=stats.cells_used if stats else 0,
            cells_busy=stats.cells_busy if stats else 0,
            rate=scheduler.view.rates.of(member.run, now),
            loaded_at=today - timedelta(seconds=now - member.ready_at) if ready else None,
            load_seconds=member.ready_at - member.began if ready else now - member.began,
            pid=around.pid(member.run),
            shared_with=tuple(other for other in member.models if other != model),
            is_pinned=model in pinned,
        )


def leaves(member: Member, now: float) -> float:
    """When a member goes if nobody comes: for a busy one counted from now."""
    if member.state == "stopping":
        return now
    return member.expires if member.expires is not None else now + member.keep_alive


def _queued(want: Want, count: int, scheduler: Scheduler, measured: Measured | None, today: datetime) -> Resident:
    pause = scheduler.view.pause(want.key)
    return Resident(
        name=want.model,
        digest=want.digest,
        state="paused" if pause else "queued",
        size=0,
        size_gpu=0,
        context_length=want.load.options.num_ctx,
        sequences=0,
        running=0,
        waiting=count,
        expires_at=today,
        measured=measured,
        queued=count,
        estimate=scheduler.view.prospect(want.key).eta,
        pause=pause,
        context_from=want.context_from,
    )
