"""Who may wait, and for how long: the queue's length and its deadline, and what those hear who are sent away.

Changes the queue and nothing else; tickets that it sends away are the caller's to end. Whom a worker had already is
never sent away: he comes back only because it died, and may be in the middle of his answer.
"""

from __future__ import annotations

import math

from runner.errors import ServerBusy
from runner.scheduler.pace import Pace
from runner.scheduler.queue import Queue
from runner.scheduler.standing import Outlook
from runner.scheduler.ticket import Ticket

_AGES = 30.0  # seconds after which a request of the batch counts as the others do
_FULL = "server busy, please try again.  maximum pending requests exceeded"  # as Ollama says it, and clients know it

SentAway = tuple[Ticket, ServerBusy]


class Reception:
    """`length` newcomers may wait in the queue, each for `timeout` seconds (inf for ever)."""

    def __init__(self, queue: Queue, outlook: Outlook, pace: Pace, *, length: int, timeout: float) -> None:
        self._queue = queue
        self._outlook = outlook
        self._pace = pace
        self.length = length
        self.timeout = timeout

    def enter(self, ticket: Ticket, now: float) -> None:
        """A ticket takes its place in the queue and notes how that looks."""
        self._queue.add(ticket)
        standing = self._outlook.of(ticket, now)
        ticket.position, ticket.estimate = standing.ahead, standing.eta_seconds

    def surplus(self, ticket: Ticket, now: float) -> SentAway | None:
        """Who has to go since this ticket came, if the queue is too long now, out of the queue already: the last
        newcomer of the client that has most of them, or this one."""
        if ticket not in self._queue or self._queue.newcomers() <= self.length:
            return None
        other = self._queue.excess(ticket.want.client)
        words = _FULL if other is None else f"{_FULL}, and others had fewer of them"
        return self._send_away(other or ticket, words, now)

    def look(self, now: float) -> list[SentAway]:
        """Time has passed: the batch ages, and those go who have waited for too long."""
        self._queue.promote(now - _AGES)
        if not math.isfinite(self.timeout):
            return []
        words = f"server busy, please try again: this request has waited in the queue for {self.timeout:.0f} s"
        return [self._send_away(ticket, words, now) for ticket in self._queue.overdue(now - self.timeout)]

    def next_time(self) -> float | None:
        """When the next one will have waited for too long."""
        oldest = self._queue.oldest() if math.isfinite(self.timeout) else None
        return None if oldest is None else oldest + self.timeout

    def _send_away(self, ticket: Ticket, words: str, now: float) -> SentAway:
        self._queue.remove(ticket)
        if self._pace.stay(ticket.want.key) is None:
            seconds = self._pace.seconds_for(len(self._queue), now)
        else:
            seconds = max(1, min(60, math.ceil(self._outlook.of(ticket, now).eta_seconds)))
        return ticket, ServerBusy(words, retry_after=seconds)
