"""Figures as people and programs read them: table rows, sentences, and the JSON document. Pure; prints nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from runner import __version__
from runner.bench.meet import Met
from runner.bench.run import Run
from runner.bench.shape import Level, Users
from runner.bench.spread import Spread
from runner.bench.summary import Summary, ratios

Json = dict[str, Any]

_NONE = "-"


def rates(found: Sequence[Summary], goals: bool) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows, one row for each server under each load: how much. PER USER is what the median user sees."""
    heads = ("LOAD", "SERVER", "OK", "FAILED", "IN/OUT", "TOK/S", "PER USER")
    rows: list[tuple[str, ...]] = [
        (
            *_place(summary),
            str(summary.ok),
            str(summary.failed),
            f"{_whole(summary.input_tokens)}/{_whole(summary.output_tokens)}",
            number(summary.output_rate),
            number(summary.user_rate),
        )
        for summary in found
    ]
    if not goals:
        return heads, rows
    return (*heads, "GOOD/S"), [(*row, _goodput(each)) for row, each in zip(rows, found, strict=True)]


def latencies(found: Sequence[Summary]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows, one row for each server under each load: how long."""
    heads = ("LOAD", "SERVER", "TTFT P50/P95/P99", "GAP", "END TO END")
    return heads, [(*_place(each), *map(_latencies, (each.ttft, each.gap, each.e2e))) for each in found]


def _place(summary: Summary) -> tuple[str, str]:
    return f"{summary.level}{' (cut)' if summary.cut else ''}", summary.target


def _goodput(summary: Summary) -> str:
    good = summary.goodput
    return _NONE if good is None else f"{number(good.per_second)} ({good.share:.0%})"


def comparison(found: Sequence[Summary], names: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The first server against each of the others: above 1 is more tokens per second, or a longer time."""
    rows = []
    for first, other in _pairs(found, names):
        rate = ratios(first, other)
        rows.append(
            (
                str(first.level),
                f"{first.target} / {other.target}",
                _NONE if rate is None else f"{rate[0]:.2f} ({rate[1]:.2f} to {rate[2]:.2f})",
                *(_times(_over(getattr(first, name), getattr(other, name))) for name in ("ttft", "gap", "e2e")),
            )
        )
    return ("LOAD", "RATIO", "TOK/S", "TTFT P50", "GAP P50", "E2E P50"), rows


def _pairs(found: Sequence[Summary], names: Sequence[str]) -> Iterator[tuple[Summary, Summary]]:
    by_place = {(summary.level, summary.target): summary for summary in found}
    for level in dict.fromkeys(summary.level for summary in found):
        first = by_place.get((level, names[0]))
        for name in names[1:]:
            other = by_place.get((level, name))
            if first is not None and other is not None:
                yield first, other


def notes(found: Sequence[Summary], met: Mapping[str, Met]) -> list[str]:
    """Sentences that the reader of the figures must know: what failed, and where a figure isn't what it seems."""
    said = [
        f"{name} names no token counts in its usage: lengths are a guess, and rates are unknown"
        for name, known in met.items()
        if not known.counts
    ]
    for summary in found:
        where = f"{summary.level}, {summary.target}"
        if summary.failures:
            kinds = ", ".join(f"{count} x {kind}" for kind, count in summary.failures.items())
            said.append(f"{where}: {summary.failed} requests failed ({kinds}); the first: {summary.first_failure}")
        if summary.short and summary.output_tokens is not None:
            said.append(
                f"{where}: {summary.short} of {summary.ok} answers ended early, after"
                f" {number(summary.output_tokens)} tokens on average: mind that when comparing rates"
            )
        if summary.uncounted and summary.uncounted < summary.ok:
            said.append(f"{where}: {summary.uncounted} answers came without a token count and are left out of rates")
        said += [f"{where}: the load generator was too slow, or short of CPU: {each}" for each in summary.complaints]
    return said


def line(summary: Summary) -> str:
    """One turn in one line, for who sees no live table."""
    failed = f", {summary.failed} failed" if summary.failed else ""
    return (
        f"{summary.level}, {summary.target}: {summary.ok} answered{failed} in {number(summary.seconds)} s,"
        f" {number(summary.output_rate)} tok/s, TTFT {_latencies(summary.ttft)}, gap {_latencies(summary.gap)}"
    )


def document(run: Run, found: Sequence[Summary], at: str) -> Json:
    """The whole run as JSON; `at` is when it began. Times in seconds, rates per second. No key is in it."""
    names = [target.name for target in run.plan.targets]
    return {
        "runner": __version__,
        "started_at": at,
        "cut": run.cut,
        "machine": machine(),
        "seed": run.plan.seed,
        "rounds": run.plan.rounds,
        "workload": workload(run),
        "goals": {name: value for name, value in asdict(run.plan.goals).items() if value is not None},
        "targets": [_target(run.met[name]) for name in names if name in run.met],
        "results": [result(summary) for summary in found],
        "comparisons": [_compared(first, other) for first, other in _pairs(found, names)],
        "notes": notes(found, run.met),
    }


def machine() -> Json:
    """Where the load came from."""
    return {"system": platform.system(), "machine": platform.machine(), "cpus": os.cpu_count()}


def workload(run: Run) -> Json:
    """What was asked of every server."""
    asked = run.plan.workload
    return {
        "endpoint": asked.endpoint,
        "input_tokens": str(asked.input),
        "output_tokens": str(asked.output),
        "shared_prefix": asked.shared_prefix,
        "requests": asked.requests,
        "duration": asked.duration,
        "warmup": asked.warmup,
        "temperature": asked.temperature,
        "ignore_eos": asked.ignore_eos,
        "extra": dict(asked.extra),
        "timeout": asked.timeout,
    }


def load(level: Level) -> Json:
    """A level as JSON: `users`, or `rate` and `burstiness` (null for a metronome)."""
    if isinstance(level, Users):
        return {"users": level.count}
    return {"rate": level.per_second, "burstiness": None if level.burstiness == float("inf") else level.burstiness}


def result(summary: Summary) -> Json:
    """One server under one load."""
    return {
        "target": summary.target,
        "load": load(summary.level),
        "cut": summary.cut,
        "seconds": summary.seconds,
        "requests": {
            "ok": summary.ok,
            "failed": summary.failed,
            "failures": dict(summary.failures),
            "first_failure": summary.first_failure,
            "unfinished": summary.unfinished,
            "uncounted": summary.uncounted,
            "short": summary.short,
            "peak_in_flight": summary.peak,
        },
        "input_tokens": summary.input_tokens,
        "cached_tokens": summary.cached_tokens,
        "output_tokens": summary.output_tokens,
        "tokens_per_chunk": summary.chunk_tokens,
        "output_tokens_per_s": summary.output_rate,
        "total_tokens_per_s": summary.total_rate,
        "requests_per_s": summary.request_rate,
        "user_tokens_per_s": summary.user_rate,
        "ttft_s": _spread(summary.ttft),
        "gap_s": _spread(summary.gap),
        "tpot_s": _spread(summary.tpot),
        "e2e_s": _spread(summary.e2e),
        "goodput": None if summary.goodput is None else asdict(summary.goodput),
        "rounds": {str(number): rate for number, rate in summary.output_rates.items()},
        "generator": [
            {"loop_lag_s": _spread(each.lag), "send_delay_s": _spread(each.delay), "cpu_share": each.cpu}
            for each in summary.strains
        ],
    }


def _compared(first: Summary, other: Summary) -> Json:
    rate = ratios(first, other)
    return {
        "load": load(first.level),
        "over": first.target,
        "under": other.target,
        "output_tokens_per_s": None if rate is None else dict(zip(("median", "min", "max"), rate, strict=True)),
        **{f"{name}_p50": _over(getattr(first, name), getattr(other, name)) for name in ("ttft", "gap", "tpot", "e2e")},
    }


def _target(met: Met) -> Json:
    return {
        "name": met.target.name,
        "url": met.target.url,
        "model": met.target.model,
        "counts_tokens": met.counts,
        "takes_ignore_eos": met.accepts.ignore_eos,
        "tokens_per_word": met.fit.per_word,
        "template_tokens": met.fit.overhead,
    }


def number(value: float | None) -> str:
    """A figure with three digits that count: 0.123, 4.56, 78.9, 1234."""
    if value is None:
        return _NONE
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2 if value >= 0.9995 else 3
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def _whole(value: float | None) -> str:
    return _NONE if value is None else f"{value:.0f}"


def _latencies(found: Spread | None) -> str:
    if found is None:
        return _NONE
    unit, factor = ("s", 1.0) if found.p99 >= 10 else ("ms", 1000.0)
    return "/".join(number(value * factor) for value in (found.p50, found.p95, found.p99)) + f" {unit}"


def _spread(found: Spread | None) -> Json | None:
    return None if found is None else asdict(found)


def _over(first: Spread | None, other: Spread | None) -> float | None:
    return first.p50 / other.p50 if first is not None and other is not None and other.p50 > 0 else None


def _times(ratio: float | None) -> str:
    return _NONE if ratio is None else f"{ratio:.2f}"
