"""One worker process: its start, its pipes, its end.

Cuts what comes out of the pipe into events and passes them on; ends a worker that shows no sign of life, and one that
breaks the protocol. What the events mean, and who waits for them, it does not know.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from runner.protocol.codec import BadFrame, FrameReader, pack_command, unpack_events
from runner.protocol.commands import Command, Load, Stop, Why
from runner.protocol.events import Beat, Event, Failed, Loading, Ready
from runner.scheduler import machine
from runner.scheduler.effects import Reports
from runner.scheduler.environment import worker_environment
from runner.scheduler.failures import Exit
from runner.scheduler.pulse import Pulse, Shortage
from runner.scheduler.worker_log import WorkerLog

log = logging.getLogger(__name__)
STOP_GRACE = 5.0  # seconds from Stop to SIGTERM
TERM_GRACE = 2.0  # seconds from SIGTERM to SIGKILL
_DRAIN = 1.0  # seconds for the rest of the output of a process that is gone; a stray grandchild may hold the pipe


def worker_command() -> list[str]:
    """The argv of a worker. It sees to it itself that it doesn't outlive the daemon."""
    # -P: the folder in which the daemon happens to have been started is nothing to import from.
    return [sys.executable, "-P", "-m", "runner.engine"]


class Child(asyncio.SubprocessProtocol):
    """A worker from its start to its end, which is reported once. All of it runs on the event loop."""

    def __init__(
        self, run: int, command: Sequence[str], load: Load, worker_log: WorkerLog, load_timeout: float, reports: Reports
    ) -> None:
        self._run = run
        self._command = command
        self._load = load
        self._log = worker_log
        self._load_timeout = load_timeout
        self._reports = reports
        self._pulse = Pulse()
        self._hung = False
        self._look: asyncio.TimerHandle | None = None
        self._shortage = Shortage(machine.oom_kills())
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader()
        self._transport: asyncio.SubprocessTransport | None = None
        self._fault: str | None = None
        self._spawned = False
        self._stopping = False
        self._why: Why = "idle"
        self._timers: list[asyncio.TimerHandle] = []
        self._watchdog: asyncio.TimerHandle | None = None
        self.ended = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process id, once there is one."""
        return self._transport.get_pid() if self._transport else None

    async def start(self, spare: asyncio.SubprocessTransport | None = None) -> None:
        """Spawn the process, unless a `spare` one is given, and send it its load.

        Doesn't wait for the model, and reports what goes wrong.
        """
        if spare is not None:
            spare.set_protocol(self)
            self.connection_made(spare)
            self._begin()
            return
        try:
            await self._loop.subprocess_exec(
                lambda: self,
                *self._command,
                env=worker_environment(),
                start_new_session=True,  # a Ctrl-C in the terminal is for the daemon, which ends its workers itself
            )
        except OSError as error:
            self._fault = f"its process could not be started: {error}"
            self._end(None)
            return
        self._begin()

    def _begin(self) -> None:
        self._spawned = True
        if self._stopping:
            self._begin_end()
            return
        self.send(self._load)
        if not self.ended.is_set():
            self._watch()

    def send(self, command: Command) -> None:
        """Write a command to the worker; nothing happens if it no longer reads."""
        pipe = self._stdin()
        if pipe is not None and not pipe.is_closing():
            pipe.write(pack_command(command))

    def stop(self, why: Why = "idle") -> None:
        """Ask the worker to end; then tell it; then end it."""
        if self._stopping:
            return
        self._why = why
        self._stopping = True
        self._disarm()
        self._forget_pulse()
        if self._spawned:
            self._begin_end()  # otherwise `start` comes to it

    def kill(self) -> None:
        """End the process now."""
        self._signal("kill")

    # What asyncio reports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The process runs."""
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Output of the worker: frames on 1, log lines on 2."""
        if fd == 2:
            self._log.write(data)
            return
        if self._fault:
            return
        try:
            for body in self._frames.feed(data):
                events = [event for event in unpack_events(body) if not self._is_beat(event)]
                for event in events:
                    if isinstance(event, Loading):
                        self._watch()
                    elif isinstance(event, Ready) or (isinstance(event, Failed) and event.id is None):
                        self._disarm()
                    if isinstance(event, Ready):  # what it wrote before lies in its other pipe, and is read by then
                        self._loop.call_soon(self._log.begin_tail)
                if events:
                    self._pulse.heard(self._loop.time())
                    self._reports.events(self._run, events)
        except BadFrame as error:
            self._fail(f"it broke the protocol: {error}")

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """A worker that has closed its output is at its end, whether it knows it or not."""
        if fd == 1 and not self._stopping:
            self._timers.append(self._loop.call_later(TERM_GRACE, self._signal, "kill"))

    def process_exited(self) -> None:
        """The process is gone; what it wrote last may still be in the pipes."""
        if self._transport is not None:
            self._timers.append(self._loop.call_later(_DRAIN, self._transport.close))

    def connection_lost(self, exc: Exception | None) -> None:
        """Process and pipes are gone."""
        code = self._transport.get_returncode() if self._transport else None
        if self._transport is not None:
            self._transport.close()  # it doesn't know it yet
        self._end(code)

    # Inside

    def _is_beat(self, event: Event) -> bool:
        """Take a sign of life, which is nobody else's business."""
        if not isinstance(event, Beat):
            return False
        now = self._loop.time()
        self._shortage.alive(machine.oom_kills(), now)
        if fault := self._pulse.beat(event.step, now, event.silence):
            self._hangs(fault)
        elif not self._stopping:
            self._expect()
        return True

    def _expect(self) -> None:
        """Look again when the worker should have been heard of."""
        due = self._pulse.due
        if due is None or (self._look is not None and self._look.when() <= due):
            return
        self._forget_pulse()
        self._look = self._loop.call_at(due, self._look_at_it)

    def _look_at_it(self) -> None:
        self._look = None
        if fault := self._pulse.look(self._loop.time(), self._would_run):
            self._hangs(fault)
        else:
            self._expect()

    def _would_run(self) -> bool:
        return self.pid is not None and machine.would_run(self.pid)

    def _hangs(self, fault: str) -> None:
        self._hung = True
        self._fail(fault)

    def _begin_end(self) -> None:
        self.send(Stop(self._why))
        if (pipe := self._stdin()) is not None:
            pipe.close()  # after what is written; the end of its input ends a worker too
        self._timers += [
            self._loop.call_later(STOP_GRACE, self._signal, "terminate"),
            self._loop.call_later(STOP_GRACE + TERM_GRACE, self._signal, "kill"),
        ]

    def _stdin(self) -> asyncio.WriteTransport | None:
        if self._transport is None:
            return None
        return cast(asyncio.WriteTransport | None, self._transport.get_pipe_transport(0))

    def _watch(self) -> None:
        """(Re)start the time in which a load must show a sign of life."""
        self._disarm()
        if math.isfinite(self._load_timeout) and not self._stopping:
            self._watchdog = self._loop.call_later(
                self._load_timeout, self._fail, f"the load made no progress for {self._load_timeout:.3g} s"
            )

    def _disarm(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _forget_pulse(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _fail(self, fault: str) -> None:
        self._fault = self._fault or fault
        self.kill()

    def _signal(self, verb: str) -> None:
        if self._transport is not None:
            with suppress(ProcessLookupError):  # it was quicker
                getattr(self._transport, verb)()

    def _end(self, code: int | None) -> None:
        self._disarm()
        self._forget_pulse()
        starved = code == -signal.SIGKILL and not self._fault and self._shortage.is_to_blame(machine.oom_kills())
        for timer in self._timers:
            timer.cancel()
        self._log.close()
        self.ended.set()
        self._reports.exited(self._run, Exit(code, self._fault, self._log.tail, starved, self._hung))
