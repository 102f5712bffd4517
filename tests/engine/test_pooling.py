"""Each kind of pooling, taken from the model: what comes out is what can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import numpy as np
import pytest

from runner.protocol.commands import Command, Embed, Rank
from runner.protocol.events import Failed, Vectors
from tests import pooling_gguf as made
from tests.engine.worker_process import WorkerProcess
from tests.pooling_gguf import CLS, SEP, WORDS, Array, Made

TEXTS = ("red", "red green blue", "blue round")


@contextmanager
def worker(model: Made) -> Iterator[WorkerProcess]:
    process = WorkerProcess(model.path, embedding=True, num_ctx=64, num_parallel=4)
    yield process
    assert process.close() == 0


def rows(process: WorkerProcess, command: Command) -> Array:
    end = process.ask(command)[command.id].end  # type: ignore[union-attr]  # a request
    assert isinstance(end, Vectors), end
    return np.frombuffer(end.data, "<f4").reshape(end.count, end.width)


def words(text: str) -> list[int]:
    return [WORDS.index("\u2581" + word) for word in text.split()]


@pytest.mark.parametrize(
    ("pooling", "reduced"),
    [
        (gguf.PoolingType.CLS, lambda vectors: vectors[0]),
        (gguf.PoolingType.MEAN, lambda vectors: vectors.mean(axis=0)),
        (gguf.PoolingType.LAST, lambda vectors: vectors[-1]),
        (gguf.PoolingType.NONE, lambda vectors: vectors.mean(axis=0)),  # a model that names none is averaged
    ],
)
def test_an_encoder(tmp_path: Path, pooling: gguf.PoolingType, reduced: Callable[[Array], Array]) -> None:
    model = made.bert(tmp_path / "bert.gguf", pooling)
    with worker(model) as process:
        found = rows(process, Embed(1, TEXTS))
    expected = [reduced(model.encoded([CLS, *words(text), SEP])) for text in TEXTS]
    assert found == pytest.approx(np.stack(expected), abs=1e-3)


def test_a_decoder_that_ends_in_its_vector(tmp_path: Path) -> None:
    model = made.qwen3(tmp_path / "qwen3.gguf", gguf.PoolingType.LAST)
    inputs = ((300, 301, 302), (400,), (300, 301))
    with worker(model) as process:
        found = rows(process, Embed(1, inputs))
    assert found == pytest.approx(np.stack([model.decoded(list(each))[-1] for each in inputs]), abs=1e-3)


def test_an_encoder_that_ranks(tmp_path: Path) -> None:
    model = made.bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK)
    documents = ("red", "green flat", "", "round round blue", "blue")
    with worker(model) as process:
        found = rows(process, Rank(1, "red green", documents))
        assert process.ask(Embed(2, ("red",)))[2].end.code == "unsupported_feature"  # type: ignore[union-attr]
    scores = []
    for document in documents:
        first = model.encoded([CLS, *words("red green"), SEP, *words(document)])[0]
        hidden = np.tanh(model.weights["cls.weight"] @ first + model.weights["cls.bias"])
        scores.append(model.weights["cls.output.weight"] @ hidden + model.weights["cls.output.bias"])
    assert len({round(float(score), 2) for (score,) in scores}) == len(documents)
    assert found == pytest.approx(np.stack(scores), abs=1e-2)


def test_a_decoder_that_ranks_by_its_template(tmp_path: Path) -> None:
    """The document stands last but for the template's own end, so the end is what is scored."""
    model = made.qwen3(tmp_path / "rank.gguf", gguf.PoolingType.RANK)
    (end,) = tokens_of(model, "!")
    logits = model.weights["cls.output.weight"] @ model.decoded([end])[0]
    expected = np.exp(logits) / np.exp(logits).sum()
    with worker(model) as process:
        found = rows(process, Rank(1, "{document}", ("one", "{query} two")))
        counted = process.ask(Rank(2, "a {document}", ("b {query}",)))[2].end
    assert found.shape == (2, 2)
    assert found == pytest.approx(np.stack([expected] * 2), abs=1e-3)
    assert isinstance(counted, Vectors)
    # What stands in braces in somebody's words is left alone.
    assert counted.usage.prompt_tokens == len(tokens_of(model, "Find a {document} in b {query}!"))


def test_pairs_are_joined_by_the_separator(tmp_path: Path) -> None:
    model = made.bert(tmp_path / "rank.gguf", gguf.PoolingType.RANK)
    with worker(model) as process:
        end = process.ask(Rank(1, "red green", ("blue", "")))[1].end
        assert isinstance(end, Vectors)
        assert end.usage.prompt_tokens == len(["[CLS]", "red", "green", "[SEP]", "blue"]) + 4
        long = process.ask(Rank(2, "red", ("blue", "flat " * 100)))[2].end
        assert isinstance(long, Failed)
        assert (long.code, long.field, long.tokens, long.limit) == ("context_length_exceeded", "documents[1]", 103, 64)


def test_a_model_that_embeds_does_not_rank(tmp_path: Path) -> None:
    with worker(made.bert(tmp_path / "mean.gguf", gguf.PoolingType.MEAN)) as process:
        end = process.ask(Rank(1, "red", ("blue",)))[1].end
        assert isinstance(end, Failed)
        assert (end.code, end.field) == ("unsupported_feature", "model")


def tokens_of(model: Made, text: str) -> list[int]:
    """As llama.cpp has them."""
    from runner.llama import library
    from runner.llama.model import Model
    from runner.protocol.options import LoadOptions

    loaded = Model([str(model.path)], LoadOptions(num_ctx=64, num_parallel=1), library.start())
    try:
        return loaded.tokenize(text, special=True, bos=False)
    finally:
        loaded.close()
