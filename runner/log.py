"""One set-up of logging for every Runner process: a line a record, safe to read, with the request's id if it has one.

Prompts and answers are never logged.
"""

from __future__ import annotations

import contextvars
import logging
import sys

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")


class _Line(logging.Formatter):
    """`time level logger [request] text`, with control characters escaped so that a name cannot forge a line.

    Lines of a traceback are indented, because what an exception says may come from a stranger too.
    """

    def format(self, record: logging.LogRecord) -> str:
        record.request = request_id.get()
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        lines = [_escape(self.formatMessage(record))]
        if record.exc_info:
            lines += _indented(self.formatException(record.exc_info))
        if record.stack_info:
            lines += _indented(self.formatStack(record.stack_info))
        return "\n".join(lines)


def _indented(text: str) -> list[str]:
    return ["    " + _escape(line) for line in text.split("\n")]


def _escape(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def set_up(level: str) -> None:
    """Send everything of this level and above to stderr. Call once, at the start of the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line("%(asctime)s %(levelname)s %(name)s [%(request)s] %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
