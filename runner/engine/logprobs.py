"""What a model thought of a token: log-probabilities of its raw logits, before any sampler, computed when asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runner.llama.model import Model
from runner.protocol.events import Alternative, Logprob

LEAST = -9999.0  # what clients read as "very unlikely"; minus infinity has no place in JSON


@dataclass(frozen=True, slots=True)
class Scored:
    """One token's log-probability, and the likeliest tokens in its place with theirs, best first."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


class Scores:
    """One row of logits, shape (n_vocab,), as log-probabilities. `top` of the likeliest are looked up at once.

    To be made before a sampler writes into the row; a token that may still be chosen then keeps its logit.
    """

    def __init__(self, logits: npt.NDArray[np.float32], top: int) -> None:
        self._logits = logits
        highest = float(logits.max())
        self._total = highest + float(np.log(np.exp(logits - highest).sum(dtype=np.float64)))
        self._top = tuple((token, self._of(token)) for token in _likeliest(logits, top))

    def of(self, token: int) -> Scored:
        """What the model thought of this token."""
        return Scored(token, self._of(token), self._top)

    def _of(self, token: int) -> float:
        logprob = float(self._logits[token]) - self._total
        return max(LEAST, logprob)  # in this order, so that NaN becomes LEAST, too


def told(model: Model, scored: Scored, offset: int, *, is_end: bool = False) -> Logprob:
    """A score as the daemon is told it: tokens by their bytes, `offset` in characters of the choice's text."""
    top = tuple(Alternative(model.spelling(token), logprob) for token, logprob in scored.top)
    return Logprob(model.spelling(scored.token), scored.logprob, offset, top, is_end)


def _likeliest(logits: npt.NDArray[np.float32], count: int) -> list[int]:
    """The tokens with the highest logits, best first, the lower id first among equals as sampling has it."""
    if count == 0:
        return []
    if count == 1:
        return [int(logits.argmax())]
    least = np.partition(logits, -count)[-count] if count < len(logits) else logits.min()
    found = np.flatnonzero(logits >= least)
    return [int(token) for token in found[np.lexsort((found, -logits[found]))][:count]]
