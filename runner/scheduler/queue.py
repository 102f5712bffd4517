"""The one bounded FIFO in which requests wait, in lines by key (models of one worker share it), and how fast it moves.

A line per key keeps a look at the queue's heads as cheap with ten thousand waiting as with ten; arrival numbers keep
the order across lines. Knows nothing of why somebody waits.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from itertools import islice

from runner.scheduler.ticket import Ticket


class Queue:
    """Tickets by key, in order of arrival (which is the order of their ids)."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[int, Ticket]] = {}
        self._by_model: Counter[str] = Counter()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __contains__(self, ticket: object) -> bool:
        return isinstance(ticket, Ticket) and ticket.id in self._lines.get(ticket.want.key, {})

    def add(self, ticket: Ticket) -> None:
        """Put a ticket in its place. One that comes back after its worker died stands where it stood before."""
        line = self._lines.setdefault(ticket.want.key, {})
        behind = [other for other in line.values() if other.id > ticket.id] if _is_behind(line, ticket) else []
        line[ticket.id] = ticket
        for other in behind:
            line[other.id] = line.pop(other.id)
        self._by_model[ticket.want.model] += 1
        self._length += 1

    def remove(self, ticket: Ticket) -> None:
        """Take a waiting ticket out."""
        line = self._lines[ticket.want.key]
        del line[ticket.id]
        if not line:
            del self._lines[ticket.want.key]
        self._by_model[ticket.want.model] -= 1
        if not self._by_model[ticket.want.model]:
            del self._by_model[ticket.want.model]
        self._length -= 1

    def line(self, key: str) -> tuple[Ticket, ...]:
        """Everybody who waits for this worker, first come first."""
        return tuple(self._lines.get(key, {}).values())

    def waiting(self, model: str) -> int:
        """How many wait for this model, by its full name."""
        return self._by_model[model]

    def heads(self, most: Mapping[str, int]) -> tuple[tuple[Ticket, ...], ...]:
        """The beginning of each line: as many tickets as `most` says for its key, one if it says nothing."""
        return tuple(tuple(islice(line.values(), max(1, most.get(key, 1)))) for key, line in self._lines.items())

    def __iter__(self) -> Iterator[Ticket]:
        for line in list(self._lines.values()):
            yield from list(line.values())


def _is_behind(line: dict[int, Ticket], ticket: Ticket) -> bool:
    return bool(line) and next(reversed(line)) > ticket.id


class Pace:
    """How many requests end per second, from the last few that did."""

    def __init__(self, remembered: int = 64) -> None:
        self._ends: deque[float] = deque(maxlen=remembered)

    def ended(self, now: float) -> None:
        """A request came to its end."""
        self._ends.append(now)

    def seconds_for(self, requests: int, now: float) -> int:
        """Whole seconds until so many have ended, from 1 to 60; with nothing to go by, 5."""
        if len(self._ends) < 2 or now <= self._ends[0]:
            return 5
        per_second = len(self._ends) / (now - self._ends[0])
        return max(1, min(60, round(requests / per_second)))
