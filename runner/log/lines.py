"""Log records as lines: for people, for the journal, and as JSON. No name that a stranger chose can forge a line."""

from __future__ import annotations

import contextvars
import json
import logging
from datetime import datetime
from typing import Any

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def escaped(text: str) -> str:
    """`text` with control characters, and whatever else isn't seen, as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class Line(logging.Formatter):
    """`time level logger [request] text`, with control characters escaped so that a name cannot forge a line.

    Lines of a traceback are indented, because what an exception says may come from a stranger too.
    """

    def __init__(self, form: str = "%(asctime)s %(levelname)s %(name)s [%(request)s] %(message)s") -> None:
        super().__init__(form)

    def format(self, record: logging.LogRecord) -> str:
        record.request = _request(record)
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        return "\n".join([escaped(self.formatMessage(record)), *("    " + line for line in self.below(record))])

    def below(self, record: logging.LogRecord) -> list[str]:
        """Lines of its traceback and stack."""
        parts = [self.formatException(record.exc_info)] if record.exc_info else []
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return [escaped(line) for part in parts for line in part.split("\n")]


class ZonedLine(Line):
    """The same for a file, which may be read in another place and another month."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 -- logging's name for it
        return _moment(record)


class JournalLine(Line):
    """For the journal, which knows the time itself and takes the level as `<N>` before each line."""

    def __init__(self) -> None:
        super().__init__("%(name)s [%(request)s] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        priority = next((each for level, each in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))


class JsonLine(Line):
    """An object a line: time with its zone, level, logger, request where there is one, message, then the record's
    fields and its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        row: dict[str, Any] = {"time": _moment(record), "level": record.levelname.lower(), "logger": record.name}
        if (request := _request(record)) != "-":
            row["request"] = request
        row["message"] = record.getMessage()
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            row |= {str(name): value for name, value in fields.items() if name not in row and value is not None}
        if below := self.below(record):
            row["traceback"] = "\n".join(below)
        return _json(row)


def _json(row: dict[str, Any]) -> str:
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=str)
    except (ValueError, TypeError):  # a number or key that JSON lacks, or an object that holds itself
        text = json.dumps({name: value if isinstance(value, str | int) else str(value) for name, value in row.items()})
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _request(record: logging.LogRecord) -> str:
    """The request in whose course it was logged; a record that is told of later has it with it."""
    return str(getattr(record, "request", None) or request_id.get())


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
