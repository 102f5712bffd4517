"""Whether a draft pays: how often those of a sequence came true, against what a row costs. Pure numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

_HOPE = 0.7  # the rate of a sequence that has tried nothing yet
_WEIGHT = 0.15  # of each new outcome
_MARGIN = 1.25  # a token must be worth so much more than its row: figures are rough
_FIRST_PAUSE, _LONGEST_PAUSE = 32, 1024  # tokens without drafts before one is tried all the same
_TOO_DEAR = 2.0  # prices above this aren't even tried: what is known of costs may be old, but not that wrong


@dataclass(slots=True)
class Odds:
    """`rate` is the share of drafted tokens that came true, recent ones counting most."""

    rate: float = _HOPE
    _pause: int = _FIRST_PAUSE
    _abstained: int = 0

    def length(self, most: int, price: float) -> int:
        """How many tokens to draft, at most `most`.

        `price` is what another row costs, in tokens that could be decoded in that time. The n-th drafted token comes
        true with the n-th power of the rate, and is drafted as long as that is worth more. Where none is, one is tried
        now and then, ever more rarely while it fails, since texts change.
        """
        if most <= 0:
            return 0
        price *= _MARGIN
        if price < self.rate:
            self._abstained = 0
            return most if price <= 0.0 else min(most, int(math.log(price) / math.log(self.rate)))
        self._abstained += 1
        if self._abstained < self._pause or price >= _TOO_DEAR * _MARGIN:
            return 0
        self._abstained = 0
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause)
        return 1

    def learn(self, drafted: int, accepted: int) -> None:
        """Of so many drafted tokens the first `accepted` came true. What is behind the first wrong one says nothing."""
        for _ in range(accepted):
            self.rate += _WEIGHT * (1.0 - self.rate)
        if accepted < drafted:
            self.rate -= _WEIGHT * self.rate
        if accepted:
            self._pause = _FIRST_PAUSE
        self.rate = min(0.98, max(0.02, self.rate))
