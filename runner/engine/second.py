"""The draft model: a small model that reads along with the sequences of a large one and guesses their next tokens.

It has a context of its own, in which it keeps as many texts as it can. What it has not read yet it reads a piece at a
time, so that a long prompt delays nobody for long. Knows texts by name; whether a guess pays is `draft`'s business.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from runner.engine.pace import Recent
from runner.errors import LoadFailed
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model

TEXTS = 16  # that it reads along at most
_PIECE = 128  # tokens that it reads in one step at most
_CLOSE = 8  # tokens: who lags so far behind is up to date, and reading them is a part of guessing
_COMPARED = 1024  # tokens of both vocabularies, spread over them


@dataclass(slots=True)
class _Text:
    """What stands in a sequence's cells. The first `known` tokens are those of `name`'s text."""

    name: int | None = None
    tokens: array[int] = field(default_factory=lambda: array("i"))
    known: int = 0
    used: int = 0


class SecondModel:
    """Guesses for the sequences of another model. `context` belongs to it, and is freed with its model."""

    def __init__(self, model: Model, context: Context, vocabulary: int) -> None:
        self._model = model
        self._context = context
        self._vocabulary = vocabulary  # of the model that it guesses for
        self._batch = Batch(context.batch)
        self._texts = [_Text() for _ in range(context.sequences)]
        self._clock = 0
        self._cost = Recent()

    @property
    def seconds(self) -> float:
        """What a guessed token has cost lately."""
        return self._cost.value or 0.0

    def close(self) -> None:
        """Free the model and its context."""
        self._context.close()
        self._model.close()

    def propose(self, wanted: list[tuple[int, list[int], int]]) -> list[list[int]]:
        """At most so many tokens that may follow each text; of each its name, its tokens and the number wanted."""
        started = time.monotonic()
        found: list[list[int]] = [[] for _ in wanted]
        places = self._places(wanted)
        reading = self._read(wanted, places)
        if reading is None:
            return found
        ready, behind = reading
        rows = self._likeliest(len(ready))
        while ready:
            going: list[int] = []
            for index, token in zip(ready, rows, strict=True):
                if token < self._vocabulary:
                    found[index].append(int(token))
                    if len(found[index]) < wanted[index][2]:
                        going.append(index)
            ready = going
            if not ready or not self._decode([(places[index], found[index][-1:]) for index in ready]):
                break
            rows = self._likeliest(len(ready))
        guessed = sum(map(len, found))
        if guessed and behind <= _CLOSE * len(wanted):
            self._cost.add((time.monotonic() - started) / guessed)
        return found

    def _places(self, wanted: list[tuple[int, list[int], int]]) -> list[int]:
        """Where each text stands or is to stand, cut back to what is right of it; -1 for those without a place."""
        places: list[int] = []
        names = {name for name, _, _ in wanted}
        for name, tokens, _ in wanted:
            place = next((at for at, text in enumerate(self._texts) if text.name == name), None)
            if place is None:
                free = [at for at, text in enumerate(self._texts) if text.name not in names]
                place = max(
                    free, key=lambda at: (_common(self._texts[at].tokens, tokens, 0), -self._texts[at].used), default=-1
                )
                if place >= 0:
                    self._texts[place].name, self._texts[place].known = name, 0
            places.append(place)
            if place >= 0:
                self._cut(place, tokens)
        return places

    def _cut(self, place: int, tokens: Sequence[int]) -> None:
        """Forget what isn't this text's, and the last token of what is: its row is wanted."""
        text = self._texts[place]
        self._clock += 1
        text.used = self._clock
        text.known = min(_common(text.tokens, tokens, text.known), len(tokens) - 1)
        if text.known < len(text.tokens):
            self._forget(place, text.known)

    def _forget(self, place: int, start: int) -> None:
        self._context.forget(place, start)
        del self._texts[place].tokens[start:]

    def _read(self, wanted: list[tuple[int, list[int], int]], places: list[int]) -> tuple[list[int], int] | None:
        """Read a piece of what is missing. Which texts are complete now, in the order of their rows, and how much was
        read; None when there was no room."""
        left, cells = min(_PIECE, self._context.batch), self._context.cells
        pieces: list[tuple[int, Sequence[int]]] = []
        last: list[bool] = []
        ready: list[int] = []
        # Who lags least comes first, so that one long prompt doesn't keep all others from their drafts.
        for index in sorted(range(len(wanted)), key=lambda at: len(wanted[at][1]) - self._known(places[at])):
            if places[index] < 0 or left <= 0:
                continue
            known = self._known(places[index])
            missing = wanted[index][1][known:][:left]
            needs = known + len(missing) + wanted[index][2]
            if needs > cells:  # it goes without drafts until others have ended
                continue
            is_last = known + len(missing) == len(wanted[index][1])
            left -= len(missing)
            cells -= needs
            pieces.append((places[index], missing))
            last.append(is_last)
            if is_last:
                ready.append(index)
        if not pieces or not self._decode(pieces, last):
            return None
        for place, tokens in pieces:
            self._texts[place].known += len(tokens)
        return ready, sum(len(tokens) for _, tokens in pieces)

    def _known(self, place: int) -> int:
        return self._texts[place].known if place >= 0 else 0

    def _decode(self, pieces: list[tuple[int, Sequence[int]]], last: list[bool] | None = None) -> bool:
        """Compute these tokens; each piece's last row gives logits, or where `last` says so. False for no room."""
        self._make_room(sum(len(tokens) for _, tokens in pieces), {place for place, _ in pieces})
        self._batch.clear()
        for at, (place, tokens) in enumerate(pieces):
            wants = 1 if last is None or last[at] else 0
            self._batch.add(place, len(self._texts[place].tokens), tokens, outputs=wants)
        if self._context.decode(self._batch) is not Outcome.DONE:
            self._context.clear()
            self._texts = [_Text() for _ in self._texts]
            return False
        for place, tokens in pieces:
            self._texts[place].tokens.extend(tokens)
        return True

    def _make_room(self, cells: int, busy: set[int]) -> None:
        """Forget the texts that nobody has asked for longest, until there is room."""
        idle = sorted((at for at in range(len(self._texts)) if at not in busy), key=lambda at: self._texts[at].used)
        for at in idle:
            if self._context.cells - sum(len(text.tokens) for text in self._texts) >= cells:
                return
            if self._texts[at].tokens:
                self._forget(at, 0)
                self._texts[at] = _Text()

    def _likeliest(self, count: int) -> npt.NDArray[np.int64]:
        if not count:
            return np.zeros(0, np.int64)
        found: npt.NDArray[np.int64] = self._context.logits(count).argmax(axis=1)
        return found


def check_pair(model: Model, draft: Model) -> None:
    """Whether one model can guess for another. Raises LoadFailed saying why not."""
    if draft.has_state or draft.n_swa:
        raise LoadFailed("the draft model's state cannot be cut back to a token, so it cannot draft")
    # A few tokens more at the end (padding) do no harm; other words do.
    size = min(model.n_vocab, draft.n_vocab)
    step = max(1, size // _COMPARED)
    if any(model.spelling(token) != draft.spelling(token) for token in range(0, size, step)):
        raise LoadFailed("the draft model has another vocabulary than the model, so it cannot draft for it")


def _common(held: array[int], tokens: Sequence[int], start: int) -> int:
    """Length of the common beginning, of which `start` tokens are known to be common."""
    size = min(len(held), len(tokens))
    wanted = array("i", tokens[start:size])
    low, high = start, size
    while low < high:  # comparisons of slices are C's
        middle = (low + high + 1) // 2
        if held[start:middle] == wanted[: middle - start]:
            low = middle
        else:
            high = middle - 1
    return low
