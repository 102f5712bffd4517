"""What differs between two readings of the settings, and when each difference counts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from runner.config.table import SETTINGS, Settings


@dataclass(frozen=True, slots=True)
class Change:
    """Names of settings whose values changed, by when the new ones count."""

    now: tuple[str, ...] = ()
    load: tuple[str, ...] = ()
    start: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.now or self.load or self.start)


def changed(old: Settings, new: Settings) -> Change:
    """The difference from one to the other."""
    names: dict[str, list[str]] = {"now": [], "load": [], "start": []}
    for row in SETTINGS:
        if getattr(old, row.name) != getattr(new, row.name):
            names[row.applies].append(row.name)
    return Change(*(tuple(names[when]) for when in ("now", "load", "start")))


def in_force(running: Settings, wanted: Settings) -> Settings:
    """The wanted settings as far as a running daemon can have them: what counts from a start on stays as it is."""
    kept: dict[str, Any] = {row.name: getattr(running, row.name) for row in SETTINGS if row.applies == "start"}
    sources = dict(wanted.sources) | {name: running.sources[name] for name in kept if name in running.sources}
    return replace(wanted, folders=running.folders, sources=sources, **kept)
