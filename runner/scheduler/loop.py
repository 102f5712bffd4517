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
    LoadFailed,
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
from runner.scheduler.breaker import Breaker
from runner.scheduler.effects import Effects
from runner.scheduler.failures import Exit, error_of, gibibytes
from runner.scheduler.fleet import Fleet, Member
from runner.scheduler.meters import Journey, Measured, Meters
from runner.scheduler.queue import Pace, Queue
from runner.scheduler.ticket import Admission, Outlet, Ticket, Want

log = logging.getLogger(__name__)
_LIVES = 2  # a request that this many workers died under is not tried again
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
    """Admission to workers and their residency. `available` measures the machine's free memory in bytes; `learn` hears
    what each load took, by the digest of its model."""

    def __init__(
        self,
        limits: Limits,
        effects: Effects,
        clock: Callable[[], float],
        available: Callable[[], int],
        learn: Callable[[str, commands.Load, Ready], None] = lambda digest, load, ready: None,
    ) -> None:
        self._limits = limits
        self._effects = effects
        self._clock = clock
        self._available = available
        self._learn = learn
        self._queue = Queue()
        self._pace = Pace()
        self._fleet = Fleet(limits.keep_alive)
        self._breaker = Breaker()
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

        Raises ServerBusy, ShuttingDown, or LoadFailed for a model that is on pause.
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
        if pause := self._breaker.pause(want.model, now):
            raise LoadFailed(_on_pause(want.model, pause))
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
                    self._progress(member, event, now)
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
        times = [self._fleet.next_expiry(), next(iter(self._given_up.values()), None)]
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
        heads = self._queue.heads({member.model: member.window for member in self._fleet})
        return plan.Snapshot(
            lines=[[plan.Waiting(ticket.id, ticket.want) for ticket in line] for line in heads],
            fleet=[
                plan.Loaded(m.model, m.digest, m.state, m.load, m.need, len(m.inside), m.window, m.last_used)
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
        ticket.journey.entered()
        self._fleet.enter(member, ticket.id, now)
        self._effects.send(member.run, msgspec.structs.replace(work, id=ticket.id))

    def _progress(self, member: Member, event: Started | Text | Ended, now: float) -> None:
        ticket = self._tickets.get(event.id)
        if ticket is None or ticket.run != member.run or ticket.cancelled:
            return
        ticket.sent |= not isinstance(event, Started)
        if isinstance(event, Text):
            ticket.journey.said(event, now)
        elif isinstance(event, Started):
            ticket.journey.started(event, now)
        ticket.outlet.put(event)

    def _end(self, member: Member, request: int, outcome: Outcome | RunnerError) -> bool:
        ticket = self._tickets.get(request)
        if ticket is None or ticket.run != member.run:
            return False
        now = self._clock()
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
            ticket.outlet.finish(outcome)
        return True

    def _fail(self, ticket: Ticket, error: RunnerError) -> None:
        """The ticket's outcome is this error. It is in no queue and no worker any more."""
        del self._tickets[ticket.id]
        self._given_up.pop(ticket.id, None)
        ticket.journey.ended(error, self._clock(), given_up=ticket.cancelled)
        if not ticket.cancelled:
            ticket.outlet.fail(error)

    def _ready(self, member: Member, ready: Ready) -> None:
        if member.state != "loading":
            return
        now = self._clock()
        self._fleet.loaded(member, ready, now)
        self._learn(member.digest, member.load, ready)
        self._meters[member.model].loads.add(now - member.began)
        log.info('"%s" is loaded: %.1f s, %s', member.model, ready.load_ns / 1e9, gibibytes(member.need.total))

    def _refused(self, member: Member, error: RunnerError) -> None:
        """The engine won't have this model; trying again would give the same."""
        log.warning('"%s" could not be loaded: %s', member.model, error.message)
        self._send_away(member, error)
        if member.state != "stopping":
            self._stop(member)

    def _send_away(self, member: Member, error: RunnerError) -> None:
        """Fail everybody who waits for just this load."""
        for ticket in self._queue.line(member.model):
            if ticket.want.is_served_by(member.digest, member.load):
                self._queue.remove(ticket)
                self._fail(ticket, error)

    def _died(self, member: Member, inside: list[Ticket], how: Exit) -> None:
        self._meters[member.model].deaths += 1
        log.error('the worker of "%s" died: %s%s', member.model, how, f"\n{how.tail}" if how.tail else "")
        if member.state == "loading":
            self._died_loading(member, how)
        for ticket in inside:
            ticket.deaths += 1
            ticket.run = None
            ticket.journey.put_back()
            if ticket.cancelled or ticket.sent or ticket.deaths >= _LIVES or self._closing:
                again = " again" if ticket.deaths >= _LIVES else ""
                self._fail(ticket, WorkerCrashed(f'the worker of "{member.model}" died{again}: {how}'))
            else:
                self._queue.add(ticket)
        now = self._clock()
        if self._breaker.died(member.model, now):
            pause = self._breaker.pause(member.model, now)
            for ticket in self._queue.line(member.model):
                self._queue.remove(ticket)
                self._fail(ticket, LoadFailed(_on_pause(member.model, pause)))

    def _died_loading(self, member: Member, how: Exit) -> None:
        """A death may be chance and is worth a second load; what the daemon itself put an end to is not."""
        error = LoadFailed(f'"{member.model}" could not be loaded: {how}')
        if how.fault or how.code is None:
            self._send_away(member, error)
            return
        for ticket in self._queue.line(member.model):
            ticket.deaths += 1
            if ticket.deaths >= _LIVES:
                self._queue.remove(ticket)
                self._fail(ticket, error)

    def _stop(self, member: Member) -> None:
        self._fleet.stopping(member)
        if not member.inside:
            self._effects.stop(member.run)


def _on_pause(model: str, seconds: float) -> str:
    return (
        f'"{model}" is not being loaded for another {max(1, round(seconds))} s: its worker died three times within a '
        "minute. Its log says why"
    )
