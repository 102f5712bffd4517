"""One failure, one answer: status, code, words and retry headers, in each dialect and at each stage."""

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from modelfiles.errors import ModelfileError, ParameterError
from registry import errors as registry
from runner import errors as runner
from runner.api import failures
from runner.api.streams import Patience
from tests.api.fakes import TEXT
from tests.api.serving import Reply, Served

HI = [{"role": "user", "content": "Hi"}]
STREAMS = (False, True)


@dataclass(frozen=True)
class Dialect:
    """How a dialect asks for an answer, and how it says that there is none. A new dialect is a row more."""

    name: str
    path: str
    body: Mapping[str, Any]
    keys: frozenset[str]
    """All that an error may say."""
    told: Callable[[Any], Mapping[str, Any]]
    """An error of the wire as `message`, its `keys`, and `code` and `type` where it has them."""
    types: Mapping[str, str]
    """What `type` says for which code, where the dialect has one."""
    read: Callable[[Reply], list[Any]]
    """The lines or events of a stream."""
    text: Callable[[Any], str]
    """The text of one of them."""
    ends: Callable[[Any], bool]
    """Whether one of them says that all went well."""
    statuses: Mapping[str, int] = field(default_factory=dict)
    """What the dialect answers in place of the usual status, by code."""

    def ask(self, server: Served, model: str, stream: bool) -> Reply:
        return server.post(self.path, {**self.body, "model": model, "stream": stream})


def flat(reply: Any) -> Mapping[str, Any]:
    return {"message": reply["error"], "code": reply["code"], "keys": reply.keys()}


def nested(reply: Any) -> Mapping[str, Any]:
    assert reply.keys() == {"error"}
    return {**reply["error"], "keys": reply["error"].keys()}


def reasoned(reply: Any) -> Mapping[str, Any]:
    told = nested(reply)
    return {**told, "code": told["reason"], "status": told["code"]}


OPENAI_TYPES = {
    "model_not_found": "not_found_error",
    "context_length_exceeded": "invalid_request_error",
    "unsupported_feature": "invalid_request_error",
    "template_error": "invalid_request_error",
    "invalid_request_error": "invalid_request_error",
    "cancelled": "invalid_request_error",
}
OPENAI_KEYS = frozenset({"message", "type", "param", "code"})
DIALECTS = (
    Dialect(
        "ollama chat",
        "/api/chat",
        {"messages": HI},
        frozenset({"error", "code"}),
        flat,
        {},
        lambda reply: reply.lines,
        lambda line: line["message"]["content"],
        lambda line: line.get("done") is True,
    ),
    Dialect(
        "ollama generate",
        "/api/generate",
        {"prompt": "x"},
        frozenset({"error", "code"}),
        flat,
        {},
        lambda reply: reply.lines,
        lambda line: line["response"],
        lambda line: line.get("done") is True,
    ),
    Dialect(
        "openai chat",
        "/v1/chat/completions",
        {"messages": HI},
        OPENAI_KEYS,
        nested,
        OPENAI_TYPES,
        lambda reply: [each for each in reply.events if each == "[DONE]" or not is_opening(each)],
        lambda event: event["choices"][0]["delta"]["content"],
        lambda event: event == "[DONE]",
    ),
    Dialect(
        "openai completions",
        "/v1/completions",
        {"prompt": "x"},
        OPENAI_KEYS,
        nested,
        OPENAI_TYPES,
        lambda reply: reply.events,
        lambda event: event["choices"][0]["text"],
        lambda event: event == "[DONE]",
    ),
    Dialect(
        "llama-server infill",
        "/infill",
        {"input_prefix": "x", "input_suffix": "y"},
        frozenset({"code", "message", "type", "reason", "param", "n_prompt_tokens", "n_ctx"}),
        reasoned,
        {
            **OPENAI_TYPES,
            "context_length_exceeded": "exceed_context_size_error",
            "unsupported_feature": "not_supported_error",
            "server_busy": "unavailable_error",
            "shutting_down": "unavailable_error",
            "insufficient_memory": "unavailable_error",
            "worker_crashed": "server_error",
            "load_failed": "server_error",
            "internal_error": "server_error",
        },
        lambda reply: reply.events,
        lambda event: event["content"],
        lambda event: event.get("stop") is True,
    ),
)
NATIVE, OPENAI = DIALECTS[0], DIALECTS[2]


