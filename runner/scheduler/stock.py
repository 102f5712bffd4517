"""What the scheduler has to know of the machine before it loads anything: devices, and what is free of each pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.protocol.devices import Device
from runner.scheduler.memory import CPU_DEVICE, HOST, Room


class Stock(Protocol):
    """Whoever takes the readings."""

    def devices(self) -> Sequence[Device]:
        """All there are; the CPU is one of them."""

    def room(self) -> Room:
        """Bytes free by pool."""

    def is_fresh(self) -> bool:
        """Whether a load may be planned by what `room` says. If not, new readings are on their way."""

    def holds(self, by_pool: Mapping[str, int]) -> None:
        """What workers hold now, in bytes by pool, less what counts as free all the same."""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine with a CPU and nothing else; `available` reads its free bytes."""

    available: Callable[[], int]

    def devices(self) -> Sequence[Device]:
        """The CPU."""
        return (CPU_DEVICE,)

    def room(self) -> Room:
        """What is free now."""
        return {HOST: self.available()}

    def is_fresh(self) -> bool:
        """It always is."""
        return True

    def holds(self, by_pool: Mapping[str, int]) -> None:
        """What is free says that already."""
