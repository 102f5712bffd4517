"""Text that comes bit by bit, for scanners that are written as if it were all there.

A scanner is a generator: where it needs more than has come, it yields, and goes on when there is more. What it has
looked at once it doesn't look at again, but for the few characters in which a marker may have begun.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Scan: TypeAlias = Generator[None, None, T]
Put: TypeAlias = Callable[[str], object]
"""Takes a piece of what is scanned."""

_BLANKS = re.compile(r"[ \t\r\n]*")


class Ended(Exception):
    """The text is over in the midst of something."""


class Unexpected(Exception):
    """What follows is not what should stand here. `taken` is what of it was taken and put nowhere."""

    def __init__(self, taken: str = "") -> None:
        super().__init__(taken)
        self.taken = taken


class Source:
    """The text that hasn't been taken yet. `at` counts what was taken, in characters."""

    def __init__(self) -> None:
        self.at = 0
        self.is_over = False
        self._text = ""
        self._from = 0  # what lies before was taken
        self._kept: list[str] | None = None

    def feed(self, text: str) -> None:
        """More has come."""
        self._text = self._text[self._from :] + text
        self._from = 0

    @property
    def waiting(self) -> int:
        """Characters that have come and are not taken."""
        return len(self._text) - self._from

    # -- remember what is taken, for the case that it turns out to be something else

    def keep(self, taken: str = "") -> None:
        """From now on, what is taken is kept, with what was taken just before."""
        self._kept = [taken]

    def drop(self) -> None:
        """It was what it seemed."""
        self._kept = None

    def kept(self) -> str:
        """What was taken since `keep`; it is kept no longer."""
        text = "".join(self._kept or ())
        self._kept = None
        return text

    # -- take

    def take(self, size: int) -> str:
        """So many characters, which must be there."""
        text = self._text[self._from : self._from + size]
        self._from += size
        self.at += size
        if self._kept is not None:
            self._kept.append(text)
        return text

    def run(self, pattern: re.Pattern[str]) -> str:
        """What matches the pattern at this place, as far as it has come; nothing if nothing does."""
        found = pattern.match(self._text, self._from)
        return self.take(found.end() - self._from) if found else ""

    def word(self, pattern: re.Pattern[str], most: int) -> Scan[str]:
        """All that matches the pattern of a character, at this place; of more than `most`, one more than that."""
        word = ""
        while True:
            found = pattern.match(self._text, self._from, self._from + most + 1 - len(word))
            word += self.take(found.end() - self._from) if found else ""
            if len(word) > most or self.waiting or self.is_over:
                return word
            yield

    # -- look ahead

    def ahead(self) -> Scan[str]:
        """The next character, which stays; nothing at the end."""
        while not self.waiting:
            if self.is_over:
                return ""
            yield
        return self._text[self._from]

    def second(self) -> Scan[str]:
        """The character behind the next one; nothing at the end."""
        while self.waiting < 2 and not self.is_over:
            yield
        return self._text[self._from + 1 : self._from + 2]

    def next(self) -> Scan[str]:
        """The next character, which stays. Raises Ended."""
        char = yield from self.ahead()
        if not char:
            raise Ended
        return char

    def blanks(self) -> Scan[str]:
        """Blanks, if any."""
        taken: list[str] = []
        while True:
            taken.append(self.run(_BLANKS))
            if self.waiting or self.is_over:
                return "".join(taken)
            yield

    def skips(self, marker: str) -> Scan[bool]:
        """Take the marker if it stands here. An end in the midst of it counts as no marker."""
        while not self._text.startswith(marker, self._from):
            if self.is_over or not marker.startswith(self._text[self._from : self._from + len(marker)]):
                return False
            yield
        self.take(len(marker))
        return True

    def up_to(self, markers: Markers, put: Put, most: int | None = None) -> Scan[str]:
        """Put everything before the first of the markers and take that; nothing if the text ends without.

        Raises Unexpected when more than `most` characters stand before it; so many were put.
        """
        start = self.at
        while True:
            end, marker = markers.find(self._text, self._from, self.is_over)
            if most is not None and self.at + end - self._from > start + most:
                put(self.take(start + most - self.at))
                raise Unexpected
            if end > self._from:
                put(self.take(end - self._from))
            if marker:
                self.take(len(marker))
                return marker
            if self.is_over:
                return ""
            yield

    def inside(self, markers: Markers, put: Put) -> Scan[str]:
        """Put everything before the first of the markers and take that. Raises Ended when the text is over before; what
        may have been the beginning of a marker is then left."""
        while True:
            end, marker = markers.find(self._text, self._from, False)
            if end > self._from:
                put(self.take(end - self._from))
            if marker:
                self.take(len(marker))
                return marker
            if self.is_over:
                self.take(self.waiting)
                raise Ended
            yield


class Markers:
    """Texts to look for. None may be the beginning of another."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(text for text in texts if text)
        self._pattern = re.compile("|".join(map(re.escape, self._texts)))
        self._longest = max(map(len, self._texts), default=0)

    def find(self, text: str, start: int, is_over: bool) -> tuple[int, str]:
        """Where the first marker stands, and which; or as far as there is certainly none."""
        found = self._pattern.search(text, start) if self._texts else None
        if found:
            return found.start(), found[0]
        if is_over:
            return len(text), ""
        for size in range(min(self._longest - 1, len(text) - start), 0, -1):
            tail = text[len(text) - size :]
            if any(each.startswith(tail) for each in self._texts):
                return len(text) - size, ""
        return len(text), ""
