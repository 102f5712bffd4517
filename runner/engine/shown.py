"""A rendered prompt on its way back to whoever asked to see it, cut to what they want of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shown:
    """The beginning of a prompt, and how many bytes of it are missing."""

    text: str
    cut: int = 0


def shown(text: str, most: int) -> Shown:
    """At most so many bytes of UTF-8, whole characters only."""
    data = text.encode("utf-8", "replace")
    if len(data) <= most:
        return Shown(data.decode())
    kept = data[:most].decode("utf-8", "ignore")
    return Shown(kept, len(data) - len(kept.encode()))
