"""llama.cpp alone: decode steps of several sequences, with nobody choosing tokens and nobody listening.

    python -m tests.benchmarks.raw FILE

What bounds any server on the same build. Reads lines of `[sequences, tokens]` (JSON) and answers each with tokens per
second, so that a benchmark can take turns with it.
"""

from __future__ import annotations

import json
import sys
import time

from runner.llama import library
from runner.llama.batch import Batch
from runner.llama.context import Context
from runner.llama.model import Model
from runner.protocol.options import LoadOptions

PROMPT = 16  # tokens that each sequence holds at the start


def decode(model: Model, log: library.Log, sequences: int, tokens: int) -> float:
    """Tokens per second of `sequences` that decode `tokens` each, together. The logits are read back, and no more."""
    options = LoadOptions(num_ctx=PROMPT + tokens, num_parallel=sequences)
    cells = sequences * options.num_ctx
    context = Context(model, options, log, cells=cells, sequences=sequences, batch=512, embedding=False)
    batch = Batch(512)
    try:
        for sequence in range(sequences):
            batch.clear()
            batch.add(sequence, 0, range(100, 100 + PROMPT), outputs=1)
            context.decode(batch)
        context.logits(1)
        started = time.perf_counter()
        for step in range(tokens):
            batch.clear()
            for sequence in range(sequences):
                batch.add(sequence, PROMPT + step, (100 + step,), outputs=1)
            context.decode(batch)
            context.logits(sequences)
        return sequences * tokens / (time.perf_counter() - started)
    finally:
        context.close()


def main() -> None:
    log = library.start()
    model = Model((sys.argv[1],), LoadOptions(num_ctx=2048, num_parallel=1), log)
    for line in sys.stdin:
        sequences, tokens = json.loads(line)
        print(json.dumps(decode(model, log, sequences, tokens)), flush=True)
    model.close()


if __name__ == "__main__":
    main()
