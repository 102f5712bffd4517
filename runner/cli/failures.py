"""How a command ends: the exit codes, and the exceptions that carry one to `runner.cli.main`.

Knows what the daemon's refusals mean for a shell; knows nothing of who raised one or how it is printed.
"""

from __future__ import annotations

import re
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


_BY_CODE = {
    "not_as_locked": Exit.FAILED,
    "invalid_api_key": Exit.DENIED,
    "forbidden": Exit.DENIED,
    "source_denied": Exit.DENIED,
    "server_busy": Exit.BUSY,
    "shutting_down": Exit.BUSY,
    "unavailable": Exit.BUSY,
    "insufficient_memory": Exit.BUSY,
    "store_locked": Exit.BUSY,
    "no_space": Exit.IO,
    "store_read_only": Exit.IO,
    "storage_fault": Exit.IO,
}
# For what stands before the daemon, or is another version of it. What isn't in either table is a plain failure.
_BY_STATUS = {
    401: Exit.DENIED,
    403: Exit.DENIED,
    408: Exit.BUSY,
    409: Exit.BUSY,
    423: Exit.BUSY,
    429: Exit.BUSY,
    503: Exit.BUSY,
    507: Exit.IO,
}


# What the daemon says of a source when the way there is missing; a refused connection is no such thing.
_OFF_LINE = re.compile(r"there is no host called|can't be looked up now|nobody answers at (?!.*\(Connection refused\))")
_ON_LINE = (
    "Is this machine online? `runner adopt` uses files that you have. Behind a proxy set HTTPS_PROXY, for a mirror of "
    "Hugging Face HF_ENDPOINT, and start the daemon again with it (`runner shutdown` ends it)."
)


class Failure(Exception):
    """The command cannot go on. `message` is the sentence after `Error:`; `detail` are lines to show below it."""

    def __init__(self, message: str, code: Exit = Exit.FAILED, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.detail = detail


class Refused(Failure):
    """The daemon said no: `status` is HTTP's, `reason` the daemon's own word for it, if it gave one.

    A refusal in the middle of a stream has the stream's status, 200.
    """

    def __init__(self, message: str, status: int, reason: object = None) -> None:
        known = _BY_CODE.get(reason) if isinstance(reason, str) else None
        if status == 400 and message.startswith("invalid model name"):
            known = Exit.USAGE  # mistyped, as the daemon knows and the command can't
        is_off = reason == "source_unreachable" and _OFF_LINE.search(message)
        super().__init__(message, known or _BY_STATUS.get(status, Exit.FAILED), _ON_LINE if is_off else "")
        self.status = status
        self.reason = reason


class Unavailable(Failure):
    """No daemon answers, or it stopped answering."""

    def __init__(self, message: str, detail: str = "", code: Exit = Exit.UNAVAILABLE) -> None:
        super().__init__(message, code, detail)
