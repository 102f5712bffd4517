"""How fast things go: how long workers keep requests, and how long loads take. Measured, and guessed until then.

Plain numbers by key; knows neither queue nor fleet. Figures of the last few count most.
"""

from __future__ import annotations

from collections import deque

_WEIGHT = 0.2  # of the newest measurement
_START = 0.5  # seconds that a load takes beside reading the weights
_READ = 500e6  # bytes of weights a second, until something has been loaded
_REMEMBERED = 64  # ends of requests
_KEYS = 512


class Pace:
    """Durations in seconds by key."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=_REMEMBERED)
        self._stays: dict[str, float] = {}
        self._loads: dict[str, float] = {}
        self._windows: dict[str, float] = {}
        self._read = _READ

    def ended(self, now: float) -> None:
        """A request came to its end."""
        self._ends.append(now)

    def seconds_for(self, requests: int, now: float) -> int:
        """Whole seconds until so many of any kind have ended, from 1 to 60; with nothing to go by, 5."""
        if len(self._ends) < 2 or now <= self._ends[0]:
            return 5
        per_second = len(self._ends) / (now - self._ends[0])
        return max(1, min(60, round(requests / per_second)))

    def stayed(self, key: str, seconds: float) -> None:
        """A worker has answered a request that it held for so long."""
        _note(self._stays, key, seconds)

    def stay(self, key: str) -> float | None:
        """How long this worker holds a request, as far as is known."""
        return self._stays.get(key)

    def window(self, key: str) -> float | None:
        """How many requests its worker holds at a time, once it has said so."""
        return self._windows.get(key)

    def loaded(self, key: str, weights: int, window: int, seconds: float) -> None:
        """A load of so many bytes of weights has succeeded, for a worker that will hold so many requests."""
        _note(self._loads, key, seconds)
        self._windows.pop(key, None)
        _note(self._windows, key, window)
        if weights:
            rate = weights / max(0.001, seconds - _START) if seconds > _START else weights / max(0.001, seconds)
            self._read += _WEIGHT * (rate - self._read)

    def load(self, key: str, weights: int) -> float:
        """How long a load takes: as the last ones of this key did, or by the bytes of its weights."""
        return self._loads.get(key) or _START + weights / self._read


def _note(table: dict[str, float], key: str, seconds: float) -> None:
    before = table.pop(key, seconds)
    table[key] = before + _WEIGHT * (seconds - before)  # the newest come last
    if len(table) > _KEYS:
        del table[next(iter(table))]
