"""Who drafts how many tokens in the next step, and where the drafts come from.

A draft is a guess at the next tokens of a sequence that decodes. Its tokens are computed together with the latest one,
and as many are kept as the sequence's own sampler chooses anyway: drafts change how many steps an answer takes, never
what it says. Knows sequences and costs; how drafts are verified is `rows`' and the loop's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runner.engine.lookup import Lookup
from runner.engine.odds import Odds
from runner.engine.pace import Pace

_FEW = 4  # rows that the cost of another is looked up for


@dataclass(slots=True)
class Speculation:
    """What one sequence drafts from, at most so many tokens a step from each source; and how well that goes.

    `draft` are the tokens to try next. `is_modelled` says that the draft model guessed them.
    """

    lookup: Lookup | None
    lookup_most: int
    model_most: int
    lookup_odds: Odds = field(default_factory=Odds)
    model_odds: Odds = field(default_factory=Odds)
    draft: list[int] = field(default_factory=list)
    is_modelled: bool = False

    def fork(self) -> Speculation:
        """For another answer to the same prompt."""
        lookup = self.lookup.fork() if self.lookup else None
        return Speculation(lookup, self.lookup_most, self.model_most)

    def learn(self, drafted: int, accepted: int) -> None:
        """What became of the latest draft."""
        (self.model_odds if self.is_modelled else self.lookup_odds).learn(drafted, accepted)


class Drafting(Protocol):
    """A sequence, as far as drafts are concerned. `most_drafted` tokens behind the latest could still be used."""

    speculation: Speculation | None
    tokens: list[int]
    key: int

    @property
    def most_drafted(self) -> int: ...


class DraftModel(Protocol):
    """Another model that guesses. `seconds` is what a guessed token has cost lately."""

    @property
    def seconds(self) -> float: ...

    def propose(self, wanted: list[tuple[int, list[int], int]]) -> list[list[int]]:
        """At most so many tokens that may follow each text; of each its name, its tokens and the number wanted.

        None for a text that the model has not read yet.
        """

    def close(self) -> None: ...


class Drafts:
    """Decides on the drafts of each step. `ends` says which tokens end an answer: none of those is ever drafted."""

    def __init__(self, ends: Callable[[int], bool], model: DraftModel | None = None) -> None:
        self._ends = ends
        self._model = model

    def close(self) -> None:
        """Free the draft model."""
        if self._model is not None:
            self._model.close()

    def propose(self, decoding: Sequence[Drafting], rows: int, pace: Pace) -> None:
        """Give each of these sequences, all that decode, its draft for the next step; at most `rows` tokens in all."""
        speculating = [(each, each.speculation) for each in decoding if each.speculation is not None]
        for _, speculation in speculating:
            speculation.draft = []
        time = pace.step(len(decoding))
        if not speculating or time <= 0.0:
            return
        worth = time / len(decoding)  # seconds for which a token is to be had without drafts
        price = pace.row(len(decoding), _FEW) / worth
        modelled: list[tuple[Drafting, Speculation, int]] = []
        for sequence, speculation in speculating:
            room = min(rows, sequence.most_drafted)
            if self._look_up(sequence, speculation, room, price):
                rows -= len(speculation.draft)
            elif self._model is not None:
                dearer = price + self._model.seconds / worth
                if length := speculation.model_odds.length(min(room, speculation.model_most), dearer):
                    modelled.append((sequence, speculation, length))
                    rows -= length
        if modelled and self._model is not None:
            wanted = [(sequence.key, sequence.tokens, length) for sequence, _, length in modelled]
            for (_, speculation, _), found in zip(modelled, self._model.propose(wanted), strict=True):
                speculation.draft, speculation.is_modelled = self._until_end(found), True

    def _look_up(self, sequence: Drafting, speculation: Speculation, room: int, price: float) -> bool:
        """Whether a draft was found in the text itself."""
        if speculation.lookup is None:
            return False
        found = self._until_end(speculation.lookup.draft(sequence.tokens, min(room, speculation.lookup_most)))
        if found:  # odds are asked only where there is something to try
            found = found[: speculation.lookup_odds.length(len(found), price)]
        speculation.draft, speculation.is_modelled = found, False
        return bool(found)

    def _until_end(self, tokens: list[int]) -> list[int]:
        for place, token in enumerate(tokens):
            if self._ends(token):
                return tokens[:place]
        return tokens
