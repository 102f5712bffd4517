"""The listening end and the stop, and Runner's own endpoints."""

import errno
import os
import socket
import time
from pathlib import Path

import pytest

import runner
from runner.api import server as listening
from runner.api.server import listen
from runner.config import Address
from tests.api.serving import WAIT, Served
from tests.api.test_streams import chat, read_until, until


class TestListening:
    """Sockets, and what is said when there can be none."""

    def test_a_port_in_use(self) -> None:
        (taken,) = listen(Address("127.0.0.1", 0))
        address = Address("127.0.0.1", taken.getsockname()[1])
        with taken, pytest.raises(OSError, match=rf"cannot listen on {address}: the port is in use") as caught:
            listen(address)
        assert caught.value.errno == errno.EADDRINUSE

    def test_an_address_that_is_not_ours(self) -> None:
        with pytest.raises(OSError, match=r"192\.0\.2\.1:1234: this machine has no such address"):
            listen(Address("192.0.2.1", 1234))

    def test_a_name_that_nobody_knows(self) -> None:
        with pytest.raises(OSError, match=r"cannot listen on no-such-host\.invalid:1234"):
            listen(Address("no-such-host.invalid", 1234))

    def test_a_name_means_all_its_addresses_at_one_port(self) -> None:
        bound = listen(Address("localhost", 0))
        try:
            assert len({each.getsockname()[1] for each in bound}) == 1
            assert len({each.family for each in bound}) == len(bound)
        finally:
            for each in bound:
                each.close()

    def test_a_restart_takes_the_port_at_once(self) -> None:
        with Served() as first:
            port = first.port
            with first.connect() as connection:
                connection.sendall(chat("/api/chat", "demo"))
                read_until(connection, b"0\r\n\r\n")
                first.stop()
                first.join()
        for each in listen(Address("127.0.0.1", port)):
            each.close()

    def test_ipv6(self) -> None:
        try:
            with Served(host="::1") as server:
                assert server.get("/livez").status == 200
                assert server.get("/livez", Host=f"[::1]:{server.port}").status == 200
        except OSError as error:
            pytest.skip(f"this machine has no IPv6 loopback: {error}")

    def test_sockets_are_not_inherited(self) -> None:
        (bound,) = listen(Address("127.0.0.1", 0))
        with bound:
            assert not os.get_inheritable(bound.fileno())


