"""A message that comes again and again is written a few times, and then counted. Pure; the clock is given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

BURST = 3  # times that a message is written
WINDOW = 30.0  # seconds in which more of the same are counted
_MOST = 256  # messages that are remembered at once


@dataclass(slots=True)
class _Seen:
    since: float
    times: int
    last: logging.LogRecord


class Repeats:
    """Those of one request are never taken for those of another, so that what is asked by its id is complete."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[tuple[object, ...], _Seen] = {}  # the oldest first

    def admitted(self, record: logging.LogRecord) -> Iterator[logging.LogRecord]:
        """What is to be written now: counts that are over, and the record itself unless it is one too many."""
        now = self._clock()
        yield from self._over(now)
        key = (record.name, record.levelno, getattr(record, "request", "-"), record.getMessage(), _cause(record))
        seen = self._seen.get(key)
        if seen is None:
            self._seen[key] = _Seen(now, 1, record)
            yield record
            return
        seen.times += 1
        seen.last = record
        if seen.times <= BURST:
            yield record

    def rest(self) -> Iterator[logging.LogRecord]:
        """All counts, at the end."""
        yield from self._over(float("inf"))

    def _over(self, now: float) -> Iterator[logging.LogRecord]:
        while self._seen:
            key = next(iter(self._seen))
            if now - self._seen[key].since < WINDOW and len(self._seen) < _MOST:
                return
            seen = self._seen.pop(key)
            if (more := seen.times - BURST) > 0:
                yield _told(seen.last, more)


def _cause(record: logging.LogRecord) -> str:
    return repr(record.exc_info[1]) if record.exc_info else ""


def _told(record: logging.LogRecord, more: int) -> logging.LogRecord:
    words = "same message once more: %s" if more == 1 else f"same message {more} more times: %s"
    kept = {"name": record.name, "levelno": record.levelno, "levelname": record.levelname, "created": record.created}
    kept |= {"msecs": record.msecs, "request": getattr(record, "request", "-")}
    return logging.makeLogRecord({**kept, "msg": words, "args": (record.getMessage(),)})
