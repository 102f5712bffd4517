"""The LoRA adapters in memory, and which of them each context applies.

They are loaded when a request first needs them and stay for the next one, a few of them; none is freed that a context
applies. For the loop's thread alone: no decode may go on meanwhile.
"""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import psutil

from runner.errors import InsufficientMemory, LoadFailed
from runner.protocol.commands import Adapters

MOST = 16  # in memory, unless one request alone has more


class Applying(Protocol):
    """A context, as far as its adapters are concerned: those that it applies by address, with their strengths."""

    @property
    def adapters(self) -> Mapping[int, float]: ...

    def apply_adapters(self, adapters: Mapping[int, float]) -> None: ...


def _available() -> int:
    return int(psutil.virtual_memory().available)


class Loaded:
    """`load` gives a file's adapter as an address, and `free` frees it; `available` measures the machine's memory."""

    def __init__(
        self, load: Callable[[str], int], free: Callable[[int], None], available: Callable[[], int] = _available
    ) -> None:
        self._load = load
        self._free = free
        self._available = available
        self._addresses: OrderedDict[str, int] = OrderedDict()  # by path, the one used last at the end
        self._contexts: weakref.WeakSet[Applying] = weakref.WeakSet()

    def apply(self, context: Applying, adapters: Adapters) -> None:
        """Let the context compute with just these. Raises LoadFailed, InsufficientMemory; then it has none of them."""
        self._contexts.add(context)
        wanted = {each.path for each in adapters}
        context.apply_adapters({self._address(each.path, wanted): each.scale for each in adapters})

    def _address(self, path: str, wanted: Collection[str]) -> int:
        known = self._addresses.get(path)
        if known is None:
            self._make_room(path, wanted)
            known = self._addresses[path] = self._load(path)
        self._addresses.move_to_end(path)
        return known

    def _make_room(self, path: str, wanted: Collection[str]) -> None:
        """Free what isn't wanted now, the one used longest ago first, until there is room for one more."""
        try:
            size = os.stat(path).st_size
        except OSError as error:
            raise LoadFailed(f"the adapter {path} cannot be read: {error.strerror}") from error
        idle = [each for each in self._addresses if each not in wanted]
        while idle and (len(self._addresses) >= MOST or size > self._available()):
            self._give_up(idle.pop(0))
        if size > self._available():
            raise InsufficientMemory(f"{size >> 20} MiB of memory for an adapter are not there any more")

    def _give_up(self, path: str) -> None:
        address = self._addresses.pop(path)
        for context in self._contexts:
            if address in context.adapters:
                context.apply_adapters({})
        self._free(address)
