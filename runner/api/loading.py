"""Options of Ollama's in dialects that have none: how the model is to be loaded, and the object `options` itself.

They mean the same wherever they stand, and are checked by the one table of parameters. Knows no dialect.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Loading(msgspec.Struct, kw_only=True):
    """The fields, which go before those of the dialect."""

    options: dict[str, Any] | None = None
    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    num_thread: int | None = None
    use_mmap: bool | None = None
    flash_attn: Any = None
    kv_cache_type: str | None = None
    cache_type_k: str | None = None
    cache_type_v: str | None = None
    device: str | None = None
    split_mode: str | None = None
    tensor_split: Any = None
    num_cpu_moe: int | None = None


NAMED = tuple(name for name in Loading.__struct_fields__ if name != "options")


def options(body: Loading) -> dict[str, Any]:
    """What a body asks for by these fields; one that stands alone weighs more than the same in `options`."""
    named = {name: value for name in NAMED if (value := getattr(body, name)) is not None}
    return {**(body.options or {}), **named}
