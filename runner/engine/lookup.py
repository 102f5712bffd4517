"""Drafts from what stands there already: where the latest tokens stood before, what came then may come again.

Answers that quote, correct or repeat their prompt are guessed this way without any model. Knows token ids only; each
token is looked at once when it comes, and a draft costs the same however long the text is.
"""

from __future__ import annotations

from collections.abc import Sequence

SPAN = 3  # tokens that must stand there alike; fewer match by chance, and more miss what is quoted with changes
REACH = 1 << 15  # of a prompt so many tokens are remembered, the latest

Table = dict[tuple[int, ...], int]


class Lookup:
    """What followed each run of SPAN tokens in one text. The text only grows, and the caller keeps it.

    A `hint` is what the answer is expected to be, or to be much like; it is looked at first.
    """

    def __init__(self, prompt: Sequence[int], hint: Sequence[int] = ()) -> None:
        self._prompt: Table = {}  # of the prompt, for all answers to it; from each run to the place behind it
        self._answer: Table = {}
        self._expected: Table = {}
        self._hint = hint[:REACH]
        self._start = len(prompt)
        self._learned = _learn(self._prompt, prompt, max(SPAN, len(prompt) - REACH))
        _learn(self._expected, self._hint, SPAN)
        # Where the latest draft came from, and how long the text was then. Before any, the hint is to be followed.
        self._followed, self._length, self._in_hint = 0, self._start, True

    def fork(self) -> Lookup:
        """For another answer to the same prompt. What was learned of the prompt is shared."""
        other = Lookup(())
        other._prompt, other._expected, other._hint = self._prompt, self._expected, self._hint
        other._start = other._length = other._learned = self._start
        return other

    def draft(self, tokens: Sequence[int], most: int) -> list[int]:
        """At most `most` tokens that may follow this text, none if its end stands nowhere else."""
        self._learned = _learn(self._answer, tokens, self._learned)
        place = self._place(tokens)
        if place is None or most <= 0:
            return []
        self._followed, self._length = place, len(tokens)
        if self._in_hint:
            return list(self._hint[place : place + most])
        found = list(tokens[place : place + most])
        period = len(tokens) - place
        while len(found) < most:  # the text goes round in a circle, and so may its continuation
            found.append(found[len(found) - period])
        return found

    def _place(self, tokens: Sequence[int]) -> int | None:
        """Where the text, or the hint, may go on from: where the latest draft left off if it was right, or else the
        latest match."""
        place = self._followed + len(tokens) - self._length
        source = self._hint if self._in_hint else tokens
        span = SPAN
        if self._in_hint and place == len(tokens) - self._start:
            span = min(SPAN, place)  # all that the answer has said yet is enough
        if 0 < span <= place < len(source) and list(source[place - span : place]) == list(tokens[-span:]):
            return place
        if len(tokens) < SPAN:
            return None
        latest = tuple(tokens[-SPAN:])
        expected = self._expected.get(latest)
        found = self._answer.get(latest, self._prompt.get(latest)) if expected is None else expected
        if found is not None:
            self._in_hint = expected is not None
        return found


def _learn(table: Table, tokens: Sequence[int], start: int) -> int:
    """Remember the runs before the tokens from place `start` on; the place where to go on when there are more."""
    for place in range(max(SPAN, start), len(tokens)):
        table[tuple(tokens[place - SPAN : place])] = place
    return max(start, len(tokens))
