"""Where the time of the engine's steps goes, and how much they did.

Written by the loop alone: a few clock readings and additions a step. Knows no sequence and no event.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from runner.engine.reuse import Counts
from runner.protocol.totals import STEP_SECONDS, STEP_TOKENS, Tally, Totals


class Meter:
    """A step is `begin`, `filled`, `waited`, `sampled`, `ended`, in this order; the last two may be all that follows of
    a failed decode. Each takes the time since the one before it. `clock` gives nanoseconds."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._began = self._last = 0
        self._fill = self._wait = self._sample = self._post = 0
        self._tokens = Tally(STEP_TOKENS)
        self._seconds = Tally(STEP_SECONDS)
        self.steps = self.ubatches = 0
        self.prompt_tokens = self.completion_tokens = self.preemptions = 0
        self.drafts = self.drafted_tokens = self.accepted_tokens = 0
        self._embedding = [0, 0, 0, 0]

    def begin(self) -> None:
        """The loop turns to its sequences, or to inputs to embed."""
        self._began = self._last = self._clock()

    def filled(self, tokens: int) -> None:
        """The batch is written, with so many tokens."""
        self._fill += self._lap()
        self._tokens.add(tokens)
        self.steps += 1

    def waited(self, ubatches: int = 1) -> None:
        """The decode has come back, in so many passes over the weights, and its logits are there."""
        self._wait += self._lap()
        self.ubatches += ubatches

    def sampled(self) -> None:
        """Every row has its token."""
        self._sample += self._lap()

    def ended(self) -> None:
        """What the step brought is on its way."""
        self._post += self._lap()
        self._seconds.add((self._last - self._began) / 1e9)

    def embedded(self, inputs: int, tokens: int) -> None:
        """In place of a step: so many inputs were decoded since `begin`."""
        for place, count in enumerate((1, inputs, tokens, self._lap())):
            self._embedding[place] += count

    @property
    def did_anything(self) -> bool:
        return bool(self.steps or self._embedding[0])

    def totals(self, reused: Counts) -> Totals:
        """All of it up to now, and what was reused."""
        embed_steps, embed_inputs, embed_tokens, embed_ns = self._embedding
        return Totals(
            steps=self.steps,
            ubatches=self.ubatches,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            preemptions=self.preemptions,
            fill_ns=self._fill,
            wait_ns=self._wait,
            sample_ns=self._sample,
            post_ns=self._post,
            step_tokens=self._tokens.spread(),
            step_seconds=self._seconds.spread(),
            drafts=self.drafts,
            drafted_tokens=self.drafted_tokens,
            accepted_tokens=self.accepted_tokens,
            reused_cells=reused.cells,
            reused_ram=reused.ram,
            reused_disk=reused.disk,
            demotions=reused.demotions,
            embed_steps=embed_steps,
            embed_inputs=embed_inputs,
            embed_tokens=embed_tokens,
            embed_ns=embed_ns,
        )

    def _lap(self) -> int:
        last, self._last = self._last, self._clock()
        return self._last - last
