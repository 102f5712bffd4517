"""The single owner of all that changes: the queue, the fleet and the tickets.

Every method is one event; it changes the state and then carries out what `plan` decides. All are called on the daemon's
event loop and none of them waits, so each is atomic. What takes time (processes, timers) is behind `Effects`, and
reports back as further events.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

import msgspec

from runner.errors import Cancelled, RunnerError, ShuttingDown
from runner.protocol import commands
from runner.protocol.events import (
    Done,
    Ended,
    Event,
    Failed,
    Loading,
    Outcome,
    Ready,
    Started,
    Stats,
    Text,
    Told,
    Vectors,
)
from runner.protocol.totals import Totals
from runner.scheduler import plan, telling
from runner.scheduler.aftermath import Aftermath
from runner.scheduler.cores import Sharing
from runner.scheduler.effects import Effects
from runner.scheduler.failures import Exit, error_of, insufficient
from runner.scheduler.fleet import Fleet, Member
from runner.scheduler.history import History
from runner.scheduler.meters import Journey, Meters
from runner.scheduler.pace import Pace
from runner.scheduler.queue import Queue
from runner.scheduler.rates import Rates
from runner.scheduler.reception import Reception
from runner.scheduler.recovery import Recovery
from runner.scheduler.residency import Residency
from runner.scheduler.standing import Outlook
from runner.scheduler.stock import Stock
from runner.scheduler.survey import Survey
from runner.scheduler.ticket import Admission, Outlet, Ticket, Want
from runner.scheduler.view import View

log = logging.getLogger(__name__)
_PATIENCE = 60.0  # seconds for a worker to give up a cancelled request; one step is what it should take


@dataclass(frozen=True, slots=True)
class Limits:
    """The scheduler's own settings."""

    models: int
    queue: int
    keep_alive: float  # seconds
    queue_timeout: float = math.inf  # seconds that a request may wait


