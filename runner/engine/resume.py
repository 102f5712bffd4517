"""A request that an earlier worker had begun: its choices go on behind what was told of them.

The tokens that were told stand behind the prompt and are computed with it. Text, stop strings, forms and penalties go
through them again, and what comes out then begins where the telling broke off. Knows no loop and no daemon.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq

from runner.engine.constrain import Guide
from runner.engine.sequence import Sequence
from runner.engine.text import TextStream
from runner.llama.model import Model
from runner.llama.sampler import Sampler
from runner.protocol.commands import Generate, Resumed
from runner.protocol.events import Reason

Chooser = Sampler | Guide


def going_on(command: Generate) -> list[int]:
    """The choices that are not complete. One always is, or the request would have ended."""
    told = command.resumed
    return [n for n in range(command.choices) if n >= len(told) or told[n].reason is None] or [command.choices - 1]


def told_of(command: Generate, choice: int) -> Resumed:
    """How far a choice had come."""
    return command.resumed[choice] if choice < len(command.resumed) else Resumed()


def go_on(model: Model, new: Sequence, choosers: Seq[Chooser]) -> Sequence:
    """`new`, the request as if it were begun now, with a chooser for each choice that goes on; as it stands now.

    Choices that had begun become sequences of their own, the first of them or the one that computes the prompt for the
    others being returned with the rest in `others`. Raises InvalidRequest where a form can't be followed.
    """
    command, request = new.command, new.request
    numbers = going_on(command)
    begun = [(n, chooser) for n, chooser in zip(numbers, choosers, strict=True) if told_of(command, n).tokens]
    fresh = [(n, chooser) for n, chooser in zip(numbers, choosers, strict=True) if not told_of(command, n).tokens]
    request.echoed = frozenset(n for n in range(command.choices) if told_of(command, n).sent)
    request.numbers, request.unforked = [n for n, _ in fresh[1:]], [chooser for _, chooser in fresh[1:]]
    request.incomplete = len(numbers)
    ended = set(range(command.choices)) - set(numbers)
    request.completion_tokens = sum(len(told_of(command, n).tokens) for n in ended)
    if all(n in request.echoed for n, _ in fresh):
        request.echo = None  # nobody is told of it again
    sequences = [_begun(model, new, n, chooser) for n, chooser in begun]
    if fresh:
        new.choice, new.sampler = fresh[0]
        sequences.insert(0, new)
    first, *first.others = sequences
    return first


def _begun(model: Model, new: Sequence, choice: int, chooser: Chooser) -> Sequence:
    """One choice behind the tokens that were told of it."""
    told = told_of(new.command, choice)
    stops = new.command.sampling.stop
    text = TextStream(stops, position=new.text.position, told=told.sent)
    starts: list[int] = []  # of each token, in the choice's text
    surplus = ""  # what is certain now and wasn't told: nothing, unless the two disagree
    for token in told.tokens:
        starts.append(text.position)
        chooser.accept(token)
        surplus += text.push(new.piece(model, token))
    sequence = new.fork(choice, chooser)
    sequence.tokens += told.tokens
    sequence.text, sequence.owed = text, surplus
    sequence.over = _over(sequence, chooser)
    if new.command.logprobs is not None and sequence.over is None:
        sequence.unscored = [start for start in starts if start >= told.sent]
    return sequence


def _over(sequence: Sequence, chooser: Chooser) -> Reason | None:
    """Why nothing follows the tokens that were told."""
    if sequence.text.stop is not None or (isinstance(chooser, Guide) and chooser.is_complete):
        return "stop"
    wanted = sequence.command.sampling.num_predict
    if 0 < wanted <= sequence.generated or len(sequence.tokens) >= sequence.context_length:
        return "length"
    return None
