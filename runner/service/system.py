"""What every system's service manager can be asked and told, whichever it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from runner.service.installation import Installation
from runner.service.steps import Run, Step

Active = Literal["running", "starting", "stopping", "stopped", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How the service stands. `enabled`: it starts by itself. `said` is what the daemon or the system says of it."""

    installed: bool
    enabled: bool = False
    active: Active = "stopped"
    pid: int | None = None
    said: str = ""
    restarts: int = 0


class System(Protocol):
    """A service manager, for one user or for the machine. Steps are values: `steps.carry_out` does them."""

    name: str
    unit: Path
    logs: str  # the command that shows what the daemon says

    def check(self, run: Run) -> None:
        """Raises Refused, with what to do, where there is no such manager for whoever asks."""

    def install(self, of: Installation) -> tuple[Step, ...]:
        """Unit and folders in place, and started by itself from now on; not started yet."""

    def start(self) -> tuple[Step, ...]:
        """Started, and ready where the manager can tell."""

    def restart(self) -> tuple[Step, ...]:
        """Started anew, with the unit as it is now."""

    def stop(self) -> tuple[Step, ...]:
        """Ended in order, until the next start."""

    def uninstall(self) -> tuple[Step, ...]:
        """Ended, and nothing of the unit left."""

    def ask(self, run: Run) -> Standing:
        """How it stands. A manager that can't be asked gives `unknown`."""

    def notes(self, run: Run) -> Iterable[str]:
        """What a person should know of this service here, each with what to do."""


def lines(text: str, sign: str = "=") -> Iterator[tuple[str, str]]:
    """`NAME=value` lines as pairs."""
    for line in text.splitlines():
        name, found, value = line.partition(sign)
        if found:
            yield name.strip(), value.strip()
