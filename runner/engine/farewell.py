"""Which prefixes are worth a file: a pure function of what stands computed, what it cost, and how much time there is.

A prefix is worth the seconds that computing it again would take, times the chance that somebody comes back for it. It
costs the seconds that writing takes, which weigh as much as those saved while somebody waits for the memory. Knows
tokens, bytes and seconds, and neither cells nor folders.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from runner.engine.prefixes import Prefixes
from runner.protocol.commands import Adapters

LEAST = 64  # tokens that a file has to save at least
_COMES_BACK = 0.5  # the chance that a conversation goes on,
_COMES_AGAIN = 0.2  # and that a prompt which is none has its beginning in common with one to come
_HALF_LIFE = 1800.0  # seconds without use in which the chance halves
_NEVER_BELOW = 0.02

What = TypeVar("What")


@dataclass(slots=True)
class Use:
    """How a prefix came to be, how often it was begun with, and when it was of use last (monotonic seconds)."""

    is_chat: bool = False
    times: int = 1
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate(Generic[What]):
    """A prefix; `what` is the caller's. A file of it takes `size` bytes; `filed` of its first tokens are in one."""

    what: What
    tokens: array[int]
    size: int
    filed: int
    use: Use
    adapters: Adapters = ()


@dataclass(frozen=True, slots=True)
class Budget:
    """Seconds and bytes that may be spent on all files together.

    `weight` is what a second spent counts against one saved: 1 while somebody waits for the memory, 0 when nobody does.
    """

    seconds: float
    size: int
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds that computing a token takes, and writing a byte."""

    token: float
    byte: float


def worth_keeping(
    candidates: Sequence[Candidate[What]], budget: Budget, rates: Rates, now: float, *, cuttable: bool = True
) -> list[Candidate[What]]:
    """Those to write, in this order: what saves most for its bytes first, as long as time and disk last.

    What one of them has in common with another counts once. Where states aren't `cuttable`, one serves only for all of
    its tokens.
    """
    chosen: Prefixes[int] = Prefixes()
    kept: list[Candidate[What]] = []
    seconds, size = budget.seconds, budget.size
    ordered = sorted(
        candidates, key=lambda each: _saves(each, each.filed, rates, now) / max(1, each.size), reverse=True
    )
    for candidate in ordered:
        there = max(candidate.filed, _covered(chosen, candidate, cuttable=cuttable))
        costs = candidate.size * rates.byte
        if len(candidate.tokens) - there < LEAST or costs > seconds or candidate.size > size:
            continue
        if _saves(candidate, there, rates, now) <= budget.weight * costs:
            continue
        chosen.add(len(kept), candidate.tokens, candidate.adapters)
        kept.append(candidate)
        seconds -= costs
        size -= candidate.size
    return kept


def chance(use: Use, now: float) -> float:
    """How likely it is that somebody comes back for a prefix: 0 to 1."""
    once = _COMES_BACK if use.is_chat else _COMES_AGAIN
    often = 1 - math.pow(1 - once, max(1, use.times))
    return max(_NEVER_BELOW, often * math.pow(0.5, max(0.0, now - use.at) / _HALF_LIFE))


def _saves(candidate: Candidate[What], there: int, rates: Rates, now: float) -> float:
    """Seconds that a file is likely to save, when the first tokens are `there` without it."""
    return max(0, len(candidate.tokens) - there) * rates.token * chance(candidate.use, now)


def _covered(chosen: Prefixes[int], candidate: Candidate[What], *, cuttable: bool) -> int:
    """How many of the first tokens what is chosen already serves for."""
    match = chosen.match(candidate.tokens, candidate.adapters)
    if cuttable:
        return match.length
    return match.ends[-1][0] if match.ends else 0
