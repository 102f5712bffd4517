"""Lines of the daemon's log, whichever way they were written, as entries; which of them are asked for, and how people
see them. Knows no file.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from runner.log import escaped

LEVELS: Mapping[str, int] = {
    name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error", "critical")
}
_TEXT = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]\d{3}(?:[+-]\d\d:\d\d)?) "
    r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) (?P<logger>\S+) \[(?P<request>[^\]]*)\] (?P<message>.*)"
)
_OWN = ("time", "level", "logger", "request", "message", "traceback")
_LONG = re.compile(r"[0-9a-f]{32}")
_SHORT = 8  # characters of an id that Runner made; enough to ask for it
_COLOURS = {"debug": "2", "warning": "33", "error": "31", "critical": "1;31"}


@dataclass(frozen=True, slots=True)
class Entry:
    """What was said once. `time` is None where a line is nobody's; `fields` is what else its line of JSON held."""

    message: str
    time: datetime | None = None
    level: str = "info"
    logger: str = ""
    request: str = ""
    traceback: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """As it is written in JSON."""
        stamp = None if self.time is None else self.time.isoformat(timespec="milliseconds")
        own = {"time": stamp, "level": self.level, "logger": self.logger, "request": self.request}
        row = {name: value for name, value in own.items() if value} | {"message": self.message} | dict(self.fields)
        return row | {"traceback": self.traceback} if self.traceback else row


def entry(line: str, below: Iterable[str] = ()) -> Entry | None:
    """One line as an entry, with the indented ones below it. None where it is no beginning of one."""
    if line.startswith("{"):
        try:
            row = json.loads(line)
        except ValueError:
            return None
        return _of_json(row) if isinstance(row, dict) else None
    found = _TEXT.fullmatch(line)
    if found is None:
        return None
    request = "" if found["request"] == "-" else found["request"]
    traceback = "\n".join(each.removeprefix("    ") for each in below)
    when = _moment(found["time"].replace(",", "."))
    return Entry(found["message"], when, found["level"].lower(), found["logger"], request, traceback)


def _of_json(row: Mapping[str, Any]) -> Entry | None:
    message = row.get("message")
    if not isinstance(message, str):
        return None
    texts = {name: value for name in _OWN[1:] if isinstance(value := row.get(name), str)}
    level = texts.get("level", "")
    return Entry(
        message,
        _moment(row.get("time")),
        level if level in LEVELS else "info",
        texts.get("logger", ""),
        texts.get("request", ""),
        texts.get("traceback", ""),
        {name: value for name, value in row.items() if name not in _OWN},
    )


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.astimezone()


def backwards(lines: Iterable[str]) -> Iterator[Entry]:
    """Entries of lines that come last first."""
    below: list[str] = []
    for line in lines:
        found = entry(line, reversed(below))
        if found is None and line.startswith("    "):
            below.append(line)
            continue
        if found is None or not found.traceback:
            yield from map(Entry, below)  # what they were said below isn't there, or isn't theirs
        below.clear()
        if found is not None:
            yield found
        elif line:
            yield Entry(line)
    yield from map(Entry, below)


def onwards(lines: Sequence[str]) -> Iterator[Entry]:
    """Entries of lines as they were written. What is below an entry comes with it where it was written at once."""
    return reversed(list(backwards(reversed(lines))))


@dataclass(frozen=True, slots=True)
class Asked:
    """Which entries are asked for."""

    request: str = ""
    level: str = "debug"
    since: datetime | None = None
    model: str = ""

    def wants(self, each: Entry) -> bool:
        """True for one of them. What has no time is taken for as old as what stands around it."""
        if LEVELS[each.level] < LEVELS[self.level]:
            return False
        if self.request and not each.request.startswith(self.request):
            return False
        if self.is_before(each):
            return False
        return not self.model or self._is_about(each)

    def is_before(self, each: Entry) -> bool:
        """True for one from before the time that is asked for, and so for all before it."""
        return self.since is not None and each.time is not None and each.time < self.since

    def _is_about(self, each: Entry) -> bool:
        if each.fields.get("model") == self.model:
            return True
        short = self.model.removesuffix(":latest")
        return any(
            re.search(rf"(?<![\w./:-]){re.escape(name)}(?![\w/:-])", each.message) for name in (self.model, short)
        )


def human(each: Entry, styled: bool) -> str:
    """As people read it, on one line and some below: time, level, what was said, and the request in brackets."""
    stamp = "" if each.time is None else f"{each.time.astimezone():%Y-%m-%d %H:%M:%S}  "
    level = f"{each.level.upper():<7}  " if each.time is not None else ""
    request = f"  [{short(each.request)}]" if each.request else ""
    below = "".join(f"\n    {escaped(line)}" for line in each.traceback.splitlines())
    text = escaped(each.message)
    if not styled:
        return f"{stamp}{level}{text}{escaped(request)}{below}"
    colour = _COLOURS.get(each.level)
    body = _styled(f"{level}{text}", colour) if colour else f"{level}{text}"
    return f"{_styled(stamp, '2')}{body}{_styled(escaped(request), '2')}{_styled(below, '2')}"


def short(request: str) -> str:
    """An id as it is shown: one that Runner made is cut."""
    return request[:_SHORT] if _LONG.fullmatch(request) else request


def _styled(text: str, how: str) -> str:
    return f"\x1b[{how}m{text}\x1b[0m" if text else ""
