"""The loop's two faces: what it may have done, and what it is told of in return.

The loop knows workers only by this; processes, pipes and timers are somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from runner.protocol.commands import Command, Load, Why
from runner.protocol.events import Event
from runner.scheduler.failures import Exit


class Reports(Protocol):
    """What is told of a worker. `run` is the number under which it was started."""

    def events(self, run: int, events: Sequence[Event]) -> None:
        """The worker has something to say."""

    def exited(self, run: int, how: Exit) -> None:
        """The worker's process is gone, or never came to be. The last that is heard of it."""


class Effects(Protocol):
    """What the loop may have done. Nothing here calls back before it returns."""

    def start(self, run: int, model: str, load: Load, reports: Reports) -> None:
        """Bring up a worker and send it this load. Every start ends in one `exited`."""

    def send(self, run: int, command: Command) -> None:
        """Pass a command to a worker; nothing happens if it is gone."""

    def stop(self, run: int, why: Why = "idle") -> None:
        """End a worker, in good order if it will and by force if it won't. Once is enough, twice does no harm."""

    def wake(self, at: float | None, tick: Callable[[], None]) -> None:
        """Call `tick` at this monotonic time, and no longer at the one that was asked for before."""
