"""Make an over-long prompt fit, and say what was lost. Used only where a dialect asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.conversation import Message


def drop_oldest_turns(
    messages: tuple[Message, ...], fits: Callable[[tuple[Message, ...]], bool]
) -> tuple[Message, ...] | None:
    """Leave out the oldest turns until `fits` says yes. System messages, the last user message and the last one stay.

    `fits` renders and counts, so it is asked as seldom as possible: the number of turns to drop is found by bisection
    (dropping more never makes a prompt longer). None if even the shortest conversation is too long.
    """
    turns = _droppable(messages)

    def without(count: int) -> tuple[Message, ...]:
        gone = {index for turn in turns[:count] for index in turn}
        return tuple(message for index, message in enumerate(messages) if index not in gone)

    if not fits(without(len(turns))):
        return None
    low, high = 0, len(turns)  # `high` is known to fit
    while low < high:
        middle = (low + high) // 2
        if fits(without(middle)):
            high = middle
        else:
            low = middle + 1
    return without(high)


def _droppable(messages: tuple[Message, ...]) -> list[list[int]]:
    """Indices of what may go, oldest first, in pieces that go together.

    Many templates refuse a conversation that begins with an answer, or a tool's result without its call. So a user
    message goes with everything up to the next one. In the last turn, which may be a long chain of tool calls, each
    call goes with its results; the request itself and what came last stay.
    """
    last_user = max((index for index, message in enumerate(messages) if message.role == "user"), default=-1)
    pieces: list[list[int]] = []
    for index, message in enumerate(messages):
        if message.role == "system" or index == last_user:
            continue
        begins = message.role == "user" if index < last_user else message.role == "assistant"
        if begins or not pieces or pieces[-1][-1] < last_user < index:
            pieces.append([])
        pieces[-1].append(index)
    if pieces and pieces[-1][-1] == len(messages) - 1:
        pieces.pop()
    return pieces


def cut_middle(tokens: Sequence[int], limit: int, keep: int) -> list[int]:
    """Shorten to `limit` tokens: the first `keep` stay (at most, and for -1, half the limit), then the newest."""
    if len(tokens) <= limit:
        return list(tokens)
    keep = min(keep, limit // 2) if keep >= 0 else limit // 2
    return [*tokens[:keep], *tokens[len(tokens) - (limit - keep) :]]


def cut_around(before: Sequence[int], after: Sequence[int], limit: int) -> tuple[list[int], list[int]]:
    """Shorten the text around a gap to `limit` tokens: what is nearest to the gap stays.

    A quarter of the limit is kept for what follows, more if what precedes doesn't need the rest.
    """
    if len(before) + len(after) <= limit:
        return list(before), list(after)
    following = min(len(after), max(limit // 4, limit - len(before)))
    preceding = limit - following
    return list(before[max(0, len(before) - preceding) :]), list(after[:following])
