"""The text around a gap as the model was taught to see it: framed by tokens of its vocabulary, or by a Go template.

Knows the model's tokens; what a request may have of them is the mailbox's business.
"""

from __future__ import annotations

from runner.errors import Unsupported
from runner.llama.model import Model
from runner.prompt.fit import cut_around
from runner.prompt.go import GoTemplate
from runner.protocol.commands import InfillPrompt


class Gap:
    """A prompt with a gap, framed by `template` if there is one. Raises what that fails with, and Unsupported where
    there is none and the vocabulary has no infill tokens."""

    def __init__(self, model: Model, prompt: InfillPrompt, template: GoTemplate | None) -> None:
        self._model = model
        self._prompt = prompt
        self._before, self._after = (
            model.tokenize(text, special=False, bos=False) for text in (prompt.prefix, prompt.suffix)
        )
        self._template = template
        self._markers = None if template else model.infill_tokens()
        if template is None and self._markers is None:
            raise Unsupported("this model cannot fill in a gap: it has no infill tokens", field="suffix")
        self.text = template.infill(prompt.prefix, prompt.suffix) if template else None

    def tokens(self) -> list[int]:
        """All of it, framed."""
        return self._framed(self._before, self._after) if self.text is None else self._read(self.text)

    def cut(self, limit: int) -> tuple[list[int], int]:
        """At most about `limit` tokens, those nearest to the gap, and how many were left out."""
        given = len(self._before) + len(self._after)
        frame = len(self.tokens()) - given
        before, after = cut_around(self._before, self._after, max(0, limit - frame))
        lost = given - len(before) - len(after)
        if self._template is None:
            return self._framed(before, after), lost
        prefix, suffix = self._prompt.prefix, self._prompt.suffix
        begin = len(prefix) - self._length(before)
        text = self._template.infill(prefix[max(0, begin) :], suffix[: self._length(after)])
        return self._read(text), lost

    def _framed(self, before: list[int], after: list[int]) -> list[int]:
        assert self._markers is not None
        prefix, suffix, middle = self._markers
        start = [self._model.bos] if self._model.adds_bos else []
        return [*start, prefix, *before, suffix, *after, middle]

    def _read(self, text: str) -> list[int]:
        bos = self._model.text_of(self._model.bos)
        return self._model.tokenize(text, special=True, bos=not (bos and text.startswith(bos)))

    def _length(self, tokens: list[int]) -> int:
        """Characters of these tokens."""
        return len(b"".join(map(self._model.spelling, tokens)).decode("utf-8", "replace"))
