"""Who may call: every row of Host, Origin, Sec-Fetch-Site, method and bind, through bare sockets."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from runner.api.guard import is_loopback
from tests.api.serving import Reply, Served

BODY = b'{"model": "demo", "prompt": "x", "stream": false}'
KEY = "sk-a-long-secret"


@pytest.fixture(scope="module", autouse=True)
def runner_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One home for the module's servers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNNER_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def servers(runner_home: None) -> Iterator[dict[str, Served]]:
    """One server for each way of binding, and one with origins and hosts of its own. All really listen on loopback."""
    with (
        Served() as loopback,
        Served(said="0.0.0.0", api_key=KEY) as everywhere,
        Served(said="192.168.7.7", api_key=KEY) as address,
        Served(said="::", api_key=KEY) as six,
        Served(
            allowed_hosts="runner.lan,box.lan:8080",
            origins="https://app.example.org,chrome-extension://*,null,file://*",
        ) as extended,
    ):
        yield {"loopback": loopback, "everywhere": everywhere, "address": address, "six": six, "extended": extended}


def ask(server: Served, line: str, *headers: str, body: bytes = BODY) -> Reply:
    """A request as written; `{port}` stands for the server's."""
    lines = [f"{line} HTTP/1.1", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    if server.settings.api_key and not any(header.startswith("Authorization") for header in headers):
        lines.append(f"Authorization: Bearer {KEY}")
    text = "\r\n".join(lines).replace("{port}", str(server.port))
    return server.raw(text.encode("latin-1") + b"\r\n\r\n" + body)


def effects(server: Served) -> list[object]:
    """All that the server has done for anybody."""
    return [*server.service.seen, *server.service.unloaded, *server.models.changes, *server.jobs.created]


@dataclass(frozen=True)
class Row:
    """One row of the matrix: the request's headers, and whether it passes."""

    passes: bool
    host: str | None = "127.0.0.1:{port}"
    origin: str | None = None
    site: str | None = None
    line: str = "POST /api/generate"
    kind: str | None = "application/json"
    bind: str = "loopback"

    def headers(self) -> list[str]:
        pairs = (
            ("Host", self.host),
            ("Origin", self.origin),
            ("Sec-Fetch-Site", self.site),
            ("Content-Type", self.kind),
        )
        return [f"{name}: {value}" for name, value in pairs if value is not None]


BINDS = ("loopback", "everywhere", "address", "six")
HOSTS = [
    *(Row(True, host=host, bind=bind) for bind in BINDS for host in (
        "127.0.0.1:{port}", "localhost", "LOCALHOST:{port}", "127.0.0.1", "127.9.9.9:1", "[::1]:{port}", "[::1]",
        "localhost:443", "[::ffff:127.0.0.1]:{port}",
    )),
    *(Row(False, host=host, bind=bind) for bind in BINDS for host in (
        None, "", "evil.com", "evil.com:{port}", "localhost.evil.com", "127.0.0.1.nip.io", "evil.localhost.com",
        "localhost:99999", "localhost:", "user@localhost", "localhost@evil.com", "127.0.0.1.", "0x7f000001", "127.1",
        "2130706433", "[::1", "::1", "[fe80::1%eth0]", "10.0.0.1:{port}", "0.0.0.0.evil.com", "metadata.internal",
        "printer.local", "localhost evil.com", "localhost,evil.com",
    )),
    Row(True, host="0.0.0.0:{port}", bind="everywhere"),
    Row(False, host="0.0.0.0:{port}", bind="loopback"),
    Row(True, host="192.168.7.7:{port}", bind="address"),
    Row(False, host="192.168.7.8:{port}", bind="address"),
    Row(True, host="[::]:{port}", bind="six"),
    Row(True, host="runner.lan", bind="extended"),
    Row(True, host="RUNNER.lan:{port}", bind="extended"),
    Row(True, host="box.lan:8080", bind="extended"),
    Row(False, host="box.lan", bind="extended"),
    Row(False, host="box.lan:8081", bind="extended"),
    Row(False, host="evil.runner.lan", bind="extended"),
    Row(True, line="POST http://127.0.0.1/api/generate"),
    Row(False, line="POST http://evil.com/api/generate"),
    Row(False, host="evil.com", line="POST http://127.0.0.1/api/generate"),
    Row(False, host="evil.com", line="GET /health", kind=None),
    Row(False, host="evil.com", line="GET /", kind=None),
    Row(False, host="evil.com", line="GET /api/tags", kind=None),
]  # fmt: skip
ORIGINS = [
    *(Row(True, origin=origin) for origin in (
        "http://localhost:3000", "https://localhost", "http://127.0.0.1:{port}", "http://[::1]:8080", "HTTP://LOCALHOST:5173",
    )),
    *(Row(False, origin=origin) for origin in (
        "null", "file://", "file:///home/u/x.html", "https://evil.com", "http://localhost.evil.com", "http://evil.com:{port}",
        "http://127.0.0.1.nip.io", "https://localhost@evil.com", "app://.", "tauri://localhost", "vscode-webview://x",
        "chrome-extension://abc", "", "localhost", "http://", "http://localhost:99999", "moz-extension://x",
        "http://localhost evil.com", "ftp://localhost", "http://10.0.0.1",
    )),
    Row(True, origin="https://app.example.org", bind="extended"),
    Row(True, origin="https://app.example.org", site="cross-site", bind="extended"),
    Row(True, origin="chrome-extension://abc", site="none", bind="extended"),
    Row(False, origin="https://app.example.org.evil.com", bind="extended"),
    Row(False, origin="https://evil.com/https://app.example.org", bind="extended"),
    Row(False, origin="http://app.example.org", bind="extended"),
    Row(False, origin="null", bind="extended"),
    Row(False, origin="file:///x", bind="extended"),
    Row(True, host="192.168.7.7:{port}", origin="http://192.168.7.7:{port}", site="same-origin", bind="address"),
    Row(False, host="192.168.7.7:{port}", origin="http://192.168.7.7:1", site="same-site", bind="address"),
]  # fmt: skip
SITES = [
    Row(True, site="none"),
    Row(True, site="same-origin"),
    Row(True, site="same-site"),
    Row(False, host="192.168.7.7:{port}", site="same-site", bind="address"),
    Row(False, site="cross-site"),
    Row(False, site="made-up"),
    Row(False, site="cross-site", line="GET /api/tags", kind=None),
    Row(False, site="cross-site", line="GET /", kind=None),
    Row(False, site="cross-site", line="HEAD /", kind=None),
    Row(False, site="cross-site", line="GET /runner/config", kind=None),
    Row(False, site="cross-site", line="DELETE /api/delete"),
    Row(False, site="cross-site", line="POST /runner/shutdown"),
    Row(True, site="none", line="GET /", kind=None),
]
KINDS = [
    *(Row(False, origin="http://localhost:3000", kind=kind) for kind in (
        "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None, "",
        "application/jsonp", "text/plain; application/json", "application/octet-stream",
    )),
    Row(True, origin="http://localhost:3000", kind="application/json; charset=utf-8"),
    Row(False, site="same-origin", kind="text/plain"),
    Row(True, kind="text/plain"),
    Row(True, kind=None),
    Row(False, origin="https://evil.com", kind="text/plain"),
    Row(False, origin="null", kind="application/x-www-form-urlencoded", line="POST /runner/shutdown"),
    Row(True, origin="http://localhost:3000", kind=None, line="GET /api/tags"),
]  # fmt: skip


@pytest.mark.parametrize("row", [*HOSTS, *ORIGINS, *SITES, *KINDS], ids=lambda row: str(row)[4:-1])
def test_the_matrix(servers: dict[str, Served], row: Row) -> None:
    server = servers[row.bind]
    before, shutdowns = effects(server), server.shutdowns
    reply = ask(server, row.line, *row.headers())
    if row.passes:
        assert reply.status == 200, reply.body
        if row.origin:
            assert reply.headers["Access-Control-Allow-Origin"] == row.origin.replace("{port}", str(server.port))
            assert "Origin" in reply.headers["Vary"]
        return
    # The HTTP parser refuses some of these before the guard sees them.
    assert reply.status in (400, 403)
    assert reply.status == 403 or "cannot be read" in reply.json["error"]
    assert "Access-Control-Allow-Origin" not in reply.headers
    assert effects(server) == before
    assert server.shutdowns == shutdowns


def test_the_matrix_is_large_enough() -> None:
    rows = [*HOSTS, *ORIGINS, *SITES, *KINDS]
    assert len(set(rows)) >= 60
    assert sum(row.passes for row in rows) >= 20


@pytest.mark.parametrize(
    "headers", [("Host: localhost", "Host: localhost"), ("Host: localhost", "Host: evil.com"), ("host: evil.com",)]
)
def test_several_hosts_are_refused(servers: dict[str, Served], headers: tuple[str, ...]) -> None:
    server = servers["loopback"]
    before = effects(server)
    assert ask(server, "POST /api/generate", *headers).status in (400, 403)
    assert effects(server) == before


def test_several_origins_are_refused(servers: dict[str, Served]) -> None:
    pair = ("Host: localhost", "Origin: http://localhost", "Origin: http://localhost", "Content-Type: application/json")
    assert ask(servers["loopback"], "POST /api/generate", *pair).status in (400, 403)


def test_a_page_may_upload_bytes(servers: dict[str, Served]) -> None:
    headers = ("Host: localhost", "Origin: http://localhost:3000", "Content-Type: application/octet-stream")
    digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert ask(servers["loopback"], f"POST /api/blobs/{digest}", *headers, body=b"abc").status == 201


class TestPreflight:
    """A browser asks before it sends JSON."""

    ASKED = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,x-stainless-os")

    @pytest.mark.parametrize("bind", ["loopback", "everywhere"])
    def test_allowed(self, servers: dict[str, Served], bind: str) -> None:
        reply = ask(
            servers[bind],
            "OPTIONS /v1/chat/completions",
            "Host: localhost",
            "Origin: http://localhost:3000",
            "Authorization: none",
            *self.ASKED,
            body=b"",
        )
        assert reply.status == 204
        assert reply.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        assert reply.headers["Access-Control-Allow-Headers"] == "authorization,x-stainless-os"
        assert "POST" in reply.headers["Access-Control-Allow-Methods"]
        assert "Access-Control-Allow-Credentials" not in reply.headers

    @pytest.mark.parametrize("origin", ["https://evil.com", "null"])
    def test_refused(self, servers: dict[str, Served], origin: str) -> None:
        reply = ask(
            servers["loopback"], "OPTIONS /api/delete", "Host: localhost", f"Origin: {origin}", *self.ASKED, body=b""
        )
        assert reply.status == 403
        assert not [name for name in reply.headers if name.startswith("Access-Control")]

    def test_from_a_rebound_name(self, servers: dict[str, Served]) -> None:
        reply = ask(
            servers["loopback"], "OPTIONS /", "Host: evil.com", "Origin: http://localhost", *self.ASKED, body=b""
        )
        assert reply.status == 403


class TestKey:
    """With a key set, it opens everything but the signs of life."""

    @pytest.mark.parametrize(
        "header",
        [f"Authorization: Bearer {KEY}", f"authorization: bearer {KEY}", f"x-api-key: {KEY}"],
    )
    def test_right(self, servers: dict[str, Served], header: str) -> None:
        extra = () if header.lower().startswith("authorization") else ("Authorization: Bearer sk-other",)
        assert ask(servers["everywhere"], "GET /api/tags", "Host: localhost", header, *extra).status == 200

    @pytest.mark.parametrize(
        "header",
        [
            "Authorization: Bearer ",
            "Authorization: Bearer",
            f"Authorization: Basic {KEY}",
            f"Authorization: {KEY}",
            f"Authorization: Bearer {KEY}x",
            f"Authorization: Bearer {KEY[:-1]}",
            "Authorization: Bearer \xff\xfe",
            "Authorization:",
        ],
    )
    @pytest.mark.parametrize(
        "line", ["GET /api/tags", "GET /v1/models", "POST /page/render", "GET /readyz", "POST /runner/shutdown"]
    )
    def test_wrong(self, servers: dict[str, Served], header: str, line: str) -> None:
        server = servers["everywhere"]
        reply = ask(server, line, "Host: localhost", header)
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"] == "Bearer"
        assert reply.headers["x-should-retry"] == "false"
        assert KEY not in reply.body.decode()
        if "/v1" in line:
            error = reply.json["error"]
            assert (error["code"], error["type"]) == ("invalid_api_key", "authentication_error")
        else:
            assert reply.json["code"] == "invalid_api_key"
        assert server.shutdowns == 0

    @pytest.mark.parametrize("path", ["/health", "/livez"])
    def test_not_asked_for(self, servers: dict[str, Served], path: str) -> None:
        assert ask(servers["everywhere"], f"GET {path}", "Host: localhost", "Authorization: none").status == 200

    def test_the_key_opens_no_door_for_a_strange_host(self, servers: dict[str, Served]) -> None:
        reply = ask(servers["everywhere"], "GET /api/tags", "Host: evil.com")
        assert reply.status == 403


@pytest.mark.parametrize(("name", "expected"), [("localhost", True), ("127.0.0.53", True), ("::1", True), ("a", False)])
def test_loopback_names(name: str, expected: bool) -> None:
    assert is_loopback(name) is expected
