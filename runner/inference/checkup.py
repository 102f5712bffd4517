"""Is everything as it should be? What only the daemon knows: its store, its memory, its settings, its workers.

Each check gives findings with a next step and changes nothing. What the machine itself can do, a process of its own
tries out.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from modelfiles.sizes import human_bytes
from registry.errors import RegistryError
from registry.store import Store
from runner.config import outweighed
from runner.config.live import Live
from runner.inference.service import Service
from runner.protocol.checkup import MODULE, SECONDS, Finding, of_disk, of_process
from runner.protocol.devices import Device
from runner.protocol.sandbox import Mode
from runner.scheduler.environment import worker_environment

_LITTLE_MEMORY = 2**30
_NAMED = 3
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE")  # a process's own doing
_BUILT = 1_760_000_000  # a clock before this stands: certificates would seem to be of the future


class Checkup:
    """Constructed by the daemon only. `memory` gives the bytes that models may take now; `devices` what they may run
    on, and `problems` what keeps them from others; `logs` is the folder of the workers' logs."""

    def __init__(
        self,
        store: Store,
        service: Service,
        live: Live,
        logs: Path,
        memory: Callable[[], int],
        devices: Callable[[], Sequence[Device]] = tuple,
        problems: Callable[[], Sequence[str]] = tuple,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._service = service
        self._live = live
        self._logs = logs
        self._memory = memory
        self._devices = devices
        self._problems = problems
        self._clock = clock

    async def findings(self) -> tuple[Finding, ...]:
        """Everything, in the order in which it is told."""
        tried = asyncio.create_task(tried_out(self._live.settings.sandbox))
        loop = asyncio.get_running_loop()
        stored = await loop.run_in_executor(None, lambda: (*self._stored(), *self._written()))
        kept = await loop.run_in_executor(None, outweighed, self._live.settings)
        return (
            *self._settings(kept),
            *stored,
            *await tried,
            *self._memory_left(),
            *self._devices_there(),
            *self._workers(),
        )

    def _settings(self, kept: Mapping[str, str]) -> Iterator[Finding]:
        """`kept` is what is written and outweighed: sources by setting."""
        live = self._live
        if live.refused:
            yield Finding(
                "settings", "fail", f"not in force: {live.refused}", "correct it, then `runner config reload`"
            )
        elif live.waiting:
            said = f"{', '.join(live.waiting)}: written, and waiting until the daemon is started again"
            yield Finding("settings", "warn", said, "`runner shutdown`, then `runner serve`")
        elif kept:
            said = ", ".join(f"{name} ({source})" for name, source in kept.items())
            advice = "take them out of config.yaml, or out of how the daemon is started"
            yield Finding("settings", "warn", f"config.yaml says otherwise, and is outweighed: {said}", advice)
        else:
            yield Finding("settings", "ok", "all that is written is in force")
        if self._clock() < _BUILT:
            now = time.strftime("%Y-%m-%d", time.gmtime(self._clock()))
            yield Finding("clock", "warn", f"this machine's clock says {now}: downloads will fail", "set the clock")

    def _stored(self) -> Iterator[Finding]:
        store = self._store
        try:
            models, broken = store.list(), store.broken()
            aside, unfinished = store.quarantined(), store.unfinished()
            free = shutil.disk_usage(store.root).free
        except (RegistryError, OSError) as error:
            yield Finding(
                "store", "fail", f"{store.root} cannot be read: {error}", "look at the disk, then restart Runner"
            )
            return
        yield of_disk(str(store.root), os.access(store.root, os.W_OK), free, len(models))
        for each in broken[:_NAMED]:
            yield Finding("models", "warn", f"{each.name} cannot be used: {each.reason}", "`runner verify --repair`")
        if len(broken) > _NAMED:
            yield Finding("models", "warn", f"{len(broken) - _NAMED} more cannot be used", "`runner verify --repair`")
        if aside:
            size = human_bytes(sum(each.size for each in aside))
            said = f"{len(aside)} files were put aside because their content was wrong ({size})"
            yield Finding("models", "warn", said, "`runner verify --repair`, or `runner prune --grace 0` to drop them")
        if unfinished:
            said = f"{len(unfinished)} files of downloads that were broken off or go on"
            yield Finding(
                "downloads", "ok", said, "the same `runner pull` goes on with them; `runner prune` drops old ones"
            )

    def _written(self) -> Iterator[Finding]:
        with suppress(OSError):
            self._logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(self._logs, os.W_OK):
            yield Finding("logs", "warn", f"{self._logs} cannot be written: nothing is logged", "make it writable")

    def _memory_left(self) -> Iterator[Finding]:
        available = self._memory()
        said = f"{human_bytes(available)} are free for models"
        if available < _LITTLE_MEMORY and not self._service.residents():
            yield Finding("memory", "warn", said, "close other programs, or take a smaller model (`runner search`)")
        else:
            yield Finding("memory", "ok", said)

    def _devices_there(self) -> Iterator[Finding]:
        found = [each for each in self._devices() if each.kind != "cpu"]
        said = ", ".join(f"{each.name} ({each.description}, {human_bytes(each.total)})" for each in found)
        yield Finding("devices", "ok", said or "no GPU that this build of llama.cpp can use: models run on the CPU")
        for each in self._problems():
            yield Finding("devices", "warn", each, "docs/devices.md says what each kind of GPU needs")

    def _workers(self) -> Iterator[Finding]:
        for loop in self._service.crash_loops():
            said = (
                f'"{loop.model}" is in a crash loop and is not loaded for another {max(1, round(loop.pause))} s: '
                f"{loop.words}"
            )
            yield Finding("workers", "fail", said, f"`runner why {loop.model}` says what happened")
        for each in self._service.measured():
            if deaths := each.meters.deaths:
                times = "once" if deaths == 1 else f"{deaths} times"
                last = each.meters.last_death
                said = f'the process that runs "{each.model}" has died {times} since Runner was started: {last}'
                yield Finding("workers", "warn", said, f"its log may say why: {self._logs}{_may_help(last)}")


def _may_help(death: str) -> str:
    """What to try, by how a worker ended."""
    if death == "out of memory":
        return "; a smaller num_ctx or a smaller quantization needs less"
    if "SIGKILL" in death:  # whoever sent that, it wasn't the model's doing
        return "; somebody ended it, or the system did"
    return "; another quantization may help" if any(name in death for name in _CRASHES) else ""


def _after(error: OSError) -> str:
    """What to do where the system starts no process."""
    if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return "end other programs, or raise the limits of this user (`ulimit -a`), then restart Runner"
    if error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC):
        return (
            f"Runner's own Python has gone or may not be run ({sys.executable}): install Runner anew, then restart it"
        )
    return "restart Runner"


async def tried_out(mode: Mode) -> tuple[Finding, ...]:
    """What the process finds that tries llama.cpp and the sandbox."""
    command = (sys.executable, "-P", "-m", MODULE, mode)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=worker_environment(),
            start_new_session=True,
        )
    except OSError as error:
        return (Finding("engine", "fail", f"no process can be started: {error}", _after(error)),)
    try:
        async with asyncio.timeout(SECONDS):
            out, errors = await process.communicate()
    except TimeoutError:
        return of_process(None, b"", b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return of_process(process.returncode, out, errors)
