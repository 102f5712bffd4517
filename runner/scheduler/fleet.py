"""The loaded models: their state, who is in them, and when each may go. State only; decisions are in `plan`.

Changed by the scheduler's loop alone. Time is a number of monotonic seconds that the caller brings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from runner.protocol.commands import Load
from runner.protocol.events import Ready, Stats
from runner.scheduler.memory import Need, measured

State = Literal["loading", "ready", "stopping"]
_WINDOW = 2  # requests that a worker holds at most, as a multiple of its sequences


@dataclass(slots=True, eq=False)
class Member:
    """One worker, from the order to load until its process is gone."""

    run: int  # counts workers; tells a model's present one from those before it
    model: str
    digest: str
    load: Load
    need: Need
    keep_alive: float  # seconds after the last request; inf for ever
    began: float
    state: State = "loading"
    ready: Ready | None = None
    ready_at: float = 0.0
    progress: float = 0.0
    stats: Stats | None = None
    inside: set[int] = field(default_factory=set)  # ids of requests that the worker holds
    idle_since: float | None = None
    last_used: float = 0.0

    @property
    def window(self) -> int:
        """How many requests the worker may hold: those it computes, and as many to choose the next ones from."""
        return _WINDOW * self.ready.sequences if self.ready else 0

    @property
    def taken(self) -> Need:
        """What it holds now, of what it needs."""
        return self.need.taken(wide=self.stats is not None and self.stats.is_wide)

    @property
    def expires(self) -> float | None:
        """When it may go unless somebody comes; None while it loads, is busy or is stopping."""
        if self.state != "ready" or self.idle_since is None:
            return None
        return self.idle_since + self.keep_alive


class Fleet:
    """Members by model, at most one each."""

    def __init__(self, keep_alive: float) -> None:
        self._keep_alive = keep_alive
        self._by_model: dict[str, Member] = {}
        self._by_run: dict[int, Member] = {}
        self._runs = 0

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._by_model.values()))

    def __len__(self) -> int:
        return len(self._by_model)

    def of(self, model: str) -> Member | None:
        """The worker of this model, in whatever state."""
        return self._by_model.get(model)

    def by_run(self, run: int) -> Member | None:
        """The worker with this number, if it hasn't gone."""
        return self._by_run.get(run)

    def begin(self, model: str, digest: str, load: Load, need: Need, now: float) -> Member:
        """A load begins. The model has no member yet."""
        self._runs += 1
        member = Member(self._runs, model, digest, load, need, self._keep_alive, began=now, last_used=now)
        self._by_model[model] = self._by_run[member.run] = member
        return member

    def loaded(self, member: Member, ready: Ready, now: float) -> None:
        """The load succeeded. What the worker measured replaces what was estimated."""
        member.state, member.ready, member.ready_at = "ready", ready, now
        member.idle_since = member.last_used = now
        member.need = measured(ready, member.need)

    def enter(self, member: Member, request: int, now: float) -> None:
        """A request goes to the worker."""
        member.inside.add(request)
        member.idle_since, member.last_used = None, now

    def touch(self, member: Member, keep_alive: float | None, now: float) -> None:
        """Somebody asked for the model. The last explicit keep-alive sticks; a timer that runs starts anew."""
        if keep_alive is not None:
            member.keep_alive = keep_alive
        member.last_used = now
        if member.idle_since is not None:
            member.idle_since = now

    def leave(self, member: Member, request: int, now: float) -> None:
        """A request has left the worker, whatever its end. The timer starts when the last one does."""
        member.inside.discard(request)
        if not member.inside and member.idle_since is None:
            member.idle_since = member.last_used = now

    def stopping(self, member: Member) -> None:
        """No newcomers from here on; the worker ends as soon as it is empty."""
        member.state = "stopping"

    def gone(self, member: Member) -> None:
        """The process has ended."""
        del self._by_run[member.run]
        del self._by_model[member.model]

    def expired(self, now: float) -> tuple[Member, ...]:
        """Idle members whose time is over."""
        return tuple(m for m in self if m.expires is not None and m.expires <= now)

    def next_expiry(self) -> float | None:
        """When the first idle member's time is over, if any member's ever is."""
        times = [m.expires for m in self if m.expires is not None and m.expires != float("inf")]
        return min(times, default=None)
