"""How long a header with a large vocabulary takes to read: `python -m tests.benchmarks.header [TOKENS]`.

Writes a GGUF with TOKENS tokens (151,936 by default), as many types and scores, and one and a half merges to each, the
shape that large models have, and prints the milliseconds of: reading the bytes alone, reading the header, and the facts
and checks on top of it.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from registry.gguf.check import check
from registry.gguf.facts import facts
from registry.gguf.reader import read_header
from tests import tiny_gguf

_TIMES = 15


def header(tokens: int, seed: int = 1) -> bytes:
    """A model's header with that many tokens, two to nine characters long, and a chat template."""
    dice = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz\u0120\u00e9\u4e2d"
    words = ["".join(dice.choices(letters, k=dice.randint(1, 8))) + str(index % 10) for index in range(tokens)]
    merges = [f"{dice.choice(words)} {dice.choice(words)}" for _ in range(tokens * 3 // 2)]
    extra = {
        "tokenizer.ggml.scores": tiny_gguf.array(tiny_gguf.FLOAT32, [0.0] * tokens),
        "tokenizer.ggml.merges": tiny_gguf.array(tiny_gguf.STRING, merges),
        "tokenizer.chat_template": "{% for message in messages %}{{ message.content }}{% endfor %}" * 50,
    }
    tensors = [tiny_gguf.Tensor(f"blk.{index}.weight", (64, 4)) for index in range(400)]
    return tiny_gguf.model(vocabulary=words, extra=extra, tensors=tensors).build()


def _milliseconds(work: Callable[[], object]) -> tuple[float, float]:
    """The median and the least of some."""
    taken = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken), min(taken)


def main() -> int:
    """Write, measure, print."""
    tokens = int(sys.argv[1]) if len(sys.argv) > 1 else 151_936
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.gguf"
        path.write_bytes(header(tokens))
        read = read_header(path)
        size = read.data_offset
        sys.stdout.write(f"{tokens} tokens, {os.path.getsize(path)} bytes, {size} of them header\n")
        for what, work in (
            ("the bytes alone", path.read_bytes),
            ("the header", lambda: read_header(path)),
            ("its facts", lambda: facts(read)),
            ("its checks and facts", lambda: check(read)),
            ("all of it", lambda: check(read_header(path))),
        ):
            median, least = _milliseconds(work)
            sys.stdout.write(f"{what:<22} {median:7.1f} ms, at best {least:.1f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
