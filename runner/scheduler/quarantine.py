"""Requests that workers die of: refused at once when they are sent again.

Known by a digest of the work and of the model it was sent to, so another model, or a changed one, gets its own try.
A digest takes long where there are images, so work of another size isn't put to it. Bounded; knows the clock only as a
number.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import msgspec

from runner.errors import Quarantined
from runner.protocol.commands import Generate, Work
from runner.scheduler.ticket import Want

MOST = 256  # requests that are remembered, the latest
LASTS = 3600.0  # seconds
_SHOWN = 12  # characters of a digest that tell it apart
_PASSING = frozenset({"id", "resumed"})  # fields of work that tell when it was sent and how far it had come


class Quarantine:
    """Digests of work, each until a time."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()
        self._sizes: dict[str, tuple[str, int]] = {}  # by digest: the worker's key, and the size of the work

    def __len__(self) -> int:
        return len(self._until)

    def add(self, want: Want, now: float) -> Quarantined:
        """Refuse this work from now on; what to answer it with."""
        digest = _digest(want)
        self._until[digest] = now + LASTS
        self._until.move_to_end(digest)
        self._sizes[digest] = want.key, _size(want.work)
        while len(self._until) > MOST:
            self._forget_first()
        return Quarantined(
            f'the worker of "{want.model}" died twice of this request, which is not tried again. Please report it as '
            f"{digest[:_SHOWN]}, with the model's log"
        )

    def check(self, want: Want, now: float) -> None:
        """Raises Quarantined for work that is refused. Costs little but for work that looks like such."""
        while self._until and next(iter(self._until.values())) <= now:
            self._forget_first()
        if want.work is None or not self._is_like_one(want):
            return
        if (digest := _digest(want)) in self._until:
            raise Quarantined(
                f'workers of "{want.model}" died of this very request before, and it is not tried again for '
                f"{max(1, round((self._until[digest] - now) / 60))} min. Please report it as {digest[:_SHOWN]}"
            )

    def _is_like_one(self, want: Want) -> bool:
        sizes = {size for key, size in self._sizes.values() if key == want.key}
        return bool(sizes) and _size(want.work) in sizes

    def _forget_first(self) -> None:
        digest, _ = self._until.popitem(last=False)
        del self._sizes[digest]


def _size(value: object) -> int:
    """How much there is in a value: characters and bytes, above all."""
    match value:
        case str() | bytes():
            return len(value)
        case msgspec.Struct():
            return sum(_size(getattr(value, name)) for name in value.__struct_fields__ if name not in _PASSING)
        case dict():
            return sum(_size(key) + _size(each) for key, each in value.items())
        case (int(), *_):
            return len(value)  # tokens, of which there may be many
        case list() | tuple():
            return len(value) + sum(map(_size, value))
        case _:
            return 1


def _digest(want: Want) -> str:
    work = want.work
    if work is not None:
        work = _bare(work)
    return hashlib.sha256(msgspec.msgpack.encode((want.key, want.digest, work))).hexdigest()


def _bare(work: Work) -> Work:
    """The work alone, whenever it was sent and however far it had come."""
    if isinstance(work, Generate):
        return msgspec.structs.replace(work, id=0, resumed=())
    return msgspec.structs.replace(work, id=0)
