"""What becomes of the requests inside a worker that died, and of the model whose worker it was. Pure.

A request goes back to its place and on behind what was told of it. Whoever had no new token when the worker died may
have killed it. Such suspects go first into the next worker, one at a time, each until it has a new token, and with
the first of them whoever was in the middle of an answer; but with a suspect that is counted nobody enters. What has no
tokens to show (embeddings, say) is tried together once, and then by itself too. Who is twice the only one without a new
token when a worker dies is not tried again. Carrying out is the loop's; time is a number that it brings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelfiles.sizes import human_bytes
from runner.errors import LoadFailed, RunnerError, WorkerCrashed
from runner.protocol.commands import Generate
from runner.scheduler.breaker import Breaker, CrashLoop
from runner.scheduler.failures import Exit
from runner.scheduler.memory import HOST, Need, Room
from runner.scheduler.quarantine import Quarantine
from runner.scheduler.ticket import Ticket, Want

_TRIES = 2  # deaths that count against a request, and loads that may die, until it is given up
_TRIAL = 10.0  # seconds that others wait for a suspect, and after which it is none: its prompt may be a long one
_ACQUITTALS = 2  # deaths in a row without a new token, after which it isn't acquitted any more
_SMALLER = 0.6  # of what a load takes is left to it once it has run out of memory, beside the host's weights
_STAYS_SMALL = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do after a death: who waits again, who has failed and of what, and how long the model is left alone."""

    again: list[Ticket]
    failed: list[tuple[Ticket, RunnerError]]
    pause: float = 0.0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Small:
    """A model that ran out of memory once: its loads stay within `most` bytes of each pool until then, and within what
    is free of the others. `words` say why."""

    most: Room
    until: float
    words: str


