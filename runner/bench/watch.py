"""Watches the load generator itself: what it is slow at would otherwise be taken for the server's slowness.

Three figures: how late the event loop runs, how long requests are held up before they are on their way, and how much
of a CPU core the process takes.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from runner.bench.spread import Spread, spread

_EVERY = 0.02  # seconds between two looks at the loop
# A lag is negligible below this, whatever it is compared with: the event loop's own timer is no finer than 1 ms.
_FLOOR = 0.002
# Beyond this share of what is measured, a lag would show in the figures.
_SHARE = 0.1
# One thread does the work, so a whole core is the end; what is due waits noticeably before that.
_CORE = 0.7


@dataclass(frozen=True, slots=True)
class Strain:
    """The generator's own figures. Lag and delay in seconds, `cpu` as a share of one core."""

    lag: Spread | None
    delay: Spread | None
    cpu: float

    def complaints(self, ttft: Spread | None, gap: Spread | None) -> list[str]:
        """What isn't negligible beside the times to first token and the gaps that were measured."""
        found = []
        if point := _beyond(self.lag, gap):
            found.append(f"its event loop was late {point.format('gaps')}")
        if point := _beyond(self.delay, ttft):
            found.append(f"it held requests up {point.format('times to first token')}")
        if self.cpu > _CORE:
            found.append(f"it took {self.cpu:.0%} of a CPU core, and it uses only one")
        return found


def _beyond(ours: Spread | None, measured: Spread | None) -> str:
    """Like is set against like: a delay that one in a hundred sees belongs beside the p99. Empty when all is well."""
    if ours is None or measured is None:
        return ""
    for name in ("p50", "p95", "p99"):
        lag, whole = getattr(ours, name), getattr(measured, name)
        if lag > max(_FLOOR, _SHARE * whole):
            return f"by {lag * 1000:.1f} ms at the {name}, where {{}} are {whole * 1000:.1f} ms"
    return ""


class Watch:
    """Measures while it is open. `strain` tells what was found."""

    def __init__(self) -> None:
        self._lags = array("d")
        self._task: asyncio.Task[None] | None = None
        self._began = (time.perf_counter(), time.process_time())
        self._ended: tuple[float, float] | None = None

    async def __aenter__(self) -> Self:
        self._began = (time.perf_counter(), time.process_time())
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._ended = (time.perf_counter(), time.process_time())
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def strain(self, delays: Sequence[float]) -> Strain:
        """The figures up to now, or to the end; `delays` are the requests' own."""
        now, used = self._ended or (time.perf_counter(), time.process_time())
        elapsed = now - self._began[0]
        cpu = (used - self._began[1]) / elapsed if elapsed > 0 else 0.0
        return Strain(spread(self._lags), spread(delays), cpu)

    async def _look(self) -> None:
        while True:
            due = time.perf_counter() + _EVERY
            await asyncio.sleep(_EVERY)
            self._lags.append(max(0.0, time.perf_counter() - due))
