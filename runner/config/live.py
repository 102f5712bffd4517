"""The settings of a running daemon: what is in force, what waits for a start, and a file that changes under it.

Whoever has to hear of a change is told as a function of old and new; what it then does is not known here.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

from runner.config.change import Change, changed, in_force
from runner.config.reading import ConfigError, config_file
from runner.config.table import Settings

log = logging.getLogger(__name__)
_LOOK = 1.0  # seconds between two looks at the file

Apply = Callable[[Settings, Settings], Awaitable[None]]
"""Told of the old and the new settings in force."""


class Live:
    """The settings in force are `settings`. `read` reads all of them anew and `check` says what of them can't go
    together; both raise ConfigError. One task at a time calls `reload`."""

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings] | None = None,
        check: Callable[[Settings], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.wanted = settings
        self.refused: str | None = None  # why what is written now is not in force
        self._read = read
        self._check = check
        self._apply: list[Apply] = []
        self._busy = asyncio.Lock()
        self._seen = _stamp(settings)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The settings whose new values wait for a start of the daemon."""
        return changed(self.settings, self.wanted).start

    def tell(self, apply: Apply) -> None:
        """Have a change told to this, after those that were named before."""
        self._apply.append(apply)

    async def reload(self) -> Change:
        """Read the settings and put in force what can be. Raises ConfigError, and then everything stays as it was."""
        async with self._busy:
            self._seen = _stamp(self.settings)
            if self._read is None:
                return Change()
            try:
                wanted = await asyncio.to_thread(self._read)
                now = in_force(self.settings, wanted)
                self._check(now)
                self._check(wanted)
            except ConfigError as error:
                self.refused = str(error)
                log.error("the settings stay as they are: %s", error)
                raise
            self.refused = None
            found = changed(self.wanted, wanted)
            old, self.settings, self.wanted = self.settings, now, wanted
            if changed(old, now):
                for apply in self._apply:
                    await _told(apply, old, now)
            if found:
                log.info("the settings have changed: %s", _words(found))
            return found

    async def watch(self) -> None:
        """Reload whenever the file is another one; for ever. What changed since the last look may be half written."""
        last = self._seen
        while True:
            await asyncio.sleep(_LOOK)
            before, last = last, _stamp(self.settings)
            if last != self._seen and last == before:
                try:
                    await self.reload()
                except ConfigError:
                    continue  # it is logged, and `refused` says so to whoever asks


async def _told(apply: Apply, old: Settings, new: Settings) -> None:
    try:
        await apply(old, new)
    except Exception:  # a fault of ours in one part must not keep the others from hearing of it
        log.exception("a part of Runner could not take over the new settings")


def _words(change: Change) -> str:
    parts = [
        f"{', '.join(names)} ({when})"
        for names, when in (
            (change.now, "in force"),
            (change.load, "in force; a loaded model that it concerns is let go"),
            (change.start, "waits until the daemon is started again"),
        )
        if names
    ]
    return "; ".join(parts)


def _stamp(settings: Settings) -> tuple[int, int, int] | None:
    try:
        status = os.stat(config_file(settings.folders))
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