class Recovery:
    """Everything is by the worker's key; `model` is what people call it."""

    def __init__(self) -> None:
        self._breaker = Breaker()
        self._quarantine = Quarantine()
        self._suspects: dict[str, dict[int, Ticket]] = {}
        self._returning: dict[str, dict[int, Ticket]] = {}  # in the middle of their answers, where there are suspects
        self._small: dict[str, Small] = {}

    # -- newcomers

    def check(self, want: Want, now: float) -> None:
        """Raises LoadFailed for a model that is left alone, Quarantined for a request that workers die of."""
        self._quarantine.check(want, now)
        if pause := self._breaker.pause(want.key, now):
            raise _on_pause(want.model, pause)

    def pause(self, key: str, now: float) -> float:
        """Seconds for which a model is still left alone."""
        return self._breaker.pause(key, now)

    # -- who may enter

    def fronts(self, lines: Sequence[Sequence[Ticket]]) -> list[Sequence[Ticket]]:
        """The beginnings of the waiting lines; where there are suspects, those who come next and nobody else."""
        if not self._suspects:
            return list(lines)
        return [self._next(line[0].want.key) or line for line in lines if line]

    def window(self, key: str, window: int, inside: int, now: float) -> int:
        """How many requests a worker may hold now: as long as there are suspects, no more than come next."""
        suspects = self._suspects.get(key)
        if not suspects:
            return window
        if any(ticket.run is not None and not _is_acquitted(ticket, now) for ticket in suspects.values()):
            return min(window, inside)
        coming = self._next(key)
        return min(window, inside + len(coming)) if coming else window

    def _next(self, key: str) -> Sequence[Ticket]:
        """Who of those that a worker died under goes first; nobody where there is no suspect, or none waits.

        A suspect goes before those beside it, so that it has soon shown that it is none.
        """
        if key not in self._suspects:
            return ()
        suspects, returning = _waiting(self._suspects[key]), _waiting(self._returning.get(key, {}))
        if not suspects or suspects[0].counted:
            return suspects[:1] or returning
        if not _is_silent(suspects[0]):
            return [suspects[0], *returning]
        together = [each for each in suspects if _is_silent(each) and each.fruitless < _TRIES]
        return [*returning, *(together if suspects[0] in together else suspects[:1])]

    def next_look(self, now: float) -> float | None:
        """When a trial has lasted for long enough, if there is one."""
        ends = [t.entered + _TRIAL for each in self._suspects.values() for t in each.values() if t.run is not None]
        return min((end for end in ends if end > now), default=None)

    # -- how they get on

    def entered(self, ticket: Ticket, now: float) -> None:
        """A worker takes it."""
        ticket.entered = now
        ticket.began = ticket.advanced = False
        ticket.failed_loads = 0

    def advanced(self, ticket: Ticket) -> bool:
        """It has a new token. True if others may enter now."""
        ticket.advanced = True
        ticket.fruitless = ticket.counted = 0
        return self.ended(ticket)

    def ended(self, ticket: Ticket) -> bool:
        """It is over, or above suspicion. True if others may enter now."""
        key = ticket.want.key
        if key not in self._suspects:
            return False
        was = (ticket.id in self._suspects[key], ticket.id in self._returning.get(key, {}))
        self._suspects[key].pop(ticket.id, None)
        self._returning.get(key, {}).pop(ticket.id, None)
        self._tidy(key)
        return any(was)

    def answered(self, ticket: Ticket) -> None:
        """It is done, and a worker that brings work to its end is in no crash loop, though nobody inside may have a new
        token when it dies. What has no tokens to show has got on by its end."""
        if ticket.advanced or _is_silent(ticket):
            self._breaker.worked(ticket.want.key)

    def _tidy(self, key: str) -> None:
        if not self._suspects.get(key):
            self._suspects.pop(key, None)
            self._returning.pop(key, None)

    # -- deaths

    def died(self, key: str, model: str, inside: Sequence[Ticket], how: Exit, now: float) -> Verdict:
        """The worker of a loaded model died with these inside."""
        again: list[Ticket] = []
        failed: list[tuple[Ticket, RunnerError]] = []
        quarantined = 0
        fruitless = [ticket for ticket in inside if not ticket.advanced]
        known = any(ticket.counted for ticket in fruitless)  # the request explains this one, too,
        known |= len(fruitless) > 1 and all(t.fruitless and _is_silent(t) for t in fruitless)  # or one of these does
        blamed = self._blame(key, [t for t in fruitless if not _is_acquitted(t, now)] or fruitless)
        for ticket in fruitless:
            ticket.fruitless += 1
        for ticket in inside:
            ticket.run = None
            if ticket.cancelled:
                self.ended(ticket)
                failed.append((ticket, WorkerCrashed(f'the worker of "{model}" died: {how}')))
            elif ticket.counted >= _TRIES:
                self.ended(ticket)
                failed.append((ticket, self._quarantine.add(ticket.want, now)))
                quarantined += 1
            else:
                again.append(ticket)
                self._note(ticket, ticket in blamed)
        self._tidy(key)
        pause = 0.0
        if len(fruitless) < len(inside):
            self._breaker.worked(key)
        elif not known:
            pause = self._counted(key, model, how, now)
        return Verdict(again, failed, pause, quarantined)

    def _note(self, ticket: Ticket, is_blamed: bool) -> None:
        suspects, returning = (each.setdefault(ticket.want.key, {}) for each in (self._suspects, self._returning))
        if is_blamed:
            suspects[ticket.id] = ticket
            returning.pop(ticket.id, None)
        elif ticket.told and ticket.id not in suspects:
            returning[ticket.id] = ticket

    def _blame(self, key: str, fruitless: Sequence[Ticket]) -> list[Ticket]:
        """Who may have killed the worker, of those who had no new token; counted if there is one only.

        A suspect on trial is likelier to have done it than an answer that went on beside it, and who was being computed
        than who was being prepared; but nobody stays behind another twice.
        """
        on_trial = [ticket for ticket in fruitless if ticket.id in self._suspects.get(key, {})]
        if len(only := on_trial if len(on_trial) == 1 else fruitless) == 1:
            only[0].counted += 1
            return [*only]
        began = [ticket for ticket in fruitless if ticket.began or ticket.fruitless]
        return began or [*fruitless]

    def died_loading(self, key: str, model: str, waiting: Sequence[Ticket], how: Exit, now: float) -> Verdict:
        """The worker died before it was ready, and these wait for just this load.

        A death may be chance, as a silence may, and is worth a second load; what else the daemon put an end to is not.
        """
        error = LoadFailed(f'"{model}" could not be loaded: {how}')
        is_final = how.code is None or (bool(how.fault) and not how.hung)
        failed: list[tuple[Ticket, RunnerError]] = []
        for ticket in waiting:
            ticket.failed_loads += 1
            if is_final or ticket.failed_loads >= _TRIES:
                self.ended(ticket)
                failed.append((ticket, error))
        return Verdict([], failed, self._counted(key, model, how, now))

    def _counted(self, key: str, model: str, how: Exit, now: float) -> float:
        is_loop = self._breaker.died(key, now, model=model, words=str(how))
        return self._breaker.pause(key, now) if is_loop else 0.0

    def on_pause(self, model: str, pause: float) -> LoadFailed:
        """What those are told who wait for a model that is left alone from now on."""
        return _on_pause(model, pause)

    def crash_loops(self, now: float) -> tuple[CrashLoop, ...]:
        """The models that are left alone at the moment."""
        return self._breaker.loops(now)

    # -- too little memory

    def step_down(self, key: str, model: str, had: Need, least: int, now: float) -> Small | None:
        """A load ran out of memory, or the system ended it for that: what its next one may take. None if that is known
        to be of no use: it ran with less already, or `least`, the smallest on the CPU alone, is no less than it had.

        Which pool ran out nobody says. What a device loses, the host is given: layers move there.
        """
        self._forget_small(now)
        most = {pool: round(_SMALLER * size) for pool, size in had.devices.items()}
        moved = sum(had.devices.values()) - sum(most.values())
        most[HOST] = max(least, had.weights + round(_SMALLER * (had.host - had.weights)) + moved)
        if key in self._small or (most[HOST] >= had.host and not moved):
            return None
        words = f'"{model}" ran out of memory with {_told(had.pools)}; from now on it gets {_told(most)}'
        self._small[key] = Small(most, now + _STAYS_SMALL, words)
        return self._small[key]

    def small(self, key: str, now: float) -> Small | None:
        """Whether this model's loads stay small, and why."""
        self._forget_small(now)
        return self._small.get(key)

    def _forget_small(self, now: float) -> None:
        for key in [key for key, small in self._small.items() if small.until <= now]:
            del self._small[key]


def _is_acquitted(ticket: Ticket, now: float) -> bool:
    """Whether it has been in its worker for so long that somebody else will have killed that."""
    return now >= ticket.entered + _TRIAL and ticket.fruitless <= _ACQUITTALS


def _told(pools: Room) -> str:
    """Bytes by pool for people; where there is the host alone, without its name."""
    if len(pools) == 1:
        return human_bytes(sum(pools.values()))
    there = sorted(pools.items(), key=lambda item: (item[0] == HOST, item[0]))
    return " and ".join(f"{human_bytes(size)} of {'memory' if pool == HOST else pool}" for pool, size in there)


def _waiting(tickets: Mapping[int, Ticket]) -> list[Ticket]:
    """Those that wait, in order: whoever is counted first."""
    return sorted((each for each in tickets.values() if each.run is None), key=lambda each: (-each.counted, each.id))


def _is_silent(ticket: Ticket) -> bool:
    """Whether nothing is heard of it before its end."""
    return not isinstance(ticket.want.work, Generate)


def _on_pause(model: str, seconds: float) -> LoadFailed:
    return LoadFailed(
        f'"{model}" is not being loaded for another {max(1, round(seconds))} s: its worker died three times within a '
        "minute. Its log says why"
    )
