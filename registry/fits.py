"""Whether a model fits a machine: its weights, and the KV cache of one conversation, against the memory there is.

Pure, and rougher than the scheduler's plan, which knows what else is loaded: for choosing what to fetch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelfiles.sizes import human_bytes
from registry.gguf.cache import CacheShape

Verdict = Literal["yes", "tight", "no"]

_PROCESS = 256 << 20  # a worker without its model: interpreter, libraries, and what a step computes with
_SHORT = 2048  # tokens: a conversation that is still of use
_EASY = 0.9  # of the memory: the rest of the machine wants to go on as well
_SEEING = 1.5  # of a projector's file: it computes with about half as much again
_UNKNOWN = 0.12  # of the weights, for the cache of a model whose header nobody has read


@dataclass(frozen=True, slots=True)
class Fit:
    """`needs` is bytes of memory at `context` tokens; `why` says in words what decided."""

    verdict: Verdict
    needs: int
    context: int
    why: str


def fit(weights: int, memory: int, context: int, cache: CacheShape | None = None, projector: int = 0) -> Fit:
    """Whether `weights` bytes run in `memory` bytes with `context` tokens. Without `cache`, a rule of thumb for it."""
    fixed = weights + _PROCESS + round(_SEEING * projector)
    needs = fixed + _cached(weights, cache, context, context)
    least = fixed + _cached(weights, cache, min(context, _SHORT), context)
    has = f"{human_bytes(memory)} are free"
    if needs <= memory * _EASY:
        return Fit("yes", needs, context, "")
    if needs <= memory:
        return Fit("tight", needs, context, f"takes {human_bytes(needs)} with {context} tokens, and {has}")
    if least <= memory:
        return Fit(
            "tight", needs, context, f"only with less context: {context} tokens take {human_bytes(needs)}, {has}"
        )
    return Fit("no", needs, context, f"needs {human_bytes(least)} at least, and {has}")


def _cached(weights: int, cache: CacheShape | None, tokens: int, context: int) -> int:
    if cache is not None:
        return cache.bytes_for(tokens)
    return round(_UNKNOWN * weights * tokens / max(context, 1))
