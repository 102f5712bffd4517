"""How much a template may take, and how its failures are worded; the same for Jinja and for Go.

Knows neither language. What interrupts a template is `runner.prompt.watch`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from runner.errors import TemplateFailed
from runner.prompt.watch import TookTooLong, TookTooMuch, watched

TEMPLATE_LIMIT = 1024 * 1024  # characters
OUTPUT_LIMIT = 16 * 1024 * 1024  # characters
TIME_LIMIT = 10.0  # seconds
MEMORY_LIMIT = 512 * 1024 * 1024  # bytes
MODELS = "the model's chat template"
REQUESTS = "the template of this request"
_REASON_LIMIT = 1000  # characters of what a template says went wrong


class TooLong(Exception):
    """The template writes more than OUTPUT_LIMIT."""

    def __init__(self) -> None:
        super().__init__(f"the template writes more than {OUTPUT_LIMIT} characters")


def checked_length(text: str, what: str) -> str:
    """The template's text, if it isn't too long. Raises TemplateFailed."""
    if len(text) > TEMPLATE_LIMIT:
        raise TemplateFailed(f"{what} has {len(text)} characters; {TEMPLATE_LIMIT} are allowed")
    return text


@contextmanager
def bounded(what: str, seconds: float, memory: int) -> Iterator[None]:
    """Raise TemplateFailed about `what` when the block takes more than `seconds`, or about `memory` bytes."""
    try:
        with watched(seconds, memory):
            yield
        return
    except TookTooLong:
        reason = f"took more than {seconds:g} s"
    except TookTooMuch:
        reason = f"took more than {memory // 2**20} MiB of memory"
    raise failure(what, reason)


def joined(parts: Iterable[str]) -> str:
    """The text that a template writes. Raises TooLong."""
    size = 0
    kept = []
    for part in parts:
        size += len(part)
        if size > OUTPUT_LIMIT:
            raise TooLong
        kept.append(part)
    return "".join(kept)


def failure(what: str, reason: str) -> TemplateFailed:
    """Words of a stranger as a message can carry them: not too many, and no half of a surrogate pair."""
    short = reason if len(reason) <= _REASON_LIMIT else reason[:_REASON_LIMIT] + "…"
    text = f"{what} {short}".encode("utf-8", "replace").decode("utf-8")
    return TemplateFailed(text, field="template" if what == REQUESTS else None)
