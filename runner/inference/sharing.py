"""Which models share a worker: those of the same weights that ask for the same load, whatever else they say.

Templates, system prompts, adapters and sampling travel with each request; only what decides how weights are brought
into memory tells workers apart. The length of the context is left out: a longer one serves the shorter as well.
"""

from __future__ import annotations

import hashlib

from modelfiles.parameters import PARAMETERS
from registry import manifest as media
from registry.stored import StoredModel
from runner.protocol.commands import Load

_LEFT_OUT = frozenset({"num_ctx"})


def worker_key(model: StoredModel, load: Load) -> str:
    """The same for models that share a worker, and for no others: of their weights, projector and draft model, of what
    the worker is for, and of the load options that the Modelfile sets."""
    kinds = [media.MODEL, media.DRAFT, *([media.PROJECTOR] if load.projector else [])]
    parts = [f"{kind}={layer.digest}" for kind in kinds for layer in model.manifest.of(kind)]
    parts += [
        f"{name}={value}"
        for name, value in sorted(model.parameters.items())
        if PARAMETERS[name].when == "load" and name not in _LEFT_OUT
    ]
    parts.append(f"embedding={load.embedding}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
