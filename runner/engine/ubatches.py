"""How many passes over the weights a batch takes. llama.cpp doesn't say, so its rules are followed here. Pure.

A pool is cut where a pass is full. In a split cache a pass takes sequences whose ids follow each other without a gap,
and the same number of tokens of each.
"""

from __future__ import annotations

from collections.abc import Sequence


def pooled(rows: int, most: int) -> int:
    """Passes for `rows` rows of a pool, `most` in each."""
    return -(-rows // most)


def split(rows: Sequence[tuple[int, int]], most: int) -> int:
    """Passes for a split cache. `rows` are (sequence id, tokens), each id once, in the order of the batch; a pass has
    room for one token of each at least."""
    left = [(seq, count) for seq, count in rows if count]
    passes = 0
    while left:
        together: list[int] = []
        for seq, _ in left:  # whoever doesn't follow on waits for another pass, and one behind him may still do
            if not together or seq == together[-1] + 1:
                together.append(seq)
        chosen = set(together)
        size = min(max(1, most // len(together)), *(count for seq, count in left if seq in chosen), most)
        left = [(seq, count - size if seq in chosen else count) for seq, count in left]
        left = [entry for entry in left if entry[1]]
        passes += 1
    return passes
