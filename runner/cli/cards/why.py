"""What `why` says: /runner/why's answer as sections for people. Pure text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime

from runner.cli import wording
from runner.cli.cards.columns import columns
from runner.cli.client import Json
from runner.cli.output import on_one_line, printable

_INDENT = "    "
_RECENT = 12  # happenings
_TAIL = 8  # lines of a log
_SOURCES = {
    "request": "the request",
    "modelfile": "the Modelfile",
    "author": "the model's author",
    "config": "the configuration",
    "model": "the most that the model takes",
    "memory": "chosen so that it fits",
}


def card(found: Json, asked: str, width: int, now: datetime) -> str:
    """Every section that has something to say, wrapped to `width` columns; `asked` is the name that was asked for."""
    context, ahead = found.get("context") or {}, found.get("next") or {}
    sections = [
        ("Where", _where(found.get("placement") or {}, width)),
        ("Next request", _wrapped(str(ahead.get("words") or ""), width)),
        ("Context", _wrapped(str(context.get("words") or ""), width)),
        ("Options", _options(found.get("options") or ())),
        ("Template", _template(found.get("template") or {}, width)),
        ("Adapters", columns([(str(each.get("name")), f"scale {each.get('scale', 1):g}") for each in _worn(found)])),
        ("Worker", _worker(found, width)),
        ("History", _history(found, now, width)),
        ("Last error", _error(found.get("error"), now, width)),
    ]
    name = wording.called(asked, str(found.get("model")))
    head = "\n".join(textwrap.wrap(on_one_line(f"{name}: {found.get('summary')}"), max(20, width)))
    return "\n\n".join(
        (
            head,
            *(
                "\n".join((f"  {title}", *(f"{_INDENT}{printable(line)}" for line in lines)))
                for title, lines in sections
                if lines
            ),
        )
    )


def _where(place: Json, width: int) -> list[str]:
    lines = [
        *_wrapped(_sentence(str(place.get("words") or "")), width),
        *_wrapped(str(place.get("reason") or ""), width),
    ]
    rows = []
    for each in place.get("memory") or ():
        kinds = (("weights", "weights"), ("kv", "KV cache"), ("compute", "computing"))
        parts = [f"{name} {wording.size(int(each.get(kind) or 0))}" for kind, name in kinds if each.get(kind)]
        rows.append((str(each.get("device")), ", ".join(parts)))
    free = place.get("free") or {}
    rows += [
        ("free before the load", f"{wording.size(int(size))} of {'memory' if pool == 'host' else pool}")
        for pool, size in free.items()
        if rows  # otherwise it was another load than the next one
    ]
    return lines + columns(rows)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}." if words else ""


def _options(options: Iterable[Json]) -> list[str]:
    """Those that somebody chose; the rest are Runner's defaults."""
    chosen = [each for each in options if each.get("source") not in ("default", "model", None)]
    rows = [
        (str(each.get("name")), _value(each.get("value")), _SOURCES.get(str(each["source"]), str(each["source"])))
        for each in chosen
    ]
    return [*columns(rows), "all others are Runner's defaults" if rows else "all are Runner's defaults"]


def _value(value: object) -> str:
    if isinstance(value, list):
        return " ".join(repr(each) for each in value)
    return "left to Runner" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _template(template: Json, width: int) -> list[str]:
    lines = _wrapped(_sentence(str(template.get("reason") or "")), width)
    if digest := str(template.get("sha256") or ""):
        lines.append(f"sha256 {digest[:12]} (runner show --template prints it)")
    return lines


def _worn(found: Json) -> Iterable[Json]:
    return found.get("adapters") or ()


def _worker(found: Json, width: int) -> list[str]:
    rows = [
        (str(each.get("name")), str(each.get("value")), str(each.get("words"))) for each in found.get("flags") or ()
    ]
    if found.get("pid"):
        rows.append(("process", str(found["pid"]), ""))
    if shared := found.get("shared_with"):
        rows.append(("shared with", " ".join(str(each) for each in shared), ""))
    lines = _hanging(rows, width, _INDENT)
    if log := found.get("log"):
        lines.append(on_one_line(f"log: {log}"))  # a path isn't wrapped: people copy it
    return lines


def _history(found: Json, now: datetime, width: int) -> list[str]:
    """The latest first."""
    happened: Sequence[Json] = found.get("history") or ()
    rows = [
        (
            wording.clock(str(each.get("time") or ""), now),
            str(each.get("what")).replace("_", " "),
            str(each.get("words")),
        )
        for each in list(happened)[-_RECENT:][::-1]
    ]
    more = len(happened) - len(rows)
    return [*_hanging(rows, width), *([f"{more} earlier (runner why --json shows them)"] if more else [])]


def _error(error: Json | None, now: datetime, width: int) -> list[str]:
    if not error:
        return []
    moment = str(error.get("time") or "")
    when = f"{wording.clock(moment, now)} ({wording.ago(moment, now)})"
    lines = _wrapped(f"{str(error.get('what')).replace('_', ' ')}, {when}: {error.get('words')}", width)
    tail = [line for line in str(error.get("detail") or "").splitlines() if line.strip()]
    return lines + [f"  {on_one_line(line)}" for line in tail[-_TAIL:]]


def _hanging(rows: Sequence[tuple[str, str, str]], width: int, gap: str = "  ") -> list[str]:
    """Three columns, of which the last goes on below itself."""
    if not rows:
        return []
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    left = first + second + 2 * len(gap)
    lines = []
    for when, what, words in rows:
        rest = textwrap.wrap(on_one_line(words), max(20, width - len(_INDENT) - left)) or [""]
        lines.append(f"{when:<{first}}{gap}{what:<{second}}{gap}{rest[0]}".rstrip())
        lines += [" " * left + line for line in rest[1:]]
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(on_one_line(text), max(20, width - len(_INDENT)))
