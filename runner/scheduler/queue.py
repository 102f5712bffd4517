"""The one bounded queue in which requests wait: a line for each key (models of one worker share it), and their order.

A line per key keeps a look at the queue's heads as cheap with ten thousand waiting as with ten. Across lines, what is
shared out are loads: whose client had fewer of them goes first, then who came earlier. Who comes back since his worker
died was taken in before: he counts as nobody of too many, and no time limit holds for him. Knows nothing else of why
somebody waits.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from runner.scheduler.order import Line
from runner.scheduler.ticket import Ticket

_REMEMBERED = 1024  # clients whose loads are counted
_TIDY = 64  # tickets that may be noted beside those who wait


class Queue:
    """Tickets by key. Time is a number of monotonic seconds that the caller brings."""

    def __init__(self) -> None:
        self._lines: dict[str, Line] = {}
        self._length = 0
        self._by_model: Counter[str] = Counter()
        self._by_client: Counter[str] = Counter()  # newcomers
        self._arrivals = _Arrivals(lambda ticket: ticket in self and not ticket.is_resumed)
        self._batch = _Arrivals(lambda ticket: ticket in self and not ticket.aged)
        self._loads: dict[str, int] = {}  # by client: where the next load for it begins
        self._loaded = 0  # where the last load began

    def __len__(self) -> int:
        return self._length

    def __contains__(self, ticket: object) -> bool:
        return isinstance(ticket, Ticket) and ticket in self._lines.get(ticket.want.key, ())

    def __iter__(self) -> Iterator[Ticket]:
        for line in list(self._lines.values()):
            yield from list(line)

    def add(self, ticket: Ticket) -> None:
        """Put a ticket in its place. One that comes back after its worker died stands where it stood before."""
        if ticket.place is None:
            ticket.floor = self._loaded
        self._lines.setdefault(ticket.want.key, Line()).join(ticket)
        self._by_model[ticket.want.model] += 1
        self._length += 1
        if not ticket.is_resumed:
            self._by_client[ticket.want.client] += 1
            self._arrivals.add(ticket)
        if ticket.rank:
            self._batch.add(ticket)

    def serve(self, ticket: Ticket) -> None:
        """Take a ticket out whose turn has come."""
        self._lines[ticket.want.key].serve(ticket)
        self._left(ticket)

    def remove(self, ticket: Ticket) -> None:
        """Take a waiting ticket out that won't be served."""
        self._lines[ticket.want.key].withdraw(ticket)
        self._left(ticket)

    def line(self, key: str) -> tuple[Ticket, ...]:
        """Everybody who waits for this worker, in order."""
        return tuple(self._lines.get(key, ()))

    def length(self, key: str) -> int:
        """How many wait for this worker."""
        return len(self._lines.get(key, ()))

    def before(self, ticket: Ticket) -> int:
        """How many who wait for the same worker go before this ticket, whether it waits itself or would."""
        line = self._lines.get(ticket.want.key)
        return line.before(ticket) if line else 0

    def waiting(self, model: str) -> int:
        """How many wait for this model, by its full name."""
        return self._by_model[model]

    def heads(self, most: Mapping[str, int]) -> tuple[tuple[Ticket, ...], ...]:
        """The beginning of each line: as many tickets as `most` says for its key, one if it says nothing."""
        return tuple(line.first(max(1, most.get(key, 1))) for key, line in self._lines.items())

    def share(self, ticket: Ticket) -> int:
        """How many loads its client has had, as a place among the lines: smaller goes first."""
        return max(ticket.floor, self._loads.get(ticket.want.client, 0))

    def load_begins(self, ticket: Ticket) -> None:
        """A load is begun for this ticket, which counts for its client."""
        self._loaded = max(self._loaded, self.share(ticket))
        self._loads[ticket.want.client] = self.share(ticket) + 1
        if len(self._loads) > _REMEMBERED:
            self._loads = {client: place for client, place in self._loads.items() if place > self._loaded}

    def promote(self, before: float) -> None:
        """Those of the batch that came before this time have waited long enough: they count as the others do."""
        for ticket in self._batch.until(before):
            line = self._lines[ticket.want.key]
            line.withdraw(ticket)
            ticket.aged, ticket.place = True, None
            line.join(ticket)

    def overdue(self, before: float) -> tuple[Ticket, ...]:
        """Those who wait for the first time and came before this one. Each is told once."""
        return tuple(self._arrivals.until(before))

    def oldest(self) -> float | None:
        """When the first of those came who wait for the first time and haven't been told as overdue."""
        return self._arrivals.first()

    def newcomers(self) -> int:
        """How many wait whom no worker has had yet."""
        return self._by_client.total()

    def excess(self, client: str) -> Ticket | None:
        """With the queue full: the last newcomer of the client with most of them, if that isn't this client."""
        greediest, most = max(self._by_client.items(), key=lambda item: item[1], default=("", 0))
        if most <= self._by_client[client]:
            return None
        theirs = (ticket for ticket in self if ticket.want.client == greediest and not ticket.is_resumed)
        return max(theirs, key=lambda ticket: ticket.id)

    def _left(self, ticket: Ticket) -> None:
        self._length -= 1
        if not self._lines[ticket.want.key]:
            del self._lines[ticket.want.key]
        _less(self._by_model, ticket.want.model)
        if not ticket.is_resumed:
            _less(self._by_client, ticket.want.client)


def _less(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]


class _Arrivals:
    """Tickets by the time of their arrival; those that are `meant` no longer are forgotten now and then."""

    def __init__(self, meant: Callable[[Ticket], bool]) -> None:
        self._meant = meant
        self._heap: list[tuple[float, int, Ticket]] = []
        self._tidy = _TIDY  # so long the heap may become until it is looked through

    def add(self, ticket: Ticket) -> None:
        heapq.heappush(self._heap, (ticket.arrived, ticket.id, ticket))
        if len(self._heap) > self._tidy:
            self._heap = [entry for entry in self._heap if self._meant(entry[2])]
            heapq.heapify(self._heap)
            self._tidy = _TIDY + 2 * len(self._heap)

    def first(self) -> float | None:
        while self._heap and not self._meant(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def until(self, before: float) -> Iterator[Ticket]:
        while (first := self.first()) is not None and first <= before:
            yield heapq.heappop(self._heap)[2]
