"""Which models share a worker: those of the same weights that are loaded in the same way, whatever else they say.

Templates, system prompts, adapters and sampling travel with each request; only what decides how weights are brought
into memory tells workers apart, be it from a Modelfile or from the settings: where these change, so does the worker.
The length of the context is left out: a longer one serves the shorter as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from modelfiles.parameters import PARAMETERS, Value
from registry import manifest as media
from registry.stored import StoredModel
from runner.protocol.commands import Load

_LEFT_OUT = frozenset({"num_ctx"})


def worker_key(model: StoredModel, load: Load, options: Mapping[str, Value]) -> str:
    """The same for models that share a worker, and for no others: of their weights, projector and draft model, of what
    the worker is for, and of its load's options.

    `load` is what a request wants; `options` are what Modelfile and settings say, without the request's own.
    """
    kinds = [media.MODEL, media.DRAFT, *([media.PROJECTOR] if load.projector else [])]
    parts = [f"{kind}={layer.digest}" for kind in kinds for layer in model.manifest.of(kind)]
    parts += [
        f"{name}={options.get(name, spec.default)}"
        for name, spec in PARAMETERS.items()
        if spec.when == "load" and name not in _LEFT_OUT
    ]
    parts += [f"embedding={load.embedding}", f"sequences={load.options.num_parallel}", f"sandbox={load.sandbox}"]
    parts.append(f"prefixes={load.prefixes.ram},{load.prefixes.disk}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
