"""One answer that keeps to a form: a grammar's guide through the sampling.

The model chooses first, as it likes; only what the grammar refuses is chosen again among what it allows. Where the
grammar leaves no choice, its tokens are taken without asking the model. Knows tokens, no batch and no sequence.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from runner.errors import InvalidRequest
from runner.formats import Thinking
from runner.llama.model import Model
from runner.llama.sampler import Sampler

if TYPE_CHECKING:  # the worker loads it with its first grammar
    from llguidance import LLMatcher

_SLOWEST = 0.5  # seconds of computing that one step of a grammar may cost everybody
_MOST_BLANKS = 2  # tokens of blanks between a thought and the answer

# Where an answer stands: a thought may begin, or goes on; blanks may follow it; then the grammar holds.
State = Literal["open", "thought", "blanks", "answer"]


@dataclass(slots=True)
class Form:
    """A grammar before its first token. `specials` are the ids of the tokens that are no text; `field` asked for it.

    `too_slow` once a step in it took too long: nobody is to be held up by it again.
    """

    matcher: LLMatcher
    specials: npt.NDArray[np.int64]
    field: str
    too_slow: bool = False

    def refusal(self) -> InvalidRequest:
        """What a request is told that asks for a form that is too slow."""
        return InvalidRequest(f"{self.field} is too complex: one step took more than {_SLOWEST} s", field=self.field)


class Guide:
    """A sampler that is led through a form, from the thought before the answer to its end.

    `thinking` are the markers of a thought, without which there can't be one. Without `runs`, tokens that have to
    follow are chosen one at a time like all others. No two threads may use one guide at the same time.
    """

    is_greedy = False

    def __init__(
        self, form: Form, model: Model, sampler: Sampler, thinking: Thinking | None, state: State, *, runs: bool = True
    ) -> None:
        self._form = form
        self._matcher = form.matcher.deep_copy()
        self._model = model
        self._sampler = sampler
        self._state: State = state if thinking else "answer"
        self._opening, self._closing = (thinking.opening, thinking.closing) if thinking else ("", "")
        self._seen = b""  # the latest of a thought, as far as the closing marker may have begun in it
        self._blanks = 0
        self._runs = runs
        self._begun = not runs  # whether what the form begins with was taken, if it begins with anything fixed

    def close(self) -> None:
        """Free what it draws with."""
        self._sampler.close()

    @property
    def is_complete(self) -> bool:
        """Whether nothing can follow but the end."""
        return self._state == "answer" and self._matcher.is_stopped()

    def accept(self, token: int) -> None:
        """Go on behind a token that was chosen when the answer was computed before. Raises as `choose` does."""
        self._sampler.accept(token)
        if self._state == "thought":
            self._think(token)
            return
        piece = self._model.piece(token)
        if self._state == "open" and piece.startswith(self._opening.encode()):
            self._state = "thought"
        elif self._state == "blanks" and self._is_blank(token, piece):
            self._blanks += 1
        else:
            self._state, self._begun = "answer", True
            if not self._take(token):
                raise self._broken()

    def choose(self, logits: npt.NDArray[np.float32]) -> list[int]:
        """The next token by a row of logits, shape (n_vocab,), and those that have to follow it; at least one.

        An end token only where the grammar may end. Raises InvalidRequest when the grammar can't be followed.
        """
        started = time.thread_time()
        tokens = [] if self._begun or self._state != "answer" else self._forced()
        if not tokens:
            tokens = self._answer(logits) if self._state == "answer" else self._before(logits)
        if time.thread_time() - started > _SLOWEST:
            self._form.too_slow = True
            raise self._form.refusal()
        for token in tokens:
            self._sampler.accept(token)
        return tokens

    # -- before the answer

    def _before(self, logits: npt.NDArray[np.float32]) -> list[int]:
        token = self._sampler.propose(logits)
        if self._state == "thought":
            return self._think(token)
        piece = self._model.piece(token)
        if self._state == "open" and piece.startswith(self._opening.encode()):
            self._state = "thought"
            return [token]
        if self._state == "blanks" and self._is_blank(token, piece):
            self._blanks += 1
            return [token]
        self._state = "answer"
        return self._answer(logits, token)

    def _is_blank(self, token: int, piece: bytes) -> bool:
        return self._blanks < _MOST_BLANKS and piece.isspace() and not self._takes(token)

    def _think(self, token: int) -> list[int]:
        """A token of a thought. An end that comes before the closing marker becomes that marker."""
        closing = self._closing.encode()
        if self._model.ends(token):
            self._state = "blanks"
            return self._tokens(closing)
        before = self._seen
        seen = before + self._model.piece(token)
        at = seen.find(closing)
        if at < 0:
            self._seen = seen[1 - len(closing) :] if len(closing) > 1 else b""
            return [token]
        self._state = "blanks"
        end = at + len(closing)
        if seen[end:].strip():  # it runs on into the answer, where the grammar holds: only what belongs here is taken
            return self._tokens(seen[len(before) : end])
        return [token]

    def _tokens(self, text: bytes) -> list[int]:
        return self._model.tokenize(text.decode("utf-8", "replace"), special=True, bos=False)

    # -- the answer

    def _answer(self, logits: npt.NDArray[np.float32], token: int | None = None) -> list[int]:
        """`token` or what the sampler proposes, if the grammar takes it, or else another; and what has to follow."""
        if token is None and not self._sampler.learns_from_drawing:
            token = self._sampler.propose(logits)
        if token is None or not self._take(token):
            token = self._sampler.propose(logits, self._allowed())
            if not self._take(token):
                raise self._broken()
        return [token] if self._matcher.is_stopped() else [token, *self._forced()]

    def _takes(self, token: int) -> bool:
        return self._matcher.validate_tokens([token]) == 1

    def _take(self, token: int) -> bool:
        return self._matcher.try_consume_tokens([token]) == 1

    def _forced(self) -> list[int]:
        """The tokens that come next whatever the model says."""
        self._begun = True
        tokens = self._matcher.compute_ff_tokens() if self._runs else []
        return tokens[: self._matcher.try_consume_tokens(tokens)] if tokens else []

    def _allowed(self) -> npt.NDArray[np.int64]:
        mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        bits = np.unpackbits(mask, bitorder="little", count=self._model.n_vocab)
        # Outside of UTF-8, where llguidance has its markers, a negation allows what is refused then.
        bits[self._form.specials] = 0
        if self._matcher.is_accepting():
            bits[list(self._model.end_tokens)] = 1
        allowed = np.flatnonzero(bits)
        if self._matcher.is_error() or not len(allowed):
            raise self._broken()
        return allowed

    def _broken(self) -> InvalidRequest:
        why = (self._matcher.get_error() or "no token of this model can follow").splitlines()[0]
        return InvalidRequest(f"{self._form.field} cannot be followed any further: {why[:200]}", field=self._form.field)
