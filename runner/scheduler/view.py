"""What the scheduler can be asked: how requests, workers and models stand, and what would come of a request.

Reads the scheduler's state as it is at that moment, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

from runner.scheduler import foresight
from runner.scheduler.breaker import CrashLoop
from runner.scheduler.fleet import Fleet, Member
from runner.scheduler.history import History
from runner.scheduler.meters import Measured, Meters
from runner.scheduler.queue import Queue
from runner.scheduler.rates import Rates
from runner.scheduler.recovery import Recovery
from runner.scheduler.standing import Outlook, Prospect, Standing
from runner.scheduler.survey import Survey
from runner.scheduler.ticket import Ticket, Want


class View:
    """Of one scheduler, which owns all that it is given. `history` is what happened to its models, `rates` how fast
    they are."""

    def __init__(
        self,
        queue: Queue,
        fleet: Fleet,
        tickets: Mapping[int, Ticket],
        meters: Mapping[str, Meters],
        pinned: AbstractSet[str],
        recovery: Recovery,
        survey: Survey,
        outlook: Outlook,
        history: History,
        rates: Rates,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._fleet = fleet
        self._tickets = tickets
        self._meters = meters
        self._pinned = pinned
        self._recovery = recovery
        self._survey = survey
        self._outlook = outlook
        self.history = history
        self.rates = rates
        self._clock = clock

    def pinned(self) -> frozenset[str]:
        """Full names of the models that are pinned, loaded or not."""
        return frozenset(self._pinned)

    def is_kept(self, member: Member) -> bool:
        """Whether it stays because of a model that is pinned."""
        return self._fleet.is_kept(member, self._pinned)

    def standing(self, request: int) -> Standing | None:
        """Where a request stands now: None once it has ended; without anything ahead once a worker has it."""
        ticket = self._tickets.get(request)
        if ticket is None:
            return None
        return Standing(0, 0, 0.0) if ticket not in self._queue else self._outlook.of(ticket, self._clock())

    def ticket(self, request: int) -> Ticket | None:
        """A request's ticket, to be read and never changed; None once it has ended."""
        return self._tickets.get(request)

    def is_loading(self, key: str) -> bool:
        """Whether a worker with this key is being loaded."""
        member = self._fleet.of(key)
        return member is not None and member.state == "loading"

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

    def foresee(self, want: Want) -> foresight.Foreseen:
        """What would be decided for a request that came now, if all others who wait had what they wait for and kept it
        busy. Nothing is changed."""
        return foresight.foresee(self._survey.foresee(want, self._clock()), want, self._survey.lack)

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
