"""/runner/requests and /runner/queue: what is recorded, how it ends, how it is cancelled, and what is kept of texts."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from runner.api.recording import RECORDED
from runner.api.redact import redacted
from tests.api.fakes import TEXT, THOUGHT
from tests.api.serving import WAIT, Reply, Served

HI = [{"role": "user", "content": "Hi"}]
DOCUMENTS = {"query": "q", "documents": ["a", "b"]}
ASKED: list[tuple[str, str, dict[str, Any]]] = [
    ("ollama", "/api/generate", {"prompt": "Hi"}),
    ("ollama", "/api/chat", {"messages": HI}),
    ("ollama", "/api/embed", {"input": ["Hi", "Ho"]}),
    ("ollama", "/api/embeddings", {"prompt": "Hi"}),
    ("openai", "/v1/chat/completions", {"messages": HI}),
    ("openai", "/v1/completions", {"prompt": ["Hi", "Ho"]}),
    ("openai", "/v1/embeddings", {"input": "Hi"}),
    ("openai", "/v1/rerank", DOCUMENTS),
    ("openai", "/v2/rerank", DOCUMENTS),
    ("openai", "/rerank", DOCUMENTS),
    ("openai", "/v1/responses", {"input": "Hi"}),
    ("openai", "/v1/responses/input_tokens", {"input": "Hi"}),
    ("anthropic", "/v1/messages", {"messages": HI, "max_tokens": 9}),
    ("anthropic", "/v1/messages/count_tokens", {"messages": HI}),
    ("llamacpp", "/tokenize", {"content": "Hi"}),
    ("llamacpp", "/detokenize", {"tokens": [72]}),
    ("llamacpp", "/apply-template", {"messages": HI}),
    ("llamacpp", "/infill", {"input_prefix": "a", "input_suffix": "b"}),
]
ANSWERED = [each for each in ASKED if each[1] in ("/api/generate", "/api/chat", "/v1/chat/completions",
            "/v1/completions", "/v1/responses", "/v1/messages", "/infill")]  # fmt: skip
ROW = {
    "id", "at", "method", "path", "dialect", "model", "client", "priority", "stream", "state", "status", "error",
    "stop", "prompt_tokens", "cached_tokens", "completion_tokens", "position", "eta_ms", "tokens_per_second", "timings",
}  # fmt: skip


def rows(server: Served, query: str = "") -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = server.get(f"/runner/requests{query}").json["requests"]
    return listed


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


# -- what is recorded


def test_every_path_that_is_recorded_is_asked_here() -> None:
    assert {path for _, path, _ in ASKED} == RECORDED


def test_whatever_is_posted_to_a_model_is_recorded(server: Served) -> None:
    """A new endpoint has to be in one list or the other."""
    others = {
        "/api/show", "/api/copy", "/api/pull", "/api/push", "/api/create", "/api/blobs/{digest}",
        "/v1/responses/{id}/cancel",
    }  # fmt: skip
    posted = {path for path, told in server.get("/openapi.json").json["paths"].items() if "post" in told}
    assert {path for path in posted if not path.startswith("/runner/")} == RECORDED | others


@pytest.mark.parametrize(("dialect", "path", "body"), ASKED)
def test_every_request_for_an_answer_is_there_once(
    server: Served, dialect: str, path: str, body: dict[str, Any]
) -> None:
    reply = server.post(path, {"model": "demo", **body}, X_Runner_Priority="batch")
    assert reply.status == 200
    (row,) = rows(server)
    assert set(row) == ROW
    assert row["id"] == reply.headers["X-Request-Id"]
    assert (row["path"], row["dialect"], row["method"], row["client"]) == (path, dialect, "POST", "127.0.0.1")
    assert (row["state"], row["status"], row["error"]) == ("done", 200, None)
    assert row["model"] in ("demo", "demo:latest")  # of what no worker was asked for, as it was asked
    assert row["timings"]["total_ms"] > 0
    assert row["at"].endswith("+00:00")
    server.post(path, {"model": "missing", **body})
    failed = rows(server)[0]
    assert (failed["state"], failed["status"], failed["error"]["code"]) == ("failed", 404, "model_not_found")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("dialect", "path", "body"), ANSWERED)
def test_an_answer_is_told_in_numbers(
    server: Served, dialect: str, path: str, body: dict[str, Any], streamed: bool
) -> None:
    server.post(path, {"model": "demo", **body, "stream": streamed})
    (row,) = rows(server)
    times = len(body["prompt"]) if path == "/v1/completions" else 1
    assert (row["prompt_tokens"], row["cached_tokens"]) == (7 * times, 3 * times)
    assert row["completion_tokens"] == len(TEXT) * times
    assert (row["stream"], row["stop"], row["model"]) == (streamed, "stop", "demo:latest")
    known = {name: row["timings"][name] for name in ("queue_ms", "load_ms", "prefill_ms", "decode_ms")}
    assert known == {"queue_ms": 0.0, "load_ms": 1.0, "prefill_ms": 2.0, "decode_ms": 1.5}
    assert row["tokens_per_second"] == pytest.approx(len(TEXT) * times / 0.0015, rel=1e-3)


def test_who_looks_is_not_recorded_and_who_isnt_let_in_neither() -> None:
    with Served(api_key="k") as server:
        for path in ("/api/ps", "/health", "/metrics", "/runner/requests", "/runner/queue", "/v1/models", "/api/tags"):
            server.get(path, Authorization="Bearer k")
        server.post("/api/show", {"model": "demo"}, Authorization="Bearer k")
        server.post("/api/chat", {"model": "demo", "messages": HI})
        assert server.get("/api/chat", Authorization="Bearer k").status == 405
        for path in ("/runner/requests", "/runner/queue"):
            assert server.get(path).status == 401
        listed = server.get("/runner/requests", Authorization="Bearer k").json
        assert listed == {"requests": [], "kept": 0, "most": 200, "bodies": False}
        server.post("/api/chat", {"model": "demo", "messages": HI, "stream": False}, Authorization="Bearer k")
        (row,) = server.get("/runner/requests", Authorization="Bearer k").json["requests"]
        assert row["client"].startswith("key:")
        assert len(row["client"]) == 12


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_request_error"),
        (b'{"model": "busy", "messages": [{"role": "user", "content": "Hi"}]}', 503, "server_busy"),
        (b'{"model": "bug", "messages": [{"role": "user", "content": "Hi"}]}', 500, "internal_error"),
        (b'{"model": "late", "messages": [{"role": "user", "content": "Hi"}], "stream": true}', 200, "worker_crashed"),
    ],
)
def test_a_failure_is_the_end_in_whatever_way_it_was_told(server: Served, body: bytes, status: int, code: str) -> None:
    assert server.ask("POST", "/api/chat", body).status == status
    (row,) = rows(server)
    assert (row["state"], row["status"], row["error"]["code"]) == ("failed", status, code)
    assert row["error"]["message"]


def test_a_client_that_leaves_has_cancelled(server: Served) -> None:
    with server.connect() as connection:
        body = json.dumps({"model": "silent", "messages": HI}).encode()
        head = f"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection.sendall(head + body)
        assert server.service.started.wait(WAIT)
        (row,) = rows(server, "?state=waiting")
        assert (row["status"], row["timings"]["total_ms"]) == (None, None)
    until(lambda: rows(server)[0]["state"] == "cancelled")
    assert (rows(server)[0]["status"], rows(server)[0]["error"]) == (499, None)


def test_ids_that_come_again_are_told_apart(server: Served) -> None:
    for _ in range(3):
        server.post("/api/chat", {"model": "demo", "messages": HI}, X_Request_Id="mine")
    assert [row["id"] for row in rows(server)] == ["mine~3", "mine~2", "mine"]
    assert server.get("/runner/requests/mine~2").json["id"] == "mine~2"


def test_what_is_asked_for_of_the_list(server: Served) -> None:
    for model in ("demo", "cut", "missing", "demo"):
        server.post("/api/chat", {"model": model, "messages": HI, "stream": False})
    assert [row["model"] for row in rows(server)] == ["demo:latest", "missing:latest", "cut:latest", "demo:latest"]
    assert len(rows(server, "?model=demo")) == len(rows(server, "?model=demo:latest")) == 2
    assert [row["error"]["code"] for row in rows(server, "?state=failed")] == ["model_not_found"]
    assert len(rows(server, "?limit=3")) == 3
    for query in ("?limit=0", "?limit=x", "?state=asleep"):
        refused = server.get(f"/runner/requests{query}")
        assert (refused.status, query[1:6].rstrip("=") in refused.json["error"]) == (400, True)
    assert server.get("/runner/requests/nobody").status == 404


def test_as_many_are_kept_as_is_said() -> None:
    with Served(request_log=2) as server:
        for _ in range(4):
            server.post("/api/chat", {"model": "demo", "messages": HI})
        assert server.get("/runner/requests").json["kept"] == len(rows(server)) == 2
    with Served(request_log=0) as server:
        server.post("/api/chat", {"model": "demo", "messages": HI})
        assert rows(server) == []


# -- cancelling


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("dialect", "path", "body"), ANSWERED)
@pytest.mark.parametrize("model", ["silent", "paused"])
def test_a_request_can_be_ended_from_outside(
    server: Served, dialect: str, path: str, body: dict[str, Any], streamed: bool, model: str
) -> None:
    if path == "/v1/completions":
        body = {"prompt": "Hi"}
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(server.post, path, {"model": model, **body, "stream": streamed}, X_Request_Id="mine")
        assert server.service.started.wait(WAIT)
        until(lambda: model == "silent" or server.service.pieces >= 2)
        gone = server.ask("DELETE", "/runner/requests/mine")
        assert (gone.status, gone.json) == (200, {"id": "mine", "status": "cancelled"})
        reply: Reply = pending.result(WAIT)
    assert server.service.under_way == 0
    has_begun = streamed and model == "paused"
    assert reply.status == (200 if has_begun else 499)
    assert b"was cancelled by whoever runs Runner" in reply.body
    if has_begun:
        assert reply.body.count(b"was cancelled by") == 1
        assert b"[DONE]" not in reply.body.partition(b"was cancelled by")[2]
    else:
        assert reply.headers["x-should-retry"] == "false"
    (row,) = rows(server)
    assert (row["state"], row["error"]["code"]) == ("cancelled", "request_cancelled")
    assert server.ask("DELETE", "/runner/requests/mine").status == 409
    assert server.ask("DELETE", "/runner/requests/other").status == 404


@pytest.mark.parametrize("streamed", [False, True])
def test_a_connection_outlives_a_request_that_was_cancelled_on_it(server: Served, streamed: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT)
    body = {"model": "paused" if streamed else "silent", "messages": HI, "stream": streamed}
    connection.request("POST", "/api/chat", json.dumps(body), {"X-Request-Id": "mine"})
    assert server.service.started.wait(WAIT)
    until(lambda: not streamed or server.service.pieces >= 2)
    server.ask("DELETE", "/runner/requests/mine")
    assert b"was cancelled" in connection.getresponse().read()
    socket_before = connection.sock
    for _ in range(2):
        connection.request("POST", "/api/chat", json.dumps({"model": "demo", "messages": HI}))
        assert connection.getresponse().read().endswith(b"\n")
    assert connection.sock is socket_before
    connection.close()
    assert [row["state"] for row in rows(server)] == ["done", "done", "cancelled"]


def test_what_is_said_to_the_end_isnt_cancelled(server: Served) -> None:
    server.post("/api/chat", {"model": "demo", "messages": HI}, X_Request_Id="mine")
    refused = server.ask("DELETE", "/runner/requests/mine")
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert rows(server)[0]["state"] == "done"


def test_a_strangers_page_cancels_nothing(server: Served) -> None:
    assert server.ask("DELETE", "/runner/requests/mine", None, {"Origin": "https://evil.example"}).status == 403


def test_the_queue_has_those_under_way(server: Served) -> None:
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(
            server.post,
            "/api/chat",
            {"model": "silent", "messages": HI},
            X_Request_Id="mine",
            X_Runner_Priority="batch",
        )
        assert server.service.started.wait(WAIT)
        told = server.get("/runner/queue").json
        (waiting,) = told.pop("waiting")
        assert waiting.pop("waited_ms") >= 0
        assert waiting == {
            "id": "mine", "model": "silent:latest", "state": "waiting", "client": "127.0.0.1", "priority": "batch",
            "position": None, "eta_ms": None,
        }  # fmt: skip
        assert told == {"running": [], "limit": 512, "left_off": 0}
        server.ask("DELETE", "/runner/requests/mine")
        pending.result(WAIT)
    assert server.get("/runner/queue").json["waiting"] == []


# -- texts


def test_without_bodies_nothing_of_a_text_is_held(server: Served) -> None:
    server.post("/api/chat", {"model": "caller", "messages": HI, "think": True}, X_Request_Id="mine")
    told = server.get("/runner/requests/mine").json
    assert {name: told[name] for name in ("prompt", "answer", "thinking", "calls", "body", "cut", "bodies_off")} == {
        "prompt": None, "answer": None, "thinking": None, "calls": None, "body": None, "cut": {}, "bodies_off": True,
    }  # fmt: skip
    assert server.ledger.text_bytes == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_with_bodies_there_is_what_was_asked_and_answered(streamed: bool) -> None:
    picture = base64.b64encode(b"\x89PNG" * 200).decode()
    with Served(request_bodies=True) as server:
        message = {"role": "user", "content": "Hi, my key is sk-abcdefghijklmnop1234", "images": [picture]}
        body = {"model": "demo", "messages": [message], "think": True, "stream": streamed, "api_key": "hunter2"}
        server.post("/api/chat", body, X_Request_Id="mine")
        told = server.get("/runner/requests/mine").json
    assert told["prompt"] == f"<user>{message['content']}"  # as it was rendered
    assert (told["answer"], told["thinking"]) == ("".join(TEXT), "".join(THOUGHT))
    assert (told["bodies_off"], told["cut"]) == (False, {})
    kept = told["body"]
    assert kept["messages"][0]["images"] == [f"(an image or other data: {len(picture)} characters)"]
    assert kept["messages"][0]["content"] == "Hi, my key is (left out)"
    assert kept["api_key"] == "(left out)"
    assert (kept["model"], kept["stream"]) == ("demo", streamed)


def test_calls_are_kept_a_line_each() -> None:
    with Served(request_bodies=True) as server:
        server.post("/api/chat", {"model": "callonly", "messages": HI}, X_Request_Id="mine")
        told = server.get("/runner/requests/mine").json
    assert told["calls"] == 'look_up {"place": "Zürich 👋\u2028", "days": 2}\nnow {}\n'


def test_a_long_answer_is_cut_and_says_so() -> None:
    with Served(request_bodies=True) as server, server.connect() as connection:
        body = json.dumps({"model": "endless", "messages": HI}).encode()
        head = (
            f"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-Id: mine\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)  # and nothing is read: it is paused once the buffers are full
        assert server.service.started.wait(WAIT)
        until(lambda: "answer" in server.get("/runner/requests/mine").json["cut"])
        assert len(server.get("/runner/requests/mine").json["answer"].encode()) == 256 * 1024
        assert server.ledger.text_bytes < 512 * 1024


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"Authorization": "Bearer abc", "token": "t", "max_tokens": 5}, {"Authorization": "(left out)",
         "token": "(left out)", "max_tokens": 5}),
        ({"a": {"password": "p", "n": [1, {"secret": "s"}]}}, {"a": {"password": "(left out)",
         "n": [1, {"secret": "(left out)"}]}}),
        ({"image_url": {"url": "data:image/png;base64," + "A" * 300}}, {"image_url": {"url":
         "(an image or other data: 322 characters)"}}),
        ({"text": "hf_abcdefghijklmnopqrstuv and eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.sig"},
         {"text": "(left out) and (left out)"}),
        ({"token_ids": list(range(2050))}, {"token_ids": [*range(2048), "(2 more, not kept)"]}),
        ({"password": None, "key": ""}, {"password": None, "key": ""}),
        ({"source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}, {"source": {"type": "base64",
         "media_type": "image/png", "data": "(an image or other data: 4 characters)"}}),
        ({"images": ["aGk="], "image_url": {"url": "data:image/png;base64,aGk="}}, {"images":
         ["(an image or other data: 4 characters)"], "image_url": {"url": "(an image or other data: 26 characters)"}}),
        ({"image_url": "https://example.org/a.png"}, {"image_url": "https://example.org/a.png"}),
        ({"Authorization": ["Bearer abc"], "token": 123, "secret": {"value": "s"}, "use_credentials": True},
         {"Authorization": "(left out)", "token": "(left out)", "secret": "(left out)", "use_credentials": True}),
        ({"image_url": {"url": "https://me:word@a.org/b.png?w=9&X-Amz-Signature=f00&key=k#x"}, "images":
         ["http://a.org/?sig=f00"]}, {"image_url": {"url":
         "https://(left out)@a.org/b.png?w=9&(left out)&(left out)#x"}, "images": ["http://a.org/?(left out)"]}),
        ({"parameters": {"type": "object", "properties": {"password": {"type": "string"}, "token": "t"}}},
         {"parameters": {"type": "object", "properties": {"password": {"type": "string"}, "token": "(left out)"}}}),
        ({"text": "a " * 16_000 + "x" * 765 + " sk-" + "b" * 900 + "c" * 100}, {"text": "a " * 16_000 + "x" * 765
         + " (left out)"}),
        ({"text": "a " * 20_000 + "sk-abcdefghijklmnop1234"}, {"text": "a " * 16_384
         + " (7255 more characters, not kept)"}),
    ],
)  # fmt: skip
def test_what_is_redacted(given: dict[str, Any], kept: dict[str, Any]) -> None:
    text = redacted(json.dumps(given).encode())
    assert text is not None
    assert json.loads(text) == kept


@pytest.mark.parametrize(
    "unit",
    ["-eyJ", "eyJaaaaaaaaaa.", "eyJ", "bearer ", "bearer\n\n", "sk-", "AKIA", "data:", "A=", "?key", "&sig%", "://a:"],
)
def test_no_text_is_worth_more_than_a_look(unit: str) -> None:
    most = "! " + unit * (32_000 // len(unit))
    body = {"messages": [{"content": most} for _ in range(32)] + [{"content": most * 5}]}
    data = json.dumps(body).encode()
    start = time.thread_time()
    redacted(data, most=len(data))
    assert time.thread_time() - start < 5, "half a minute where it grows by the square, a tenth of a second otherwise"


def test_a_large_body_is_kept_in_its_small_parts() -> None:
    body = {"model": "m", "messages": [{"content": "word " * 5000} for _ in range(30)], "temperature": 0.5}
    text = redacted(json.dumps(body).encode())
    assert text is not None
    assert json.loads(text)["model"] == "m"
    assert json.loads(text)["messages"].endswith("bytes, not kept)")
    assert redacted(b"[1]") is redacted(b"{") is redacted(b'{"a":' + b"[" * 100_000) is None


# -- the log


@pytest.mark.parametrize("header", [{}, {"Sec-Fetch-Site": "same-origin"}])
def test_the_pages_looks_do_not_fill_the_log(
    server: Served, caplog: pytest.LogCaptureFixture, header: dict[str, str]
) -> None:
    """They come each second; over plain HTTP from elsewhere nothing tells them from others'."""
    caplog.set_level("INFO")
    server.post("/api/chat", {"model": "plain", "messages": HI, "stream": False}, X_Request_Id="kept")
    for path in ("/api/ps", "/runner/queue", "/runner/requests?limit=9", "/runner/requests/kept"):
        assert server.ask("GET", path, None, header).status == 200
    server.ask("GET", "/runner/requests/none", None, header)
    server.ask("DELETE", "/runner/requests/kept", None, header | {"Content-Type": "application/json"})
    server.stop()
    server.join()
    lines = [record.getMessage() for record in caplog.records if record.name == "runner.api.trace"]
    assert [" ".join(line.split()[:3]) for line in lines] == [
        "POST /api/chat 200",
        "GET /runner/requests/none 404",
        "DELETE /runner/requests/kept 409",
    ]


