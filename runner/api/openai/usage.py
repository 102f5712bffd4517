"""What answers took, in tokens, as OpenAI's clients read it: at the end, and where they want it, on the way there."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from runner.api.openai import wire
from runner.inference.requests import Begun, Finished, Piece


def usage_of(ends: Sequence[Finished]) -> wire.Usage:
    """What one answer, or several together, took."""
    prompt = sum(end.prompt_tokens for end in ends)
    completed = sum(end.completion_tokens for end in ends)
    drafted, accepted = sum(end.drafted_tokens for end in ends), sum(end.accepted_tokens for end in ends)
    predicted = wire.PredictedTokens(accepted_prediction_tokens=accepted, rejected_prediction_tokens=drafted - accepted)
    return wire.Usage(
        prompt_tokens=prompt,
        completion_tokens=completed,
        total_tokens=prompt + completed,
        prompt_tokens_details=wire.CachedTokens(sum(end.cached_tokens for end in ends)),
        completion_tokens_details=predicted if drafted else UNSET,
    )


class Running:
    """What the events of a stream tell of its tokens before the end: nothing, null for what is still to come, or, with
    `continuous_usage_stats`, what there are so far of all its answers."""

    def __init__(self, options: wire.StreamOptions | None) -> None:
        self.is_wanted = bool(options and options.include_usage)
        self._tells = bool(options and options.continuous_usage_stats) and self.is_wanted
        self._begun: list[Begun] = []
        self._completed = 0

    def take(self, piece: Piece) -> None:
        """One of the answers has gained this."""
        if piece.begun is not None:
            self._begun.append(piece.begun)
        self._completed += piece.tokens

    def now(self) -> wire.Usage | UnsetType | None:
        """For the next event."""
        if not self.is_wanted:
            return UNSET
        if not self._tells:
            return None
        prompt = sum(each.prompt_tokens for each in self._begun)
        return wire.Usage(
            prompt_tokens=prompt,
            completion_tokens=self._completed,
            total_tokens=prompt + self._completed,
            prompt_tokens_details=wire.CachedTokens(sum(each.cached_tokens for each in self._begun)),
        )
