"""Embeddings of a real model (all-MiniLM-L6-v2) from the worker process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from runner.protocol.commands import Embed, Generate, TextPrompt
from runner.protocol.events import Failed, Ready, Vectors
from runner.protocol.options import SampleOptions
from tests.engine.worker_process import WorkerProcess
from tests.minilm import minilm


@pytest.fixture(scope="module")
def worker(request: pytest.FixtureRequest) -> Iterator[WorkerProcess]:
    path = minilm(request.config.cache.mkdir("minilm"))
    process = WorkerProcess(path, embedding=True, num_ctx=512, num_parallel=16)
    yield process
    assert process.close() == 0


def vectors(worker: WorkerProcess, request: int, *texts: str) -> npt.NDArray[np.float32]:
    end = worker.ask(Embed(request, texts))[request].end
    assert isinstance(end, Vectors), end
    raw = np.frombuffer(end.data, "<f4").reshape(end.count, end.width)
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def test_related_sentences_are_closer_than_unrelated_ones(worker: WorkerProcess) -> None:
    assert isinstance(worker.ready, Ready)
    assert worker.ready.embedding_length == 384
    cat, kitten, market = vectors(
        worker,
        1,
        "The cat sleeps on the sofa.",
        "A kitten is napping on the couch.",
        "Stock prices fell sharply today.",
    )
    assert cat @ kitten > 0.6
    assert cat @ market < 0.2


def test_a_batch_equals_single_inputs(worker: WorkerProcess) -> None:
    texts = [f"sentence number {index} about {'cats' if index % 2 else 'ships'}" for index in range(40)]
    together = vectors(worker, 2, *texts)
    for index in (0, 17, 39):
        assert together[index] @ vectors(worker, 3 + index, texts[index])[0] > 0.999


def test_long_inputs_are_cut_or_refused_as_asked(worker: WorkerProcess) -> None:
    long = "word " * 2000
    cut = worker.ask(Embed(100, (long, "short")))[100].end
    assert isinstance(cut, Vectors)
    assert cut.usage.truncated_tokens > 1000
    refused = worker.ask(Embed(101, ("short", long), truncate=False))[101].end
    assert isinstance(refused, Failed)
    assert (refused.code, refused.field, refused.limit) == ("context_length_exceeded", "input[1]", 512)


def test_it_does_not_generate(worker: WorkerProcess) -> None:
    end = worker.ask(Generate(200, TextPrompt("hello"), SampleOptions()))[200].end
    assert isinstance(end, Failed)
    assert end.code == "unsupported_feature"
