"""What happened to each model: a bounded list of plain values, for people who ask why.

Told by the scheduler's loop, a line where it happens; read by whoever explains. Knows no worker, no plan and no wire.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

What: TypeAlias = Literal[
    "loading",
    "loaded",
    "failed",  # the engine wouldn't load it
    "refused",  # it fits nowhere: a request was sent away
    "evicted",  # another model needed the place
    "replaced",  # it is loaded again, in another way
    "expired",  # nobody came for as long as its keep_alive says
    "unloaded",  # somebody asked for that
    "pinned",  # from now on it stays
    "unpinned",
    "died",
    "resumed",  # requests of a worker that died go on with another
    "paused",  # it died too often, and is left alone for a while
    "stepped_down",  # loaded smaller than planned, after it ran out of memory
]
ASIDE: frozenset[What] = frozenset({"loading", "refused", "pinned", "unpinned"})
"""What doesn't end a model's stay in memory, nor begin it."""
TROUBLE: frozenset[What] = frozenset({"failed", "refused", "died"})
"""What people call an error; a pause only follows from some."""

_KEPT = 40  # of one key: a model that comes and goes every minute shows its last half hour
_KEYS = 256  # those that something happened to last


@dataclass(frozen=True, slots=True)
class Happening:
    """`at` is on the scheduler's clock, `time` on the wall's, both in seconds. `model` is the name that it happened to,
    or the first of several that share a worker; `detail` what the worker wrote last, where that tells something."""

    what: What
    words: str
    at: float
    time: float
    model: str
    key: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """Under which circumstances a load was ordered. `named` are the options that the request which caused it gave in so
    many words, `context_from` says where its context length came from, `room` the bytes that were free, by pool."""

    model: str
    at: float
    time: float
    named: frozenset[str] = frozenset()
    context_from: str = ""
    room: Mapping[str, int] = field(default_factory=dict)


class History:
    """The last happenings of every key (what decides the worker; models with the same key share one).

    `clock` is the scheduler's, `today` gives seconds since the epoch. Bounded in what it keeps, whatever comes.
    """

    def __init__(self, clock: Callable[[], float], today: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._today = today
        self._rings: OrderedDict[str, deque[Happening]] = OrderedDict()
        self._orders: dict[str, Order] = {}
        self._counts: dict[str, Counter[What]] = {}

    def note(self, key: str, model: str, what: What, words: str, detail: str = "") -> None:
        """Something has happened just now."""
        ring = self._rings.setdefault(key, deque(maxlen=_KEPT))
        self._rings.move_to_end(key)
        ring.append(Happening(what, words, self._clock(), self._today(), model, key, detail))
        self._counts.setdefault(model, Counter())[what] += 1
        while len(self._rings) > _KEYS:
            gone, _ = self._rings.popitem(last=False)
            self._orders.pop(gone, None)

    def ordered(
        self,
        key: str,
        model: str,
        words: str,
        *,
        named: frozenset[str] = frozenset(),
        context_from: str = "",
        room: Mapping[str, int] | None = None,
    ) -> None:
        """A load begins: noted, and its circumstances kept until the next one of this key."""
        self.note(key, model, "loading", words)
        self._orders[key] = Order(model, self._clock(), self._today(), named, context_from, dict(room or {}))

    def order(self, key: str) -> Order | None:
        """The circumstances of this key's last load."""
        return self._orders.get(key)

    def of(self, model: str, key: str | None = None) -> tuple[Happening, ...]:
        """What happened to a model, oldest first: by its name, and to the worker that it would be served by now."""
        found = [
            each for ring_key, ring in self._rings.items() for each in ring if ring_key == key or each.model == model
        ]
        return tuple(sorted(found, key=lambda each: each.at))

    def keys(self) -> Mapping[str, str]:
        """Those that something happened to, each with the model that it happened to last."""
        return {key: ring[-1].model for key, ring in self._rings.items() if ring}

    def counts(self, model: str) -> Mapping[What, int]:
        """How often what happened to a model since the daemon began."""
        return self._counts.get(model, {})
