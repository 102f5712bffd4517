"""One failure, one answer: status, code, words and retry headers, in each dialect and at each stage."""

import logging
from typing import Any

import pytest

from modelfiles.errors import ModelfileError, ParameterError
from registry import errors as registry
from runner import errors as runner
from runner.api import failures
from tests.api.fakes import TEXT
from tests.api.serving import Reply, Served

HI = [{"role": "user", "content": "Hi"}]
STREAMS = (False, True)


def native(server: Served, model: str, stream: bool) -> Reply:
    return server.post("/api/chat", {"model": model, "messages": HI, "stream": stream})


def openai(server: Served, model: str, stream: bool) -> Reply:
    return server.post("/v1/chat/completions", {"model": model, "messages": HI, "stream": stream})


ROWS: list[tuple[str, int, str, str, dict[str, str]]] = [
    ("missing", 404, "model_not_found", 'model "missing" not found, try pulling it first', {"x-should-retry": "false"}),
    ("busy", 503, "server_busy", "server busy", {"Retry-After": "7", "retry-after-ms": "7000"}),
    ("closing", 503, "shutting_down", "shutting down", {"Retry-After": "2"}),
    ("crash", 500, "worker_crashed", "signal 11", {"x-should-retry": "true"}),
    ("huge", 503, "insufficient_memory", "needs 40.0 GB", {"x-should-retry": "false"}),
    ("broken", 500, "load_failed", "cannot load", {"x-should-retry": "false"}),
    (
        "overflow",
        400,
        "context_length_exceeded",
        "9000 tokens, and the context holds 4096",
        {"x-should-retry": "false"},
    ),
    ("blind", 400, "unsupported_feature", "does not support vision", {"x-should-retry": "false"}),
    ("untemplated", 400, "template_error", "roles must alternate", {"x-should-retry": "false"}),
    ("odd", 400, "invalid_request_error", "temperature must be between", {"x-should-retry": "false"}),
    ("bug", 500, "internal_error", "internal error", {}),
    ("unended", 500, "internal_error", "broke off without an end", {}),
    ("dropped", 499, "cancelled", "cancelled", {"x-should-retry": "false"}),
]
KINDS = {400: "invalid_request_error", 404: "not_found_error", 499: "invalid_request_error"}
LATE = ("unended", "dropped")  # these say something first, so that a stream has begun


@pytest.mark.parametrize(
    ("stream", "model", "status", "code", "words", "headers"),
    [(stream, *row) for row in ROWS for stream in STREAMS if not (stream and row[0] in LATE)],
)
def test_before_the_first_token(
    server: Served, stream: bool, model: str, status: int, code: str, words: str, headers: dict[str, str]
) -> None:
    for ask in (native, openai):
        reply = ask(server, model, stream)
        assert reply.status == status
        assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
        assert headers.items() <= reply.headers.items()
        if "Retry-After" not in headers:
            assert "Retry-After" not in reply.headers
        if "x-should-retry" not in headers:
            assert "x-should-retry" not in reply.headers
        if ask is native:
            assert reply.json.keys() == {"error", "code"}
            assert words in reply.json["error"]
            assert reply.json["code"] == code
        else:
            error = reply.json["error"]
            assert error.keys() == {"message", "type", "param", "code"}
            assert words in error["message"]
            assert (error["code"], error["type"]) == (code, KINDS.get(status, "api_error"))
    assert server.service.under_way == 0


def test_the_field_at_fault_is_named_for_openai(server: Served) -> None:
    assert openai(server, "missing", False).json["error"]["param"] == "model"
    assert openai(server, "odd", False).json["error"]["param"] == "temperature"
    assert openai(server, "busy", False).json["error"]["param"] is None


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ("options.num_predict", "max_tokens"),
        ("options.repeat_penalty", "repetition_penalty"),
        ("options.top_k", "top_k"),
    ],
)
def test_options_go_by_the_dialects_own_names(server: Served, given: str, param: str) -> None:
    server.service.FAILURES["named"] = runner.InvalidRequest("option x must be less", field=given)
    assert openai(server, "named", False).json["error"]["param"] == param
    del server.service.FAILURES["named"]


@pytest.mark.parametrize(("model", "code"), [("late", "worker_crashed"), ("latebug", "internal_error")])
def test_after_the_first_token(server: Served, model: str, code: str) -> None:
    reply = native(server, model, True)
    assert reply.status == 200
    assert [line["message"]["content"] for line in reply.lines[:-1]] == list(TEXT[:2])
    assert reply.lines[-1].keys() == {"error", "code"}
    assert reply.lines[-1]["code"] == code
    reply = openai(server, model, True)
    assert reply.status == 200
    assert [event["choices"][0]["delta"]["content"] for event in reply.events[1:-1]] == list(TEXT[:2])
    assert reply.events[-1]["error"]["code"] == code
    assert "[DONE]" not in reply.events
    generated = server.post("/api/generate", {"model": model, "prompt": "x"})
    assert generated.lines[-1]["code"] == code
    completed = server.post("/v1/completions", {"model": model, "prompt": ["x", "y"], "stream": True})
    assert completed.events[-1]["error"]["code"] == code
    assert "[DONE]" not in completed.events


@pytest.mark.parametrize("model", LATE)
def test_an_answer_without_an_end_is_no_success(server: Served, model: str) -> None:
    assert "error" in native(server, model, True).lines[-1]
    events = openai(server, model, True).events
    assert "error" in events[-1]
    assert "[DONE]" not in events


