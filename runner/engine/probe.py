"""`python -m runner.engine.probe [MODEL.gguf]`: does this machine's llama.cpp build compute at all?

Run in a process of its own, because a build made for another CPU dies by a signal in its first decode. Prints one line
of JSON (devices, build, text) and exits 0 when a few tokens came out. Without an argument the embedded demo model is
used.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from modelfiles.embedded import demo_gguf
from runner.errors import LoadFailed
from runner.llama import library
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.llama.sampler import Sampler
from runner.protocol.options import LoadOptions, SampleOptions

_TOKENS = 8
_PROMPT = "def add(a, b):\n    return"


def main(arguments: list[str]) -> int:
    """Decode a few tokens; returns the exit status."""
    try:
        found = decoded(arguments[0] if arguments else str(demo_gguf()))
    except LoadFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def decoded(path: str) -> dict[str, Any]:
    """Devices, build and the text of a few tokens. Raises LoadFailed; or the process dies, which is what is asked."""
    log = library.start()
    options = LoadOptions(num_ctx=256, num_parallel=1)
    model = Model([path], options, log)
    context = Context(model, options, log, cells=256, sequences=1, batch=64, embedding=False)
    sampler = Sampler(model, SampleOptions(temperature=0.0, repeat_penalty=1.0, ignore_eos=True))
    batch = Batch(64)
    tokens = model.tokenize(_PROMPT, special=False, bos=True)
    position, text = 0, b""
    for _ in range(_TOKENS):
        batch.clear()
        batch.add(0, position, tokens, outputs=1)
        if context.decode(batch) is not Outcome.DONE:
            raise LoadFailed("llama.cpp could not compute")
        position += len(tokens)
        tokens = [sampler.sample(context.logits(1)[0])]
        text += model.piece(tokens[0])
    return {
        "devices": [f"{name}: {about}" for name, about in log.devices.items()] or ["CPU"],
        "engine": library.version(),
        "text": text.decode("utf-8", "replace"),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
