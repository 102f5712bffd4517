"""Token bytes to whole characters, with stop strings found wherever token borders fall.

Text that may still turn out to be the beginning of a stop string, or a part of a character, is held back until that is
decided.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """The text of one answer as it grows. After a stop string was found, nothing more comes out."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = tuple(stop for stop in stops if stop)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.stop: str | None = None  # the stop string that ended the text

    def push(self, data: bytes) -> str:
        """Take the bytes of one token; return the characters that are certain now."""
        if self.stop is not None:
            return ""
        self._held += self._decoder.decode(data)
        return self._release()

    def finish(self) -> str:
        """The end of the answer: what was held back comes out. An unfinished character becomes U+FFFD."""
        if self.stop is not None:
            return ""
        self._held += self._decoder.decode(b"", final=True)
        text = self._release()
        if self.stop is None:
            text, self._held = text + self._held, ""
        return text

    def _release(self) -> str:
        if not self._stops:
            text, self._held = self._held, ""
            return text
        # The one that is complete first ends the text, of two complete at once the longer: so it doesn't matter how
        # many tokens arrive at a time.
        found = min(
            ((at + len(stop), at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0), default=None
        )
        if found is not None:
            _, at, self.stop = found
            text, self._held = self._held[:at], ""
            return text
        cut = len(self._held) - self._undecided()
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def _undecided(self) -> int:
        """How many of the last characters may begin a stop string."""
        for size in range(min(self._longest - 1, len(self._held)), 0, -1):
            tail = self._held[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0
