"""How the daemon meets the sources of models: one HTTP client and one bandwidth cap for all, made on first use.

What pulls, pushes and compares is imported on use too: the hub's client is as large as the rest of the daemon. Knows no
endpoint: `jobs` runs what takes long, `updates` what looks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from registry.progress import Cancel, Report
from registry.resolve import Publication, Wanted
from registry.store import Store
from registry.stored import StoredModel

if TYPE_CHECKING:
    from registry.look import Look
    from registry.origins import Reach
    from registry.search import Found
    from registry.standing import Known, Standing
    from registry.transfer.http import Http
    from registry.transfer.pace import Pace


@dataclass(frozen=True, slots=True)
class Line:
    """What all share: the way out, how sources are reached over it, and how fast."""

    http: Http
    reach: Reach
    pace: Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSettings:
    """`registries` are the hosts that models may come from and go to, any where there are none. `connections` go to one
    host at once; `rate` bytes a second come in over all pulls, 0 for no limit. `adopt_from` are the tools whose files a
    pull may use; `context` is the tokens that one conversation gets, by which it is told what fits.
    """

    registries: tuple[str, ...]
    connections: int
    rate: int
    adopt_from: tuple[str, ...]
    context: int


class Sources:
    """Constructed by the daemon only. `memory` says how many bytes a model may have when its name leaves the choice to
    us."""

    def __init__(self, store: Store, settings: SourceSettings, memory: Callable[[], int | None]) -> None:
        self._store = store
        self._settings = settings
        self._memory = memory
        self._lock = threading.Lock()
        self._line: Line | None = None

    def pull(self, wanted: Wanted, report: Report, cancelled: Cancel) -> object:
        """Bring a model into the store; see `registry.pull`."""
        from registry.adopt.places import nearby
        from registry.pull import PullSettings, pull

        line = self.line()
        settings = PullSettings(
            reach=line.reach,
            memory=self._memory(),
            connections=self._settings.connections,
            nearby=nearby(self._settings.adopt_from),
            pace=line.pace,
        )
        return pull(self._store, wanted, progress=report, cancelled=cancelled, settings=settings, http=line.http)

    def push(self, wanted: Publication, report: Report, cancelled: Cancel) -> object:
        """Publish a model; see `registry.push`."""
        from registry.push import PushSettings, push

        settings = PushSettings(reach=self.line().reach, connections=self._settings.connections)
        return push(self._store, wanted, progress=report, cancelled=cancelled, settings=settings)

    def look(self, wanted: Wanted, cancelled: Cancel) -> Look:
        """What a pull would bring; see `registry.look`."""
        from registry.look import LookSettings, look

        line, chosen = self.line(), self._settings
        settings = LookSettings(
            reach=line.reach, memory=self._memory(), context=chosen.context, connections=chosen.connections
        )
        return look(self._store, wanted, settings=settings, http=line.http, cancelled=cancelled)

    def search(self, text: str, limit: int, hub: bool) -> Found:
        """What answers to a text; see `registry.search`."""
        from registry.search import search

        reach, context = self.line().reach, self._settings.context
        return search(self._store, text, limit=limit, reach=reach, memory=self._memory(), context=context, hub=hub)

    def know(self, text: str) -> Known:
        """What a name or a reference means here; see `registry.standing`."""
        from registry.standing import known

        return known(self._store, text)

    def compare(self, model: StoredModel, insecure: bool) -> Standing:
        """How a model stands against its source; see `registry.standing`."""
        from registry.standing import compare

        line = self.line()
        return compare(self._store, model, line.http, replace(line.reach, insecure=insecure), self._memory())

    def line(self) -> Line:
        """What all share, made now if it wasn't before."""
        from registry.origins import Reach
        from registry.transfer.http import Http
        from registry.transfer.pace import Pace

        with self._lock:
            if self._line is None:
                reach = Reach(registries=self._settings.registries)
                http = Http(timeout=reach.timeout, connections=self._settings.connections)
                self._line = Line(http, reach, Pace(self._settings.rate))
            return self._line

    def take(self, settings: SourceSettings) -> None:
        """Other settings, for what begins from now on; the rate counts at once. Connections stay as they are."""
        from registry.origins import Reach

        with self._lock:
            self._settings = replace(settings, connections=self._settings.connections)
            if self._line is not None:
                self._line.pace.rate = settings.rate
                self._line = replace(self._line, reach=Reach(registries=settings.registries))

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._line is not None:
                self._line.http.close()
                self._line = None
