"""What is done when a worker dies, or won't have its model: requests go back to the queue or are told why not.

What becomes of whom is `recovery`'s to decide; here it is carried out, for the loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from modelfiles.sizes import human_bytes
from runner.errors import InsufficientMemory, RunnerError, WorkerCrashed
from runner.scheduler import telling
from runner.scheduler.failures import Exit
from runner.scheduler.fleet import Member
from runner.scheduler.history import History
from runner.scheduler.meters import Meters
from runner.scheduler.queue import Queue
from runner.scheduler.recovery import Recovery, Verdict
from runner.scheduler.survey import Survey
from runner.scheduler.ticket import Ticket

log = logging.getLogger(__name__)


class Aftermath:
    """Works on the queue, the meters and the history of one scheduler. `fail` ends a ticket that is in no queue."""

    def __init__(
        self,
        queue: Queue,
        recovery: Recovery,
        survey: Survey,
        meters: Mapping[str, Meters],
        history: History,
        fail: Callable[[Ticket, RunnerError], None],
    ) -> None:
        self._queue = queue
        self._recovery = recovery
        self._survey = survey
        self._meters = meters
        self._history = history
        self._fail = fail

    def died(self, member: Member, inside: list[Ticket], how: Exit, now: float, *, closing: bool) -> None:
        """A worker is gone that nobody had told to go, or with requests inside; while `closing` those end with it."""
        self._history.note(member.key, member.model, "died", str(how), how.tail)
        meters = self._meters[member.loaded_for]
        meters.deaths, meters.last_death = meters.deaths + 1, str(how)
        log.error('the worker of "%s" died: %s%s', member.model, how, f"\n{how.tail}" if how.tail else "")
        if closing:
            for ticket in inside:
                self._fail(ticket, WorkerCrashed(f'the worker of "{member.model}" died: {how}'))
            return
        self._deal_with(member, inside, how, now)
        if again := sum(ticket in self._queue for ticket in inside):
            self._history.note(member.key, member.model, "resumed", telling.resumed(again))
        if pause := self._recovery.pause(member.key, now):
            self._history.note(member.key, member.model, "paused", telling.paused(pause))

    def refused(self, member: Member, error: RunnerError, now: float) -> None:
        """The engine won't have this model; trying again would give the same, but for a smaller load."""
        if isinstance(error, InsufficientMemory):
            self._starved(member, now)
            return
        log.warning('"%s" could not be loaded: %s', member.model, error.message)
        self._history.note(member.key, member.model, "failed", error.message)
        self._send_away(member, error)

    def put_back(self, ticket: Ticket) -> None:
        """Its worker died or gave it up, and it waits in its old place for another."""
        ticket.run = None
        ticket.journey.put_back()
        if ticket.cancelled:
            self._fail(ticket, WorkerCrashed("nobody waits for it"))
            return
        ticket.is_resumed = True
        self._meters[ticket.want.model].resumes += 1
        self._queue.add(ticket)

    # Inside

    def _deal_with(self, member: Member, inside: list[Ticket], how: Exit, now: float) -> None:
        if how.is_out_of_memory and not any(ticket.advanced for ticket in inside):
            for ticket in inside:  # first, so that they are told if there is nothing to step down to
                self.put_back(ticket)
            self._starved(member, now)
            return
        if member.state == "loading":
            verdict = self._recovery.died_loading(member.key, member.model, self._waiting_for(member), how, now)
        else:
            if how.is_out_of_memory:
                self._step_down(member, now)
            verdict = self._recovery.died(member.key, member.model, inside, how, now)
        self._carry_on(member, verdict)

    def _carry_on(self, member: Member, verdict: Verdict) -> None:
        self._meters[member.loaded_for].quarantines += verdict.quarantined
        for ticket in verdict.again:
            self.put_back(ticket)
        for ticket, error in verdict.failed:
            if ticket in self._queue:
                self._queue.remove(ticket)
            self._fail(ticket, error)
        if verdict.pause:
            for ticket in self._queue.line(member.key):
                self._queue.remove(ticket)
                self._fail(ticket, self._recovery.on_pause(member.model, verdict.pause))

    def _starved(self, member: Member, now: float) -> None:
        """A load took more memory than there was: once more with less, if less will do."""
        if self._step_down(member, now):
            return
        needed, had = human_bytes(member.need.total), human_bytes(self._survey.whole())
        self._send_away(
            member,
            InsufficientMemory(
                f'"{member.model}" ran out of memory: its load of about {needed} failed with {had} available'
            ),
        )

    def _step_down(self, member: Member, now: float) -> bool:
        """Whether the model's next load is a smaller one for having run out of memory."""
        wants = [ticket.want for ticket in self._waiting_for(member)]
        least = max([member.least, *map(self._survey.least, wants)])
        small = self._recovery.step_down(member.key, member.model, member.need, least, now)
        if small is not None:
            log.warning("%s", small.words)
            self._history.note(member.key, member.model, "stepped_down", small.words)
        return small is not None

    def _send_away(self, member: Member, error: RunnerError) -> None:
        """Fail everybody who waits for just this load."""
        for ticket in self._waiting_for(member):
            self._queue.remove(ticket)
            self._fail(ticket, error)

    def _waiting_for(self, member: Member) -> list[Ticket]:
        """Everybody who waits for just this load."""
        return [t for t in self._queue.line(member.key) if t.want.is_served_by(member.digest, member.load)]
