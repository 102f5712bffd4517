"""Models whose workers keep dying: counted here, and left alone for a while when it happens too often.

Models that share a worker (a key) are counted together. Knows the clock only as a number that it is given.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

DEATHS = 3
WITHIN = 60.0  # seconds
PAUSE = 10.0  # seconds; doubles each time
LONGEST_PAUSE = 300.0
FORGET = 900.0  # seconds of peace after which the next pause is a short one again


@dataclass(slots=True)
class _Record:
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=DEATHS))
    pause: float = PAUSE
    until: float = float("-inf")
    model: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class CrashLoop:
    """A model that is left alone for another `pause` seconds. `words` say how its worker died last."""

    key: str
    model: str
    pause: float
    words: str


class Breaker:
    """Three deaths within a minute stop a model for ten seconds, then twenty, and so on up to five minutes."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def died(self, key: str, now: float, *, model: str = "", words: str = "") -> bool:
        """Note a death; True if this one stops the model."""
        record = self._records.setdefault(key, _Record())
        record.model, record.words = model, words
        if now - record.until > FORGET:
            record.pause = PAUSE
        record.deaths.append(now)
        if len(record.deaths) < DEATHS or now - record.deaths[0] > WITHIN:
            return False
        record.until = now + record.pause
        record.pause = min(LONGEST_PAUSE, record.pause * 2)
        record.deaths.clear()
        return True

    def worked(self, key: str) -> None:
        """A worker gets on with its work, or did before it died: the deaths before it are no row with it."""
        if (record := self._records.get(key)) is not None:
            record.deaths.clear()

    def pause(self, key: str, now: float) -> float:
        """Seconds that the model is still to be left alone; 0 if it may be loaded."""
        record = self._records.get(key)
        return max(0.0, record.until - now) if record else 0.0

    def loops(self, now: float) -> tuple[CrashLoop, ...]:
        """Those that are left alone."""
        return tuple(
            CrashLoop(key, record.model, record.until - now, record.words)
            for key, record in self._records.items()
            if record.until > now
        )
