"""What is wanted of each row of logits that a step brought: the next token, the score of a given one, or both.

A row is worked on by one thread from beginning to end: choices that draw from the same row do so one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runner.engine.crew import Crew
from runner.engine.logprobs import Scored, Scores
from runner.llama.sampler import Sampler


@dataclass(frozen=True, slots=True)
class Draw:
    """One row: a token for each of `samplers`, or the score of `given`. With `top`, scores with that many others."""

    row: int
    samplers: tuple[Sampler, ...] = ()
    given: int | None = None
    top: int | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token and, if asked for, what the model thought of it."""

    token: int
    scored: Scored | None


def draw_all(draws: list[Draw], logits: npt.NDArray[np.float32], crew: Crew) -> list[list[Drawn]]:
    """What came of each draw. `logits` has the shape (rows, n_vocab); sampling may write into it."""
    hard = [draw.top is not None or not all(sampler.is_greedy for sampler in draw.samplers) for draw in draws]
    return crew.each(lambda draw: _draw(draw, logits[draw.row]), draws, values=sum(hard) * logits.shape[1])


def _draw(draw: Draw, logits: npt.NDArray[np.float32]) -> list[Drawn]:
    scores = None if draw.top is None else Scores(logits, draw.top)
    tokens = [sampler.sample(logits) for sampler in draw.samplers] if draw.given is None else [draw.given]
    return [Drawn(token, scores.of(token) if scores else None) for token in tokens]
