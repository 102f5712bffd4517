"""The single owner of all that changes: the queue, the fleet and the tickets.

Every method is one event; it changes the state and then carries out what `plan` decides. All are called on the daemon's
event loop and none of them waits, so each is atomic. What takes time (processes, timers) is behind `Effects`, and
reports back as further events.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import msgspec

from runner.errors import (
    Cancelled,
    InsufficientMemory,
    RunnerError,
    ServerBusy,
    ShuttingDown,
    WorkerCrashed,
)
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
from runner.scheduler import memory, plan
from runner.scheduler.breaker import CrashLoop
from runner.scheduler.effects import Effects
from runner.scheduler.failures import Exit, error_of, gibibytes
from runner.scheduler.fleet import Fleet, Member
from runner.scheduler.meters import Journey, Measured, Meters
from runner.scheduler.queue import Pace, Queue
from runner.scheduler.recovery import Recovery, Verdict
from runner.scheduler.ticket import Admission, Outlet, Ticket, Want

log = logging.getLogger(__name__)
_PATIENCE = 60.0  # seconds for a worker to give up a cancelled request; one step is what it should take
_UNBOUNDED = 2**62


@dataclass(frozen=True, slots=True)
class Limits:
    """The scheduler's own settings. With `offloads`, weights may go to a device whose memory isn't known here."""

    models: int
    queue: int
    keep_alive: float  # seconds
    offloads: bool = False


class Scheduler:
    """Admission to workers and their residency. `available` measures the machine's free memory in bytes."""

    def __init__(
        self, limits: Limits, effects: Effects, clock: Callable[[], float], available: Callable[[], int]
    ) -> None:
        self._limits = limits
        self._effects = effects
        self._clock = clock
        self._available = available
        self._queue = Queue()
        self._pace = Pace()
        self._fleet = Fleet(limits.keep_alive)
        self._recovery = Recovery()
        self._tickets: dict[int, Ticket] = {}
        self._meters: defaultdict[str, Meters] = defaultdict(Meters)
        self._ids = count(1)
        self._given_up: dict[int, float] = {}  # cancelled requests that a worker still holds: id to deadline
        self._capacity = 0
        self._closing = False
        self._drained: Callable[[], None] | None = None

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
        self._queue.add(ticket)
        self._settle()
        if ticket in self._queue and len(self._queue) > self._limits.queue:
            self._queue.remove(ticket)
            del self._tickets[ticket.id]
            raise ServerBusy(
                "server busy, please try again.  maximum pending requests exceeded",  # as Ollama says it
                retry_after=self._pace.seconds_for(len(self._queue), now),
            )
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
        """Let a model go once the requests inside it have ended. False if it isn't loaded."""
        member = self._fleet.of(model)
        if member is None or member.state == "stopping":
            return False
        if member.state == "loading" and self._queue.waiting(model):
            member.keep_alive = 0.0  # those who wait for this load are served first
        else:
            self._stop(member)
        self._settle()
        return True

    def residents(self) -> tuple[Member, ...]:
        """The workers there are. They belong to the scheduler: to be read at once and not kept."""
        return tuple(self._fleet)

    def waiting(self, model: str) -> int:
        """How many requests wait in the queue for this model."""
        return self._queue.waiting(model)

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
        member = self._fleet.of(model)
        inside = member.inside if member else ()
        running = sum(self._tickets[request].journey.is_running for request in inside)
        engine = meters.engine + member.stats if member and member.stats else meters.engine
        return Measured(model, meters, engine, member, running, len(inside) - running + self._queue.waiting(model))

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
        if changed:
            self._settle()

    def exited(self, run: int, how: Exit) -> None:
        """A worker's process is gone. Every worker that was started ends in this event."""
        member = self._fleet.by_run(run)
        if member is None:
            return
        self._fleet.gone(member)
        self._meters[member.model].engine += member.stats or Totals()
        inside = [self._tickets[request] for request in sorted(member.inside)]
        if member.state != "stopping" or inside:
            self._died(member, inside, how)
        self._settle()

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
            self._stop(member)
        self._settle()

    # Inside

    def _settle(self) -> None:
        """Carry out what can be done now, until nothing more can."""
        now = self._clock()
        while decisions := plan.plan(self._snapshot()):
            for decision in decisions:
                self._carry_out(decision, now)
        for member in self._fleet.expired(now):  # after the plan: somebody may just have come for it
            self._stop(member)
        self._end_the_hung(now)
        if self._closing:
            self._wind_up()
        times = [
            self._fleet.next_expiry(),
            next(iter(self._given_up.values()), None),
            self._recovery.next_look(now),
        ]
        self._effects.wake(min((time for time in times if time is not None), default=None), self.tick)

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
                self._stop(member)
        if not self._tickets and self._drained is not None:
            drained, self._drained = self._drained, None
            drained()

    def _snapshot(self) -> plan.Snapshot:
        now = self._clock()
        windows = {m.model: self._recovery.window(m.model, m.window, len(m.inside), now) for m in self._fleet}
        heads = self._recovery.fronts(self._queue.heads(windows))
        return plan.Snapshot(
            lines=[[plan.Waiting(ticket.id, ticket.want) for ticket in line] for line in heads],
            fleet=[
                plan.Loaded(m.model, m.digest, m.state, m.load, m.need, len(m.inside), windows[m.model], m.last_used)
                for m in self._fleet
            ],
            limit=self._limits.models,
            capacity=_UNBOUNDED if self._limits.offloads else self._measure(),
        )

    def _measure(self) -> int:
        """Bytes for all models together, measured only for somebody whose model isn't there.

        And only when no load or stop is half done, since part of its memory would count twice or not at all.
        """
        members = {member.model: member.state for member in self._fleet}
        absent = any(members.get(line[0].want.model, "stopping") == "stopping" for line in self._queue.heads({}))
        if absent and (self._capacity == 0 or all(state == "ready" for state in members.values())):
            ready = [(m.taken, m.load.options.use_mmap) for m in self._fleet if m.state == "ready"]
            self._capacity = memory.capacity(self._available(), ready)
        return self._capacity

    def _carry_out(self, decision: plan.Decision, now: float) -> None:
        match decision:
            case plan.Serve(id):
                self._admit(self._tickets[id], now)
            case plan.Load(id, room):
                self._load(self._tickets[id].want, room, now)
            case plan.Evict(model):
                member = self._fleet.of(model)
                if member is not None:
                    self._stop(member)
            case plan.Refuse(id, need, have):
                ticket = self._tickets[id]
                self._queue.remove(ticket)
                needed, had = gibibytes(need), gibibytes(have)
                self._fail(
                    ticket,
                    InsufficientMemory(
                        f'"{ticket.want.model}" needs about {needed} of memory, and {had} is available. A smaller '
                        "num_ctx or a smaller quantization may fit"
                    ),
                )

    def _load(self, want: Want, room: int, now: float) -> None:
        measured = min(room, self._available()) if self._limits.offloads else room
        options = memory.fit(want.footprint, want.load.options, measured, splits=not want.load.embedding)
        if (small := self._recovery.small(want.key, now)) is not None:
            while memory.need(want.footprint, options).total > small.most and measured > small.most // 2:
                measured = int(measured * 0.9)
                options = memory.fit(want.footprint, want.load.options, measured, splits=not want.load.embedding)
        load = msgspec.structs.replace(want.load, options=options)
        need = memory.need(want.footprint, options)
        member = self._fleet.begin(want.model, want.digest, load, need, now)
        log.info(
            'loading "%s": %d sequences, context %d, about %s',
            want.model, options.num_parallel, options.num_ctx, gibibytes(need.total),
        )  # fmt: skip
        self._effects.start(member.run, want.model, load, self)

    def _admit(self, ticket: Ticket, now: float) -> None:
        member = self._fleet.of(ticket.want.model)
        if member is None or member.ready is None:
            raise AssertionError("the plan serves only models that are ready")
        self._queue.remove(ticket)
        self._fleet.touch(member, ticket.want.keep_alive, now)
        loaded_while_waiting = max(0.0, member.ready_at - max(ticket.arrived, member.began))
        if not ticket.told:
            ticket.outlet.admit(
                Admission(
                    member.ready,
                    member.load.options,
                    waited_ns=round((now - ticket.arrived) * 1e9),
                    load_ns=round(loaded_while_waiting * 1e9),
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
        ticket.journey.ended(outcome, now, given_up=ticket.cancelled)
        if member.state == "stopping" and not member.inside:
            self._effects.stop(member.run)
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
        self._meters[member.model].loads.add(now - member.began)
        log.info('"%s" is loaded: %.1f s, %s', member.model, ready.load_ns / 1e9, gibibytes(member.need.total))

    def _refused(self, member: Member, error: RunnerError) -> None:
        """The engine won't have this model; trying again would give the same, but for a smaller load."""
        if isinstance(error, InsufficientMemory):
            self._starved(member)
            if member.state != "stopping":
                self._stop(member)
            return
        log.warning('"%s" could not be loaded: %s', member.model, error.message)
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
        now, key = self._clock(), member.model
        self._meters[member.model].deaths += 1
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
        meters = self._meters[member.model]
        meters.quarantines += verdict.quarantined
        for ticket in verdict.again:
            self._put_back(ticket)
        for ticket, error in verdict.failed:
            if ticket in self._queue:
                self._queue.remove(ticket)
            self._fail(ticket, error)
        if verdict.pause:
            for ticket in self._queue.line(member.model):
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
        needed, had = gibibytes(member.need.total), gibibytes(self._available())
        self._send_away(
            member,
            InsufficientMemory(
                f'"{member.model}" ran out of memory: its load of about {needed} failed with {had} available'
            ),
        )

    def _step_down(self, member: Member) -> bool:
        """Whether the model's next load is a smaller one for having run out of memory."""
        wants = [ticket.want for ticket in self._waiting_for(member)]
        least = max((memory.least(want.footprint, want.load.options).total for want in wants), default=0)
        small = self._recovery.step_down(member.model, member.model, member.need, least, self._clock())
        if small is not None:
            log.warning("%s", small.words)
        return small is not None

    def _waiting_for(self, member: Member) -> list[Ticket]:
        """Everybody who waits for just this load."""
        return [t for t in self._queue.line(member.model) if t.want.is_served_by(member.digest, member.load)]

    def _stop(self, member: Member) -> None:
        self._fleet.stopping(member)
        if not member.inside:
            self._effects.stop(member.run)


def _in_full(outcome: Outcome, ticket: Ticket, now: float) -> Outcome:
    """A worker that finished another's answer counts only its own time."""
    if not isinstance(outcome, Done) or not ticket.is_resumed or ticket.first_text is None:
        return outcome
    decode_ns = max(outcome.usage.decode_ns, round((now - ticket.first_text) * 1e9))
    return msgspec.structs.replace(outcome, usage=msgspec.structs.replace(outcome.usage, decode_ns=decode_ns))
