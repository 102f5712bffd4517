"""Token bytes to whole characters, with stop strings found wherever token borders fall.

Text that may still turn out to be the beginning of a stop string, or a part of a character, is held back until that is
decided.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """The text of one answer as it grows. After a stop string was found, nothing more comes out.

    `position` counts the characters that the tokens so far have made, and `sent` those of them that have come out. The
    first `told` of them were told by an earlier worker: they count, and aren't given again.
    """

    def __init__(self, stops: Sequence[str] = (), *, position: int = 0, told: int = 0) -> None:
        self.position = self.sent = position
        self._told = told
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = tuple(stop for stop in stops if stop)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.stop: str | None = None  # the stop string that ended the text

    def push(self, data: bytes) -> str:
        """Take the bytes of one token; return the characters that are certain now."""
        if self.stop is not None:
            return ""
        self._take(self._decoder.decode(data))
        return self._release()

    def finish(self) -> str:
        """The end of the answer: what was held back comes out. An unfinished character becomes U+FFFD."""
        if self.stop is not None:
            return ""
        self._take(self._decoder.decode(b"", final=True))
        return self._release() + self._give(len(self._held))  # nothing is held behind a stop string

    def _take(self, text: str) -> None:
        self._held += text
        self.position += len(text)

    def _give(self, size: int) -> str:
        text, self._held = self._held[:size], self._held[size:]
        again = max(0, min(size, self._told - self.sent))
        self.sent += size
        return text[again:]

    def _release(self) -> str:
        if not self._stops:
            return self._give(len(self._held))
        # The one that is complete first ends the text, of two complete at once the longer: so it doesn't matter how
        # many tokens arrive at a time.
        found = min(
            ((at + len(stop), at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0), default=None
        )
        if found is not None:
            _, at, self.stop = found
            text, self._held = self._give(at), ""
            return text
        return self._give(len(self._held) - self._undecided())

    def _undecided(self) -> int:
        """How many of the last characters may begin a stop string."""
        for size in range(min(self._longest - 1, len(self._held)), 0, -1):
            tail = self._held[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0
