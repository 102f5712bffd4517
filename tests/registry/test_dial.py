"""Connections of the HTTP client: in time, to any of a host's addresses, and never shared between names."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from registry.errors import Unreachable
from registry.transfer.http import Http
from registry.transfer.incoming import Incoming, in_time
from registry.transfer.ranges import next_page, retry_after, whole_number
from tests.registry.registries import name_hosts

Answer = Callable[[BaseHTTPRequestHandler], None]


def here(to: BaseHTTPRequestHandler, **headers: str) -> None:
    to.send_response(302 if headers else 200)
    for name, value in headers.items():
        to.send_header(name, value)
    to.send_header("Content-Length", "0" if headers else "4")
    to.end_headers()
    to.wfile.write(b"" if headers else b"here")


@contextmanager
def serving(answer: Answer, pem: Path | None = None) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that hang up are part of the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    if pem is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(http: Http, url: str, **more: Any) -> bytes:
    with http.open("GET", url, **more) as response:
        return response.read()


@pytest.mark.parametrize("where", ["headers", "body", "body of a connection that was used before"])
def test_what_drips_has_an_end(where: str) -> None:
    gone = threading.Event()

    def drip(to: BaseHTTPRequestHandler) -> None:
        if to.path == "/quick":
            here(to)
            return
        to.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"" if where == "headers" else b"Content-Length: 100000\r\n\r\n"))
        try:
            while not gone.wait(0.02):
                to.wfile.write(b"x")
        except OSError:
            pass

    with serving(drip) as port, Http(timeout=5) as http:
        try:
            if "before" in where:
                assert fetch(http, f"http://127.0.0.1:{port}/quick", within=5) == b"here"
            with pytest.raises(Unreachable, match=r"takes longer than 0 s"):
                fetch(http, f"http://127.0.0.1:{port}/slow", within=0.4)
        finally:
            gone.set()


def test_bytes_of_a_file_that_must_come_soon() -> None:
    hung = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"x"
        assert hung.wait(10)
        raise OSError("the connection has ended")

    incoming = Incoming(0, chunks(), hang_up=hung.set)
    with pytest.raises(Unreachable, match="a text: the answer takes longer"), in_time(incoming, 0.05, "a text"):
        list(incoming.chunks)
    with pytest.raises(ValueError, match="mine"), in_time(incoming, 60.0, "a text"):
        raise ValueError("mine")


def test_an_address_where_nobody_answers_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a host with two addresses, one of which takes no packets."""
    with socket.socket() as dead, serving(here) as port:
        dead.bind(("127.0.0.3", port))
        dead.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:  # its queue is full, so further connections get no answer at all
            each.setblocking(False)
            each.connect_ex(("127.0.0.3", port))
        try:
            real = socket.getaddrinfo

            def two(host: Any, *rest: Any, **named: Any) -> Any:
                if host != "other.test":
                    return real(host, *rest, **named)
                return [*real("127.0.0.3", *rest, **named), *real("127.0.0.1", *rest, **named)]

            monkeypatch.setattr(socket, "getaddrinfo", two)
            monkeypatch.setattr("registry.transfer.http.is_public", lambda address: True)
            with Http(timeout=0.5) as http:
                assert fetch(http, f"http://other.test:{port}/", home="http://127.0.0.1/") == b"here"
        finally:
            for each in waiting:
                each.close()


def test_names_at_one_address_share_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is checked against the name that was asked for, though another name has a connection there."""
    key, cert, both = tmp_path / "key.pem", tmp_path / "cert.pem", tmp_path / "both.pem"
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=a.test"]
    names = ["-addext", "subjectAltName=DNS:a.test"]
    try:
        subprocess.run(
            ["openssl", "req", "-x509", *made, *names, "-keyout", key, "-out", cert], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("openssl makes the certificate, and isn't installed")
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    name_hosts(monkeypatch, "a.test", "b.test")
    with serving(here, both) as port, Http(timeout=5) as http:
        home = "https://named.test/"
        assert fetch(http, f"https://a.test:{port}/", home=home) == b"here"
        with pytest.raises(Unreachable, match="has no certificate that is trusted here") as caught:
            fetch(http, f"https://b.test:{port}/", home=home)
        assert "--insecure" not in str(caught.value)
        with pytest.raises(Unreachable, match="`--insecure`"):
            fetch(http, f"https://b.test:{port}/", insecure=False)
        assert fetch(http, f"https://b.test:{port}/", insecure=True) == b"here"


@pytest.mark.parametrize("host", ["a" * 64 + ".com", "a..b", "x." + "b" * 64, "." * 3])
def test_a_host_that_can_be_none(host: str) -> None:
    with Http(timeout=5) as http:
        with pytest.raises(Unreachable):
            fetch(http, f"http://{host}/")
        with serving(lambda to: here(to, Location=f"http://{host}/")) as port, pytest.raises(Unreachable):
            fetch(http, f"http://127.0.0.1:{port}/")


def test_why_nobody_answers_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **named: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with Http(timeout=5) as http:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
            with pytest.raises(Unreachable, match=f"nobody answers at 127.0.0.1:{port}"):
                fetch(http, f"http://127.0.0.1:{port}/")
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(Unreachable, match=r"there is no host called none\.test$"):
            fetch(http, "http://none.test/x")


def test_numbers_and_pages_of_headers() -> None:
    import httpx2

    assert [whole_number(each) for each in ("17", "\xb2", "9" * 19, "-1", "", "٣")] == [17, *[None] * 5]
    for said in (b"\xb2", b"Mon, 01 Jan 0001 00:00:00 +1400", b"9" * 400, b"never"):
        assert retry_after(httpx2.Response(503, headers=[(b"Retry-After", said)])) == 0
    request = httpx2.Request("GET", "http://a.test/")
    began = time.monotonic()
    with pytest.raises(Unreachable):
        next_page(httpx2.Response(200, headers={"Link": "<a>;" * 20_000}, request=request))
    assert next_page(httpx2.Response(200, headers={"Link": "<a>;" * 1000}, request=request)) is None
    assert time.monotonic() - began < 5
    link = '<b>; rel="prev", </v2/x?n=1>; rel="next"'
    assert next_page(httpx2.Response(200, headers={"Link": link}, request=request)) == "/v2/x?n=1"
