"""What a source hands over when it is asked for bytes: the contract between sources and downloads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from registry.errors import Unreachable


def _nothing() -> None:
    """Where there is nothing to hang up."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """Bytes on their way: `start` is where in the file they begin, which need not be where we asked.

    `version` is the sender's word for this state of the file (an ETag), or empty: parts of two versions don't fit.
    `end` is where they end by the sender's word, None if it sends all there is: such a sender knows no ranges. `total`
    is how long the whole file is by its word. `hang_up` ends the transfer from any thread: whoever reads gets an error.
    """

    start: int
    chunks: Iterator[bytes]
    version: str = ""
    end: int | None = None
    total: int | None = None
    hang_up: Callable[[], None] = _nothing


Opener = Callable[[int, int | None], AbstractContextManager[Incoming]]
"""Opens a file's bytes from an offset on, up to a second one (exclusive) or to the end."""


@contextmanager
def in_time(incoming: Incoming, seconds: float, what: str) -> Iterator[None]:
    """Hang up what isn't read to its end after so many seconds. Raises Unreachable then, which names `what`."""
    late = threading.Event()

    def end() -> None:
        late.set()
        incoming.hang_up()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if late.is_set():
            raise Unreachable(f"{what}: the answer takes longer than {seconds:.0f} s") from error
        raise
    finally:
        timer.cancel()
