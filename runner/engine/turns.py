"""Whose turn it is among groups that can't share a step, since each is computed with other adapters.

Changing groups takes some milliseconds (7 for the demo, whose steps take less than one), so a turn lasts many steps.
Pure: knows groups and seconds, and that every group gets its turn before any other gets a second one.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from runner.protocol.commands import Adapters

TURN = 0.1  # seconds; a step that began is not cut short


class Turns:
    """For the groups of one lane. `order` says who may go, in which order to try; `took` who went."""

    def __init__(self, seconds: float = TURN) -> None:
        self._seconds = seconds
        self._numbers = count()
        self._line: dict[Adapters, int] = {}  # since when each has waited: a number for its coming, or its last step
        self._current: Adapters | None = None
        self._until = 0.0

    def order(self, groups: Iterable[Adapters], now: float) -> list[Adapters]:
        """Those who are there, each once: whose turn it is, then who has waited longest first."""
        there = dict.fromkeys(groups)
        self._line = {group: since for group, since in self._line.items() if group in there}
        for group in there:
            self._line.setdefault(group, next(self._numbers))
        stays = self._current if now < self._until else None
        return sorted(there, key=lambda group: (group != stays, self._line[group]))

    def took(self, group: Adapters, now: float) -> None:
        """The group had a step, which ended now or is about to begin."""
        if group != self._current or now >= self._until:
            self._current, self._until = group, now + self._seconds
        self._line[group] = next(self._numbers)
