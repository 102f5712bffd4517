"""What a check of the installation found, in words for whoever owns the machine; and what the process says that tries
llama.cpp and the sandbox out (`python -m runner.engine.checkup`). Measures nothing itself.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from modelfiles.sizes import human_bytes

State = Literal["ok", "warn", "fail"]
MODULE = "runner.engine.checkup"
SECONDS = 60.0  # that it may take: a cold disk, a GPU's driver
_GIB = 2**30
_LITTLE_DISK, _NO_DISK = 10 * _GIB, 1 * _GIB
_TAIL = 300  # characters of its last words


class Finding(msgspec.Struct, frozen=True):
    """What one check found. `advice` is the next step, where there is one to take."""

    check: str
    state: State
    said: str
    advice: str = ""


REINSTALL = (
    "install Runner again with the portable build: ./installer/dev in a checkout, or CMAKE_ARGS=-DGGML_NATIVE=OFF"
)


def of_process(status: int | None, out: bytes, errors: bytes) -> tuple[Finding, ...]:
    """What that process found, by its lines, and by how it ended; None for a process that took too long."""
    found: list[Finding] = []
    for line in out.splitlines():
        try:
            found.append(msgspec.json.decode(line, type=Finding))
        except msgspec.DecodeError:
            continue
    if status == 0:
        return tuple(found)
    last = errors.decode("utf-8", "replace").strip()[-_TAIL:]
    how = "takes longer than a minute" if status is None else _ending(status)
    said = f"llama.cpp's build {how} on this machine" + (f": {last}" if last else "")
    return (*found, Finding("engine", "fail", said, REINSTALL))


def of_disk(root: str, writable: bool, free: int, models: int | None = None) -> Finding:
    """The store's folder: `free` bytes, and how many models, where that is known."""
    count = "the store is" if models is None else f"{models} models are" if models != 1 else "1 model is"
    said = f"{count} in {root}, {human_bytes(free)} are free"
    if not writable:
        return Finding("store", "warn", f"{said}; it is read-only, so nothing can be pulled", f"make {root} writable")
    if free < _NO_DISK:
        return Finding("store", "fail", said, "make room: `runner rm` a model, then `runner prune`")
    if free < _LITTLE_DISK:
        return Finding("store", "warn", said, "a model takes several GB; `runner rm` and `runner prune` make room")
    return Finding("store", "ok", said)


def _ending(status: int) -> str:
    return f"dies by signal {-status}" if status < 0 else f"fails (status {status})"
