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
    """One row: a token for each of `samplers`, or the score of `given`. With `top`, scores with that many others.

    With a `draft`, there is one sampler, and the rows behind this one are those of the drafted tokens: as long as what
    is chosen is what was drafted, the next is chosen too.
    """

    row: int
    samplers: tuple[Sampler | Guide, ...] = ()
    given: int | None = None
    top: int | None = None
    draft: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token and, if asked for, what the model thought of it; or why there is none.

    `following` are tokens that have to come behind it, whatever the model would say. With `completes`, nothing can
    follow those.
    """

    token: int
    scored: Scored | None
    following: tuple[int, ...] = ()
    completes: bool = False
    fault: InvalidRequest | None = None


def draw_all(draws: list[Draw], logits: npt.NDArray[np.float32], crew: Crew) -> list[list[Drawn]]:
    """What came of each draw. `logits` has the shape (rows, n_vocab); sampling may write into it."""
    hard = [
        1 + len(draw.draft)
        for draw in draws
        if draw.top is not None or not all(sampler.is_greedy for sampler in draw.samplers)
    ]
    return crew.each(lambda draw: _draw(draw, logits), draws, values=sum(hard) * logits.shape[1])


def _draw(draw: Draw, logits: npt.NDArray[np.float32]) -> list[Drawn]:
    if draw.draft:
        return _verify(draw, logits)
    row = logits[draw.row]
    scores = None if draw.top is None else Scores(row, draw.top)
    if draw.given is not None:
        return [_scored(draw.given, scores)]
    return [_drawn(sampler, row, scores) for sampler in draw.samplers]


def _verify(draw: Draw, logits: npt.NDArray[np.float32]) -> list[Drawn]:
    """What the sampler chooses, row by row, up to the first token that was not drafted. At least one."""
    (sampler,) = draw.samplers
    chosen: list[Drawn] = []
    right = 0
    while True:
        row = logits[draw.row + right]
        chosen.append(_drawn(sampler, row, None if draw.top is None else Scores(row, draw.top)))
        for token in (chosen[-1].token, *chosen[-1].following):
            if right == len(draw.draft) or token != draw.draft[right]:
                return chosen
            right += 1
        if chosen[-1].completes:
            return chosen


def _drawn(sampler: Sampler | Guide, logits: npt.NDArray[np.float32], scores: Scores | None) -> Drawn:
    if not isinstance(sampler, Guide):
        return _scored(sampler.sample(logits), scores)
    try:
        token, *following = sampler.choose(logits)
    except InvalidRequest as fault:  # of one choice: the others in the step go on
        return Drawn(-1, None, fault=fault)
    return Drawn(token, scores.of(token) if scores else None, tuple(following), sampler.is_complete)


def _scored(token: int, scores: Scores | None) -> Drawn:
    return Drawn(token, scores.of(token) if scores else None)
