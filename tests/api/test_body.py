"""Bodies that no decent client sends, and fields of the wrong kind."""

import gzip
import json
import zlib
from typing import Any

import pytest

from tests.api.endpoints import BODIES, CHAT, TABLE, method
from tests.api.fakes import FakeModels
from tests.api.serving import Served

ERROR_OF = {"/api/chat": lambda reply: reply["error"], "/v1/chat/completions": lambda reply: reply["error"]["message"]}
PATHS = tuple(ERROR_OF)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b"  \n", "missing request body"),
        (b"{", "is not JSON"),
        (b'{"model": "demo"', "is not JSON"),
        (b"{'model': 'demo'}", "is not JSON"),
        (b'{"model": "demo"} {}', "trailing"),
        (b'{"model": "demo",}', "is not JSON"),
        (b'{"model": NaN}', "is not JSON"),
        (b'{"options": {"temperature": NaN}}', "is not JSON"),
        (b'{"temperature": Infinity}', "is not JSON"),
        (b'{"options": {"temperature": 1e999}, "temperature": 1e999}', "out of range"),
        (b'{"seed": ' + b"9" * 5000 + b', "options": {"seed": ' + b"9" * 5000 + b"}}", "out of range"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"options": ' + b'{"a": ' * 100_000 + b"1" + b"}" * 100_001, "nested too deeply"),
        (b"\xef\xbb\xbf" + json.dumps(CHAT).encode(), "byte order mark"),
        (json.dumps(CHAT).encode("utf-16"), "byte order mark"),
        (json.dumps(CHAT).encode("utf-16-le"), "is not JSON"),
        (b'{"model": "\xff"}', "not UTF-8"),
        (b'{"model": "\xc0\xaf"}', "not UTF-8"),
        (b'{"model": "\xed\xa0\xbd"}', "not UTF-8"),
        (b'{"model": "\\ud83d"}', "surrogate"),
        (b'{"model": "\\ud83d and more"}', "surrogate"),
        (b'{"model": "\\udc4b"}', "surrogate"),
        (b'{"unheard_of": "\\ud83d"}', "surrogate"),
        (b"[]", "the request body must be an object"),
        (b"null", "the request body must be an object"),
        (b'"demo"', "the request body must be an object"),
        (b"{}", "model is required"),
        (b'{"model": null}', "model is required"),
        (b'{"model": ""}', "model is required"),
        (b'{"model": 7}', "model must be a string"),
        (b'{"model": "demo", "messages": {}}', "messages must be a list of messages"),
        (b'{"model": "demo", "messages": ["hi"]}', "messages[0] must be an object"),
        (b'{"model": "demo", "messages": [{}]}', "messages[0].role is required"),
        (b'{"model": "demo", "messages": [{"role": 1}]}', "messages[0].role must be a string"),
        (b'{"model": "demo", "stream": "yes"}', "stream must be true or false"),
        (b'{"model": "demo", "stream": 1}', "stream must be true or false"),
        (
            b'{"model": "demo", "messages": [{"role": "a", "tool_calls": [{}]}]}',
            "messages[0].tool_calls[0].function is required",
        ),
    ],
)
def test_what_is_wrong_is_named(server: Served, path: str, body: bytes, words: str) -> None:
    reply = server.ask("POST", path, body)
    assert reply.status == 400, reply.body
    assert reply.headers["x-should-retry"] == "false"
    assert words in ERROR_OF[path](reply.json)
    assert server.service.seen == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content must be a string or a list of parts"),
        ({"messages": [{"role": "user", "content": [1]}]}, "messages[0].content[0] must be an object"),
        ({"messages": [{"role": "user", "content": [{"text": "a"}]}]}, "messages[0].content[0].type is required"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"temperature": True}, "temperature must be a number"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"max_tokens": "5"}, "max_tokens must be a whole number"),
        ({"stop": 1}, "stop must be a string or a list of strings"),
        ({"stop": [1]}, "stop[0] must be a string"),
        ({"logit_bias": {"5": "x"}}, "logit_bias[...] must be a number"),
        ({"stream_options": {"include_usage": "x"}}, "stream_options.include_usage must be true or false"),
        ({"ignore_eos": "x"}, "ignore_eos must be true or false"),
        ({"keep_alive": []}, "keep_alive takes seconds"),
        ({"keep_alive": True}, "keep_alive takes seconds"),
        ({"keep_alive": 10**400}, "keep_alive takes seconds"),
    ],
)
def test_wrong_kinds_for_openai(server: Served, body: dict[str, Any], words: str) -> None:
    reply = server.post("/v1/chat/completions", {**CHAT, **body})
    assert reply.status == 400
    assert reply.json["error"]["message"].startswith(words)
    assert reply.json["error"]["param"] == words.partition(" ")[0]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/api/chat", {**CHAT, "options": []}, "options must be an object"),
        ("/api/chat", {**CHAT, "think": "wildly"}, "think must be true, false, low, medium or high"),
        ("/api/chat", {**CHAT, "think": 1}, "think must be true, false, low, medium or high"),
        ("/api/chat", {**CHAT, "keep_alive": True}, "keep_alive takes seconds or a duration such as 5m, not true"),
        ("/api/chat", {**CHAT, "keep_alive": "5 parsecs"}, "keep_alive takes seconds or a duration such as 5m"),
        ("/api/chat", {**CHAT, "messages": [{"role": "robot"}]}, "messages[0].role must be one of system, user"),
        ("/api/chat", {**CHAT, "messages": [{"role": "user", "images": "x"}]}, "messages[0].images must be a list of"),
        ("/api/chat", {**CHAT, "messages": [{"role": "user", "images": ["%"]}]}, "messages[0].images[0] is not base64"),
        ("/api/chat", {**CHAT, "messages": [{"role": "user", "images": [""]}]}, "messages[0].images[0] is empty"),
        ("/api/generate", {"model": "m", "prompt": 1}, "prompt must be a string"),
        ("/api/generate", {"model": "m", "prompt": "x", "images": ["data:x,y"]}, "images[0] must be a data: URI with"),
        ("/api/generate", {"model": "m", "prompt": "x", "raw": True, "system": "y"}, "system has no place"),
        ("/api/embed", {"model": "m", "input": 1}, "input must be a string or a list of strings"),
        ("/api/embed", {"model": "m", "input": ["a", 1]}, "input must be a string or a list of strings"),
        ("/api/embed", {"model": "m", "input": "a", "dimensions": 0}, "dimensions must be at least 1"),
        ("/api/embed", {"model": "m", "input": "a", "dimensions": "2"}, "dimensions must be a whole number"),
        ("/api/show", {"model": 1}, "model must be a string"),
        ("/api/show", {"model": "a b"}, "invalid model name 'a b'"),
        ("/api/show", {"model": "../../etc/passwd"}, "invalid model name"),
        ("/api/show", {"model": "demo\n"}, "invalid model name"),
        ("/api/copy", {"source": "demo"}, "destination is required"),
        ("/api/pull", {"model": "x", "stream": "no"}, "stream must be true or false"),
    ],
)
def test_wrong_kinds_for_ollama(server: Served, path: str, body: dict[str, Any], words: str) -> None:
    reply = server.post(path, body)
    assert reply.status == 400
    assert reply.json["error"].startswith(words)
    assert reply.json["code"] in ("invalid_request_error", "unsupported_feature")


