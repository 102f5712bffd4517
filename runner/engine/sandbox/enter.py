"""Shutting this process in, once it knows what it is to work on and before native code sees any of it.

Everything is tried and what couldn't be had is said; what a kernel lacks must not keep a model from running, unless
the settings say so. Knows processes and paths, no models.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.engine.sandbox import filter as calls
from runner.engine.sandbox import landlock, limits, places
from runner.engine.sandbox.kernel import MACHINE, Kernel
from runner.engine.sandbox.landlock import Right, Rule
from runner.errors import LoadFailed
from runner.protocol.sandbox import NEEDED, Promise, Sandbox, What

_OFF = "the setting sandbox is off"
_NEVER: Sequence[What] = ("files", "programs", "network", "sockets", "processes", "system")


# Of what root may: files that belong to others (which ones, Landlock says), and memory that a GPU reads from.
_KEPT = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 14  # DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, IPC_LOCK


@dataclass(frozen=True, slots=True)
class Work:
    """What this process is to do: files and folders that it reads, those that it changes (made before), the bytes of
    one file at most (None for any), and whether it may use a GPU."""

    reads: Sequence[str] = ()
    writes: Sequence[str] = ()
    file_size: int | None = None
    gpu: bool = False


def enter(sandbox: Sandbox, work: Work, kernel: Callable[[], Kernel] = Kernel) -> tuple[Promise, ...]:
    """Shut this process in; gives what holds from here on. To be called before there are other threads.

    Raises LoadFailed where the mode is strict and something that it stands for can't be had.
    """
    if sandbox.mode == "off":
        return tuple(Promise(what, False, _OFF) for what in (*_NEVER, "limits"))
    told = limits.limit(None if work.gpu else work.file_size)
    promises = (*_held(sandbox, work, kernel), Promise("limits", not told, told))
    lacking = [each for each in promises if each.what in NEEDED and not each.holds]
    if sandbox.mode == "strict" and lacking:
        why = "; ".join(f"{each.what}: {each.why}" for each in lacking)
        raise LoadFailed(f"the sandbox can't be had here ({why}), and the setting sandbox is strict")
    return promises


def _held(sandbox: Sandbox, work: Work, get_kernel: Callable[[], Kernel]) -> Iterator[Promise]:
    try:
        kernel = get_kernel()
        kernel.no_new_privileges()
    except OSError as error:
        yield from (Promise(what, False, _reason(error)) for what in _NEVER)
        return
    abi, no_files = _lock_files(kernel, sandbox, work)
    no_calls = _filter_calls(kernel, local_sockets=work.gpu)
    privileged = _drop_privileges(kernel)
    yield Promise("files", not no_files and abi >= landlock.TRUNCATE, no_files or _since(abi, landlock.TRUNCATE))
    yield Promise("programs", not no_files, no_files)
    yield Promise("network", not no_calls, no_calls)
    yield Promise("sockets", not no_calls and not work.gpu, no_calls or (_NEEDS_SOCKETS if work.gpu else ""))
    exposed = no_calls or no_files or privileged or _since(abi, landlock.SCOPED)
    yield Promise("processes", not exposed, exposed)
    yield Promise("system", not no_calls, no_calls)


_NEEDS_SOCKETS = "a GPU's driver may need them"


def _since(abi: int, needed: int) -> str:
    return "" if abi >= needed else f"this kernel's Landlock has version {abi}, and it takes {needed}"


def _lock_files(kernel: Kernel, sandbox: Sandbox, work: Work) -> tuple[int, str]:
    """Which version of Landlock holds now (0 for none), and why none does, or not for all."""
    try:
        abi = landlock.version(kernel)
        landlock.restrict(kernel, abi, tuple(_rules(sandbox, work)))
    except OSError as error:
        return 0, f"Landlock: {_reason(error)}"
    threads = _threads()
    return abi, f"Landlock: {threads - 1} threads were started before" if threads > 1 else ""


def _rules(sandbox: Sandbox, work: Work) -> Iterator[Rule]:
    yield from places.machine()
    if work.gpu:
        yield from places.drivers(sandbox.scratch)
    for path in (*work.reads, *sandbox.readable):
        yield Rule(Path(path), Right.READ)
    for path in work.writes:
        yield Rule(Path(path), Right.KEEP)


def _filter_calls(kernel: Kernel, *, local_sockets: bool) -> str:
    code = calls.program(MACHINE, local_sockets=local_sockets)
    if code is None:
        return f"there is no filter of system calls for {MACHINE}"
    try:
        kernel.install(code)
    except OSError as error:
        return f"seccomp: {_reason(error)}"
    return ""


def _drop_privileges(kernel: Kernel) -> str:
    try:
        kernel.keep_capabilities(_KEPT)
    except OSError as error:
        return f"capabilities: {_reason(error)}"
    return ""


def _threads() -> int:
    return len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
