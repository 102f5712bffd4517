"""Who asks, as far as turns are concerned: whose request it is, and whether somebody waits for it.

Set at the edge for each HTTP request, and read where requests become wants. A caller is told from others and never
identified: what is kept of a key is a digest.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from runner.scheduler.ticket import Priority


@dataclass(frozen=True, slots=True)
class Caller:
    """`client` is the same for all requests of one client. `priority` is what the caller said of this one, if it
    did."""

    client: str = ""
    priority: Priority | None = None


CALLER: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039 - it is frozen