@pytest.mark.parametrize("keep_alive", [10**30, 1e308, "99999999h", -1, "-1s"])
def test_an_absurd_time_to_stay_is_for_ever(server: Served, keep_alive: object) -> None:
    server.post("/api/generate", {"model": "demo", "keep_alive": keep_alive})
    assert server.service.loaded == [("demo", {}, float("inf"))]


UNICODE = "\x00 \u2028 \u2029 \r\n \u202e שלום e\u0301 👋🏽 \U0010ffff \ufffe \ud7ff \ue000 \u0085"


@pytest.mark.parametrize("escaped", [True, False])
def test_all_of_unicode_arrives(server: Served, escaped: bool) -> None:
    body = json.dumps({**CHAT, "messages": [{"role": "user", "content": UNICODE}]}, ensure_ascii=escaped).encode()
    for path in PATHS:
        assert server.ask("POST", path, body).status == 200
    assert [seen.messages[0].content for seen in server.service.seen] == [UNICODE, UNICODE]  # type: ignore[union-attr]


def test_a_missing_or_odd_content_type_is_fine_outside_browsers(server: Served) -> None:
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"):
        headers = {"Content-Type": kind} if kind else {}
        assert server.ask("POST", "/api/show", {"model": "demo"}, headers).status == 200


def test_the_last_of_duplicate_keys_counts(server: Served) -> None:
    assert server.ask("POST", "/api/show", b'{"model": "nothing", "model": "demo"}').status == 200


