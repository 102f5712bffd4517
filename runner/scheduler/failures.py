"""What goes wrong with a worker, put into the words of `runner.errors`."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from modelfiles.sizes import human_bytes
from runner.errors import BY_CODE, ContextOverflow, InsufficientMemory, RunnerError
from runner.protocol.devices import HOST
from runner.protocol.events import Failed
from runner.scheduler.memory import Lack

_SIGKILL = 9
_LAST_LINES = 12
_NO_MEMORY = re.compile(
    r"bad_alloc|MemoryError|out of memory|(?:failed|unable) to allocate|cannot allocate|allocation failed",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker's process ended. `code` is negative for a signal, None if there never was a process.

    `fault` says what the daemon found wrong before it ended the process itself (a load without progress, a broken
    frame); `tail` holds the last lines that the worker wrote to its log. With `starved`, the system ended processes for
    want of memory about when it ended; with `hung`, the fault is that it was silent or didn't get on.
    """

    code: int | None
    fault: str | None = None
    tail: str = ""
    starved: bool = False
    hung: bool = False

    @property
    def is_out_of_memory(self) -> bool:
        """Whether it ended because memory did: by the system's hand, or by its own over a failed allocation."""
        if self.fault or self.code in (None, 0):
            return False
        if self.code == -_SIGKILL:
            return self.starved
        return any(_NO_MEMORY.search(line) for line in self.tail.splitlines()[-_LAST_LINES:])

    def __str__(self) -> str:
        if self.fault:
            return self.fault
        if self.code is None:
            return "it could not be started"
        if self.is_out_of_memory:
            return "out of memory"
        if self.code < 0:
            try:
                return f"killed by {signal.Signals(-self.code).name}"
            except ValueError:
                return f"killed by signal {-self.code}"
        return f"exit code {self.code}"


def error_of(failed: Failed) -> RunnerError:
    """The error that a worker reports."""
    if failed.code == ContextOverflow.code and failed.tokens is not None and failed.limit is not None:
        return ContextOverflow(failed.tokens, failed.limit, field=failed.field)
    kind = BY_CODE.get(failed.code, RunnerError)
    return kind(failed.message, field=failed.field)


def insufficient(model: str, lack: Lack, pinned: Sequence[str], limit: int = 0) -> InsufficientMemory:
    """A model can't be loaded: what it lacks, and the pinned models that are in its way. With `limit` these are as many
    as may be loaded at once, and memory isn't the matter."""
    names = ", ".join(f'"{name}"' for name in pinned)
    what = "memory" if lack.pool == HOST else f"{lack.pool}'s memory"
    if limit:
        return InsufficientMemory(
            f'there is no place for "{model}" beside what is pinned: {names}. No more than {limit} may be loaded at '
            "once (max_loaded_models). Unpin one of these models, or allow more"
        )
    if pinned:
        return InsufficientMemory(
            f'there is no room for "{model}", which needs about {human_bytes(lack.need)} of {what}, beside what is '
            f"pinned: {names}. They leave {human_bytes(lack.have)}. Unpin one of these models to make room"
        )
    beside = f" beside what {' and '.join(lack.beside)} can hold" if lack.beside else ""
    return InsufficientMemory(
        f'"{model}" needs about {human_bytes(lack.need)} of {what}{beside}, and {human_bytes(lack.have)} is available. '
        "A smaller num_ctx or a smaller quantization may fit"
    )
