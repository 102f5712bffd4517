"""Figures of earlier runs, so that a regression shows: JSON lines in one file, the newest last.

An entry is one server under one load, with what it was asked. Only equal questions are compared. Knows no run that is
under way; unreadable lines are passed over, for the file is a convenience and not a record.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import __version__
from runner.bench import report
from runner.bench.run import Run
from runner.bench.summary import Summary

Json = dict[str, Any]

_LARGEST = 8 * 1024 * 1024  # bytes; beyond it the older half goes
# Within this a change says nothing on a machine that does other things too.
_NOISE = 0.05
# Name, and whether more is better.
_FIGURES = (("output_tokens_per_s", True), ("ttft_p50_s", False), ("gap_p50_s", False), ("e2e_p50_s", False))
_NAMES = {"output_tokens_per_s": "tok/s", "ttft_p50_s": "TTFT", "gap_p50_s": "gap", "e2e_p50_s": "E2E"}


@dataclass(frozen=True, slots=True)
class Change:
    """One server under one load, now against the last time. `changes` are ratios by figure, `worse` those that are."""

    target: str
    load: str
    since: str
    changes: Mapping[str, float]
    worse: tuple[str, ...]

    def __str__(self) -> str:
        moved = ", ".join(f"{_NAMES[name]} {ratio - 1:+.1%}" for name, ratio in self.changes.items())
        worse = f"  <- worse: {', '.join(_NAMES[name] for name in self.worse)}" if self.worse else ""
        return f"{self.load}, {self.target}: {moved} since {self.since}{worse}"


def entries(run: Run, found: Sequence[Summary], at: str) -> list[Json]:
    """What is kept of a run: loads that were measured whole."""
    return [_entry(run, summary, at) for summary in found if not summary.cut and summary.ok]


def _entry(run: Run, summary: Summary, at: str) -> Json:
    whole = report.result(summary)
    figures = {"output_tokens_per_s": whole["output_tokens_per_s"]}
    figures |= {f"{name}_p50_s": (whole[f"{name}_s"] or {}).get("p50") for name in ("ttft", "gap", "e2e")}
    return {
        "at": at,
        "runner": __version__,
        "machine": report.machine(),
        "target": summary.target,
        "model": run.met[summary.target].target.model,
        "load": whole["load"],
        "workload": report.workload(run),
        "figures": figures,
        "failed": summary.failed,
    }


def append(path: Path, new: Sequence[Json]) -> None:
    """Add entries. Raises OSError."""
    if not new:
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in new).encode("utf-8", "replace")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(lines)
        size = file.tell()
    if size > _LARGEST:
        _halve(path)


def changes(path: Path, new: Sequence[Json]) -> list[Change]:
    """Each new entry against the last one in the file that was asked the same. Raises OSError."""
    last: dict[str, Json] = {}
    for entry in _entries(path):
        last[_key(entry)] = entry
    return [_change(last[_key(entry)], entry) for entry in new if _key(entry) in last]


def _change(old: Json, new: Json) -> Change:
    moved: dict[str, float] = {}
    worse = []
    for name, more_is_better in _FIGURES:
        before, after = old["figures"].get(name), new["figures"].get(name)
        if not _is_positive(before) or not _is_positive(after):
            continue
        moved[name] = after / before
        if (before / after if more_is_better else after / before) > 1 + _NOISE:
            worse.append(name)
    return Change(new["target"], _words(new["load"]), str(old.get("at")), moved, tuple(worse))


def _key(entry: Json) -> str:
    """What must be the same for two entries to be compared."""
    return json.dumps([entry.get(name) for name in ("target", "model", "load", "workload", "machine")], sort_keys=True)


def _words(load: Json) -> str:
    if "users" in load:
        return f"{load['users']} user{'s' if load['users'] != 1 else ''}"
    return f"{load.get('rate')}/s"


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _entries(path: Path) -> Iterator[Json]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for line in content.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("figures"), dict) and isinstance(entry.get("load"), dict):
            yield entry


def _halve(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    aside = path.with_suffix(".part")
    aside.write_bytes(b"".join(lines[len(lines) // 2 :]))
    aside.chmod(0o600)
    aside.replace(path)
