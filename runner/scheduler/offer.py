"""What this machine offers to models: its devices, what is free of each pool, and what would be if none were loaded.

Plain values, made of readings that others take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner.protocol.devices import Device
from runner.scheduler.fleet import Member
from runner.scheduler.memory import Room, room_with


@dataclass(frozen=True, slots=True)
class Offer:
    """`free` is what new loads may take beside all that is loaded and spoken for, `whole` what they might if nothing
    were, both in bytes by pool."""

    devices: Sequence[Device]
    free: Room
    whole: Room


def offer(devices: Sequence[Device], room: Room, members: Iterable[Member]) -> Offer:
    """How it stands, from what is free now by pool and who is loaded."""
    there = list(members)
    whole = room_with(room, [(m.taken, m.load.options.use_mmap) for m in there if m.ready is not None])
    free = dict(whole)
    for member in there:
        for pool, size in member.need.pools.items():
            free[pool] = max(0, free.get(pool, 0) - size)
    return Offer(devices, free, whole)