class TestSize:
    """Bodies have a limit, whatever way they are sent."""

    LIMIT = 10_000
    LARGE = json.dumps({"model": "demo", "pad": "x" * 20_000}).encode()

    def test_by_length_by_chunks_and_by_decompression(self) -> None:
        with Served(max_body=self.LIMIT) as server:
            assert server.ask("POST", "/api/show", self.LARGE[:9_000] + b'"}').status == 200
            head = b"POST /api/show HTTP/1.1\r\nHost: localhost\r\n"
            chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"4e20\r\n" + b"x" * 20_000 + b"\r\n0\r\n\r\n"
            bomb = gzip.compress(b" " * 50_000_000)
            assert len(bomb) > self.LIMIT / 2
            replies = [
                server.ask("POST", "/api/show", self.LARGE),
                server.raw(head + b"Content-Length: 99999999999\r\n\r\n"),
                server.raw(chunked),
                server.ask("POST", "/api/show", gzip.compress(self.LARGE), {"Content-Encoding": "gzip"}),
                server.ask("POST", "/api/show", bomb[: self.LIMIT], {"Content-Encoding": "gzip"}),
                server.ask("POST", "/api/show", zlib.compress(self.LARGE), {"Content-Encoding": "deflate"}),
            ]
            for reply in replies:
                assert reply.status == 413
                assert "larger than 10000 bytes" in reply.json["error"]
                assert reply.json["code"] == "request_too_large"
                assert reply.headers["x-should-retry"] == "false"

    def test_compressed_bodies_are_read(self, server: Served) -> None:
        body = gzip.compress(json.dumps({"model": "demo"}).encode())
        assert server.ask("POST", "/api/show", body, {"Content-Encoding": "gzip"}).status == 200

    def test_what_is_not_compressed_as_it_says(self, server: Served) -> None:
        reply = server.ask("POST", "/api/show", b'{"model": "demo"}', {"Content-Encoding": "gzip"})
        assert reply.status == 400

    def test_one_byte_at_a_time(self, server: Served) -> None:
        text = json.dumps({"model": "demo", "pad": "y" * 5_000}).encode()
        body = b"".join(b"1\r\n%c\r\n" % byte for byte in text)
        head = b"POST /api/show HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert server.raw(head + body + b"0\r\n\r\n").status == 200

    def test_a_body_that_ends_early(self, server: Served) -> None:
        with server.connect() as connection:
            connection.sendall(b"POST /api/show HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert server.get("/livez").status == 200

    def test_length_and_chunks_at_once_are_refused(self, server: Served) -> None:
        head = b"POST /api/show HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert server.raw(head + b"0\r\n\r\n").status == 400


def test_every_body_has_its_table() -> None:
    assert TABLE.keys() == BODIES.keys()


@pytest.mark.parametrize(("path", "field"), [(path, field) for path in TABLE for field in TABLE[path].later])
def test_fields_of_later_are_refused_by_name(server: Served, path: str, field: str) -> None:
    asking: dict[str, Any] = {
        "n": 2, "best_of": 2, "top_logprobs": 3, "logprobs": 0, "modalities": ["text", "audio"],
        "tool_choice": "required", "function_call": {"name": "f"}, "response_format": {"type": "json_object"},
    }  # fmt: skip
    for value in (asking.get(field, {"a": "b"}), [1], "x", True):
        reply = server.ask(method(path), path, {**BODIES[path], field: value})
        if reply.status == 400 and f"{field} must be" in str(reply.json):
            continue  # of the wrong kind besides
        assert reply.status == 400, (value, reply.body)
        assert f"{field} is not supported yet" in str(reply.json)
    assert server.service.seen == []
    assert server.jobs.created == []
    assert server.jobs.pulled == []


@pytest.mark.parametrize(("path", "field"), [(path, field) for path in TABLE for field in TABLE[path].later])
def test_fields_of_later_may_ask_for_nothing(server: Served, path: str, field: str) -> None:
    kinds = {"n": (1,), "tool_choice": ("none", "auto", None), "response_format": ({"type": "text"}, None)}
    for value in kinds.get(field, (None, False, "", [], {})):
        assert server.ask(method(path), path, {**BODIES[path], field: value}).status == 200, value
        server.models.stored = FakeModels().stored


@pytest.mark.parametrize("path", TABLE)
def test_ignored_and_unknown_fields_change_nothing(server: Served, path: str) -> None:
    plain = server.ask(method(path), path, BODIES[path])
    assert plain.status == 200
    server.models.stored = FakeModels().stored
    for field in (*TABLE[path].ignored, "unheard_of"):
        assert field not in TABLE[path].honoured
        for value in (1, "x", {"a": [1]}, None):
            reply = server.ask(method(path), path, {**BODIES[path], field: value})
            assert reply.status == 200, (field, value)
            assert len(reply.body) == pytest.approx(len(plain.body), abs=20)
            server.models.stored = FakeModels().stored
    assert len({repr(each) for each in server.service.seen}) <= 1
