"""Make an over-long prompt fit, and say what was lost. Used only where a dialect asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.conversation import Message


def drop_oldest_turns(
    messages: tuple[Message, ...], fits: Callable[[tuple[Message, ...]], bool]
) -> tuple[Message, ...] | None:
    """Leave out the oldest turns until `fits` says yes. System messages and the last message always stay.

    `fits` renders and counts, so it is asked as seldom as possible: the number of turns to drop is found by bisection
    (dropping more never makes a prompt longer). None if even the last turn alone is too long.
    """
    old = [index for index, message in enumerate(messages[:-1]) if message.role != "system"]

    def without(count: int) -> tuple[Message, ...]:
        gone = set(old[:count])
        return tuple(message for index, message in enumerate(messages) if index not in gone)

    if not fits(without(len(old))):
        return None
    low, high = 0, len(old)  # `high` is known to fit
    while low < high:
        middle = (low + high) // 2
        if fits(without(middle)):
            high = middle
        else:
            low = middle + 1
    return without(high)


def cut_middle(tokens: Sequence[int], limit: int, keep: int) -> list[int]:
    """Shorten to `limit` tokens: the first `keep` stay (at most, and for -1, half the limit), then the newest."""
    if len(tokens) <= limit:
        return list(tokens)
    keep = min(keep, limit // 2) if keep >= 0 else limit // 2
    return [*tokens[:keep], *tokens[len(tokens) - (limit - keep) :]]
