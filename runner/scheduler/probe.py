"""Asks a process of its own which devices there are, and takes no harm from what that process does.

Native drivers hang, abort, print and leave processes behind: time and bytes are bounded, and what goes wrong is told in
words. Knows nothing of what the answer is for.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from runner.protocol.devices import Device, DeviceSurvey
from runner.scheduler.failures import Exit

TIME_LIMIT = 30.0  # seconds; a driver that wakes its GPUs up takes ten
_ANSWER_LIMIT = 1 << 20  # bytes; an answer has some hundred for each device
_TAIL = 2048  # bytes of what it said last on stderr
_DRAIN = 1.0  # seconds for the rest of its output: a process that it left behind may hold the pipe
_KILLED = 2.0  # seconds for a process to be gone once it was killed: one that hangs in a driver may not go at all


class ProbeFailed(Exception):
    """Why there is no answer, as a part of a sentence."""


def probe_command() -> list[str]:
    """The argv of the process. It sees to it itself that it doesn't outlive the daemon."""
    # -P: the folder in which the daemon happens to have been started is nothing to import from.
    return [sys.executable, "-P", "-m", "runner.engine.devices"]


async def probe(command: Sequence[str], environment: Mapping[str, str], limit: float = TIME_LIMIT) -> DeviceSurvey:
    """Run the process and read its answer, within `limit` seconds. Raises ProbeFailed.

    When this is cancelled the process is ended.
    """
    try:
        transport, listener = await asyncio.get_running_loop().subprocess_exec(
            _Listener,
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,  # a Ctrl-C in the terminal is for the daemon
        )
    except OSError as error:
        raise ProbeFailed(f"its process could not be started: {error}") from error
    try:
        async with asyncio.timeout(limit):
            await listener.ended.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN):
                await listener.silent.wait()
    except TimeoutError:
        raise ProbeFailed(f"its process gave no answer within {limit:.0f} s") from None
    finally:
        await _end(transport, listener)
    if listener.is_flooded:
        raise ProbeFailed(f"its process wrote more than {_ANSWER_LIMIT >> 20} MiB")
    if code := transport.get_returncode():
        last = listener.tail.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise ProbeFailed(f"its process ended with {Exit(code)}{f' ({last[0].strip()[:300]})' if last else ''}")
    return _read(bytes(listener.answer))


class _Listener(asyncio.SubprocessProtocol):
    """What the process says on stdout, the end of what it says on stderr, and whether it is gone."""

    def __init__(self) -> None:
        self.answer = bytearray()
        self.tail = b""
        self.is_flooded = False
        self.ended = asyncio.Event()  # the process is gone, or what it says is of no use any more
        self.silent = asyncio.Event()  # and nobody else can write into its pipes

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self.tail = (self.tail + data)[-_TAIL:]
        elif not self.is_flooded:
            self.answer += data
            self.is_flooded = len(self.answer) > _ANSWER_LIMIT
            if self.is_flooded:
                self.ended.set()
                self.silent.set()

    def process_exited(self) -> None:
        self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.silent.set()


async def _end(transport: asyncio.SubprocessTransport, listener: _Listener) -> None:
    """See to it that the process is gone, as far as that can be seen to, and let go of its pipes."""
    if transport.get_returncode() is None:
        with suppress(ProcessLookupError):
            transport.kill()
        listener.ended.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_KILLED):
                await listener.ended.wait()
    transport.close()


def _read(answer: bytes) -> DeviceSurvey:
    try:
        found = msgspec.json.decode(answer, type=DeviceSurvey)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProbeFailed(f"its process gave an answer that is none: {error}") from error
    devices = tuple(_sound(device) for device in found.devices)
    if not any(device.kind == "cpu" for device in devices):
        raise ProbeFailed("llama.cpp found not even a CPU")
    return msgspec.structs.replace(found, devices=devices)


def _sound(device: Device) -> Device:
    """The same with sizes that can be reckoned with: drivers have been seen to report more free than there is."""
    total = max(0, device.total)
    free = max(0, min(device.free, total) if total else device.free)
    return msgspec.structs.replace(device, total=total, free=free)
