"""The part of a step that computes a picture: embeddings in place of tokens, of one sequence alone.

Knows the context and the sequence; when it is its turn is the loop's business.
"""

from __future__ import annotations

from runner.engine.rows import Filled
from runner.engine.sequence import Sequence
from runner.llama.batch import EmbeddingBatch
from runner.llama.context import Context, Outcome


def stretch(sequence: Sequence, count: int, most: int) -> Filled:
    """What of the picture that comes next is to be computed in this step: `count` rows, or the whole of what is left
    where they have to see each other; `most` in any case."""
    found = sequence.pictures.at(sequence.computed)
    assert found is not None
    assert sequence.slot is not None
    start, picture = found
    left = start + len(picture.ids) - sequence.computed
    count = min(left if picture.is_whole else min(left, count), most)
    outputs = range(1 if count == sequence.remaining else 0)
    return Filled(sequence, sequence.slot, count, outputs, is_prompt=True)


def look(context: Context, filled: Filled) -> Outcome:
    """Compute a stretch of a picture."""
    sequence = filled.sequence
    found = sequence.pictures.at(sequence.computed)
    assert found is not None
    start, picture = found
    rows, places = picture.rows(sequence.computed - start, filled.count, sequence.pictures.position(start))
    batch = EmbeddingBatch(filled.slot, rows, places, output=bool(filled.outputs))
    return context.decode(batch, causal=not picture.is_whole)
