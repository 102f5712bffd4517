"""The field `lora`, which means the same in every dialect: adapters for this request, with their strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from runner.errors import InvalidRequest
from runner.inference.requests import MOST_LORAS, STRONGEST_LORA, Lora


class Adapter(msgspec.Struct, kw_only=True):
    """An adapter by the `name` of a stored model that has it, or by its `id` among the asked model's own, from 0, which
    is llama-server's way. `scale` is 1 by default."""

    name: str | None = None
    id: int | None = None
    scale: float | None = None


NOTES: Mapping[str, str] = {
    "lora": f"in place of the model's own adapters; at most {MOST_LORAS}",
    "lora[].name": "a stored model that has the adapter",
    "lora[].id": "one of the asked model's own by its number, in place of `name`",
    "lora[].scale": f"-{STRONGEST_LORA:g} to {STRONGEST_LORA:g}; 1 by default, 0 for none",
}
"""What the docs say of it."""


def read(given: Sequence[Adapter] | None) -> tuple[Lora, ...] | None:
    """None leaves the model its own. Raises InvalidRequest naming the part of the field."""
    if given is None:
        return None
    found: list[Lora] = []
    for index, each in enumerate(given):
        if (each.name is None) == (each.id is None):
            raise InvalidRequest(f"lora[{index}] takes name or id, one of them", field=f"lora[{index}]")
        if each.name == "":
            raise InvalidRequest(f"lora[{index}].name is empty", field=f"lora[{index}].name")
        found.append(Lora(each.name, each.id, 1.0 if each.scale is None else each.scale))
    return tuple(found)
