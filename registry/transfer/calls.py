"""The open connections of one download: who is on the phone, whom we hung up on, and whether one of them brings it all.

Knows neither parts nor bytes. Everything is called under the download's lock, but for `next_of`.
"""

from __future__ import annotations

from collections.abc import Callable

from registry.transfer.incoming import Incoming


class Left(Exception):
    """This connection isn't wanted any more."""


class Calls:
    """Owned by one download."""

    def __init__(self) -> None:
        self._open: dict[int, Callable[[], None]] = {}
        self._dropped: set[int] = set()
        self._bringer: int | None = None

    @property
    def one_brings_all(self) -> bool:
        """Whether a connection that was spared is under way, with the whole file in one stream."""
        return self._bringer is not None

    def add(self, incoming: Incoming) -> None:
        """A connection is open."""
        self._open[id(incoming)] = incoming.hang_up

    def remove(self, incoming: Incoming) -> None:
        """It has ended, whichever way."""
        self._open.pop(id(incoming), None)
        self._dropped.discard(id(incoming))
        if self._bringer == id(incoming):
            self._bringer = None

    def spare(self, incoming: Incoming) -> None:
        """Hang up on all others: this one brings all there is."""
        self._bringer = id(incoming)
        self._hang_up()

    def hang_up(self) -> None:
        """Hang up on all."""
        self._bringer = None
        self._hang_up()

    def next_of(self, incoming: Incoming) -> bytes | None:
        """The bytes that come next, None at the end. Raises Left however a connection ends that we hung up on."""
        try:
            chunk = next(incoming.chunks, None)
        except Exception:
            if id(incoming) in self._dropped:
                raise Left from None
            raise
        if chunk is None and id(incoming) in self._dropped:
            raise Left
        return chunk

    def _hang_up(self) -> None:
        for call, hang_up in self._open.items():
            if call != self._bringer:
                self._dropped.add(call)
                hang_up()
