"""A run as one SVG picture: four small plots over the loads, a line for each server. Pure; text in, text out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from runner.bench.report import number
from runner.bench.shape import Level, Users
from runner.bench.spread import Spread
from runner.bench.summary import Summary

_WIDTH, _HEIGHT = 460, 250  # of one plot, in pixels, with what is written around it
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 34, 40
_HEAD = 44  # above all plots, for the names of the servers
# Told apart by most colour-blind readers too (Okabe and Ito); beyond eight servers the colours start again.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a8a00")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}"
    ".title{font-weight:600}.axis{stroke:#bbb}.grid{stroke:#eee}.band{opacity:.14}"
)

Value = Callable[[Summary], float | None]


@dataclass(frozen=True, slots=True)
class _Panel:
    """One plot: what it shows, and for latencies the upper edge of the band up to p95."""

    title: str
    value: Value
    upper: Value | None = None


def _median(name: str) -> Value:
    def read(summary: Summary) -> float | None:
        found: Spread | None = getattr(summary, name)
        return None if found is None else found.p50 * 1000

    return read


def _p95(name: str) -> Value:
    def read(summary: Summary) -> float | None:
        found: Spread | None = getattr(summary, name)
        return None if found is None else found.p95 * 1000

    return read


_PANELS = (
    _Panel("tokens per second, all users", lambda summary: summary.output_rate),
    _Panel("tokens per second of one user", lambda summary: summary.user_rate),
    _Panel("time to first token, ms (p50 to p95)", _median("ttft"), _p95("ttft")),
    _Panel("gap between chunks, ms (p50 to p95)", _median("gap"), _p95("gap")),
)


def svg(found: Sequence[Summary], title: str) -> str:
    """The picture. Loads stand side by side in their order, whatever the distance between them."""
    levels = list(dict.fromkeys(summary.level for summary in found))
    names = list(dict.fromkeys(summary.target for summary in found))
    width, height = 2 * _WIDTH, _HEAD + 2 * _HEIGHT
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label={quoteattr(_clean(title))}>',
        f"<title>{escape(_clean(title))}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text class="title" x="{_LEFT}" y="18">{escape(_clean(title))}</text>',
        *_names(names),
    ]
    for place, panel in enumerate(_PANELS):
        x, y = place % 2 * _WIDTH, _HEAD + place // 2 * _HEIGHT
        lines += [f'<g transform="translate({x} {y})">', *_plot(panel, found, levels, names), "</g>"]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _names(names: Sequence[str]) -> Iterator[str]:
    x = float(_LEFT)
    for place, name in enumerate(names):
        yield f'<rect x="{x:.0f}" y="27" width="12" height="12" fill="{_colour(place)}"/>'
        yield f'<text x="{x + 17:.0f}" y="37">{escape(_clean(name))}</text>'
        x += 40 + 7 * len(name)


def _plot(panel: _Panel, found: Sequence[Summary], levels: Sequence[Level], names: Sequence[str]) -> Iterator[str]:
    reads = [read for read in (panel.value, panel.upper) if read is not None]
    top = _ceiling(max((value for summary in found for read in reads if (value := read(summary))), default=1.0))
    yield f'<text class="title" x="{_LEFT}" y="20">{escape(panel.title)}</text>'
    yield from _axes(top, levels)
    for place, name in enumerate(names):
        mine = [summary for summary in found if summary.target == name]
        middle = _points(panel.value, mine, levels, top)
        if panel.upper is not None:
            edge = _points(panel.upper, mine, levels, top)
            around = " ".join([*middle, *reversed(edge)])
            yield f'<polygon class="band" fill="{_colour(place)}" points="{around}"/>'
        yield f'<polyline fill="none" stroke="{_colour(place)}" stroke-width="2" points="{" ".join(middle)}"/>'
        for point in middle:
            x, _, y = point.partition(",")
            yield f'<circle cx="{x}" cy="{y}" r="3" fill="{_colour(place)}"/>'


def _axes(top: float, levels: Sequence[Level]) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for part in range(5):
        value = top * part / 4
        y = _y(value, top)
        kind = "grid" if part else "axis"
        yield f'<line class="{kind}" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>'
    for place, level in enumerate(levels):
        label = str(level.count) if isinstance(level, Users) else f"{level.per_second:g}"
        yield f'<text x="{_x(place, len(levels)):.1f}" y="{bottom + 17}" text-anchor="middle">{label}</text>'
    axis = "users" if all(isinstance(level, Users) for level in levels) else "requests per second"
    yield f'<text x="{(_LEFT + right) / 2:.1f}" y="{bottom + 33}" text-anchor="middle">{axis}</text>'


def _points(read: Value, mine: Sequence[Summary], levels: Sequence[Level], top: float) -> list[str]:
    """`x,y` for every load that has a value."""
    found = []
    for place, level in enumerate(levels):
        value = next((read(summary) for summary in mine if summary.level == level), None)
        if value is not None:
            found.append(f"{_x(place, len(levels)):.1f},{_y(value, top):.1f}")
    return found


def _x(place: int, count: int) -> float:
    wide = _WIDTH - _LEFT - _RIGHT
    return _LEFT + wide * (place + 0.5) / count


def _y(value: float, top: float) -> float:
    high = _HEIGHT - _TOP - _BOTTOM
    return _TOP + high * (1 - value / top)


def _ceiling(value: float) -> float:
    """The next round number: 1, 2, 4 or 8 with zeros, so that a quarter of it is short to write."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)


def _clean(text: str) -> str:
    """XML has no way at all to hold most control characters."""
    return "".join(character for character in text if character.isprintable())


def _colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]
