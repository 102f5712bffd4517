"""How the daemon pulls: one HTTP client and one bandwidth cap for all pulls, made when the first one comes.

Knows no endpoint: `jobs` runs pulls and tells how they go.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.progress import Cancel, Report
from registry.resolve import Wanted
from registry.store import Store

if TYPE_CHECKING:
    from registry.origins import Reach
    from registry.transfer.http import Http
    from registry.transfer.pace import Pace


@dataclass(frozen=True, slots=True)
class Line:
    """What all pulls share: the way out, how sources are reached over it, and how fast."""

    http: Http
    reach: Reach
    pace: Pace


class Pulls:
    """Constructed by the daemon only. `connections` go to one host at once; `rate` bytes a second come in over all
    pulls, 0 for no limit. `memory` says how many bytes a model may have when its name leaves the choice to us.
    """

    def __init__(
        self, store: Store, registries: tuple[str, ...], connections: int, rate: int, memory: Callable[[], int | None]
    ) -> None:
        self._store = store
        self._registries = registries
        self._connections = connections
        self._rate = rate
        self._memory = memory
        self._lock = threading.Lock()
        self._line: Line | None = None

    def pull(self, wanted: Wanted, report: Report, cancelled: Cancel) -> object:
        """Bring a model into the store; see `registry.pull`."""
        from registry.pull import PullSettings, pull  # on use: the hub's client is as large as the rest of the daemon

        line = self.line()
        settings = PullSettings(reach=line.reach, memory=self._memory(), connections=self._connections, pace=line.pace)
        return pull(self._store, wanted, progress=report, cancelled=cancelled, settings=settings, http=line.http)

    def line(self) -> Line:
        """What all share, made now if it wasn't before."""
        from registry.origins import Reach
        from registry.transfer.http import Http
        from registry.transfer.pace import Pace

        with self._lock:
            if self._line is None:
                reach = Reach(registries=self._registries)
                http = Http(timeout=reach.timeout, connections=self._connections)
                self._line = Line(http, reach, Pace(self._rate))
            return self._line

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._line is not None:
                self._line.http.close()
                self._line = None
