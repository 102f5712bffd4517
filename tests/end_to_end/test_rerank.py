"""Rerankers and embedding models through a real daemon: known by their headers, and held to what they can do."""

from __future__ import annotations

import base64
import math
from array import array
from typing import Any

import gguf
import pytest

from tests import pooling_gguf
from tests.benchmarks.daemon import Daemon

DOCUMENTS = ["red", "green flat", "round round blue", "blue", "red green"]


@pytest.fixture(scope="module")
def ranker(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ranker") / "ranker.gguf"
    daemon.create("ranker", pooling_gguf.bert(path, gguf.PoolingType.RANK).path)
    return "ranker"


@pytest.fixture(scope="module")
def embedder(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("embedder") / "embedder.gguf"
    daemon.create("embedder", pooling_gguf.bert(path, gguf.PoolingType.CLS).path)
    return "embedder"


def refusal(answer: Any) -> dict[str, Any]:
    status, body = answer
    assert status == 400
    error = body["error"]
    assert isinstance(error, dict)
    return error


def test_ranks(daemon: Daemon, ranker: str) -> None:
    asked = {"model": ranker, "query": "green", "documents": DOCUMENTS, "return_documents": True}
    answer = daemon.post("/v1/rerank", asked)
    scores = {result["index"]: result["relevance_score"] for result in answer["results"]}
    assert sorted(scores) == list(range(len(DOCUMENTS)))
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert all(0 < score < 1 for score in scores.values())
    assert all(result["document"]["text"] == DOCUMENTS[result["index"]] for result in answer["results"])
    assert answer["usage"]["prompt_tokens"] == 3 * len(DOCUMENTS) + sum(len(each.split()) for each in DOCUMENTS)
    for index, document in enumerate(DOCUMENTS):  # alone it is worth the same
        (alone,) = daemon.post("/rerank", asked | {"documents": [document]})["results"]
        assert alone["relevance_score"] == pytest.approx(scores[index], abs=1e-4)


def test_a_reranker_does_nothing_else(daemon: Daemon, ranker: str) -> None:
    assert daemon.post("/api/show", {"model": ranker})["capabilities"] == ["rerank"]
    chat = {"model": ranker, "messages": [{"role": "user", "content": "hi"}]}
    error = refusal(daemon.post("/v1/chat/completions", chat))
    assert "does not support chat; it ranks documents, and takes only /v1/rerank" in error["message"]
    assert (
        "does not support embedding"
        in refusal(daemon.post("/v1/embeddings", {"model": ranker, "input": "x"}))["message"]
    )
    assert daemon.post("/api/embed", {"model": ranker, "input": "x"})[0] == 400


def test_others_do_not_rank(daemon: Daemon, embedder: str) -> None:
    for model in ("demo", embedder):
        error = refusal(daemon.post("/v1/rerank", {"model": model, "query": "q", "documents": ["d"]}))
        assert (error["param"], error["code"]) == ("model", "unsupported_feature")
        assert "it is no model that ranks documents" in error["message"]


def test_a_pair_that_is_too_long_names_the_document_and_both_numbers(daemon: Daemon, ranker: str) -> None:
    error = refusal(daemon.post("/v1/rerank", {"model": ranker, "query": "red", "documents": ["red", "flat " * 100]}))
    assert error["param"] == "documents[1]"
    assert "103" in error["message"]
    assert "64" in error["message"]


def test_dimensions_and_formats(daemon: Daemon, embedder: str) -> None:
    asked = {"model": embedder, "input": ["red", "green blue"]}
    (whole, _) = (each["embedding"] for each in daemon.post("/v1/embeddings", asked)["data"])
    assert len(whole) == pooling_gguf.WIDTH
    assert math.hypot(*whole) == pytest.approx(1)
    (short, _) = (each["embedding"] for each in daemon.post("/v1/embeddings", asked | {"dimensions": 5})["data"])
    length = math.hypot(*whole[:5])
    assert short == pytest.approx([value / length for value in whole[:5]], abs=1e-6)
    packed = daemon.post("/v1/embeddings", asked | {"dimensions": 5, "encoding_format": "base64"})["data"][0][
        "embedding"
    ]
    assert array("f", base64.b64decode(packed)).tolist() == pytest.approx(short, abs=1e-6)
    error = refusal(daemon.post("/v1/embeddings", asked | {"dimensions": 33}))
    assert (error["param"], "from 1 to 32, not 33" in error["message"]) == ("dimensions", True)
    for field, value in (
        ("dimensions", 0),
        ("dimensions", "5"),
        ("encoding_format", "hex"),
        ("input", []),
        ("input", 3),
    ):
        assert refusal(daemon.post("/v1/embeddings", asked | {field: value}))["param"] == field
    error = refusal(daemon.post("/v1/embeddings", asked | {"input": ["red", "flat " * 100]}))
    assert error["param"] == "input[1]"
    assert "102" in error["message"]
    assert "64" in error["message"]
