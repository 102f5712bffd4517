"""The devices of this machine and what is free on them: one table, kept by the daemon, filled by a probe process.

All of it runs on the event loop. Host memory is read anew each time; what is free on a GPU is known only from the last
probe, so it is taken again before a load when the reading is old. Decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from runner.protocol.devices import HOST, Device, DeviceSurvey
from runner.scheduler import machine
from runner.scheduler.environment import worker_environment
from runner.scheduler.probe import ProbeFailed, probe, probe_command

log = logging.getLogger(__name__)

MOST_AGE = 10.0  # seconds that a reading of a GPU's free memory is believed: other programs come and go

UNNAMED = DeviceSurvey(devices=(Device(name="CPU", backend="cpu", kind="cpu"),))
# What a driver puts there, what llama.cpp would need, and where to read on.
_HINTS = (
    ("/dev/nvidiactl", ("cuda", "vulkan"), "an NVIDIA GPU", "CUDA"),
    ("/dev/kfd", ("rocm", "vulkan"), "an AMD GPU", "ROCm"),
)
_HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES")

Look = Callable[[], Awaitable[DeviceSurvey]]


async def look() -> DeviceSurvey:
    """Ask a probe process, with the environment that workers get: it hides devices from both alike."""
    return await probe(probe_command(), worker_environment())


class Inventory:
    """`look` finds the devices, and raises ProbeFailed; `available` reads the host's free bytes, of which our workers
    may have `most` together, 0 meaning all.

    Until the first look has ended, and when it failed, there is the CPU alone.
    """

    def __init__(
        self,
        look: Look = look,
        available: Callable[[], int] = machine.available_memory,
        clock: Callable[[], float] = time.monotonic,
        most_age: float = MOST_AGE,
        most: Callable[[], int] = lambda: 0,
    ) -> None:
        self._look = look
        self._available = available
        self._clock = clock
        self._most_age = most_age
        self._most = most
        self._survey = UNNAMED
        self._looked = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._read_at: float | None = None
        self._fault = ""  # of the latest look
        self._held: Mapping[str, int] = {}  # what our workers hold now, and what they held at the reading
        self._held_then: Mapping[str, int] = {}
        self._listeners: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begin the first look. Nobody waits for it who doesn't want to."""
        self._refresh()

    async def known(self) -> None:
        """Wait until the first look has ended, one way or the other. That takes as long as a probe may at most."""
        await self._looked.wait()

    async def read(self) -> None:
        """Wait until loads may be planned by `room`: for the first look, and for another where the reading is old."""
        await self.known()
        if not self.is_fresh() and self._looking is not None:
            await asyncio.wait((self._looking,))

    def listen(self, heard: Callable[[], None]) -> None:
        """Call this after each look: what was waiting for a reading may be settled again."""
        self._listeners.append(heard)

    def survey(self) -> DeviceSurvey:
        """What the last look found, the free bytes as of then. May be asked for on any thread."""
        return self._survey

    def devices(self) -> tuple[Device, ...]:
        """All devices in llama.cpp's order, with the bytes that are free now. The CPU is always one of them."""
        room = self.room()
        return tuple(_now(device, room) for device in self._survey.devices)

    def room(self) -> dict[str, int]:
        """Bytes free by pool: the host's now, and a GPU's by its last reading, less what our workers took since."""
        room = {HOST: self._available()}
        if most := self._most():
            room[HOST] = min(room[HOST], max(0, most - self._held.get(HOST, 0)))
        for device in (each for each in self._survey.devices if each.has_own_memory):
            taken = self._held.get(device.name, 0) - self._held_then.get(device.name, 0)
            room[device.name] = max(0, min(device.free - taken, device.total or device.free))
        return room

    def holds(self, by_pool: Mapping[str, int]) -> None:
        """What our own workers hold now, in bytes by pool, less what counts as free all the same (`memory.room_with`):
        readings in between are corrected by it, so that a swap need not wait for a new one."""
        self._held = dict(by_pool)

    def is_fresh(self) -> bool:
        """Whether a load may be planned by what `room` says. If not, a new look is begun, and who listens is told.

        Without a GPU with memory of its own there is nothing to look at again.
        """
        if not self._looked.is_set():
            return False
        if not any(each.has_own_memory for each in self._survey.devices):
            return True
        if self._read_at is not None and self._clock() - self._read_at <= self._most_age:
            return True
        self._refresh()
        return False

    def problems(self) -> tuple[str, ...]:
        """What keeps devices from being used, in words for people; empty where all is as it should be."""
        found = [self._survey.problem] if self._survey.problem else []
        if self._fault and not self._survey.problem:
            found.append(f"free memory of the GPUs could not be read again: {self._fault}; the last reading is used")
        return (*found, *([] if found else missing(self._survey)))

    async def close(self) -> None:
        """End a look that is under way, and the waiting for it."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self._looked.set()

    def _refresh(self) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._take_look())

    async def _take_look(self) -> None:
        held = self._held
        try:
            found = await self._look()
        except ProbeFailed as failure:
            self._failed(str(failure))
        except Exception as failure:  # whatever it was: requests wait for an end of this
            log.exception("looking for devices went wrong")
            self._failed(f"{type(failure).__name__}: {failure}")
        else:
            if not self._looked.is_set():
                _tell(found)
            # Who came or went meanwhile may be in the reading or not: what is less sure to be free counts as taken.
            self._held_then = {pool: min(size, self._held.get(pool, 0)) for pool, size in held.items()}
            self._survey, self._fault = found, ""
        # A failed look counts as one: trying again at once would fail again, and somebody is waiting for his load.
        self._read_at = self._clock()
        self._looking = None
        self._looked.set()
        for heard in self._listeners:
            heard()

    def _failed(self, why: str) -> None:
        if why != self._fault:
            log.warning("the devices of this machine could not be listed: %s", why)
        self._fault = why
        if not self._looked.is_set():
            problem = f"the devices of this machine could not be listed, so only the CPU is used: {why}"
            self._survey = msgspec.structs.replace(UNNAMED, problem=problem)


def fixed(devices: tuple[Device, ...], available: Callable[[], int] = machine.available_memory) -> Inventory:
    """One with a table that was made up, as tests want it. To be started like any other."""

    async def found() -> DeviceSurvey:
        backends = tuple(dict.fromkeys(device.backend for device in devices))
        return DeviceSurvey(devices=devices, backends=backends, offloads=any(each.kind != "cpu" for each in devices))

    return Inventory(found, available)


def missing(survey: DeviceSurvey, environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> list[str]:
    """Why a GPU that may be there isn't used: this build can't, or it is hidden. `root` is where /dev is looked for."""
    found = []
    for node, backends, what, word in _HINTS:
        if (root / node.lstrip("/")).exists() and not set(backends) & set(survey.backends):
            found.append(f"there is {what} here ({node}), and this build of llama.cpp has no {word}: docs/devices.md")
    seen = {device.backend for device in survey.devices}
    idle = [each for each in survey.backends if each in ("cuda", "rocm", "vulkan") and each not in seen]
    hiding = [name for name in _HIDING if environment.get(name, "0").strip() in ("", "-1")] if idle else []
    return found + [f"{name}={environment[name]} hides all devices from llama.cpp" for name in hiding]


def _now(device: Device, room: Mapping[str, int]) -> Device:
    free = room[device.pool]
    if device.kind == "igpu" and device.total:  # a part of the host's memory at most
        free = min(free, device.total)
    return device if device.kind == "accelerator" else msgspec.structs.replace(device, free=free)


def _tell(found: DeviceSurvey) -> None:
    devices = ", ".join(f"{each.name} ({each.description})" for each in found.devices)
    log.info("devices: %s; llama.cpp is %s with %s", devices, found.engine, ", ".join(found.backends))
