"""One request in the engine: a count of computed tokens and a count wanted.

Prefill, decode and recomputing after a preemption are the same thing at different counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from runner.engine.text import TextStream
from runner.llama.sampler import Sampler
from runner.protocol.commands import Generate
from runner.protocol.events import Usage


@dataclass(slots=True, eq=False)
class Sequence:
    """A request from its acceptance to its end. Changed by the engine's loop only.

    `tokens` holds the prompt, then what was generated; `computed` of them stand in the KV cache of `slot`.
    """

    command: Generate
    tokens: list[int]
    prompt_tokens: int
    context_length: int  # prompt and answer together
    truncated_tokens: int
    in_thought: bool
    sampler: Sampler
    text: TextStream
    arrived_ns: int
    slot: int | None = None
    computed: int = 0
    cached_tokens: int = 0
    admitted_ns: int = 0
    first_token_ns: int = 0
    unsent_tokens: int = 0

    @property
    def id(self) -> int:
        return self.command.id

    @property
    def remaining(self) -> int:
        """Tokens still to compute before the next one can be chosen."""
        return len(self.tokens) - self.computed

    @property
    def generated(self) -> int:
        return len(self.tokens) - self.prompt_tokens

    @property
    def is_decoding(self) -> bool:
        return self.generated > 0 and self.remaining == 1

    def usage(self, now_ns: int) -> Usage:
        """What the request has cost up to now."""
        admitted = self.admitted_ns or now_ns
        first = self.first_token_ns or now_ns
        return Usage(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            truncated_tokens=self.truncated_tokens,
            completion_tokens=self.generated,
            queue_ns=admitted - self.arrived_ns,
            prefill_ns=first - admitted,
            decode_ns=now_ns - first,
        )
