"""What `plan` and `show --memory` say: /runner/plan's answer in words for whoever owns the machine. Pure text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelfiles.sizes import human_bytes
from runner.cli import wording
from runner.cli.client import Json

_HOST = "host"
_VERDICTS = {
    "loaded": "it is loaded",
    "fits": "it fits beside what is loaded",
    "evicts": "it fits once others are unloaded: {evicts}",
    "reloads": "it would be loaded anew",
    "waits": "it fits, and waits for busy models to end",
    "pinned": "pinned models leave no room for it",
    "no": "it does not fit on this machine",
}
_COLUMNS = ("MEMORY", "WEIGHTS", "CACHE", "COMPUTE", "LATER", "OTHER", "NEEDED", "FREE")
_NO = "-"


def card(found: Json, asked: str) -> list[str]:
    """The verdict and what decided it, line by line; `asked` is the name that was asked for."""
    name = wording.called(asked, str(found.get("model")))
    verdict = _VERDICTS.get(str(found.get("verdict")), "{verdict}")
    names = ", ".join(str(each) for each in found.get("evicts", []))
    lines = [f"{name}: {verdict.format(evicts=names, verdict=found.get('verdict'))}"]
    lines += [f"    {word}" for word in found.get("words", [])]
    lines += _crowded(found.get("pools", []))
    sequences = int(found.get("sequences") or 0)
    if sequences:
        cells = int(found.get("cells") or 0)
        together = f"{sequences} requests together share {cells} tokens" if sequences > 1 else "one request at a time"
        lines.append(f"    {together}; one request may use {found.get('context')}")
    elif found.get("verdict") == "no":
        lines.append("    a smaller num_ctx, another kv_cache_type or a smaller quantization may fit")
    return lines


def _crowded(pools: Sequence[Json]) -> list[str]:
    """What is taken at once and what later, where that differs."""
    needs, later = (sum(int(pool.get(key) or 0) for pool in pools) for key in ("needs", "later"))
    return [f"    takes {human_bytes(needs - later)} at once, up to {human_bytes(needs)} with a crowd"] if later else []


def pools(found: Json) -> tuple[tuple[str, ...], Iterable[tuple[str, ...]]]:
    """Heads and rows of what goes where."""
    rows = (
        (
            _pool_name(str(pool.get("pool"))),
            *(_size(pool.get(key)) for key in ("weights", "cache", "compute", "later", "other")),
            human_bytes(int(pool.get("needs") or 0)),
            human_bytes(int(pool.get("free") or 0)),
        )
        for pool in found.get("pools", [])
    )
    return _COLUMNS, rows


def table(found: Json) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows of what each context takes with each type of cache, on each kind of device."""
    rows: list[Json] = found.get("table", [])
    kinds = list(dict.fromkeys((str(row.get("device")), str(row.get("kv_cache_type"))) for row in rows))
    cells = {
        (row.get("context"), str(row.get("device")), str(row.get("kv_cache_type"))): _cell(row, found) for row in rows
    }
    contexts = sorted({int(row.get("context") or 0) for row in rows})
    heads = tuple(f"{'CPU' if device == 'cpu' else 'AUTO'} {kind}" for device, kind in kinds)
    return ("CONTEXT", *heads), [
        (str(context), *(cells.get((context, *kind), "") for kind in kinds)) for context in contexts
    ]


def below(found: Json) -> str:
    """What to know of the table."""
    whole = ", ".join(
        f"{human_bytes(int(pool.get('whole') or 0))} of {_pool_name(str(pool.get('pool')))}"
        for pool in found.get("pools", [])
    )
    return f"For one request; more at a time take more cache. With nothing loaded there are {whole}. {_NO}: too much."


def _cell(row: Json, found: Json) -> str:
    needs: Json = row.get("needs") or {}
    sizes = [
        human_bytes(int(size or 0)) + ("" if pool == _HOST else f" {pool}") for pool, size in needs.items() if size
    ]
    layers, offloaded = int(found.get("layers") or 0), int(row.get("gpu_layers") or 0)
    part = f" ({offloaded}/{layers})" if 0 < offloaded < layers else ""
    return " + ".join(sizes) + part + ("" if row.get("fits") else f" {_NO}")


def _pool_name(pool: str) -> str:
    return "memory" if pool == _HOST else pool


def _size(value: object) -> str:
    return human_bytes(value) if isinstance(value, int) and value else _NO
