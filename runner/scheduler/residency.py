"""Workers come and go: loads and their ends, and what the history says of them.

Carries out, for the loop, what was decided elsewhere; knows nothing of the requests inside a worker but that there are
some.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from modelfiles.sizes import human_bytes
from runner.protocol.commands import Load, Why
from runner.protocol.events import Ready
from runner.scheduler import telling
from runner.scheduler.effects import Effects, Reports
from runner.scheduler.fleet import Fleet, Member
from runner.scheduler.history import History, What
from runner.scheduler.memory import Fitted
from runner.scheduler.meters import Meters
from runner.scheduler.pace import Pace
from runner.scheduler.queue import Queue
from runner.scheduler.survey import Survey
from runner.scheduler.ticket import Ticket, Want

log = logging.getLogger(__name__)


class Residency:
    """Works on the fleet of one scheduler. `learn` hears what each load took, by the digest of its model."""

    def __init__(
        self,
        effects: Effects,
        queue: Queue,
        fleet: Fleet,
        pace: Pace,
        survey: Survey,
        meters: Mapping[str, Meters],
        history: History,
        learn: Callable[[str, Load, Ready], None],
    ) -> None:
        self._effects = effects
        self._queue = queue
        self._fleet = fleet
        self._pace = pace
        self._survey = survey
        self._meters = meters
        self._history = history
        self._learn = learn

    def load(self, ticket: Ticket, fitted: Fitted, now: float, reports: Reports) -> None:
        """Begin a load for this ticket, which goes on waiting."""
        want, options, need, room = ticket.want, fitted.options, fitted.need, self._survey.left()
        load = msgspec.structs.replace(want.load, options=options, placement=fitted.placement)
        member = self._fleet.begin(want.key, want.model, want.digest, load, need, now, want.generation)
        member.least = self._survey.least(want)
        self._queue.load_begins(ticket)
        log.info(
            'loading "%s": %d sequences, context %d, about %s',
            want.model, options.num_parallel, options.num_ctx, human_bytes(need.total),
        )  # fmt: skip
        self._history.ordered(
            member.key, member.model, telling.ordered(member),
            named=want.named, context_from=want.context_from, room=room,
        )  # fmt: skip
        self._effects.start(member.run, want.model, load, reports)

    def note(self, model: str, what: What, words: str) -> None:
        """Something happened to a model, loaded or not."""
        member = self._fleet.serving(model)
        self._history.note(member.key if member else model, model, what, words)

    def evict(self, key: str, want: Want, now: float) -> None:
        """Let a worker go for this want: another model's, or its own, which can't be served as it is."""
        member = self._fleet.of(key)
        if member is None:
            return
        if want.key == member.key:
            words = telling.replaced(want, member.digest, member.load)
            self._history.note(member.key, member.model, "replaced", words)
        else:
            self._history.note(member.key, member.model, "evicted", telling.evicted(member, want, now))
        self.stop(member, "wanted")

    def ready(self, member: Member, ready: Ready, now: float) -> None:
        """A load has succeeded."""
        if member.state != "loading":
            return
        self._fleet.loaded(member, ready, now)
        self._pace.loaded(member.key, member.need.weights, member.window, now - member.began)
        self._meters[member.loaded_for].loads.add(now - member.began)
        words = telling.loaded(member, ready, now)
        self._history.note(member.key, member.model, "loaded", words)
        self._learn(member.digest, member.load, ready)
        log.info('"%s" is loaded %s', member.model, words)

    def tidy(self, now: float, limit: int, pinned: AbstractSet[str]) -> None:
        """Stop those whose time is over, and idle ones beyond the limit where it became less."""
        for member in self._fleet.expired(now):
            if not self._fleet.is_kept(member, pinned):
                self._history.note(member.key, member.model, "expired", telling.expired(member))
                self.stop(member)
        for member in self._fleet.beyond(limit, pinned):
            if not self._queue.line(member.key):
                self._history.note(member.key, member.model, "evicted", telling.beyond(limit))
                self.stop(member)

    def let_go(self, member: Member, model: str, why: str) -> None:
        """Take a model, by its full name, out of a worker, which ends without one once the requests inside have."""
        self._history.note(member.key, model, "unloaded", why)
        if not self._fleet.forget(member, model):
            log.info('"%s" is unloaded; its worker goes on with "%s"', model, '", "'.join(member.models))
        elif member.state == "loading" and self._queue.line(member.key):
            member.names[model] = 0.0  # those who wait for this load are served first
        else:
            member.is_dismissed = True
            self.stop(member)

    def stop(self, member: Member, why: Why = "idle") -> None:
        """End a worker, once nobody is inside."""
        self._fleet.stopping(member, why)
        if not member.inside:
            self._effects.stop(member.run, why)
