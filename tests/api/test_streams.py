"""Streams under stress: clients that leave, readers that stall, models that take long, and text split anywhere."""

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from runner.api.streams import Patience
from tests.api.fakes import TEXT
from tests.api.serving import WAIT, Served

HI = [{"role": "user", "content": "Hi"}]
QUICK = Patience(hold=0.05, beat=0.05, stall=60)


def request(path: str, body: dict[str, Any]) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def chat(path: str, model: str, stream: bool = True) -> bytes:
    return request(path, {"model": model, "messages": HI, "prompt": "Hi", "stream": stream})


def until(condition: Callable[[], bool]) -> bool:
    """Wait for what another thread does, where there is no event to wait for."""
    deadline = time.monotonic() + WAIT
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    return condition()


def read_until(connection: socket.socket, ending: bytes) -> bytes:
    received = b""
    while ending not in received:
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    return received


PATHS = ("/api/chat", "/api/generate", "/v1/chat/completions", "/v1/completions")


class TestLeaving:
    """Whoever leaves, at whatever stage, stops what was done for them."""

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("stream", [True, False])
    def test_before_the_first_token(self, server: Served, path: str, stream: bool) -> None:
        with server.connect() as connection:
            connection.sendall(chat(path, "silent", stream))
            assert server.service.started.wait(WAIT)
        assert server.service.ended.wait(WAIT)
        assert server.service.under_way == 0

    @pytest.mark.parametrize("path", PATHS)
    def test_between_two_tokens(self, server: Served, path: str) -> None:
        with server.connect() as connection:
            connection.sendall(chat(path, "hangs"))
            read_until(connection, b"llo")
        assert server.service.ended.wait(WAIT)
        assert server.service.under_way == 0

    def test_without_a_stream_after_some_tokens(self, server: Served) -> None:
        with server.connect() as connection:
            connection.sendall(chat("/api/chat", "hangs", stream=False))
            assert until(lambda: server.service.pieces == 2)
        assert server.service.ended.wait(WAIT)

    def test_in_the_flood(self, server: Served) -> None:
        with server.connect() as connection:
            connection.sendall(chat("/api/chat", "endless"))
            read_until(connection, b"xxxx")
        assert server.service.ended.wait(WAIT)

    def test_one_of_several_prompts(self, server: Served) -> None:
        with server.connect() as connection:
            connection.sendall(
                request("/v1/completions", {"model": "hangs", "prompt": ["a", "b", "c"], "stream": True})
            )
            read_until(connection, b"llo")
        assert until(lambda: server.service.under_way == 0)
        assert len(server.service.seen) == 3

    def test_a_half_closed_connection_counts_as_gone(self, server: Served) -> None:
        with server.connect() as connection:
            connection.sendall(chat("/api/chat", "silent"))
            assert server.service.started.wait(WAIT)
            connection.shutdown(socket.SHUT_WR)
            assert server.service.ended.wait(WAIT)

    def test_a_pull(self, server: Served) -> None:
        with server.connect() as connection:
            connection.sendall(request("/api/pull", {"model": "forever"}))
            read_until(connection, b"pulling manifest")
        assert server.jobs.ended.wait(WAIT)

    def test_is_logged_and_answered_to_nobody(self, server: Served, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO")
        with server.connect() as connection:
            connection.sendall(chat("/v1/chat/completions", "silent"))
            assert server.service.started.wait(WAIT)
        assert server.service.ended.wait(WAIT)
        server.stop()
        server.join()
        (line,) = [record.getMessage() for record in caplog.records if record.name == "runner.api.trace"]
        assert line.startswith("POST /v1/chat/completions 499 ")
        assert not [record for record in caplog.records if record.levelname == "ERROR"]

    def test_a_hundred_at_once(self, server: Served) -> None:
        connections = []
        try:
            for _ in range(100):
                connection = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT)
                connections.append(connection)
                connection.sendall(chat("/v1/chat/completions", "silent"))
            assert until(lambda: server.service.under_way == 100)
        finally:
            for connection in connections:
                connection.close()
        assert until(lambda: server.service.under_way == 0)
        assert server.get("/livez").status == 200


