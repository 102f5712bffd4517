"""What `ps` says: /api/ps's answer as a table that fits its terminal, and a line about the whole machine.

Pure text. Another daemon that speaks Ollama's dialect lacks our keys; what it doesn't tell is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from runner.cli import wording
from runner.cli.client import Json
from runner.cli.output import on_one_line

_UNDER_WAY = {"loading": "Loading...", "stopping": "Stopping..."}
_WIDE, _NARROW = "    ", "  "


@dataclass(frozen=True, slots=True)
class _Column:
    """`drop` says in which order columns go where there is no room: the largest first, 0 never. `short` is a shorter
    way to say the same."""

    head: str
    text: Callable[[Json, datetime], str]
    drop: int = 0
    short: Callable[[Json, datetime], str] | None = None


def lines(answer: Json, now: datetime, width: int | None = None) -> list[str]:
    """A head and a line for each model, at most `width` columns wide as long as the names allow; None for all there is.

    What doesn't fit is first said in fewer words, then left out, the least telling columns first.
    """
    models: Sequence[Json] = answer.get("models") or ()
    columns = [column for column in _COLUMNS if column.head in _OLLAMAS or "totals" in answer]
    table = _table(columns, models, now, short=False)
    if width is None or _width(table, _WIDE) <= width:
        return _laid_out(table, _WIDE)
    if _width(table, _NARROW) <= width:
        return _laid_out(table, _NARROW)
    for most in range(max(column.drop for column in columns), -1, -1):
        kept = [column for column in columns if column.drop <= most]
        table = _table(kept, models, now, short=True)
        if _width(table, _NARROW) <= width:
            break
    return _laid_out(table, _NARROW)


def totals(answer: Json) -> str:
    """The machine in a line: memory, what models hold of it, and the queue. Empty from a daemon that doesn't tell."""
    found = answer.get("totals")
    if not isinstance(found, dict):
        return ""
    held = found.get("held") or {}
    parts = []
    for pool in found.get("memory") or ():
        name = "memory" if pool.get("name") == "host" else f"memory of {pool.get('name')}"
        part = f"{name}: {wording.size(int(pool.get('free') or 0))} free of {wording.size(int(pool.get('total') or 0))}"
        mine = int(held.get(pool.get("name")) or 0)
        parts.append(f"{part}, models hold {wording.size(mine)}" if mine else part)
    parts.append(f"queue: {found.get('queued')} of {found.get('queue_limit')}")
    return on_one_line("; ".join(parts))


def _table(columns: Sequence[_Column], models: Iterable[Json], now: datetime, *, short: bool) -> list[tuple[str, ...]]:
    rows = [tuple(column.head for column in columns)]
    for model in models:
        ways = [(column.short if short and column.short else column.text) for column in columns]
        rows.append(tuple(on_one_line(way(model, now)) for way in ways))
    return rows


def _widths(table: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(cell) for cell in column) for column in zip(*table, strict=True)]


def _width(table: Sequence[Sequence[str]], gap: str) -> int:
    widths = _widths(table)
    return sum(widths) + len(gap) * (len(widths) - 1)


def _laid_out(table: Sequence[Sequence[str]], gap: str) -> list[str]:
    widths = _widths(table)
    return [gap.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _name(model: Json, _: datetime) -> str:
    return str(model.get("name", ""))


def _id(model: Json, _: datetime) -> str:
    return wording.short_digest(str(model.get("digest", ""))) or "-"


def _size(model: Json, _: datetime) -> str:
    size = int(model.get("size") or 0)
    return wording.size(size) if size else "-"


def _processor(model: Json, _: datetime) -> str:
    size = int(model.get("size") or 0)
    return wording.processor(size, int(model.get("size_vram") or 0)) if size else "-"


def _context(model: Json, _: datetime) -> str:
    return str(model.get("context_length") or "-")


def _kv(model: Json, _: datetime) -> str:
    cells = model.get("kv") or {}
    total = int(cells.get("total") or 0)
    if not total:
        return "-"
    busy = 100 * int(cells.get("busy") or 0) / total
    return f"{busy:.0f}%" if busy == 0 or busy >= 0.5 else "<1%"


def _requests(model: Json, _: datetime) -> str:
    running, waiting = int(model.get("running") or 0), int(model.get("waiting") or 0)
    parts = [f"{count} {what}" for count, what in ((running, "running"), (waiting, "waiting")) if count]
    return ", ".join(parts) or "idle"


def _few_requests(model: Json, now: datetime) -> str:
    return _requests(model, now).replace(" running", " run").replace(" waiting", " wait")


def _rate(model: Json, _: datetime) -> str:
    rate = float(model.get("decode_rate") or 0)
    return f"{rate:.1f}" if 0 < rate < 99.95 else f"{rate:.0f}" if rate else "-"


def _until(model: Json, now: datetime) -> str:
    state = model.get("state", "")
    if state not in ("", "ready"):
        status = str(model.get("status") or _UNDER_WAY.get(state, state))
        estimate = model.get("estimate")
        return f"{status}, about {wording.span(float(estimate))}" if state == "queued" and estimate else status
    return "Pinned" if model.get("pinned") else wording.until(model.get("expires_at"), now)


def _shortly(model: Json, now: datetime) -> str:
    text = _until(model, now).removesuffix(" from now").removeprefix("crash loop, ").removeprefix("About ")
    return text.replace(" minutes", " min").replace(" seconds", " s").replace(" hours", " h")


_COLUMNS = (
    _Column("NAME", _name),
    _Column("ID", _id, drop=7),
    _Column("SIZE", _size, drop=1),
    _Column("PROCESSOR", _processor, drop=3),
    _Column("CONTEXT", _context, drop=5),
    _Column("KV", _kv, drop=6),
    _Column("REQUESTS", _requests, drop=2, short=_few_requests),
    _Column("TOK/S", _rate, drop=4),
    _Column("UNTIL", _until, short=_shortly),
)
_OLLAMAS = frozenset({"NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"})
