"""What users wrote and were answered, as far as the ledger keeps it: in memory, each kind of text up to a limit, all
requests together up to another.

A text that is cut is a beginning, and says how much is missing. Knows no request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal

Kind = Literal["prompt", "answer", "thinking", "calls", "body"]

MOST_OF_A_KIND = 256 * 1024
"""Bytes of UTF-8 that one request's prompts, or answers, thoughts, calls or JSON may keep."""
MOST_TOGETHER = 64 * 1024 * 1024
"""Bytes of all requests' texts."""
_MOST_PARTS = 1024  # of a kind; what a part takes beside its bytes is little, but not nothing
_ONLY = (0, 0)


class Room:
    """Bytes for all texts. When they are used up, `forget` is asked to free some; False means that it can't."""

    def __init__(self, limit: int = MOST_TOGETHER, forget: Callable[[], bool] = lambda: False) -> None:
        self.limit = limit
        self.used = 0
        self._forget = forget

    def take(self, wanted: int) -> int:
        """Use so many bytes, or as many as there are."""
        while self.limit - self.used < wanted and self._forget():
            pass
        granted = max(0, min(wanted, self.limit - self.used))
        self.used += granted
        return granted

    def give_back(self, size: int) -> None:
        """They are used no longer."""
        self.used -= size


class Texts:
    """One request's. A kind has several parts where a request has several prompts or choices: `part` numbers them."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._parts: dict[Kind, dict[tuple[int, int], bytearray]] = {}
        self._used: Counter[Kind] = Counter()
        self.cut: Counter[Kind] = Counter()
        """Bytes that are not kept, by kind."""

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._used.total()

    def add(self, kind: Kind, text: str, part: tuple[int, int] = _ONLY) -> None:
        """Go on with a text. What comes behind a cut is only counted."""
        if not text:
            return
        data = text.encode("utf-8", "surrogatepass")
        granted, parts = 0, self._parts.setdefault(kind, {})
        if not self.cut[kind] and (part in parts or len(parts) < _MOST_PARTS):
            granted = self._room.take(min(len(data), MOST_OF_A_KIND - self._used[kind]))
        if granted:
            parts.setdefault(part, bytearray()).extend(data[:granted])
            self._used[kind] += granted
        if granted < len(data):
            self.cut[kind] += len(data) - granted

    def put(self, kind: Kind, text: str, missing: int = 0, part: tuple[int, int] = _ONLY) -> None:
        """A text that comes as one, of which `missing` bytes were left out before. Said again, it changes nothing."""
        if part in self._parts.get(kind, ()):
            return
        self.add(kind, text, part)
        if missing:
            self.cut[kind] += missing

    def of(self, kind: Kind) -> str | None:
        """What is kept, None if nothing is; several parts each below a line that numbers it."""
        parts = self._parts.get(kind)
        if not parts:
            return None
        if len(parts) == 1:
            return _read(next(iter(parts.values())))
        heading = "prompt" if kind == "prompt" else "choice"
        places = sorted(parts)
        return "\n\n".join(
            f"[{heading} {number}]\n{_read(parts[place])}" for number, place in enumerate(places, start=1)
        )

    def drop(self) -> None:
        """Forget all of it."""
        self._room.give_back(self.size)
        self._parts.clear()
        self._used.clear()
        self.cut.clear()


def _read(data: bytearray) -> str:
    """A cut may have gone through a character, which is left out then."""
    return data.decode("utf-8", "ignore")