class TestWaiting:
    """A model that takes long to load: the status is held for a while, then the connection is kept alive."""

    def test_sse_gets_headers_and_heartbeats(self) -> None:
        with Served(patience=QUICK) as server, server.connect() as connection:
            connection.sendall(chat("/v1/chat/completions", "loads"))
            early = read_until(connection, b": still working\n\n")
            assert early.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"data:" not in early
            read_until(connection, b": still working\n\n")
            server.service.release.set()
            late = read_until(connection, b"data: [DONE]\n\n")
            assert b'"finish_reason":"stop"' in late

    def test_ndjson_gets_headers_and_no_blank_line(self) -> None:
        with Served(patience=QUICK) as server, server.connect() as connection:
            connection.sendall(chat("/api/chat", "loads"))
            head = read_until(connection, b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert head.endswith(b"\r\n\r\n")
            server.service.release.set()
            lines = read_until(connection, b"0\r\n\r\n").split(b"\r\n")[1:-3:2]
            assert [json.loads(line)["done"] for line in lines] == [False] * len(TEXT) + [True]

    def test_heartbeats_come_between_tokens_too(self) -> None:
        with Served(patience=QUICK) as server, server.connect() as connection:
            connection.sendall(chat("/v1/chat/completions", "paused"))
            said = read_until(connection, b": still working\n\n")
            assert b"llo" in said

    def test_a_failure_within_the_hold_has_its_own_status(self) -> None:
        with Served(patience=Patience(hold=60)) as server:
            assert server.post("/v1/chat/completions", {"model": "busy", "messages": HI, "stream": True}).status == 503

    def test_no_heartbeat_follows_the_end(self) -> None:
        with Served(patience=QUICK) as server, server.connect() as connection:
            connection.sendall(chat("/v1/chat/completions", "demo"))
            read_until(connection, b"0\r\n\r\n")
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_until(connection, b"}").startswith(b"HTTP/1.1 200")


class TestSlowReaders:
    """The generator is asked for no more than the connection takes."""

    def test_a_reader_that_pauses_pauses_the_source(self, server: Served) -> None:
        with server.connect() as connection:
            connection.sendall(chat("/api/chat", "endless"))
            assert until(lambda: self._has_settled(server))
            behind = server.service.pieces
            assert behind * 10_000 < 16_000_000  # the two sockets' own buffers, and nothing of ours
            assert server.get("/livez").status == 200
            for _ in range(200):
                connection.recv(65536)
            assert until(lambda: server.service.pieces > behind)

    @staticmethod
    def _has_settled(server: Served) -> bool:
        before = server.service.pieces
        threading.Event().wait(0.1)
        return 0 < before == server.service.pieces

    def test_a_reader_that_stalls_is_cut(self) -> None:
        with Served(patience=Patience(hold=0.05, beat=0.05, stall=0.2)) as server, server.connect() as connection:
            connection.sendall(chat("/api/chat", "endless"))
            assert server.service.ended.wait(WAIT)
            assert server.service.under_way == 0


def test_pieces_add_up_to_the_whole(server: Served) -> None:
    whole = "".join(TEXT)
    body = {"model": "demo", "messages": HI, "prompt": "Hi"}
    assert "".join(line["message"]["content"] for line in server.post("/api/chat", body).lines) == whole
    assert "".join(line["response"] for line in server.post("/api/generate", body).lines) == whole
    events = server.post("/v1/chat/completions", {**body, "stream": True}).events[:-1]
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == whole
    events = server.post("/v1/completions", {**body, "stream": True}).events[:-1]
    assert "".join(event["choices"][0]["text"] for event in events) == whole


def test_an_old_client_gets_a_stream_that_ends_with_the_connection(server: Served) -> None:
    body = b'{"model": "demo", "prompt": "x"}'
    reply = server.raw(
        b"POST /api/generate HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    assert "Transfer-Encoding" not in reply.headers
    assert reply.lines[-1]["done"] is True
