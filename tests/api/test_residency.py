"""/runner/why, and the way through the queue in the head of every answer, over the fakes."""

from __future__ import annotations

from typing import Any

import pytest

from runner.api.streams import Patience
from tests.api.serving import Served

HI = [{"role": "user", "content": "Hi"}]
ENDPOINTS: list[tuple[str, dict[str, Any]]] = [
    ("/api/chat", {"messages": HI}),
    ("/api/generate", {"prompt": "Hi"}),
    ("/v1/chat/completions", {"messages": HI}),
    ("/v1/completions", {"prompt": ["Hi", "Ho"]}),
    ("/v1/responses", {"input": "Hi"}),
    ("/v1/messages", {"messages": HI, "max_tokens": 9}),
    ("/infill", {"input_prefix": "a", "input_suffix": "b"}),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
def test_every_answer_tells_its_way_through_the_queue(
    server: Served, path: str, body: dict[str, Any], streamed: bool
) -> None:
    reply = server.post(path, {**body, "model": "demo", "stream": streamed})
    assert reply.status == 200
    told = {name: value for name, value in reply.headers.items() if name.startswith("X-Runner-")}
    assert told == {
        "X-Runner-Queue-Position": "2",
        "X-Runner-Queue-Estimate-Ms": "1500",
        "X-Runner-Queue-Wait-Ms": "30",
        "X-Runner-Model-Loaded": "warm",
    }


@pytest.mark.parametrize("path", ["/api/embed", "/v1/embeddings"])
def test_embeddings_do_too(server: Served, path: str) -> None:
    headers = server.post(path, {"model": "embedder", "input": "Hi"}).headers
    assert (headers["X-Runner-Queue-Wait-Ms"], headers["X-Runner-Model-Loaded"]) == ("30", "cold")


def test_a_head_that_is_held_no_longer_tells_what_is_known() -> None:
    with Served(patience=Patience(hold=0.05, beat=30.0)) as server, server.connect() as connection:
        body = b'{"model": "silent", "messages": [{"role": "user", "content": "Hi"}]}'
        connection.sendall(
            b"POST /api/chat HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s"
            % (f"127.0.0.1:{server.port}".encode(), len(body), body)
        )
        head = connection.recv(4096)
        assert b"X-Runner-Queue-Position: 2\r\n" in head
        assert b"X-Runner-Model-Loaded: cold\r\n" in head
        assert b"Wait-Ms" not in head
        assert b"Estimate" not in head


def test_a_refusal_says_where_it_stood_and_when_to_come_again(server: Served) -> None:
    reply = server.post("/api/chat", {"model": "busy", "messages": HI})
    assert (reply.status, reply.headers["Retry-After"]) == (503, "7")
    assert reply.headers["X-Runner-Queue-Position"] == "2"


def test_what_asks_no_model_has_no_such_headers(server: Served) -> None:
    for path in ("/api/tags", "/api/ps", "/v1/models", "/livez"):
        assert not [name for name in server.get(path).headers if name.startswith("X-Runner-")]


def test_pages_may_read_them(server: Served) -> None:
    reply = server.get("/api/version", Origin=server.url)
    assert "X-Runner-Queue-Position" in reply.headers["Access-Control-Expose-Headers"]


def test_why(server: Served) -> None:
    told = server.post("/runner/why", {"model": "demo", "options": {"num_ctx": 4096}}).json
    assert told["summary"] == "It is loaded for 5 s."
    assert told["placement"]["words"] == "all on the CPU"
    assert told["placement"]["free"] == {"host": 4 * 2**30}
    assert told["options"] == [{"name": "num_ctx", "value": 4096, "source": "request", "when": "load"}]
    assert len(told["template"]["sha256"]) == 64
    assert told["error"] == told["history"][0]
    assert told["error"]["detail"] == "ggml: out of memory"
    assert told["error"]["time"] == "2027-01-15T08:00:00+00:00"
    assert told["next"] == {
        "would": "serve",
        "words": "It would be computed at once.",
        "need": 2**20,
        "have": 2**30,
        "evicts": [],
    }


def test_why_of_nothing_names_the_field(server: Served) -> None:
    reply = server.post("/runner/why", {})
    assert reply.status == 400
    assert "model" in reply.json["error"]
    assert server.post("/runner/why", {"model": "missing"}).status == 404
