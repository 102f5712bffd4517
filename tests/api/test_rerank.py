"""/v1/rerank, as Jina's and Cohere's clients know it, and under the other paths where it is looked for."""

from __future__ import annotations

from typing import Any

import pytest

from runner.inference.requests import Rerank
from tests.api.serving import Served

DOCUMENTS = ["four", "the longest of them", "four", {"text": "as an object"}]
ASKED: dict[str, Any] = {"model": "ranker", "query": "length", "documents": DOCUMENTS}


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_the_best_come_first(server: Served, path: str) -> None:
    reply = server.post(path, ASKED)
    assert reply.status == 200
    answer = reply.json
    assert answer.pop("id").startswith("rerank-")
    assert answer == {
        "object": "list",
        "model": "ranker",
        "results": [
            {"index": 1, "relevance_score": 19 / 64},
            {"index": 3, "relevance_score": 12 / 64},
            {"index": 0, "relevance_score": 4 / 64},
            {"index": 2, "relevance_score": 4 / 64},
        ],
        "usage": {"prompt_tokens": 20, "total_tokens": 20},
    }
    texts = tuple(each if isinstance(each, str) else each["text"] for each in DOCUMENTS)
    assert server.service.seen == [Rerank("ranker", "length", texts)]


def test_a_few_with_their_texts(server: Served) -> None:
    results = server.post("/v1/rerank", {**ASKED, "top_n": 2, "return_documents": True}).json["results"]
    assert [result["document"] for result in results] == [{"text": "the longest of them"}, {"text": "as an object"}]
    for many in (99, 2**63):
        assert len(server.post("/v1/rerank", {**ASKED, "top_n": many}).json["results"]) == len(DOCUMENTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "model is required"),
        ({"query": ""}, "query is required"),
        ({"query": 3}, "query must be a string"),
        ({"query": ["a"]}, "query must be a string"),
        ({"documents": None}, "documents must hold at least one document"),
        ({"documents": []}, "documents must hold at least one document"),
        ({"documents": "one"}, "documents must be a list"),
        ({"documents": ["a", 3]}, "documents[1] must be a string or an object"),
        ({"documents": [{"title": "a"}]}, "documents[0].text is required"),
        ({"documents": ["x"] * 2049}, "documents must hold at most 2048 documents, not 2049"),
        ({"top_n": 0}, "top_n must be at least 1"),
        ({"top_n": "3"}, "top_n must be a whole number"),
        ({"top_n": True}, "top_n must be a whole number"),
        ({"return_documents": "yes"}, "return_documents must be true or false"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
def test_what_cannot_be_meant_is_named(server: Served, path: str, change: dict[str, Any], message: str) -> None:
    reply = server.post(path, ASKED | change)
    assert reply.status == 400
    error = reply.json["error"]
    assert message in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] in (*change, "documents[1]", "documents[0].text")
    assert server.service.seen == []


def test_both_numbers_of_a_pair_that_is_too_long(server: Served) -> None:
    reply = server.post("/v1/rerank", {**ASKED, "model": "overflow"})
    assert reply.status == 400
    assert "9000" in reply.json["error"]["message"]
    assert "4096" in reply.json["error"]["message"]
