"""A prompt that comes back at the beginning of its answer, with the score of each of its tokens if asked for."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from runner.engine.logprobs import Scored, told
from runner.llama.model import Model
from runner.protocol.events import Logprob


class Echo:
    """The echo of `tokens`: the prompt's `text` if it was given as one, otherwise what the tokens say.

    `top` is the number of alternatives wanted beside each token, None when nobody asked for scores.
    """

    def __init__(self, model: Model, tokens: Sequence[int], text: str | None, top: int | None) -> None:
        spelled, offsets = _spelled(model, tokens)
        self.text = spelled if text is None else text
        # A BOS that the text didn't have, or the blank that some vocabularies put before it, begins where it does.
        added = max(0, len(spelled) - len(self.text))
        self._offsets = [min(max(0, offset - added), len(self.text)) for offset in offsets]
        self._model = model
        self._size = len(tokens)
        self._top = top
        # Nothing comes before the first token that it could be likely after.
        self.logprobs: list[Logprob] = [] if top is None else [Logprob(model.spelling(tokens[0]), None, 0)]

    @property
    def scored(self) -> int:
        """The prompt's tokens whose rows of logits aren't needed any more."""
        return max(0, len(self.logprobs) - 1)

    @property
    def is_scoring(self) -> bool:
        """Whether rows of the prompt before its last one are still needed."""
        return self._top is not None and len(self.logprobs) < self._size

    def add(self, scored: Scored) -> None:
        """The score of the next token that has none."""
        self.logprobs.append(told(self._model, scored, self._offsets[len(self.logprobs)]))


def _spelled(model: Model, tokens: Sequence[int]) -> tuple[str, list[int]]:
    """The tokens as text, and where each begins in it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text: list[str] = []
    offsets: list[int] = []
    length = 0
    for token in tokens:
        offsets.append(length)
        text.append(decoder.decode(model.spelling(token)))
        length += len(text[-1])
    text.append(decoder.decode(b"", final=True))
    return "".join(text), offsets