def is_opening(event: Any) -> bool:
    """OpenAI's first event has the role and no text yet."""
    return "choices" in event and "role" in event["choices"][0]["delta"]


def native(server: Served, model: str, stream: bool) -> Reply:
    return NATIVE.ask(server, model, stream)


def openai(server: Served, model: str, stream: bool) -> Reply:
    return OPENAI.ask(server, model, stream)


FINAL = {"x-should-retry": "false"}
ROWS: list[tuple[str, int, str, str, dict[str, str]]] = [
    ("missing", 404, "model_not_found", 'model "missing" not found, try pulling it first', FINAL),
    ("busy", 503, "server_busy", "server busy, please try again", {"Retry-After": "7", "retry-after-ms": "7000"}),
    ("closing", 503, "shutting_down", "shutting down", {"Retry-After": "2", "retry-after-ms": "2000"}),
    ("crash", 500, "worker_crashed", "signal 11", {"x-should-retry": "true"}),
    ("huge", 503, "insufficient_memory", "needs 40.0 GB of memory, and 8.0 GB are free", FINAL),
    ("broken", 500, "load_failed", "cannot load", FINAL),
    ("overflow", 400, "context_length_exceeded", "9000 tokens, and the context holds 4096", FINAL),
    ("blind", 400, "unsupported_feature", "does not support vision", FINAL),
    ("untemplated", 400, "template_error", "roles must alternate", FINAL),
    ("odd", 400, "invalid_request_error", "temperature must be between", FINAL),
    ("bug", 500, "internal_error", "internal error", {}),
    ("unended", 500, "internal_error", "broke off without an end", {}),
    ("dropped", 499, "cancelled", "cancelled", FINAL),
]
LATE = ("unended", "dropped")  # these say something first, so that a stream has begun
RETRY = ("x-should-retry", "Retry-After", "retry-after-ms")
by_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


def check(dialect: Dialect, error: Any, code: str, words: str) -> None:
    """An error says what it must, in the dialect's form, and nothing else."""
    told = dialect.told(error)
    assert told["keys"] <= dialect.keys
    assert (told.get("code", code), words in told["message"]) == (code, True), told
    if dialect.types:
        assert told["type"] == (HTTP_TYPES | dialect.types).get(code, "api_error")


@by_dialect
@pytest.mark.parametrize(
    ("stream", "model", "status", "code", "words", "headers"),
    [(stream, *row) for row in ROWS for stream in STREAMS if not (stream and row[0] in LATE)],
)
def test_before_the_first_token(
    server: Served,
    dialect: Dialect,
    stream: bool,
    model: str,
    status: int,
    code: str,
    words: str,
    headers: dict[str, str],
) -> None:
    reply = dialect.ask(server, model, stream)
    status = dialect.statuses.get(code, status)
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert {name: reply.headers[name] for name in RETRY if name in reply.headers} == headers
    check(dialect, reply.json, code, words)
    assert dialect.told(reply.json).get("status", status) == status
    assert server.service.under_way == 0


GUARDED: list[tuple[str, dict[str, str], int, str, str]] = [
    ("no key", {}, 401, "invalid_api_key", "a valid API key is required"),
    ("a wrong key", {"Authorization": "Bearer wrong"}, 401, "invalid_api_key", "a valid API key is required"),
    (
        "another host",
        {"Authorization": "Bearer key", "Host": "evil.com"},
        403,
        "forbidden",
        "'evil.com' is not allowed",
    ),
    ("another site", {"x-api-key": "key", "Origin": "https://evil.com"}, 403, "forbidden", "is not allowed"),
    ("an encoding", {"x-api-key": "key", "Content-Encoding": "br, gzip"}, 415, "unsupported_encoding", "'br, gzip'"),
    ("too large", {"x-api-key": "key", "X-Pad": "20000"}, 413, "request_too_large", "larger than 10000 bytes"),
    ("no JSON", {"x-api-key": "key", "X-Pad": "-1"}, 400, "invalid_request_error", "is not JSON"),
]
HTTP_TYPES = {
    "invalid_api_key": "authentication_error",
    "forbidden": "permission_error",
    "unsupported_encoding": "invalid_request_error",
    "request_too_large": "invalid_request_error",
    "invalid_request_error": "invalid_request_error",
    "method_not_allowed": "invalid_request_error",
    "request_timeout": "invalid_request_error",
}


