"""Every way a request can fail, against sockets that misbehave, and the exit code that it ends with."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runner.cli.client import Client
from runner.cli.failures import Exit, Failure, Refused
from runner.config import Address
from tests.cli.fake_daemon import FakeDaemon

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def client_of(daemon: FakeDaemon) -> Client:
    host, _, port = daemon.address.partition(":")
    return Client(Address(host, int(port)), None)


@contextmanager
def server(answer: bytes) -> Iterator[Client]:
    """A server that reads a request, answers with these bytes and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Client(Address(*listening.getsockname()), None)
        thread.join()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Exit.FAILED),
        (401, Exit.DENIED),
        (403, Exit.DENIED),
        (404, Exit.FAILED),
        (413, Exit.FAILED),
        (429, Exit.BUSY),
        (500, Exit.FAILED),
        (503, Exit.BUSY),
        (507, Exit.IO),
    ],
)
def test_a_status_is_an_exit_code(daemon: FakeDaemon, status: int, code: Exit) -> None:
    daemon.refusals["/api/tags"] = (status, {"error": "no"})
    with pytest.raises(Refused, match=r"\Ano\Z") as raised:
        client_of(daemon).get("/api/tags")
    assert (raised.value.status, raised.value.code) == (status, code)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("no_space", Exit.IO),
        ("source_denied", Exit.DENIED),
        ("server_busy", Exit.BUSY),
        ("source_unreachable", Exit.FAILED),
    ],
)
def test_the_daemons_own_word_counts_in_the_middle_of_a_stream_too(daemon: FakeDaemon, reason: str, code: Exit) -> None:
    error = {"error": "no", "code": reason}
    daemon.refusals = {"/early": (500, error), "/late": (200, json.dumps(error).encode())}
    with pytest.raises(Refused, match=r"\Ano\Z") as early:
        client_of(daemon).get("/early")
    with pytest.raises(Refused, match=r"\Ano\Z") as late, client_of(daemon).stream("/late", {}, bool) as updates:
        list(updates)
    assert (early.value.code, late.value.code) == (code, code)


@pytest.mark.parametrize(
    ("words", "is_off"),
    [
        ("huggingface.co/x can't be reached: there is no host called huggingface.co", True),
        ("huggingface.co/x can't be reached: the name huggingface.co can't be looked up now", True),
        ("huggingface.co/x can't be reached: nobody answers at huggingface.co:443 (Network is unreachable)", True),
        ("localhost/x can't be reached: nobody answers at localhost:5000 (Connection refused)", False),
        ("the connection to huggingface.co was lost", False),
    ],
)
def test_a_source_that_cant_be_reached_comes_with_what_to_do(daemon: FakeDaemon, words: str, is_off: bool) -> None:
    daemon.refusals["/api/pull"] = (502, {"error": words, "code": "source_unreachable"})
    with pytest.raises(Refused) as raised:
        client_of(daemon).post("/api/pull", {})
    assert raised.value.message == words
    assert ("HTTPS_PROXY" in raised.value.detail and "runner adopt" in raised.value.detail) is is_off


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": {"message": "x"}}', b'{"error": ""}', b""])
def test_an_error_without_words_gets_some(daemon: FakeDaemon, body: bytes) -> None:
    daemon.refusals["/api/tags"] = (500, body)
    with pytest.raises(Refused, match="answered 500 Internal Server Error to GET /api/tags"):
        client_of(daemon).get("/api/tags")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", "closed the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "is not Runner"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nwelcome", "is not Runner: welcome"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "is not Runner"),
    ],
)
def test_an_answer_that_is_none(answer: bytes, words: str) -> None:
    with server(answer) as client, pytest.raises(Failure, match=words) as raised:
        client.get("/api/tags")
    assert raised.value.code == Exit.UNAVAILABLE


@pytest.mark.parametrize(
    "rest", [b"", b"9\r\n{}\n{}", b"3\r\n{}\n\r\n", b"3\r\n{}\n\r\n0\r\n\r\n", b"3\r\n{}\n\r\nzz\r\n"]
)
def test_a_stream_that_ends_before_its_last_object(rest: bytes) -> None:
    with (
        server(STREAM + rest) as client,
        pytest.raises(Failure) as raised,
        client.stream("/api/pull", {}, lambda update: "done" in update) as updates,
    ):
        assert all(update == {} for update in updates)
    assert raised.value.code == Exit.UNAVAILABLE


def test_a_stream_ends_at_its_last_object_and_at_an_error() -> None:
    body = b'{"n":1}\n\n{"done":true}\n{"n":2}\n'
    with (
        server(STREAM + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)) as client,
        client.stream("/", {}, lambda update: "done" in update) as updates,
    ):
        assert list(updates) == [{"n": 1}, {"done": True}]
    body = b'{"n":1}\n{"error":"late"}\n'
    with (
        server(STREAM + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)) as client,
        pytest.raises(Failure, match="late") as raised,
        client.stream("/", {}, lambda update: "done" in update) as updates,
    ):
        list(updates)
    assert raised.value.code == Exit.FAILED


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address(*taken.getsockname())
    started: list[None] = []
    for client in (Client(address, None), Client(address, None, lambda: started.append(None))):
        with pytest.raises(Failure, match=r"no Runner daemon answers at http://127\.0\.0\.1") as raised:
            client.get("/api/tags")
        assert raised.value.code == Exit.UNAVAILABLE
    assert len(started) == 1
    assert not client.is_ready()
    assert not client.is_listening()
    assert len(started) == 1, "a question started a daemon"


def test_a_name_that_no_machine_has() -> None:
    with pytest.raises(Failure, match=r"cannot reach http://nobody\.invalid:1") as raised:
        Client(Address("nobody.invalid", 1), None).get("/")
    assert raised.value.code == Exit.UNAVAILABLE


def test_text_that_has_no_bytes(daemon: FakeDaemon) -> None:
    with pytest.raises(Failure, match="half of a surrogate pair") as raised:
        client_of(daemon).post("/api/show", {"model": "\ud83d"})
    assert raised.value.code == Exit.USAGE


def test_a_blob_is_there_or_not(daemon: FakeDaemon) -> None:
    daemon.blobs["sha256:aa"] = b""
    assert client_of(daemon).exists("/api/blobs/sha256:aa")
    assert not client_of(daemon).exists("/api/blobs/sha256:bb")
    daemon.key = "hush"
    with pytest.raises(Failure) as raised:
        client_of(daemon).exists("/api/blobs/sha256:aa")
    assert raised.value.code == Exit.DENIED
