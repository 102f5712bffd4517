"""The quantizer as the registry wants it: a process for each order, which ends with the order whatever becomes of it.

Knows the process's messages and nothing of models. Blocks its thread; call it where work on the store is done.
"""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import msgspec

from registry.errors import QuantizeFailed
from registry.gguf.imatrix import Imatrix
from registry.quantize import Order, Planned, Watch
from runner.protocol import milling
from runner.protocol.sandbox import Mode
from runner.scheduler.environment import worker_environment

_LOOK = 0.2  # seconds between two looks at how it goes
_TAIL = 2000  # bytes of the process's last words
_LINE = 1 << 16
_DRAIN = 2.0  # seconds for the last words of a process that is gone
_COMMAND = (sys.executable, "-P", "-m", "runner.engine.quantize")


def quantize(order: Order, planned: Planned, watch: Watch, sandbox: Mode = "on") -> None:
    """Do an order in a process of its own; see `registry.quantize.Quantizer`. `sandbox` is how it shuts itself in."""
    with _process() as process:
        reader = _Reader(process)
        plan = reader.after(_job(order, sandbox), watch)
        if not isinstance(plan, milling.Plan):
            raise QuantizeFailed("the quantizer said something else than what it would do")
        planned(plan.size, plan.needs_imatrix)
        reader.after(b"go\n", watch)


@contextmanager
def _process() -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=worker_environment(),
            start_new_session=True,  # a Ctrl-C in the terminal is for the daemon
        )
    except OSError as error:
        raise QuantizeFailed(f"the quantizer's process could not be started: {error}") from error
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()


class _Reader:
    """What the process says, and its last words, read on threads of their own: a full pipe would stop it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._tail = b""
        assert process.stdout is not None
        assert process.stderr is not None
        threading.Thread(target=self._lines, args=(process.stdout,), daemon=True).start()
        self._errors = threading.Thread(target=self._last_words, args=(process.stderr,), daemon=True)
        self._errors.start()

    def after(self, line: bytes, watch: Watch) -> milling.Said:
        """What the process answers to a line. Raises QuantizeFailed, or what `watch` raises."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it is gone, and its last words are still to be read
            self._process.stdin.write(line)
            self._process.stdin.flush()
        while True:
            try:
                answer = self._said.get(timeout=_LOOK)
            except queue.Empty:
                watch()
                continue
            if not answer:
                raise QuantizeFailed(self._death())
            try:
                said: milling.Said = msgspec.json.decode(answer, type=milling.Said)
            except msgspec.DecodeError as error:
                raise QuantizeFailed(f"the quantizer's process can't be understood: {error}") from error
            if isinstance(said, milling.Refused):
                raise QuantizeFailed(f"llama.cpp could not quantize the model: {said.reason}")
            return said

    def _lines(self, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(_LINE):
                self._said.put(line)
        self._said.put(b"")

    def _last_words(self, pipe: IO[bytes]) -> None:
        with pipe:
            while data := pipe.read1(4096):  # type: ignore[attr-defined]  # a BufferedReader, as Popen makes them
                self._tail = (self._tail + data)[-_TAIL:]

    def _death(self) -> str:
        status = self._process.wait()
        self._errors.join(_DRAIN)
        words = self._tail.decode("utf-8", "replace").strip()
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        if status == -9:
            how += ", as the system does when memory runs out"
        return f"the quantizer's process died {how}" + (f"; its last words: {words}" if words else "")


def _job(order: Order, sandbox: Mode) -> bytes:
    imatrix = _told(order.imatrix) if order.imatrix is not None else None
    job = milling.Job(str(order.source), str(order.target), order.number, imatrix, sandbox)
    return msgspec.json.encode(job) + b"\n"


def _told(imatrix: Imatrix) -> milling.Imatrix:
    entries = tuple(
        milling.Importance(each.name, each.at, each.count, each.counts_at, each.counts, each.calls)
        for each in imatrix.entries
    )
    return milling.Imatrix(str(imatrix.path), entries, ", ".join(imatrix.datasets), imatrix.chunks)
