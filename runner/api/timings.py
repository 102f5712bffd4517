"""What an answer took, under llama-server's names: the same block in every dialect that tells it. And how times are
rounded in Runner's own."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from runner.inference.requests import Finished


class Timings(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the answer took, under llama-server's names; `queue_ms` and `load_ms` are Runner's own. Milliseconds."""

    cache_n: int
    prompt_n: int  # tokens computed, without the `cache_n` that were found
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float
    draft_n: int = 0
    draft_n_accepted: int = 0
    queue_ms: float
    load_ms: float


def timings_of(ends: Sequence[Finished]) -> Timings:
    """How long one answer took, or several at the same time: tokens of all, and the times of the slowest."""
    cached = sum(end.cached_tokens for end in ends)
    computed = sum(end.prompt_tokens for end in ends) - cached
    generated = sum(end.completion_tokens for end in ends)
    prefill, decode, queue, load = (
        max(getattr(end.timings, name) for end in ends) / 1e6 for name in ("prefill", "decode", "queue", "load")
    )
    return Timings(
        cache_n=cached,
        prompt_n=computed,
        prompt_ms=prefill,
        prompt_per_token_ms=_ratio(prefill, computed),
        prompt_per_second=_ratio(1e3 * computed, prefill),
        predicted_n=generated,
        predicted_ms=decode,
        predicted_per_token_ms=_ratio(decode, generated),
        predicted_per_second=_ratio(1e3 * generated, decode),
        draft_n=sum(end.drafted_tokens for end in ends),
        draft_n_accepted=sum(end.accepted_tokens for end in ends),
        queue_ms=queue,
        load_ms=load,
    )


def milliseconds(seconds: float | None) -> float | None:
    """As times are told elsewhere: to a tenth."""
    return None if seconds is None else round(1000 * seconds, 1)


def _ratio(one: float, other: float) -> float:
    return one / other if other else 0.0