def test_the_logs_line_has_it_all_in_fields(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server.post("/api/chat", {"model": "cut", "messages": HI, "stream": False}, X_Request_Id="mine")
    server.post("/api/chat", {"model": "missing", "messages": HI})
    server.get("/api/tags")
    server.stop()
    server.join()
    fields = [record.__dict__["fields"] for record in caplog.records if record.name == "runner.api.trace"]
    total, client = (fields[0].pop(name) for name in ("total_ms", "client"))
    assert (total > 0, client) == (True, "127.0.0.1")
    assert fields[0] == {
        "id": "mine", "method": "POST", "path": "/api/chat", "status": 200, "outcome": "done", "stop": "length",
        "model": "cut:latest", "priority": "interactive", "stream": False, "prompt_tokens": 7, "cached_tokens": 3,
        "completion_tokens": 11, "queue_ms": 0.0, "load_ms": 1.0, "first_token_ms": None, "prefill_ms": 2.0,
        "decode_ms": 1.5,
    }  # fmt: skip
    assert (fields[1]["outcome"], fields[1]["error"], fields[1]["status"]) == ("failed", "model_not_found", 404)
    assert (fields[2]["outcome"], fields[2]["path"], fields[2]["status"]) == ("done", "/api/tags", 200)
    assert "Hi" not in json.dumps(fields)


def test_who_only_watches_leaves_no_line(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server.post("/api/chat", {"model": "demo", "messages": HI}, X_Request_Id="mine")
    for path in ("/api/ps", "/runner/queue", "/runner/requests?limit=5", "/runner/requests/mine"):
        assert server.get(path).status == 200
    assert server.get("/runner/requests/nobody").status == 404
    assert server.ask("DELETE", "/runner/requests/mine").status == 409
    server.stop()
    server.join()
    fields = [record.__dict__["fields"] for record in caplog.records if record.name == "runner.api.trace"]
    assert [(each["method"], each["path"], each["status"]) for each in fields] == [
        ("POST", "/api/chat", 200), ("GET", "/runner/requests/nobody", 404), ("DELETE", "/runner/requests/mine", 409),
    ]  # fmt: skip
