"""One worker process without a model, its imports done: the next load needn't wait for them.

It stands ready while the daemon is in use, is handed to whoever loads next, and is ended when nothing has been asked
for a while. Knows processes and times, and nothing of models; all of it runs on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import cast

log = logging.getLogger(__name__)
MARK = "--spare"  # the last of its arguments, until it is taken
PAUSE = 1.0  # seconds after a worker's first word until one is started: its imports would hold up what others compute
AT_LAST = 10.0  # seconds after a load that nobody is answered after
UNUSED = 300.0  # seconds without a request after which it isn't worth its memory any more
_LONGEST = 300.0  # seconds between two that die by themselves
_TAIL = 4096


class Spare:
    """At most one process, started with the argv `command` gives and the environment `environment` gives."""

    def __init__(self, command: Callable[[], Sequence[str]], environment: Callable[[], Mapping[str, str]]) -> None:
        self._command = command
        self._environment = environment
        self._standing: _Standing | None = None
        self._task: asyncio.Task[None] | None = None
        self._begin: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None
        self._touched = 0.0
        self._deaths = 0  # in a row, of those that nobody had taken
        self._wanted = False  # there was a load
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process id of the one that stands ready."""
        return self._standing.pid if self._standing is not None else None

    def want(self) -> None:
        """A load is over: have one stand ready for the next, once somebody has been answered."""
        self._wanted = True
        self.touch()
        self._begin_in(AT_LAST)

    def answered(self) -> None:
        """A worker has something to say to somebody, so the longest wait is over."""
        if self._wanted and self._standing is None and not self._deaths:  # else it is known when to try again
            self._begin_in(PAUSE)

    def touch(self) -> None:
        """The daemon is in use."""
        self._touched = asyncio.get_running_loop().time()

    def take(self) -> asyncio.SubprocessTransport | None:
        """The process that stands ready, which is the caller's from now on; None when there is none that would do."""
        standing, self._standing = self._standing, None
        self._forget_timers()
        if standing is None:
            return None
        if (standing.command, standing.environment) != self._made_of() or not standing.is_alive:
            standing.kill()
            return None
        self._deaths = 0
        return standing.hand_over()

    def kill(self) -> None:
        """End it now, and start no more."""
        self._closed = True
        self._forget_timers()
        if self._standing is not None:
            self._standing.kill()

    async def close(self) -> None:
        """End it, and wait until it is gone."""
        self.kill()
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task
        if self._standing is not None:
            self._standing.kill()
            await self._standing.ended.wait()

    # Inside

    def _made_of(self) -> tuple[list[str], dict[str, str]]:
        return [*self._command(), MARK], dict(self._environment())

    def _begin_in(self, seconds: float) -> None:
        if self._closed or self._standing is not None:
            return
        if self._begin is not None:
            if self._begin.when() <= asyncio.get_running_loop().time() + seconds:
                return
            self._begin.cancel()
        # In a context of its own: what it does is not the doing of the request that happened to bring this about.
        self._begin = asyncio.get_running_loop().call_later(seconds, self._spawn, context=Context())

    def _spawn(self) -> None:
        self._begin = None
        if self._closed or self._standing is not None:
            return
        self._standing = _Standing(*self._made_of(), self._gone)
        self._task = asyncio.get_running_loop().create_task(self._standing.start())
        self._watch()

    def _watch(self) -> None:
        """End it when nothing has been asked for a while."""
        loop = asyncio.get_running_loop()
        left = self._touched + UNUSED - loop.time()
        if left > 0:
            self._end = loop.call_later(left, self._watch)
            return
        self._end = None
        standing, self._standing = self._standing, None
        if standing is not None:
            standing.kill()

    def _gone(self, standing: _Standing) -> None:
        """A process has ended that nobody had taken."""
        if standing is not self._standing:
            return
        self._standing = None
        self._forget_timers()
        self._deaths += 1
        log.debug("the spare worker ended by itself: %s", standing.tail.decode("utf-8", "replace"))
        if self._wanted:
            self._begin_in(min(_LONGEST, PAUSE * 2**self._deaths))

    def _forget_timers(self) -> None:
        for timer in (self._begin, self._end):
            if timer is not None:
                timer.cancel()
        self._begin = self._end = None


class _Standing(asyncio.SubprocessProtocol):
    """The process while nobody has taken it. It says nothing; what it writes to stderr is for whoever takes it."""

    def __init__(self, command: list[str], environment: dict[str, str], gone: Callable[[_Standing], None]) -> None:
        self.command = command
        self.environment = environment
        self.tail = b""
        self.ended = asyncio.Event()
        self._gone = gone
        self._transport: asyncio.SubprocessTransport | None = None
        self._killed = False

    @property
    def pid(self) -> int | None:
        return self._transport.get_pid() if self._transport is not None else None

    @property
    def is_alive(self) -> bool:
        """Whether it still runs, as far as the system knows this very moment."""
        if self._killed or self._transport is None or self._transport.get_returncode() is not None:
            return False
        if not hasattr(os, "waitid"):
            return True
        with suppress(ChildProcessError):
            return os.waitid(os.P_PID, self._transport.get_pid(), os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        return False

    async def start(self) -> None:
        """Spawn it. What goes wrong here goes wrong with the next load too, and is told then."""
        try:
            await asyncio.get_running_loop().subprocess_exec(
                lambda: self, *self.command, env=self.environment, start_new_session=True
            )
        except OSError as error:
            self.tail = str(error).encode()
            self.connection_lost(None)

    def hand_over(self) -> asyncio.SubprocessTransport | None:
        """Its transport, for another protocol."""
        return self._transport

    def kill(self) -> None:
        """End it: it has nothing to lose."""
        self._killed = True
        if self._transport is not None:
            with suppress(ProcessLookupError):
                self._transport.kill()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It runs."""
        self._transport = cast(asyncio.SubprocessTransport, transport)
        if self._killed:
            self.kill()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It complains."""
        if fd == 2:
            self.tail = (self.tail + data)[-_TAIL:]

    def process_exited(self) -> None:
        """It is gone; nothing that it wrote last is worth waiting for."""
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Process and pipes are gone."""
        self.ended.set()
        self._gone(self)
