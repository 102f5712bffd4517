"""What is wanted of each row of logits that a step brought: the next token, the score of a given one, or both.

A row is worked on by one thread from beginning to end: choices that draw from the same row do so one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runner.engine.constrain import Guide
from runner.engine.crew import Crew
from runner.engine.logprobs import Scored, Scores
from runner.errors import InvalidRequest
from runner.llama.sampler import Sampler


@dataclass(frozen=True, slots=True)
class Draw:
    """One row: a token for each of `samplers`, or the score of `given`. With `top`, scores with that many others."""

    row: int
    samplers: tuple[Sampler | Guide, ...] = ()
    given: int | None = None
    top: int | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token and, if asked for, what the model thought of it; or why there is none.

    `following` are tokens that have to come behind it, whatever the model would say.
    """

    token: int
    scored: Scored | None
    following: tuple[int, ...] = ()
    fault: InvalidRequest | None = None


def draw_all(draws: list[Draw], logits: npt.NDArray[np.float32], crew: Crew) -> list[list[Drawn]]:
    """What came of each draw. `logits` has the shape (rows, n_vocab); sampling may write into it."""
    hard = [draw.top is not None or not all(sampler.is_greedy for sampler in draw.samplers) for draw in draws]
    return crew.each(lambda draw: _draw(draw, logits[draw.row]), draws, values=sum(hard) * logits.shape[1])


def _draw(draw: Draw, logits: npt.NDArray[np.float32]) -> list[Drawn]:
    scores = None if draw.top is None else Scores(logits, draw.top)
    if draw.given is not None:
        return [_scored(draw.given, scores)]
    return [_drawn(sampler, logits, scores) for sampler in draw.samplers]


def _drawn(sampler: Sampler | Guide, logits: npt.NDArray[np.float32], scores: Scores | None) -> Drawn:
    if not isinstance(sampler, Guide):
        return _scored(sampler.sample(logits), scores)
    try:
        token, *following = sampler.choose(logits)
    except InvalidRequest as fault:  # of one choice: the others in the step go on
        return Drawn(-1, None, fault=fault)
    return _scored(token, scores, tuple(following))


def _scored(token: int, scores: Scores | None, following: tuple[int, ...] = ()) -> Drawn:
    return Drawn(token, scores.of(token) if scores else None, following)
