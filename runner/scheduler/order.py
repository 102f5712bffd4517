"""Who goes first among those who wait for one worker: a fair share for each client, and nobody overtakes himself.

Start-time fair queueing: a request begins where its client's one before it ends, or where the line stands, if that is
further; who begins first goes first. So a client with a thousand requests has one of them in each round, and a client
alone is served in order of arrival. Places don't change while others come and go, which keeps all of this cheap.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from runner.scheduler.ticket import Place, Ticket

_FORGOTTEN = 256  # clients without a request in the line whose share is remembered, beside twice those who wait


@dataclass(slots=True)
class _Flow:
    """One client's requests of one rank. The next of them begins at `finish`; the last one served ended at `served`."""

    finish: int
    served: int
    waiting: int = 0
    gaps: int = 0  # places in it whose requests were withdrawn


class Line:
    """Tickets by place: by rank, then by share, then by arrival."""

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._tickets: dict[int, Ticket] = {}
        self._flows: dict[tuple[int, str], _Flow] = {}
        self._clock: dict[int, int] = {}  # by rank: where the last one who was served began

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, ticket: object) -> bool:
        return isinstance(ticket, Ticket) and ticket.id in self._tickets

    def __iter__(self) -> Iterator[Ticket]:
        return (self._tickets[place[2]] for place in self._places)

    def first(self, count: int) -> tuple[Ticket, ...]:
        """Those whose turn comes next."""
        return tuple(islice(self, count))

    def before(self, ticket: Ticket) -> int:
        """How many in this line go before that ticket, which may be one that isn't in it yet."""
        return bisect_left(self._places, ticket.place or self._next(ticket))

    def join(self, ticket: Ticket) -> None:
        """A ticket gets its place; one that had a place before (its worker died) gets that again."""
        flow = self._flow(ticket)
        if ticket.place is None:
            ticket.place = self._next(ticket)
            flow.finish = ticket.place[1] + 1
        else:  # the line may have begun to count anew since
            rank, begins, number = ticket.place
            ticket.place = rank, min(begins, self._clock.get(rank, 0)), number
        insort(self._places, ticket.place)
        self._tickets[ticket.id] = ticket
        flow.waiting += 1

    def serve(self, ticket: Ticket) -> None:
        """A ticket's turn has come."""
        rank, begins, _ = self._leave(ticket)
        flow = self._flow(ticket)
        self._clock[rank] = max(self._clock.get(rank, 0), begins)
        flow.served = max(flow.served, begins + 1)
        if len(self._flows) > 2 * len(self._places) + _FORGOTTEN:
            self._flows = {owner: flow for owner, flow in self._flows.items() if flow.waiting}

    def withdraw(self, ticket: Ticket) -> None:
        """A ticket goes without having been served: its client's others move up, sooner or later."""
        _, begins, _ = self._leave(ticket)
        flow = self._flow(ticket)
        if not flow.waiting:
            flow.finish, flow.gaps = flow.served, 0
        elif begins + 1 == flow.finish:
            flow.finish = begins
        else:
            flow.gaps += 1
            if flow.gaps > flow.waiting:
                self._close_gaps(ticket)

    def _next(self, ticket: Ticket) -> Place:
        flow = self._flows.get((ticket.rank, ticket.want.client))
        return ticket.rank, max(self._clock.get(ticket.rank, 0), flow.finish if flow else 0), ticket.id

    def _flow(self, ticket: Ticket) -> _Flow:
        here = self._clock.get(ticket.rank, 0)
        return self._flows.setdefault((ticket.rank, ticket.want.client), _Flow(here, here))

    def _leave(self, ticket: Ticket) -> Place:
        assert ticket.place is not None  # it is in this line
        del self._places[bisect_left(self._places, ticket.place)]
        del self._tickets[ticket.id]
        self._flow(ticket).waiting -= 1
        return ticket.place

    def _close_gaps(self, one: Ticket) -> None:
        """Number a client's places anew. Done so seldom that it costs each withdrawal but little."""
        flow, owner = self._flow(one), (one.rank, one.want.client)
        begins = max(self._clock.get(one.rank, 0), flow.served)
        for ticket in [ticket for ticket in self if (ticket.rank, ticket.want.client) == owner]:
            assert ticket.place is not None
            del self._places[bisect_left(self._places, ticket.place)]
            ticket.place = (one.rank, begins, ticket.id)
            insort(self._places, ticket.place)
            begins += 1
        flow.finish, flow.gaps = begins, 0
