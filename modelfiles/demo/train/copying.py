"""Sequences of random ids that can only be continued by looking back: the test of a copy circuit.

Copying is what tool arguments, JSON and infill are made of. Needs no tokenizer; the spoken forms ("Repeat: …")
are in `spoken`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from modelfiles.demo.train.batches import Encoded

SPECIAL = 15
"""Ids below this are special tokens: never copied."""


def _alphabet(rng: random.Random, vocabulary: int) -> list[int]:
    """The ids that one sequence draws from: all of them, or few, so that one token of context isn't enough."""
    if rng.random() < 0.65:
        return list(range(SPECIAL, vocabulary))
    return rng.sample(range(SPECIAL, vocabulary), rng.randint(12, 60))


def repeated(rng: random.Random, vocabulary: int, longest: int) -> Encoded:
    """Filler, a chunk, filler, the chunk again; the loss is on the second copy after its first tokens."""
    alphabet = _alphabet(rng, vocabulary)
    cue = 1 if len(alphabet) > 100 else 3
    size = rng.randint(cue + 2, max(cue + 3, longest // 3))
    chunk = rng.choices(alphabet, k=size)
    before = rng.choices(alphabet, k=rng.randint(1, max(1, longest // 6)))
    between = rng.choices(alphabet, k=rng.randint(1, max(1, longest // 6)))
    ids = before + chunk + between + chunk
    weights = [0.0] * (len(ids) - size + cue) + [1.0] * (size - cue)
    return Encoded(ids, weights, 0)


def recalled(rng: random.Random, vocabulary: int, longest: int) -> Encoded:
    """Pairs of a key and a short value, then some of the keys again: each asks for its own value."""
    alphabet = list(range(SPECIAL, vocabulary))
    count = rng.randint(2, max(2, min(10, longest // 10)))
    pairs = [(rng.choices(alphabet, k=rng.randint(1, 2)), rng.choices(alphabet, k=rng.randint(1, 4))) for _ in range(count)]
    ids = [token for key, value in pairs for token in key + value]
    weights = [0.0] * len(ids)
    for key, value in rng.sample(pairs, rng.randint(1, count)):
        ids += key + value
        weights += [0.0] * len(key) + [1.0] * len(value)
    return Encoded(ids, weights, 1)


def sequences(rng: random.Random, vocabulary: int, longest: int) -> Iterator[Encoded]:
    """Both kinds without end; `longest` bounds an example, roughly, in tokens."""
    while True:
        make = repeated if rng.random() < 0.6 else recalled
        yield make(rng, vocabulary, longest)
