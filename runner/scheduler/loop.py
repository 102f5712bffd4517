"""The single owner of all that changes: the queue, the fleet and the tickets.

Every method is one event; it changes the state and then carries out what `plan` decides. All are called on the daemon's
event loop and none of them waits, so each is atomic. What takes time (processes, timers) is behind `Effects`, and
reports back as further events.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import msgspec

from runner.errors import Cancelled, InsufficientMemory, RunnerError, ShuttingDown, WorkerCrashed
from runner.protocol import commands
from runner.protocol.commands import Why
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
from runner.scheduler.breaker import CrashLoop
from runner.scheduler.effects import Effects
from runner.scheduler.failures import Exit, error_of, gibibytes, insufficient
from runner.scheduler.fleet import Fleet, Member
from runner.scheduler.history import History
from runner.scheduler.memory import Fitted
from runner.scheduler.meters import Journey, Measured, Meters
from runner.scheduler.pace import Pace
from runner.scheduler.queue import Queue
from runner.scheduler.rates import Rates
from runner.scheduler.reception import Reception
from runner.scheduler.recovery import Recovery, Verdict
from runner.scheduler.standing import Outlook, Prospect, Standing
from runner.scheduler.stock import Stock
from runner.scheduler.survey import Survey
from runner.scheduler.ticket import Admission, Outlet, Ticket, Want

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
        self._learn = learn
        self._queue = Queue()
        self._pace = Pace()
        self._fleet = Fleet(limits.keep_alive)
        self._pinned: set[str] = set()
        self._recovery = Recovery()
        self._survey = Survey(
            self._queue, self._fleet, self._pace, stock, self._pinned, self._recovery, limit=limits.models
        )
        self._outlook = Outlook(self._queue, self._fleet, self._pace, limits.models)
        self._reception = Reception(
            self._queue, self._outlook, self._pace, length=limits.queue, timeout=limits.queue_timeout
        )
        self.history = History(clock)
        self.rates = Rates()
        self._tickets: dict[int, Ticket] = {}
        self._meters: defaultdict[str, Meters] = defaultdict(Meters)
        self._ids = count(1)
        self._given_up: dict[int, float] = {}  # cancelled requests that a worker still holds: id to deadline
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

    def unload(self, model: str) -> bool:
        """Let a model, by its full name, go once the requests inside it have ended. False if it isn't loaded.

        A worker that serves other names as well goes on for those.
        """
        member = self._fleet.serving(model)
        if member is None or member.state == "stopping":
            return False
        self.history.note(member.key, model, "unloaded", "by request")
        if not self._fleet.forget(member, model):
            log.info('"%s" is unloaded; its worker goes on with "%s"', model, '", "'.join(member.models))
        elif member.state == "loading" and self._queue.line(member.key):
            member.names[model] = 0.0  # those who wait for this load are served first
        else:
            self._stop(member)
        self._settle()
        return True

    def pin(self, model: str) -> None:
        """From now on this model, by its full name, isn't evicted to make room, nor for being idle."""
        self._pinned.add(model)
        self._settle()

    def unpin(self, model: str) -> bool:
        """It is a model like others again. False if it was before."""
        was = model in self._pinned
        self._pinned.discard(model)
        self._settle()
        return was

    def pinned(self) -> frozenset[str]:
        """Full names of the models that are pinned, loaded or not."""
        return frozenset(self._pinned)

    def standing(self, request: int) -> Standing | None:
        """Where a request stands now: None once it has ended; without anything ahead once a worker has it."""
        ticket = self._tickets.get(request)
        if ticket is None:
            return None
        return Standing(0, 0, 0.0) if ticket not in self._queue else self._outlook.of(ticket, self._clock())

    def residents(self) -> tuple[Member, ...]:
        """The workers there are. They belong to the scheduler: to be read at once and not kept."""
        return tuple(self._fleet)

    def waiting(self, model: str) -> int:
        """How many requests wait in the queue for this model."""
        return self._queue.waiting(model)

    def queued(self) -> tuple[tuple[Want, int], ...]:
        """Those who wait, model by model: what the first wants, and how many there are."""
        firsts: dict[str, Want] = {}
        for ticket in self._queue:
            firsts.setdefault(ticket.want.model, ticket.want)
        return tuple((want, self._queue.waiting(model)) for model, want in firsts.items())

    def pause(self, key: str) -> float:
        """Seconds for which no worker of this key is started, because they kept dying; 0 if it may be."""
        return self._recovery.pause(key, self._clock())

    def prospect(self, key: str) -> Prospect:
        """What a request for a worker with this key had before it that came now."""
        line, member = self._queue.line(key), self._fleet.of(key)
        if line:
            return Prospect(len(line), self._outlook.of(line[-1], self._clock()).eta_seconds)
        ready = member is not None and member.state == "ready" and len(member.inside) < member.window
        return Prospect(0, 0.0 if ready else None)

    def is_ready(self, key: str) -> bool:
        """Whether a worker with this key is loaded."""
        member = self._fleet.of(key)
        return member is not None and member.state == "ready"

    def foresee(self, want: Want) -> plan.Foreseen:
        """What would be decided for a request that came now, if nobody else waited. Nothing is changed."""
        snapshot = self._survey.foresee(want, self._clock())
        need, capacity = self._survey.shortage(want)
        return plan.Foreseen(tuple(plan.plan(snapshot)), need, self._survey.left(), capacity)

    def crash_loops(self) -> tuple[CrashLoop, ...]:
        """The models whose workers kept dying, and that are left alone for a while."""
        return self._recovery.crash_loops(self._clock())

    def smaller(self, key: str) -> str:
        """Why the model's loads stay small, if they do because memory ran out; otherwise nothing."""
        small = self._recovery.small(key, self._clock())
        return small.words if small else ""

    def measured(self) -> tuple[Measured, ...]:
        """Every model that was ever asked for, as it stands now."""
        return tuple(self._measured(model, meters) for model, meters in self._meters.items())

    def _measured(self, model: str, meters: Meters) -> Measured:
        member = self._fleet.serving(model)
        tickets = [self._tickets[request] for request in member.inside] if member else []
        inside = [ticket for ticket in tickets if ticket.want.model == model]
        running = sum(ticket.journey.is_running for ticket in inside)
        owned = member is not None and member.loaded_for == model  # what a worker counts is told once
        engine = meters.engine + member.stats if owned and member and member.stats else meters.engine
        queued = self._queue.waiting(model)
        waiting = len(inside) - running + queued
        return Measured(model, meters, engine, member, running, waiting, queued, self.history.counts(model))

    def relimit(self, limits: Limits) -> None:
        """Go on with other limits. What is loaded or waits already may be more than they allow, and stays."""
        self._limits = limits
        self._fleet.relimit(limits.keep_alive)
        self._survey.limit = self._outlook.limit = limits.models
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
                    self._refused(member, error_of(event))
                    changed = True
                case Failed(id=int(request)):
                    changed |= self._end(member, request, error_of(event))
                case Ready():
                    self._ready(member, event)
                    changed = True
                case Loading():
                    member.progress = event.progress
                case Stats():
                    member.stats = event
                    self.rates.add(run, event, now)
        if changed:
            self._settle()

    def exited(self, run: int, how: Exit) -> None:
        """A worker's process is gone. Every worker that was started ends in this event."""
        member = self._fleet.by_run(run)
        if member is None:
            return
        self._fleet.gone(member)
        self.rates.forget(run)
        self._meters[member.loaded_for].engine += member.stats or Totals()
        inside = [self._tickets[request] for request in sorted(member.inside)]
        died = member.state != "stopping" or bool(inside)
        if died:
            self.history.note(member.key, member.model, "died", str(how), how.tail)
            self._died(member, inside, how)
            if again := sum(ticket in self._queue for ticket in inside):
                self.history.note(member.key, member.model, "resumed", telling.resumed(again))
            if pause := self._recovery.pause(member.key, self._clock()):
                self.history.note(member.key, member.model, "paused", telling.paused(pause))
        self._settle()
        for model in self._pinned.intersection(member.models):
            if died and not self._closing:
                self.on_lost(model)

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
            self._stop(member, "shutdown")
        self._settle()

    # Inside

    def _settle(self) -> None:
        """Carry out what can be done now, until nothing more can."""
        now = self._clock()
        for ticket, error in self._reception.look(now):
            self._fail(ticket, error)
        while decisions := plan.plan(self._survey.snapshot(now)):
            for decision in decisions:
                self._carry_out(decision, now)
        for member in self._fleet.expired(now):  # after the plan: somebody may just have come for it
            if not self._pinned.intersection(member.models):
                self.history.note(member.key, member.model, "expired", telling.expired(member))
                self._stop(member)
        self._end_the_hung(now)
        if self._closing:
            self._wind_up()
        self._effects.wake(self._next_time(now), self.tick)

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
                self._stop(member, "shutdown")
        if not self._tickets and self._drained is not None:
            drained, self._drained = self._drained, None
            drained()

    def _carry_out(self, decision: plan.Decision, now: float) -> None:
        match decision:
            case plan.Serve(id):
                self._admit(self._tickets[id], now)
            case plan.Load(id, fitted):
                self._load(self._tickets[id], fitted, now)
            case plan.Evict(key, by):
                member = self._fleet.of(key)
                if member is not None:
                    self._note_eviction(member, self._tickets[by].want, now)
                    self._stop(member, "wanted")
            case plan.Hold(id):
                ticket = self._tickets[id]
                ticket.hold = self._holds[id] = now + self._survey.hold(ticket.want)
            case plan.Refuse(id, pinned):
                ticket = self._tickets[id]
                self._queue.remove(ticket)
                shortage = self._survey.shortage(ticket.want)
                self.history.note(ticket.want.key, ticket.want.model, "refused", telling.refused(*shortage, pinned))
                self._fail(ticket, insufficient(ticket.want.model, *shortage, pinned))

    def _load(self, ticket: Ticket, fitted: Fitted, now: float) -> None:
        want, options, need, room = ticket.want, fitted.options, fitted.need, self._survey.left()
        load = msgspec.structs.replace(want.load, options=options, placement=fitted.placement)
        member = self._fleet.begin(want.key, want.model, want.digest, load, need, now)
        self._queue.load_begins(ticket)
        log.info(
            'loading "%s": %d sequences, context %d, about %s',
            want.model, options.num_parallel, options.num_ctx, gibibytes(need.total),
        )  # fmt: skip
        self.history.ordered(
            member.key, member.model, telling.ordered(member),
            named=want.named, context_from=want.context_from, room=room,
        )  # fmt: skip
        self._effects.start(member.run, want.model, load, self)

    def _note_eviction(self, member: Member, want: Want, now: float) -> None:
        if want.key == member.key:
            words = telling.replaced(want, member.digest, member.load)
            self.history.note(member.key, member.model, "replaced", words)
        else:
            self.history.note(member.key, member.model, "evicted", telling.evicted(member, want, now))

    def _admit(self, ticket: Ticket, now: float) -> None:
        member = self._fleet.of(ticket.want.key)
        if member is None or member.ready is None:
            raise AssertionError("the plan serves only models that are ready")
        self._queue.serve(ticket)
        self._fleet.touch(member, ticket.want.model, ticket.want.keep_alive, now)
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
        work = ticket.want.work
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
        self._given_up.pop(request, None)
        self._pace.ended(now)
        if not ticket.cancelled and not isinstance(outcome, RunnerError):
            self._pace.stayed(member.key, now - ticket.entered)
        ticket.journey.ended(outcome, now, given_up=ticket.cancelled)
        if member.state == "stopping" and not member.inside:
            self._effects.stop(member.run, member.why)
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

    def _fail(self, ticket: Ticket, error: RunnerError) -> None:
        """The ticket's outcome is this error. It is in no queue and no worker any more."""
        del self._tickets[ticket.id]
        self._recovery.ended(ticket)
        self._given_up.pop(ticket.id, None)
        ticket.journey.ended(error, self._clock(), given_up=ticket.cancelled)
        if not ticket.cancelled:
            ticket.outlet.fail(error)

    def _ready(self, member: Member, ready: Ready) -> None:
        if member.state != "loading":
            return
        now = self._clock()
        self._fleet.loaded(member, ready, now)
        self._pace.loaded(member.key, member.need.weights, member.window, now - member.began)
        self._meters[member.loaded_for].loads.add(now - member.began)
        self.history.note(member.key, member.model, "loaded", telling.loaded(member, ready, now))
        self._learn(member.digest, member.load, ready)
        log.info('"%s" is loaded: %.1f s, %s', member.model, ready.load_ns / 1e9, gibibytes(member.need.total))

    def _refused(self, member: Member, error: RunnerError) -> None:
        """The engine won't have this model; trying again would give the same, but for a smaller load."""
        if isinstance(error, InsufficientMemory):
            self._starved(member)
            if member.state != "stopping":
                self._stop(member)
            return
        log.warning('"%s" could not be loaded: %s', member.model, error.message)
        self.history.note(member.key, member.model, "failed", error.message)
        self._send_away(member, error)
        if member.state != "stopping":
            self._stop(member)

    def _send_away(self, member: Member, error: RunnerError) -> None:
        """Fail everybody who waits for just this load."""
        for ticket in self._waiting_for(member):
            self._queue.remove(ticket)
            self._fail(ticket, error)

    def _died(self, member: Member, inside: list[Ticket], how: Exit) -> None:
        """A worker is gone that nobody had told to go, or with requests inside."""
        now, key = self._clock(), member.key
        self._meters[member.loaded_for].deaths += 1
        log.error('the worker of "%s" died: %s%s', member.model, how, f"\n{how.tail}" if how.tail else "")
        if self._closing:
            for ticket in inside:
                self._fail(ticket, WorkerCrashed(f'the worker of "{member.model}" died: {how}'))
            return
        if how.is_out_of_memory and not any(ticket.advanced for ticket in inside):
            for ticket in inside:  # first, so that they are told if there is nothing to step down to
                self._put_back(ticket)
            self._starved(member)
            return
        if member.state == "loading":
            verdict = self._recovery.died_loading(key, member.model, self._waiting_for(member), how, now)
        else:
            if how.is_out_of_memory:
                self._step_down(member)
            verdict = self._recovery.died(key, member.model, inside, how, now)
        self._carry_on(member, verdict)

    def _carry_on(self, member: Member, verdict: Verdict) -> None:
        meters = self._meters[member.loaded_for]
        meters.quarantines += verdict.quarantined
        for ticket in verdict.again:
            self._put_back(ticket)
        for ticket, error in verdict.failed:
            if ticket in self._queue:
                self._queue.remove(ticket)
            self._fail(ticket, error)
        if verdict.pause:
            for ticket in self._queue.line(member.key):
                self._queue.remove(ticket)
                self._fail(ticket, self._recovery.on_pause(member.model, verdict.pause))

    def _put_back(self, ticket: Ticket) -> None:
        """Its worker died, and it waits in its old place for another."""
        ticket.run = None
        ticket.journey.put_back()
        if ticket.cancelled:
            self._fail(ticket, WorkerCrashed("nobody waits for it"))
            return
        ticket.is_resumed = True
        self._meters[ticket.want.model].resumes += 1
        self._queue.add(ticket)

    def _starved(self, member: Member) -> None:
        """A load took more memory than there was: once more with less, if less will do."""
        if self._step_down(member):
            return
        needed, had = gibibytes(member.need.total), gibibytes(self._survey.whole())
        self._send_away(
            member,
            InsufficientMemory(
                f'"{member.model}" ran out of memory: its load of about {needed} failed with {had} available'
            ),
        )

    def _step_down(self, member: Member) -> bool:
        """Whether the model's next load is a smaller one for having run out of memory."""
        wants = [ticket.want for ticket in self._waiting_for(member)]
        least = max((self._survey.shortage(want)[0] for want in wants), default=0)
        small = self._recovery.step_down(member.key, member.model, member.need, least, self._clock())
        if small is not None:
            log.warning("%s", small.words)
            self.history.note(member.key, member.model, "stepped_down", small.words)
        return small is not None

    def _waiting_for(self, member: Member) -> list[Ticket]:
        """Everybody who waits for just this load."""
        return [t for t in self._queue.line(member.key) if t.want.is_served_by(member.digest, member.load)]

    def _stop(self, member: Member, why: Why = "idle") -> None:
        self._fleet.stopping(member, why)
        if not member.inside:
            self._effects.stop(member.run, why)


def _in_full(outcome: Outcome, ticket: Ticket, now: float) -> Outcome:
    """A worker that finished another's answer counts only its own time."""
    if not isinstance(outcome, Done) or not ticket.is_resumed or ticket.first_text is None:
        return outcome
    decode_ns = max(outcome.usage.decode_ns, round((now - ticket.first_text) * 1e9))
    return msgspec.structs.replace(outcome, usage=msgspec.structs.replace(outcome.usage, decode_ns=decode_ns))