def test_a_bug_is_logged_with_its_traceback_and_told_without(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    reply = server.post("/v1/chat/completions", {"model": "bug", "messages": HI}, X_Request_Id="ticket-7")
    assert b"secret" not in reply.body
    assert b"KeyError" not in reply.body
    assert "request ticket-7" in reply.json["error"]["message"]
    (record,) = [record for record in caplog.records if record.name == "runner.api.failures"]
    assert record.exc_info is not None
    assert "a secret of the program" in str(record.exc_info[1])


def test_embeddings_fail_alike(server: Served) -> None:
    assert server.post("/api/embed", {"model": "missing", "input": "x"}).status == 404
    assert server.post("/v1/embeddings", {"model": "busy", "input": "x"}).headers["Retry-After"] == "7"
    assert server.post("/api/generate", {"model": "missing"}).status == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/api/nothing", 404, "there is no /api/nothing"),
        ("GET", "/nothing", 404, "there is no /nothing"),
        ("GET", "/v1/nothing", 404, "there is no /v1/nothing"),
        ("GET", "/v1/models/", 404, "did you mean /v1/models?"),
        ("GET", "//v1/models", 404, "did you mean /v1/models?"),
        ("GET", "/v1/v1/models", 404, "did you mean /v1/models?"),
        ("POST", "/v1/api/chat", 404, "did you mean /api/chat?"),
        ("POST", "/api/v1/chat/completions", 404, "did you mean /v1/chat/completions?"),
        ("POST", "/chat/completions", 404, "there is no /chat/completions"),
        ("GET", "/api/chat", 405, "/api/chat takes POST, not GET"),
        ("POST", "/api/tags", 405, "/api/tags takes GET, HEAD, not POST"),
        ("POST", "/api/delete", 405, "/api/delete takes DELETE, not POST"),
        ("DELETE", "/v1/models/demo", 405, "takes GET, HEAD, not DELETE"),
        ("OPTIONS", "/api/chat", 405, "takes POST, not OPTIONS"),
    ],
)
def test_paths_and_methods_that_are_not_there(server: Served, method: str, path: str, status: int, words: str) -> None:
    reply = server.ask(method, path)
    assert reply.status == status
    said = reply.json["error"]["message"] if path.startswith("/v1/") else reply.json["error"]
    assert words in said
    if status == 405:
        assert reply.headers["Allow"]


def test_a_query_is_ignored(server: Served) -> None:
    assert server.get("/v1/models?limit=1000&beta=true").status == 200


def everything(tree: type[BaseException]) -> list[type[BaseException]]:
    """The errors of a tree's own module; what other modules derive from them never leaves those."""
    branches = [kind for kind in tree.__subclasses__() if kind.__module__ == tree.__module__]
    return [tree, *(each for kind in branches for each in everything(kind))]


@pytest.mark.parametrize(
    "kind",
    [*everything(runner.RunnerError), *everything(registry.RegistryError), ModelfileError, ParameterError],
    ids=lambda kind: f"{kind.__module__}.{kind.__name__}",
)
def test_every_error_has_a_row_of_its_own(kind: type[BaseException]) -> None:
    """A new error that nobody gave a status would be answered as its parent is, by accident."""
    inherits = {registry.Truncated: registry.BadGGUF, registry.UnknownTag: registry.NotFound}
    assert inherits.get(kind, kind) in failures._TABLE


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (1, 1), (59, 59), (600, 60)])
def test_a_wait_is_whole_seconds_within_reason(asked: int, given: int) -> None:
    headers = failures.failure_of(runner.ServerBusy("busy", retry_after=asked)).headers
    assert headers["Retry-After"] == str(given)


def test_ids_come_back_when_they_are_harmless(server: Served) -> None:
    assert server.get("/livez", X_Request_Id="abc-1.2:3_4").headers["X-Request-Id"] == "abc-1.2:3_4"
    for odd in ("a b", "x" * 129, "<script>", "é"):
        made = server.raw(f"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {odd}\r\n\r\n".encode()).headers
        assert len(made["X-Request-Id"]) == 32
    assert server.get("/api/nothing", X_Request_Id="mine").headers["X-Request-Id"] == "mine"


def test_what_every_answer_carries(server: Served) -> None:
    streamed = native(server, "demo", True)
    for reply in (server.get("/"), server.get("/nothing"), streamed, server.get("/api/tags", Host="evil.com")):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Server"] == "runner"
        assert "Access-Control-Allow-Origin" not in reply.headers


def test_one_line_in_the_log_for_each_request(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    native(server, "demo", True)
    openai(server, "late", True)
    server.get("/api/nothing%0d%0aforged?key=secret")
    server.get("/livez")
    server.stop()
    server.join()
    lines = [record.getMessage() for record in caplog.records if record.name == "runner.api.trace"]
    assert len(lines) == 3
    assert lines[0].startswith("POST /api/chat 200 ")
    assert f"model=demo prompt=7 cached=3 completion={len(TEXT)} load=1ms queue=0ms prefill=2ms decode=2ms" in lines[0]
    assert lines[1].endswith("model=late failed=worker_crashed")
    assert "secret" not in lines[2]
    assert lines[2].endswith(" failed=not_found")
    everything_said: Any = "\n".join(record.getMessage() for record in caplog.records)
    assert "Hi" not in everything_said
    assert TEXT[0] not in everything_said
