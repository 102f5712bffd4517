"""`python -m runner.engine.quantize`: a process that quantizes one model for the daemon, and ends.

It says what it is going to do first and waits for a word. When its input closes the daemon is gone or has changed its
mind, and then so is this process, whatever native code it is in. What the messages are is in `runner.protocol.milling`.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import psutil

from runner.engine.parent import die_with_parent
from runner.engine.sandbox.enter import Work, enter
from runner.errors import RunnerError
from runner.llama import library
from runner.llama.cores import threads
from runner.llama.quantizer import Floats, Measured, Quantizing, columns
from runner.protocol.milling import Imatrix, Job, Plan, Quantized, Refused, Said
from runner.protocol.options import LoadOptions
from runner.protocol.sandbox import Sandbox

_LEAST_MEMORY, _MOST_MEMORY = 64 << 20, 8 << 30  # bytes of rows at a time
_SHARD = re.compile(r"(.*)-00001-of-(\d{5})\.gguf")
_SHARE = 4  # of the memory that is free, one part in so many
_OPTIONS = LoadOptions(num_ctx=256, num_parallel=1)  # only asked for its threads


def main() -> int:
    """Do one job. Returns the exit status: 0 when it is done or was refused in words."""
    die_with_parent()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever native code prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
        enter(Sandbox(job.sandbox), Work(_sources(job), (job.target,)))
        log = library.start()
        measured = _measured(job.imatrix) if job.imatrix is not None else None
        work = Quantizing(job.source, job.target, job.number, measured, log, threads(_OPTIONS), _memory())
        plan = work.plan()
        _say(answers, Plan(plan.size, plan.needs_imatrix))
        if not sys.stdin.buffer.readline():
            return 0
        threading.Thread(target=_end_with_input, daemon=True).start()
        work.run()
    except (RunnerError, OSError, ValueError, MemoryError) as error:
        _say(answers, Refused(str(error) or type(error).__name__))
        return 0
    _say(answers, Quantized())
    return 0


def _sources(job: Job) -> list[str]:
    """The files that are read: the shards beside the first one, and what was measured. The target is made, if it isn't
    there, since only what is there can be written to."""
    Path(job.target).touch(0o600)
    found = [job.source]
    if shard := _SHARD.fullmatch(job.source):
        found = [f"{shard[1]}-{number:05d}-of-{shard[2]}.gguf" for number in range(1, int(shard[2]) + 1)]
    return found if job.imatrix is None else [*found, job.imatrix.path]


def _say(pipe: BinaryIO, what: Said) -> None:
    pipe.write(msgspec.json.encode(what) + b"\n")


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _memory() -> int:
    return max(_LEAST_MEMORY, min(_MOST_MEMORY, psutil.virtual_memory().available // _SHARE))


def _measured(imatrix: Imatrix) -> Measured:
    found: dict[str, Floats] = {}
    with open(imatrix.path, "rb") as file:
        for entry in imatrix.entries:
            sums = _floats(file, entry.at, entry.count)
            counts = _floats(file, entry.counts_at, entry.counts) if entry.counts else [entry.calls]
            found[entry.name] = columns(sums, counts)
    notes: dict[str, str | int] = {
        "quantize.imatrix.file": Path(imatrix.path).name,
        "quantize.imatrix.dataset": imatrix.dataset,
        "quantize.imatrix.entries_count": len(found),
        "quantize.imatrix.chunks_count": imatrix.chunks,
    }
    return Measured(found, {key: value for key, value in notes.items() if value})


def _floats(file: BinaryIO, at: int, count: int) -> Floats:
    file.seek(at)
    data = file.read(4 * count)
    if len(data) < 4 * count:
        raise ValueError("the importance matrix ends early")
    return np.frombuffer(data, dtype="<f4").astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
