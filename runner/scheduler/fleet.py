"""The loaded models: their state, who is in them, and when each may go. State only; decisions are in `plan`.

Changed by the scheduler's loop alone. Time is a number of monotonic seconds that the caller brings.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Literal

from runner.protocol.commands import Load, Why
from runner.protocol.events import Ready, Stats
from runner.scheduler.memory import Need, measured

State = Literal["loading", "ready", "stopping"]
_WINDOW = 2  # requests that a worker holds at most, as a multiple of its sequences


@dataclass(slots=True, eq=False)
class Member:
    """One worker, from the order to load until its process is gone."""

    run: int  # counts workers; tells a key's present one from those before it
    key: str  # models with the same key share the worker
    loaded_for: str  # the model whose request began the load
    digest: str
    load: Load
    need: Need
    began: float
    names: dict[str, float] = field(default_factory=dict)  # models in use: keep-alive in seconds, inf for ever
    state: State = "loading"
    ready: Ready | None = None
    ready_at: float = 0.0
    progress: float = 0.0
    stats: Stats | None = None
    inside: set[int] = field(default_factory=set)  # ids of requests that the worker holds
    idle_since: float | None = None
    last_used: float = 0.0
    why: Why = "idle"  # it is stopping
    generations: dict[str, int] = field(default_factory=dict)  # by model: of the settings that its load is right by
    least: int = 0  # bytes of the smallest load that would have served as well
    is_dismissed: bool = False  # it was let go by its name

    @property
    def model(self) -> str:
        """The first of its models: the one it was loaded for, until that is unloaded by name."""
        return next(iter(self.names), self.loaded_for)

    @property
    def models(self) -> tuple[str, ...]:
        """Full names of what it has served and wasn't unloaded since; the one it was loaded for comes first."""
        return tuple(self.names) or (self.loaded_for,)

    @property
    def keep_alive(self) -> float:
        """Seconds that it stays after the last request: the longest that any of its models was given."""
        return max(self.names.values(), default=0.0)

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
    """Members by key, at most one each."""

    def __init__(self, keep_alive: float) -> None:
        self._keep_alive = keep_alive
        self._by_key: dict[str, Member] = {}
        self._by_run: dict[int, Member] = {}
        self._runs = 0
        self._changed: dict[str, int] = {}  # models whose loads the settings have changed, and their generation then

    def relimit(self, keep_alive: float) -> None:
        """Another keep-alive where nobody asked for one, for the members that are there too."""
        for member in self:
            for model, given in member.names.items():
                if given == self._keep_alive:
                    member.names[model] = keep_alive
        self._keep_alive = keep_alive

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)

    def of(self, key: str) -> Member | None:
        """The worker with this key, in whatever state."""
        return self._by_key.get(key)

    def serving(self, model: str) -> Member | None:
        """The worker that this model, by its full name, is served by: of several the one that is right and new."""
        found = [member for member in self._by_key.values() if model in member.models]
        return max(found, key=lambda member: (not self.is_former(member, model), member.run), default=None)

    def change(self, model: str, generation: int) -> None:
        """The settings of this generation, and of those to come, say another load of a model than those before."""
        self._changed[model] = generation

    def is_former(self, member: Member, model: str) -> bool:
        """Whether a worker was loaded for a model in a way that the settings don't say any more."""
        return member.generations.get(model, 0) < self._changed.get(model, 0)

    def is_kept(self, member: Member, pinned: Container[str]) -> bool:
        """Whether a pinned model has its worker in this one."""
        return any(
            model in pinned and self.serving(model) is member and not self.is_former(member, model)
            for model in member.models
        )

    def by_run(self, run: int) -> Member | None:
        """The worker with this number, if it hasn't gone."""
        return self._by_run.get(run)

    def begin(
        self, key: str, model: str, digest: str, load: Load, need: Need, now: float, generation: int = 0
    ) -> Member:
        """A load begins. There is no member with this key yet.

        One of settings that are past serves those who came under them, and stays no longer.
        """
        self._runs += 1
        member = Member(self._runs, key, model, digest, load, need, now, last_used=now)
        member.generations[model] = generation
        member.names[model] = 0.0 if self.is_former(member, model) else self._keep_alive
        self._by_key[key] = self._by_run[member.run] = member
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

    def touch(self, member: Member, model: str, keep_alive: float | None, now: float, generation: int = 0) -> None:
        """Somebody asked for a model. Its last explicit keep-alive sticks; a timer that runs starts anew."""
        member.last_used = now
        if member.idle_since is not None:
            member.idle_since = now
        member.generations[model] = max(member.generations.get(model, 0), generation)
        if generation < self._changed.get(model, 0):  # it came before the settings changed
            member.names.setdefault(model, 0.0)
            return
        for other in self._by_key.values():
            if other is not member and model in other.names:
                self._abandon(other, model)
        member.names.setdefault(model, self._keep_alive)
        if keep_alive is not None:
            member.names[model] = keep_alive

    def _abandon(self, former: Member, model: str) -> None:
        """A model whose files have changed has a worker of another key now; for the former one nobody will come."""
        former.names[model] = 0.0
        self.forget(former, model)

    def leave(self, member: Member, request: int, now: float) -> None:
        """A request has left the worker, whatever its end. The timer starts when the last one does."""
        member.inside.discard(request)
        if not member.inside and member.idle_since is None:
            member.idle_since = member.last_used = now

    def forget(self, member: Member, model: str) -> bool:
        """Take a model's name away from its worker; True if that was the last one, which then stays."""
        if len(member.names) <= 1:
            return True
        del member.names[model]
        return False

    def stopping(self, member: Member, why: Why = "idle") -> None:
        """No newcomers from here on; the worker ends as soon as it is empty."""
        member.state, member.why = "stopping", why

    def gone(self, member: Member) -> None:
        """The process has ended."""
        del self._by_run[member.run]
        del self._by_key[member.key]

    def expired(self, now: float) -> tuple[Member, ...]:
        """Idle members whose time is over."""
        return tuple(m for m in self if m.expires is not None and m.expires <= now)

    def beyond(self, limit: int, pinned: Container[str]) -> tuple[Member, ...]:
        """The idle members that are too many where `limit` may be there, the longest unused; pinned models stay."""
        there = [m for m in self if m.state != "stopping"]
        idle = [m for m in there if m.expires is not None and not self.is_kept(m, pinned)]
        return tuple(sorted(idle, key=lambda m: m.last_used)[: max(0, len(there) - max(1, limit))])

    def next_expiry(self, pinned: Container[str]) -> float | None:
        """When the first idle member's time is over, if any member's ever is; those of pinned models stay."""
        times = [m.expires for m in self if m.expires not in (None, float("inf")) and not self.is_kept(m, pinned)]
        return min(times, default=None)
