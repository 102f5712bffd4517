"""How the service stands, for people and for programs. Knows what was found, and nothing of how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from runner.cli import output
from runner.config import Address
from runner.service.system import Standing, System


@dataclass(frozen=True, slots=True)
class Card:
    """`active` is the manager's word, or ours where it has none; `answers` whether a daemon does at `address`;
    `problem` why the manager can't be asked."""

    system: System
    machine: bool
    address: Address
    standing: Standing
    active: str
    answers: bool
    problem: str

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        standing = self.standing
        return {
            "system": self.system.name,
            "scope": "machine" if self.machine else "user",
            "installed": standing.installed,
            "enabled": standing.enabled,
            "active": self.active,
            "pid": standing.pid,
            "said": standing.said,
            "restarts": standing.restarts,
            "unit": str(self.system.unit),
            "address": str(self.address),
            "answers": self.answers,
            "logs": self.system.logs,
            "problem": self.problem or None,
        }

    def tell(self, notes: Iterable[str]) -> None:
        """In lines; `notes` are what a person should know of an installed one."""
        if self.problem:
            output.line(
                f"service:  {'installed, but ' if self.standing.installed else 'not installed: '}{self.problem}"
            )
        elif not self.standing.installed:
            flag = " --system" if self.machine else ""
            output.line(f"service:  not installed; install it with: runner service install{flag}")
        else:
            self._tell_installed(notes)
        if self.answers and self.active != "running":
            output.line(f"daemon:   one that no service started answers at {self.address.url}")

    def _tell_installed(self, notes: Iterable[str]) -> None:
        standing = self.standing
        process = f", process {standing.pid}" if standing.pid else ""
        output.line(f"service:  {self.active}{process} ({self.system.name})")
        output.line(f"starts:   {'by itself' if standing.enabled else 'only when it is told to'}")
        if standing.said:
            output.line(f"says:     {output.on_one_line(standing.said)}")
        if standing.restarts:
            output.line(f"restarts: {standing.restarts}")
        output.line(f"unit:     {self.system.unit}")
        output.line(f"logs:     {self.system.logs}")
        for note in notes:
            output.line(f"note:     {note}")
