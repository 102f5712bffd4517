"""How a command ends: the exit codes, and the exceptions that carry one to `runner.cli.main`.

Knows what each HTTP status means for a shell; knows nothing of who raised it or how it is printed.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes, as sysexits.h numbers them where it has one."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 69  # no daemon, or it went away
    IO = 74
    BUSY = 75  # locked or overloaded: the same command may work later
    DENIED = 77
    INTERRUPTED = 130
    TERMINATED = 143


BY_STATUS = {
    401: Exit.DENIED,
    403: Exit.DENIED,
    408: Exit.BUSY,
    409: Exit.BUSY,
    423: Exit.BUSY,
    429: Exit.BUSY,
    502: Exit.UNAVAILABLE,
    503: Exit.BUSY,
    504: Exit.UNAVAILABLE,
    507: Exit.IO,
}
"""What a refusal by the daemon means for a shell; a status that isn't here is a plain failure."""


class Failure(Exception):
    """The command cannot go on. `message` is the sentence after `Error:`; `detail` are lines to show below it."""

    def __init__(self, message: str, code: Exit = Exit.FAILED, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.detail = detail


class Refused(Failure):
    """The daemon answered with an error. `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, BY_STATUS.get(status, Exit.FAILED))
        self.status = status


class Unavailable(Failure):
    """No daemon answers, or it stopped answering."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message, Exit.UNAVAILABLE, detail)
