"""What `pull --dry-run` and `search` print: the daemon's answers as text for people.

Pure text. Knows the fields of /runner/look and /runner/search, and not how they come about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from runner.cli import wording
from runner.cli.client import Json
from runner.cli.output import on_one_line

_INDENT = "    "
_ROOM = 1.05  # of the bytes to fetch: what a pull wants to see free
_PLACES = {"stored": "in the store", "cached": "in the hub's cache", "partial": "begun", "missing": "to fetch"}


def look(found: Json) -> str:
    """A look, section by section; what would be done comes last."""
    sections = [
        (str(found.get("name") or ""), _columns(_facts(found))),
        ("Quantizations", _columns(_builds(found.get("builds") or ()))),
        ("Files", _columns(_files(found.get("files") or ()))),
    ]
    text = "\n\n".join("\n".join((title, *lines)) for title, lines in sections if lines)
    return f"{text}\n\n{_outcome(found)}"


def is_too_large(found: Json) -> bool:
    """Whether the disk has no room for what would be fetched."""
    return int(found.get("fetch") or 0) * _ROOM > int(found.get("free") or 0) and bool(found.get("fetch"))


def catalog(entries: Iterable[Json]) -> str:
    """Models of the catalog, each with its tags."""
    return "\n\n".join("\n".join((_heading(each), *_columns(_tags(each)))) for each in entries)


def overview(entries: Iterable[Json]) -> Iterable[tuple[str, ...]]:
    """Models of the catalog, a row for each, under OVERVIEW's heads."""
    for entry in entries:
        tags = entry.get("tags") or ()
        fitting = [str(tag["tag"]) for tag in tags if (tag.get("fits") or {}).get("verdict") == "yes"]
        yield (
            str(entry.get("name")),
            str(entry.get("kind")),
            str(entry.get("parameters")),
            # Other quantizations of a build have its tag in theirs.
            " ".join(_plain(fitting)) or "-",
            str(entry.get("summary")),
        )


OVERVIEW = ("NAME", "KIND", "PARAMETERS", "FITS HERE", "SUMMARY")
OVERVIEW_SPARE = ("SUMMARY", "PARAMETERS", "KIND")
HUB = ("MODEL", "PARAMETERS", "DOWNLOADS", "LIKES", "CHANGED", "LICENCE", "NOTE")
HUB_SPARE = ("LIKES", "LICENCE", "CHANGED", "PARAMETERS", "NOTE", "DOWNLOADS")


def hub(repositories: Iterable[Json], now: datetime) -> Iterator[tuple[str, ...]]:
    """Repositories of the hub, a row for each, under HUB's heads."""
    for each in repositories:
        notes = [
            "in the store" if each.get("stored") else "",
            "gated" if each.get("gated") else "",
            "" if each.get("supported") is not False else f"{each.get('architecture')} can't run here",
        ]
        yield (
            str(each.get("model")),
            wording.number(int(each.get("parameters") or 0)) if each.get("parameters") else "-",
            wording.number(int(each.get("downloads") or 0)),
            wording.number(int(each.get("likes") or 0)),
            wording.ago(str(each.get("modified") or ""), now),
            str(each.get("licence") or "-"),
            ", ".join(filter(None, notes)),
        )


def _facts(found: Json) -> Iterator[tuple[str, str]]:
    yield "from", str(found.get("origin") or "")
    if found.get("architecture"):
        yield "architecture", str(found["architecture"]) + ("" if found.get("supported") else " (can't run here)")
    if found.get("parameters") or found.get("size_label"):
        count = int(found.get("parameters") or 0)
        yield "parameters", wording.number(count) if count else str(found["size_label"])
    if found.get("context_length"):
        yield "context", f"{found['context_length']} tokens"
    yield "licence", str(found.get("licence") or "not told")
    if found.get("capabilities"):
        yield "capabilities", " ".join(str(each) for each in found["capabilities"])
    if found.get("supported"):
        yield "chat template", "yes" if found.get("chat_template") else "none"
    if found.get("sampling"):
        yield "sampling", ", ".join(f"{name} {value}" for name, value in found["sampling"].items())


def _builds(builds: Sequence[Json]) -> Iterator[tuple[str, ...]]:
    yield "", "TAG", "SIZE", "FITS", ""
    for each in builds:
        fits = each.get("fits") or {}
        notes = (
            "in the store" if each.get("stored") else "",
            f"{each['files']} files" if int(each.get("files") or 1) > 1 else "",
            str(fits.get("why") or ""),
        )
        mark = ">" if each.get("chosen") else ""
        label = str(each.get("tag") or each.get("quantization") or "-")
        size = wording.size(int(each.get("size") or 0))
        yield mark, label, size, str(fits.get("verdict") or "?"), "; ".join(filter(None, notes))


def _files(files: Sequence[Json]) -> Iterator[tuple[str, ...]]:
    for each in files:
        place, missing = str(each.get("place")), int(each.get("missing") or 0)
        words = _PLACES.get(place, place)
        if place == "partial":
            words = f"begun, {wording.size(missing)} to fetch"
        role = str(each.get("role") or "")
        yield str(each.get("title")), wording.size(int(each.get("size") or 0)), role, words


def _outcome(found: Json) -> str:
    tag = str(found.get("quantization") or "")
    chosen: Json = next((each for each in found.get("builds") or () if each.get("chosen")), {})
    lines = []
    if found.get("why"):
        lines.append(f"Chose {chosen.get('tag') or tag}: {found['why']}.")
    fetch, size, free = (int(found.get(key) or 0) for key in ("fetch", "size", "free"))
    if found.get("stored") and not fetch:
        lines.append("Nothing to fetch: this version is in the store already.")
    elif not fetch:
        lines.append(f"Nothing to fetch: all {wording.size(size)} are on this machine.")
    else:
        lines.append(f"To fetch: {wording.size(fetch)} of {wording.size(size)}; {wording.size(free)} are free.")
    return "\n".join(on_one_line(line) for line in lines)


def _heading(entry: Json) -> str:
    facts = (str(entry.get("kind")), str(entry.get("licence")), f"{entry.get('context')} tokens")
    return on_one_line(f"{entry.get('name')}: {entry.get('summary')} ({', '.join(facts)})")


def _tags(entry: Json) -> Iterator[tuple[str, ...]]:
    for tag in entry.get("tags") or ():
        fits = tag.get("fits") or {}
        notes = (
            "latest" if tag.get("latest") else "",
            "in the store" if tag.get("stored") else "",
            str(fits.get("why") or ""),
        )
        yield (
            f"{entry.get('name')}:{tag.get('tag')}",
            str(tag.get("quantization")),
            wording.size(int(tag.get("size") or 0)),
            str(fits.get("verdict") or "?"),
            "; ".join(filter(None, notes)),
        )


def _plain(tags: Sequence[str]) -> list[str]:
    """Tags that aren't another of them with a quantization behind."""
    return [tag for tag in tags if not any(tag.startswith(f"{other}-") for other in tags)]


def _columns(rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [tuple(on_one_line(cell) for cell in row) for row in rows]
    if not lines:
        return []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    # A column that marks a few rows takes no gap of its own.
    gaps = ["  " if width <= 1 else _INDENT for width in widths]
    return [
        (
            _INDENT + "".join(cell.ljust(width) + gap for cell, width, gap in zip(cells, widths, gaps, strict=True))
        ).rstrip()
        for cells in lines
    ]
