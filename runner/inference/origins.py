"""Where each option's value came from: the request, the Modelfile, the configuration, the model's author, or nobody.

Goes by the same order as the merge in `resolve`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from modelfiles.parameters import PARAMETERS, Value

Origin: TypeAlias = Literal["request", "modelfile", "author", "config", "default", "model", "memory"]
"""`model` is what the model itself allows at most; `memory` what the plan chose, so that it fits."""

WORDS: Mapping[str, str] = {
    "request": "the request",
    "modelfile": "the Modelfile",
    "author": "the model's author",
    "config": "the configuration",
    "default": "Runner's default",
    "model": "the most that the model takes",
    "memory": "the memory there is",
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """An option, its value, and whose that is. `when` is load (a change means another load) or sample."""

    name: str
    value: Value | None
    origin: Origin
    when: str


def all_chosen(
    own: Mapping[str, Value],
    modelfile: Mapping[str, Value],
    configured: Mapping[str, Value],
    author: Mapping[str, Value],
    *,
    num_ctx: int,
    context: str,
) -> tuple[Chosen, ...]:
    """Every option of the table, as a request with its `own` would have it. `configured` are the settings' options,
    `context` is the origin of `num_ctx`."""
    found = []
    for name, spec in PARAMETERS.items():
        origin: Origin = "default"
        value: Value | None = spec.default
        sources = (("author", author), ("config", configured), ("modelfile", modelfile), ("request", own))
        for source, given in sources:
            if name in given:
                origin, value = source, given[name]  # type: ignore[assignment]
        if name == "num_ctx":
            origin, value = context, num_ctx  # type: ignore[assignment]
        found.append(Chosen(name, value, origin, spec.when))
    return tuple(found)