class TestSlowSenders:
    """A socket is not held by those who never finish their request."""

    @pytest.mark.parametrize("start", [b"", b"POST /api/chat HT", b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nX"])
    def test_an_unfinished_header(self, monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
        monkeypatch.setattr(listening, "_IDLE", 0.2)
        with Served() as server, server.connect() as connection:
            connection.sendall(start)
            assert connection.recv(1) == b""

    def test_an_unfinished_header_that_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening, "_IDLE", 0.2)
        with Served() as server, server.connect() as connection:
            connection.settimeout(0.02)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            assert until(lambda: self._is_cut(connection))

    @staticmethod
    def _is_cut(connection: socket.socket) -> bool:
        try:
            connection.sendall(b"a")
            return connection.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    def test_a_body_that_dawdles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("runner.api.body._GRACE", 0.2)
        with Served() as server:
            for path in ("/api/chat", "/api/blobs/sha256:" + "0" * 64):
                reply = server.raw(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{".encode())
                assert reply.status == 408
                assert reply.headers["Connection"] == "close"

    def test_an_idle_connection_after_an_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening, "_IDLE", 0.2)
        with Served() as server, server.connect() as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            read_until(connection, b"}")
            assert connection.recv(1) == b""

    def test_a_long_answer_outlives_the_idle_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(listening, "_IDLE", 0.1)
        with Served() as server, server.connect() as connection:
            connection.sendall(chat("/api/chat", "loads"))
            assert server.service.started.wait(WAIT)
            connection.settimeout(0.4)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            server.service.release.set()
            connection.settimeout(WAIT)
            assert b'"done":true' in read_until(connection, b"0\r\n\r\n")


class TestStopping:
    """Accept no more, let finish what finishes in time, tell the others, close."""

    def test_a_request_in_time_finishes(self) -> None:
        with Served(grace=WAIT) as server, server.connect() as connection:
            connection.sendall(chat("/v1/chat/completions", "loads"))
            assert server.service.started.wait(WAIT)
            server.stop()
            assert until(lambda: server.is_closing)
            server.service.release.set()
            assert b"data: [DONE]" in read_until(connection, b"0\r\n\r\n")
            assert connection.recv(1) == b""
            server.join()

    @pytest.mark.parametrize(
        ("path", "ending"),
        [
            ("/v1/chat/completions", b'"code":"shutting_down"}}\n\n'),
            ("/api/chat", b'{"error":"Runner is shutting down","code":"shutting_down"}\n'),
        ],
    )
    def test_a_stream_that_goes_on_is_told(self, path: str, ending: bytes) -> None:
        with Served(grace=0.1) as server, server.connect() as connection:
            connection.sendall(chat(path, "hangs"))
            read_until(connection, b"llo")
            server.stop()
            rest = read_until(connection, b"0\r\n\r\n")
            assert ending in rest
            assert b"[DONE]" not in rest
            server.join()
            assert server.service.under_way == 0

    @pytest.mark.parametrize("stream", [True, False])
    def test_a_request_without_an_answer_yet_gets_a_status(self, stream: bool) -> None:
        with Served(grace=0.1) as server, server.connect() as connection:
            connection.sendall(chat("/v1/chat/completions", "silent", stream))
            assert server.service.started.wait(WAIT)
            server.stop()
            reply = read_until(connection, b"}}")
            assert reply.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 2\r\n" in reply
            assert b"shutting_down" in reply
            server.join()

    def test_newcomers_on_open_connections_are_turned_away(self) -> None:
        with Served(grace=WAIT) as server, server.connect() as busy, server.connect() as idle:
            idle.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            read_until(idle, b"}")
            busy.sendall(chat("/api/chat", "loads"))
            assert server.service.started.wait(WAIT)
            server.stop()
            assert until(lambda: server.is_closing)
            idle.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            reply = read_until(idle, b"}")
            assert reply.startswith(b"HTTP/1.1 503 ")
            assert b"Connection: close\r\n" in reply
            server.service.release.set()

    def test_twenty_streams_end_within_the_grace(self) -> None:
        with Served(grace=0.2) as server:
            connections = [socket.create_connection(("127.0.0.1", server.port), timeout=WAIT) for _ in range(20)]
            try:
                for connection in connections:
                    connection.sendall(chat("/v1/chat/completions", "hangs"))
                    read_until(connection, b"llo")
                start = time.monotonic()
                server.stop()
                for connection in connections:
                    assert b"shutting_down" in read_until(connection, b"0\r\n\r\n")
                server.join()
                assert time.monotonic() - start < 5
            finally:
                for connection in connections:
                    connection.close()

    def test_a_reader_that_has_stalled_does_not_hold_up_the_end(self) -> None:
        with Served(grace=0.1) as server, server.connect() as connection:
            connection.sendall(chat("/api/chat", "endless"))
            read_until(connection, b"xxxx")
            server.stop()
            server.join()
            assert server.service.under_way == 0

    def test_idle_connections_do_not_hold_up_the_end(self) -> None:
        with Served(grace=WAIT * 10) as server, server.connect() as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            read_until(connection, b"}")
            server.stop()
            server.join()


class TestOwn:
    """Signs of life, and what the command line needs."""

    def test_the_line_at_the_root(self, server: Served) -> None:
        assert server.get("/").body == b"Runner is running"
        head = server.ask("HEAD", "/")
        assert (head.status, head.body) == (200, b"")

    @pytest.mark.parametrize("path", ["/health", "/livez", "/readyz"])
    def test_signs_of_life(self, server: Served, path: str) -> None:
        reply = server.get(path)
        assert reply.status == 200
        assert reply.json["status"] in ("ok", "ready")
        assert server.ask("HEAD", path).status == 200

    def test_shutdown_answers_first(self, server: Served) -> None:
        assert server.post("/runner/shutdown", {}).json == {"status": "stopping", "pid": os.getpid()}
        assert server.shutdowns == 1

    def test_config(self, tmp_path: Path) -> None:
        with Served(api_key="sk-secret", keep_alive="-1", models=str(tmp_path)) as server:
            reply = server.get("/runner/config", Authorization="Bearer sk-secret")
            found = {row["name"]: (row["value"], row["source"]) for row in reply.json["settings"]}
            assert b"sk-secret" not in reply.body
            assert found["api_key"] == ("(set)", "flag --api-key")
            assert found["keep_alive"] == (-1, "flag --keep-alive")
            assert found["models"] == (str(tmp_path), "flag --models")
            assert found["max_queue"] == (512, "default")
            assert found["host"][0] == f"127.0.0.1:{server.port}"
            assert reply.json["runner"] == runner.__version__


def test_idle_connections_leave_room_for_one_more(server: Served) -> None:
    connections = [socket.create_connection(("127.0.0.1", server.port), timeout=WAIT) for _ in range(300)]
    try:
        assert server.get("/livez").status == 200
        assert server.post("/api/chat", {"model": "demo", "messages": [{"role": "user"}]}).lines[-1]["done"] is True
    finally:
        for connection in connections:
            connection.close()
