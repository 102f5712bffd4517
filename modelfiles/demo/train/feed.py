"""From the mix to batches of ids: where text meets the tokenizer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from modelfiles.demo.train import mix, tokenizer
from modelfiles.demo.train.batches import Batch, Encoded, pack
from modelfiles.demo.train.stages import Stage


def batches(stage: Stage, folder: Path, seed: int) -> Iterator[Batch]:
    """The stage's batches; the same seed gives the same batches. `folder` holds the tokenizer."""
    rng = random.Random(seed)
    splitter = tokenizer.load(folder)

    def encoded() -> Iterator[Encoded]:
        for example in mix.examples(mix.SHARES[stage.name], rng):
            ids: list[int] = []
            weights: list[float] = []
            for text, weight in mix.parts(example):
                piece = splitter.encode(text, add_special_tokens=False).ids
                ids += piece
                weights += [weight] * len(piece)
            yield Encoded(ids, weights, mix.FAMILIES.index(example.family))

    return pack(encoded(), stage.rows, stage.length, stage.together)
