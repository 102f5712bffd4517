"""What stands in a step's batch for each sequence, what is drawn of its rows, and which drafts came true."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

from runner.engine.draw import Draw, Drawn
from runner.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Filled:
    """`count` tokens of a sequence in the batch, which is in `slot`, and a draft behind them.

    `outputs` are the places of the last rows among the step's logits: those of a draft, and the one before it. The
    tokens are of a prompt, or else of a sequence that decodes.
    """

    sequence: Sequence
    slot: int
    count: int
    outputs: range
    is_prompt: bool
    draft: tuple[int, ...] = ()


def draws(filled: Filled) -> list[Draw]:
    """What is wanted of the rows of one sequence that gave logits; its tokens are counted as computed already."""
    sequence, outputs = filled.sequence, filled.outputs
    top, samplers = sequence.command.logprobs, (sequence.sampler, *sequence.unforked)
    if filled.draft:
        return [Draw(outputs.start, samplers, top=top, draft=filled.draft)]
    wanted: list[Draw] = []
    for row, follower in zip(outputs, range(sequence.computed - len(outputs) + 1, sequence.computed + 1), strict=True):
        if follower < len(sequence.tokens):
            wanted.append(Draw(row, given=sequence.tokens[follower], top=top))
        elif sequence.command.sampling.num_predict == 0:
            wanted.append(Draw(row))
        else:
            wanted.append(Draw(row, samplers, top=top))
    return wanted


def came_true(draft: Seq[int], drawn: Seq[Drawn]) -> int:
    """How many of the drafted tokens are what was chosen."""
    chosen = [token for each in drawn if each.fault is None for token in (each.token, *each.following)]
    for place, (guessed, token) in enumerate(zip(draft, chosen, strict=False)):
        if guessed != token:
            return place
    return min(len(draft), len(chosen))