class Scheduler:
    """Admission to workers and their residency. `stock` reads what the machine has; `learn` hears
    what each load took, by the digest of its model."""

    def __init__(
        self,
        limits: Limits,
        effects: Effects,
        clock: Callable[[], float],
        stock: Stock,
        learn: Callable[[str, commands.Load, Ready], None] = lambda digest, load, ready: None,
    ) -> None:
        self._limits = limits
        self._effects = effects
        self._clock = clock
        self._queue = Queue()
        self._pace = Pace()
        self._fleet = Fleet(limits.keep_alive)
        self._pinned: set[str] = set()
        self._recovery = Recovery()
        self._history = History(clock)
        self._rates = Rates()
        self._survey = Survey(
            self._queue, self._fleet, self._pace, stock, self._pinned, self._recovery, limit=limits.models
        )
        self._outlook = Outlook(self._queue, self._fleet, self._pace, limits.models)
        self._reception = Reception(
            self._queue, self._outlook, self._pace, length=limits.queue, timeout=limits.queue_timeout
        )
        self._tickets: dict[int, Ticket] = {}
        self._meters: defaultdict[str, Meters] = defaultdict(Meters)
        self._ids = count(1)
        self._sharing = Sharing()
        self._given_up: dict[int, float] = {}  # cancelled requests that a worker still holds: id to deadline
        self._residency = Residency(
            effects, self._queue, self._fleet, self._pace, self._survey, self._meters, self._history, learn
        )
        self._aftermath = Aftermath(
            self._queue, self._recovery, self._survey, self._meters, self._history, fail=self._fail
        )
        self.view = View(
            self._queue, self._fleet, self._tickets, self._meters, self._pinned,
            self._recovery, self._survey, self._outlook, self._history, self._rates, clock,
        )  # fmt: skip
        self._holds: dict[int, float] = {}  # requests that others may still overtake: id to the end of that
        self._closing = False
        self._drained: Callable[[], None] | None = None
        self.on_lost: Callable[[str], None] = lambda model: None  # a pinned model is no longer loaded, unasked

    # Events from requests

    def submit(self, want: Want, outlet: Outlet) -> int:
        """Take a request in; gives its id, for `cancel`.

        Raises ServerBusy, ShuttingDown, LoadFailed for a model that is on pause, or Quarantined for a request that
        workers die of.
        """
        try:
            return self._take_in(want, outlet)
        except RunnerError as error:
            self._meters[want.model].rejections[error.code] += 1
            raise

    def _take_in(self, want: Want, outlet: Outlet) -> int:
        now = self._clock()
        if self._closing:
            raise ShuttingDown("Runner is shutting down", retry_after=2)
        self._recovery.check(want, now)
        journey = Journey.of(self._meters[want.model], want.work, now)
        ticket = Ticket(next(self._ids), want, outlet, now, journey)
        self._tickets[ticket.id] = ticket
        self._reception.enter(ticket, now)
        self._settle()
        if (sent_away := self._reception.surplus(ticket, now)) is not None:
            other, error = sent_away
            if other is not ticket:
                self._fail(other, error)
            else:
                del self._tickets[ticket.id]
            self._settle()  # whom it held up may be served now
            if other is ticket:
                raise error
        return ticket.id

    def cancel(self, request: int) -> None:
        """Nobody waits for this request any more; its outlet hears nothing further. Unknown ids are ended ones."""
        ticket = self._tickets.get(request)
        if ticket is None or ticket.cancelled:
            return
        ticket.cancelled = True
        if ticket.run is None:
            self._queue.remove(ticket)
            del self._tickets[ticket.id]
            self._recovery.ended(ticket)
            ticket.journey.ended(None, self._clock(), given_up=True)
        else:  # its place in the worker is free when the worker says so
            self._effects.send(ticket.run, commands.Cancel(request))
            self._given_up[request] = self._clock() + _PATIENCE
        self._settle()
        self._miss((ticket.want.model,))

    def unload(self, model: str) -> bool:
        """Let a model, by its full name, go once the requests inside it have ended. False if it isn't loaded.

        A worker that serves other names as well goes on for those.
        """
        member = self._fleet.serving(model)
        if member is None or member.state == "stopping":
            return False
        self._residency.let_go(member, model, "by request")
        self._settle()
        return True

    def change(self, model: str, generation: int) -> None:
        """From this generation of the settings on, a model, by its full name, is loaded in another way: let go what is
        loaded. Requests that came before are served as they were taken in, and leave nothing behind."""
        self._fleet.change(model, generation)
        former = [m for m in self._fleet if model in m.models and self._fleet.is_former(m, model)]
        for member in former:
            if member.state != "stopping":
                self._residency.let_go(member, model, "the settings of its load have changed")
        self._settle()
        if former and model in self._pinned and not self._is_coming(model):
            self.on_lost(model)

    def pin(self, model: str) -> None:
        """From now on this model, by its full name, isn't evicted to make room, nor for being idle."""
        if model not in self._pinned:
            self._residency.note(model, "pinned", telling.PINNED)
        self._pinned.add(model)
        self._settle()

    def unpin(self, model: str) -> bool:
        """It is a model like others again. False if it was before."""
        was = model in self._pinned
        if was:
            self._residency.note(model, "unpinned", telling.UNPINNED)
        self._pinned.discard(model)
        self._settle()
        return was

    def relimit(self, limits: Limits) -> None:
        """Go on with other limits. Idle models beyond them go; what is busy or waits already may be more, and stays."""
        self._limits = limits
        self._fleet.relimit(limits.keep_alive)
        self._survey.limit = self._outlook.limit = limits.models
        self._survey.forget()
        self._reception.length, self._reception.timeout = limits.queue, limits.queue_timeout
        self._settle()

    # Events from workers

    def events(self, run: int, events: Sequence[Event]) -> None:
        """A worker has something to tell."""
        member = self._fleet.by_run(run)
        if member is None:
            return
        changed, now = False, self._clock()
        for event in events:
            match event:
                case Started() | Text() | Ended():
                    changed |= self._progress(member, event, now)
                case Done() | Vectors() | Told():
                    changed |= self._end(member, event.id, event)
                case Failed(id=None):
                    self._aftermath.refused(member, error_of(event), now)
                    if member.state != "stopping":
                        self._residency.stop(member)
                    changed = True
                case Failed(id=int(request)):
                    changed |= self._end(member, request, error_of(event))
                case Ready():
                    self._residency.ready(member, event, now)
                    changed = True
                case Loading():
                    member.progress = event.progress
                case Stats():
                    member.stats = event
                    self._rates.add(run, event, now)
        if changed:
            self._settle()

    def exited(self, run: int, how: Exit) -> None:
        """A worker's process is gone. Every worker that was started ends in this event."""
        member = self._fleet.by_run(run)
        if member is None:
            return
        self._fleet.gone(member)
        self._rates.forget(run)
        self._meters[member.loaded_for].engine += member.stats or Totals()
        inside = [self._tickets[request] for request in sorted(member.inside)]
        died = member.state != "stopping" or bool(inside)
        if died:
            self._aftermath.died(member, inside, how, self._clock(), closing=self._closing)
        self._settle()
        if not member.is_dismissed:
            self._miss(member.models)

    def tick(self) -> None:
        """Time has passed."""
        self._settle()

    # The end

    def close(self, drained: Callable[[], None]) -> None:
        """Take nobody in any more and send those who wait away. `drained` is called when the last request has ended."""
        self._closing, self._drained = True, drained
        for ticket in self._queue:
            self._queue.remove(ticket)
            self._fail(ticket, ShuttingDown("Runner is shutting down", retry_after=2))
        self._settle()

    def abort(self) -> None:
        """End every request and stop every worker. To be called after `close`, when its grace is over."""
        for ticket in list(self._tickets.values()):
            member = self._fleet.by_run(ticket.run) if ticket.run is not None else None
            if member is not None:
                member.inside.discard(ticket.id)
            self._fail(ticket, ShuttingDown("Runner shut down before the answer was complete", retry_after=2))
        for member in self._fleet:
            self._residency.stop(member, "shutdown")
        self._settle()

    # Inside

    def _settle(self) -> None:
        """Carry out what can be done now, until nothing more can."""
        now = self._clock()
        for ticket, error in self._reception.look(now):
            self._fail(ticket, error)
        while decisions := self._survey.allowed(plan.plan(self._survey.snapshot(now))):
            for decision in decisions:
                self._carry_out(decision, now)
        # After the plan: somebody may just have come for one whose time is over.
        self._residency.tidy(now, self._limits.models, self._pinned)
        self._end_the_hung(now)
        if self._closing:
            self._wind_up()
        for run, workers in self._sharing.changes(self._fleet):
            self._effects.send(run, commands.Share(workers))
        self._effects.wake(self._next_time(now), self.tick)

    def _miss(self, models: Iterable[str]) -> None:
        """Say which pinned ones of these models are gone, with nobody there to bring them back."""
        for model in self._pinned.intersection(models):
            if not self._closing and not self._is_coming(model):
                self.on_lost(model)

    def _is_coming(self, model: str) -> bool:
        """Whether a worker has this model, as it should be, or somebody waits for it."""
        member = self._fleet.serving(model)
        is_there = member is not None and member.state != "stopping" and not self._fleet.is_former(member, model)
        return is_there or self._queue.waiting(model) > 0

    def _next_time(self, now: float) -> float | None:
        """When something is to be done even if nothing happens until then."""
        self._holds = {
            request: end
            for request, end in self._holds.items()
            if end > now and self._tickets.get(request) in self._queue
        }
        given_up = next(iter(self._given_up.values()), None)
        times = [self._fleet.next_expiry(self._pinned), given_up, self._reception.next_time()]
        times += [*self._holds.values(), self._survey.next_stale(now), self._recovery.next_look(now)]
        return min((time for time in times if time is not None), default=None)

    def _end_the_hung(self, now: float) -> None:
        """A worker that doesn't even let go of a cancelled request hangs; those inside get another one."""
        for request, deadline in list(self._given_up.items()):
            if deadline > now:
                return  # they are in order
            del self._given_up[request]
            member = self._fleet.by_run(self._tickets[request].run or 0)
            if member is not None:
                log.error('the worker of "%s" has not reacted for %.0f s and is ended', member.model, _PATIENCE)
                self._fleet.stopping(member)
                self._effects.stop(member.run)

    def _wind_up(self) -> None:
        for member in self._fleet:
            if member.state != "stopping" and not member.inside:
                self._residency.stop(member, "shutdown")
        if not self._tickets and self._drained is not None:
            drained, self._drained = self._drained, None
            drained()

    def _carry_out(self, decision: plan.Decision, now: float) -> None:
        match decision:
            case plan.Serve(id):
                self._admit(self._tickets[id], now)
            case plan.Load(id, fitted):
                self._residency.load(self._tickets[id], fitted, now, self)
            case plan.Evict(key, by):
                self._residency.evict(key, self._tickets[by].want, now)
            case plan.Hold(id):
                ticket = self._tickets[id]
                ticket.hold = self._holds[id] = now + self._survey.hold(ticket.want)
            case plan.Refuse(id, pinned, is_full, room):
                ticket = self._tickets[id]
                self._queue.remove(ticket)
                want, lack, limit = ticket.want, self._survey.lack(ticket.want, room), self._limits.models * is_full
                self._history.note(want.key, want.model, "refused", telling.refused(lack, pinned, limit))
                self._fail(ticket, insufficient(want.model, lack, pinned, limit))

    def _admit(self, ticket: Ticket, now: float) -> None:
        member = self._fleet.of(ticket.want.key)
        if member is None or member.ready is None:
            raise AssertionError("the plan serves only models that are ready")
        self._queue.serve(ticket)
        want = ticket.want
        self._fleet.touch(member, want.model, want.keep_alive, now, want.generation)
        loaded_while_waiting = max(0.0, member.ready_at - max(ticket.arrived, member.began))
        if not ticket.told:
            ticket.outlet.admit(
                Admission(
                    member.ready,
                    member.load.options,
                    waited_ns=round((now - ticket.arrived) * 1e9),
                    load_ns=round(loaded_while_waiting * 1e9),
                    position=ticket.position,
                    estimate=ticket.estimate,
                )
            )
        work = want.work
        if work is None:
            del self._tickets[ticket.id]
            ticket.journey.ended(None, now, given_up=False)
            ticket.outlet.finish(None)
            return
        ticket.run = member.run
        self._recovery.entered(ticket, now)
        ticket.journey.entered()
        self._fleet.enter(member, ticket.id, now)
        work = msgspec.structs.replace(work, id=ticket.id)
        if isinstance(work, commands.Generate) and ticket.told:
            work = msgspec.structs.replace(work, resumed=ticket.told.resumed(work.choices))
        self._effects.send(member.run, work)

    def _progress(self, member: Member, event: Started | Text | Ended, now: float) -> bool:
        """Whether others may enter now."""
        ticket = self._tickets.get(event.id)
        if ticket is None or ticket.run != member.run or ticket.cancelled:
            return False
        if isinstance(event, Started):
            ticket.began = True
            ticket.journey.started(event, now)
            if not ticket.told:  # who hears an answer already has heard of its start
                ticket.outlet.put(event)
            return False
        has_new_token = ticket.told.take(event)
        if isinstance(event, Text):
            ticket.journey.said(event, now)
            ticket.first_text = now if ticket.first_text is None else ticket.first_text
        ticket.outlet.put(event)
        return has_new_token and not ticket.advanced and self._recovery.advanced(ticket)

    def _end(self, member: Member, request: int, outcome: Outcome | RunnerError) -> bool:
        ticket = self._tickets.get(request)
        if ticket is None or ticket.run != member.run:
            return False
        now = self._clock()
        self._recovery.ended(ticket)
        self._fleet.leave(member, request, now)
        if member.state == "stopping" and not member.inside:
            self._effects.stop(member.run, member.why)
        if self._is_worth_another(member, ticket, outcome):
            self._aftermath.put_back(ticket)
            return True
        self._given_up.pop(request, None)
        self._pace.ended(now)
        if not ticket.cancelled and not isinstance(outcome, RunnerError):
            self._pace.stayed(member.key, now - ticket.entered)
            self._recovery.answered(ticket)
        ticket.journey.ended(outcome, now, given_up=ticket.cancelled)
        if ticket.cancelled:
            del self._tickets[request]
        elif isinstance(outcome, RunnerError):
            self._fail(ticket, outcome)
        elif isinstance(outcome, Done) and outcome.reason == "cancelled":
            self._fail(ticket, Cancelled("the worker gave the request up"))
        else:
            del self._tickets[request]
            ticket.outlet.finish(_in_full(outcome, ticket, now))
        return True

    def _is_worth_another(self, member: Member, ticket: Ticket, outcome: Outcome | RunnerError) -> bool:
        """Whether a worker that is ended for another's sake gave this one up: it has no fault in that."""
        is_given_up = isinstance(outcome, Done) and outcome.reason == "cancelled"
        return is_given_up and member.state == "stopping" and not ticket.cancelled and not self._closing

    def _fail(self, ticket: Ticket, error: RunnerError) -> None:
        """The ticket's outcome is this error. It is in no queue and no worker any more."""
        del self._tickets[ticket.id]
        self._recovery.ended(ticket)
        self._given_up.pop(ticket.id, None)
        ticket.journey.ended(error, self._clock(), given_up=ticket.cancelled)
        if not ticket.cancelled:
            ticket.outlet.fail(error)


def _in_full(outcome: Outcome, ticket: Ticket, now: float) -> Outcome:
    """A worker that finished another's answer counts only its own time."""
    if not isinstance(outcome, Done) or not ticket.is_resumed or ticket.first_text is None:
        return outcome
    decode_ns = max(outcome.usage.decode_ns, round((now - ticket.first_text) * 1e9))
    return msgspec.structs.replace(outcome, usage=msgspec.structs.replace(outcome.usage, decode_ns=decode_ns))