@by_dialect
def test_at_the_door(dialect: Dialect) -> None:
    """What is refused before anybody reads what was asked."""
    with Served(api_key="key", max_body=10_000) as server:
        for what, headers, status, code, words in GUARDED:
            pad = int(headers.get("X-Pad", "0"))
            body = json.dumps({**dialect.body, "model": "demo", "pad": "x" * pad}).encode()[: pad or None]
            reply = server.ask("POST", dialect.path, body, headers)
            assert (what, reply.status) == (what, dialect.statuses.get(code, status))
            assert {name: reply.headers[name] for name in RETRY if name in reply.headers} == FINAL
            check(dialect, reply.json, code, words)
        wrong = server.ask("GET", dialect.path, None, {"x-api-key": "key"})
        assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")
        check(dialect, wrong.json, "method_not_allowed", "takes POST, not GET")
        assert server.ask("HEAD", dialect.path, None, {"x-api-key": "key"}).body == b""
        assert server.service.seen == []


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: " + "x" * 20_000, 431, "request_too_large"),
        ("GET /" + "x" * 20_000 + " HTTP/1.1\r\nHost: localhost", 431, "request_too_large"),
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\n" + "X-A: y\r\n" * 5_000, 431, "request_too_large"),
        ("GET /livez HTTP/1.1\r\nHost: localhost\r\nno header", 400, "invalid_request_error"),
        ("POST /api/show HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5", 400, "invalid_request_error"),
    ],
    ids=["line", "path", "lines", "malformed", "length"],
)
def test_a_head_that_cannot_be_read(server: Served, head: str, status: int, code: str) -> None:
    """There is no path yet, so the plainest words; never text or HTML, and nothing of what was sent."""
    reply = server.raw(f"{head}\r\n\r\n".encode())
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert reply.headers["x-should-retry"] == "false"
    assert reply.json.keys() == {"error", "code"}
    assert reply.json["code"] == code
    assert "xxx" not in reply.json["error"]


@by_dialect
@pytest.mark.parametrize(("model", "code"), [("late", "worker_crashed"), ("latebug", "internal_error")])
def test_after_the_first_token(server: Served, dialect: Dialect, model: str, code: str) -> None:
    reply = dialect.ask(server, model, True)
    assert reply.status == 200
    *said, last = dialect.read(reply)
    assert [dialect.text(each) for each in said] == list(TEXT[:2])
    check(dialect, last, code, "")
    assert not any(dialect.ends(each) for each in (*said, last))


@by_dialect
@pytest.mark.parametrize("model", LATE)
def test_an_answer_without_an_end_is_no_success(server: Served, dialect: Dialect, model: str) -> None:
    *said, last = dialect.read(dialect.ask(server, model, True))
    assert "error" in last
    assert not any(dialect.ends(each) for each in said)


@by_dialect
def test_a_whole_answer_says_so(server: Served, dialect: Dialect) -> None:
    """Or else the tests above would pass whatever `ends` looked for."""
    events = dialect.read(dialect.ask(server, "demo", True))
    assert [dialect.ends(each) for each in events] == [False] * (len(events) - 1) + [True]


@by_dialect
def test_a_long_silence_is_no_dead_connection(dialect: Dialect) -> None:
    """Comments where there are such, nothing where a blank line would be read as data; then all goes on as ever."""
    with Served(patience=Patience(hold=0.05, beat=0.05)) as server:
        with server.connect() as connection:
            body = json.dumps({**dialect.body, "model": "loads", "stream": True}).encode()
            head = f"POST {dialect.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            began = connection.recv(4096)
            assert began.startswith(b"HTTP/1.1 200 ")  # long before the model is there
            beats = "event-stream" in began.decode()
            while beats and b": still working" not in began:
                began += connection.recv(4096)
            server.service.release.set()
            whole = began
            while not whole.endswith(b"0\r\n\r\n"):
                whole += connection.recv(65536)
        assert (b": still working" in whole) == beats
        chunks = re.findall(rb"\r\n[0-9a-f]+\r\n(.*?)(?=\r\n[0-9a-f]+\r\n)", whole, re.DOTALL)
        assert chunks
        assert not any(chunk.isspace() for chunk in chunks)


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
        ("POST", "/chat/completions", 404, "did you mean /v1/chat/completions?"),
        ("POST", "/v1/tokenize", 404, "did you mean /tokenize?"),
        ("POST", "/infill/", 404, "did you mean /infill?"),
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
    said = reply.json["error"]
    assert words in (said["message"] if isinstance(said, dict) else said)
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
