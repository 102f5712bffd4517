"""Sizes, spans of time and moments in the words that people read in a table. Pure text; knows no terminal."""

from __future__ import annotations

from datetime import datetime, timedelta

from modelfiles.sizes import human_bytes

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# Each unit is used up to its limit, so that "36 hours" doesn't round to "2 days".
_UNITS = (
    (2 * _MINUTE, _MINUTE, "About a minute", ""),
    (_HOUR, _MINUTE, "", "minutes"),
    (2 * _HOUR, _HOUR, "About an hour", ""),
    (2 * _DAY, _HOUR, "", "hours"),
    (14 * _DAY, _DAY, "", "days"),
    (60 * _DAY, 7 * _DAY, "", "weeks"),
    (730 * _DAY, 30 * _DAY, "", "months"),
)
_FOREVER = timedelta(days=20 * 365)  # an expiry this far away was asked to be never


def size(count: float) -> str:
    """Bytes in decimal units, as the daemon writes them too: 999 B, 4.7 MB, 42 GB."""
    return human_bytes(count)


def number(count: float) -> str:
    """A count in powers of 1000: 999, 42K, 8.0B."""
    for unit, name in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            value = count / unit
            return f"{value:.0f}{name}" if value >= 99.95 else f"{value:.1f}{name}"
    return f"{count:.0f}"


def counted(count: int, what: str) -> str:
    """A number of things: 1 file, 2 files."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def called(asked: str, full: str) -> str:
    """The model's full name; behind another one that leads to it, such as model:adapter or an alias."""
    return full if full.lower() in (asked.lower(), f"{asked.lower()}:latest") else f"{asked} ({full})"


def short_digest(digest: str) -> str:
    """The first 12 hex digits, as tables show them; a web server's tag for a version loses its quotes."""
    return digest.removeprefix("sha256:").removeprefix("W/").strip('"')[:12]


def span(seconds: float) -> str:
    """A length of time in one unit: 5 seconds, About an hour, 3 weeks."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole < _MINUTE:
        return f"{whole} second{'s' if whole > 1 else ''}"
    for limit, unit, fixed, name in _UNITS:
        if whole < limit:
            return fixed or f"{whole // unit} {name}"
    return f"{whole // (365 * _DAY)} years"


def ago(moment: str, now: datetime) -> str:
    """When something happened, from an RFC 3339 time; `-` when there is none."""
    then = _moment(moment)
    if then is None:
        return "-"
    return f"{span((now - then).total_seconds())} ago"


def clock(moment: str, now: datetime) -> str:
    """The time of day of an RFC 3339 time where `now` is; with its date if that is another, `-` when there is none."""
    then = _moment(moment)
    if then is None:
        return "-"
    then = then.astimezone(now.tzinfo)
    return f"{then:%H:%M:%S}" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M:%S}"


def until(moment: str | None, now: datetime) -> str:
    """When a loaded model leaves, from an RFC 3339 time; no time means never."""
    then = _moment(moment)
    if then is None or then - now > _FOREVER:
        return "Forever"
    if then <= now:
        return "Stopping..."
    return f"{span((then - now).total_seconds())} from now"


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.astimezone()


def processor(total: int, on_gpu: int) -> str:
    """Where a model's memory lies: 100% GPU, 100% CPU, 48%/52% CPU/GPU."""
    if total <= 0 or on_gpu > total:
        return "Unknown"
    if on_gpu <= 0:
        return "100% CPU"
    if on_gpu == total:
        return "100% GPU"
    on_cpu = round((total - on_gpu) / total * 100)
    return f"{on_cpu}%/{100 - on_cpu}% CPU/GPU"


def nanoseconds(count: int) -> str:
    """A measured time in its natural unit: 1m2.5s, 1.234s, 56.7ms, 890µs."""
    seconds = count / 1e9
    if seconds >= _MINUTE:
        minutes, rest = divmod(seconds, _MINUTE)
        return f"{int(minutes)}m{rest:.3f}s"
    if seconds >= 1:
        return f"{seconds:.3f}s"
    if count >= 1_000_000:
        return f"{count / 1e6:.3f}ms"
    return f"{count / 1e3:.0f}µs" if count >= 1_000 else f"{count}ns"


def duration(seconds: float) -> str:
    """A configured time, as it is written in the configuration: 5m, 1h30m, 45s, forever."""
    if seconds == float("inf"):
        return "forever"
    if seconds != int(seconds):
        return f"{seconds:g}s"
    hours, rest = divmod(int(seconds), _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    parts = [f"{value}{unit}" for value, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if value]
    return "".join(parts) or "0s"
