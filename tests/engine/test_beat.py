"""A worker shows that it lives, and how long its step has been going on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from modelfiles.embedded import demo_gguf
from runner.engine.beat import Heart
from runner.engine.outbox import Outbox
from runner.engine.worker import _of_memory
from runner.errors import InsufficientMemory, LoadFailed, RunnerError
from runner.protocol.codec import FrameReader, unpack_events
from runner.protocol.commands import Constraint, Generate, TextPrompt
from runner.protocol.events import Beat, Done
from runner.protocol.options import SampleOptions
from tests.engine.worker_process import WorkerProcess


def beats(descriptor: int) -> Iterator[Beat]:
    frames = FrameReader()
    while data := os.read(descriptor, 4096):
        for body in frames.feed(data):
            yield from (event for event in unpack_events(body) if isinstance(event, Beat))


def test_beats_tell_of_the_present_step() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        outbox = Outbox(pipe)
        heart = Heart(outbox)
        heard = beats(reading)
        assert next(heard).step == 0.0
        heart.begin()
        first, second = next(heard).step, next(heard).step
        assert 0.0 < first < second
        heart.end()
        assert next(heard).step == 0.0
        heart.close()
        outbox.close()
    os.close(reading)


def test_what_holds_up_every_thread_is_announced() -> None:
    """The tables of a large vocabulary take seconds in which no other thread of the worker runs, once."""
    worker = WorkerProcess(demo_gguf())
    silences: list[list[float]] = []
    for number in (1, 2):
        constraint = Constraint("regex", f"(a|b){{{number}}}")
        worker.send(Generate(number, TextPrompt("x"), SampleOptions(num_predict=4), constraint=constraint))
        silences.append([])
        for event in worker.events():
            silences[-1] += [event.silence] if isinstance(event, Beat) else []
            if isinstance(event, Done):
                break
    assert max(silences[0]) > 0.5
    assert not any(silences[1])
    assert worker.close() == 0


@pytest.mark.parametrize(
    ("error", "is_of_memory"),
    [
        (MemoryError(), True),
        (
            LoadFailed("llama.cpp could not load the model: ggml_backend_cpu_buffer_type: failed to allocate buffer"),
            True,
        ),
        (LoadFailed("llama.cpp could not make a context: cudaMalloc failed: out of memory"), True),
        (LoadFailed("llama.cpp could not load the model: unknown model architecture: 'x'"), False),
        (RunnerError("out of memory, it says"), False),
    ],
)
def test_a_load_that_fails_for_want_of_memory_says_so(error: RunnerError | MemoryError, is_of_memory: bool) -> None:
    assert isinstance(_of_memory(error), InsufficientMemory) == is_of_memory
