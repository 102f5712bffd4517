"""The page through the real server: who gets it, with which headers, without a key; and that its data needs the key."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from runner.page.files import FOLDER
from runner.page.routes import LONGEST, Page
from tests.api.serving import Reply, Served

KEY = "sk-a-long-secret"
FILES = sorted(path.name for path in FOLDER.iterdir())


@pytest.fixture(scope="module", autouse=True)
def runner_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One home for the module's servers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNNER_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def server(runner_home: None) -> Iterator[Served]:
    with Served(front=Page()) as running:
        yield running


@pytest.fixture(scope="module")
def locked(runner_home: None) -> Iterator[Served]:
    """One that is reached from elsewhere, and so has a key."""
    with Served(said="192.168.7.7", api_key=KEY, allowed_hosts="runner.lan", front=Page()) as running:
        yield running


def ask(server: Served, line: str, *headers: str, host: str = "127.0.0.1:{port}", body: bytes = b"") -> Reply:
    lines = [f"{line} HTTP/1.1", f"Host: {host}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    text = "\r\n".join(lines).replace("{port}", str(server.port))
    return server.raw(text.encode() + b"\r\n\r\n" + body)


BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_browsers_get_the_page_and_others_a_line(server: Served) -> None:
    page = ask(server, "GET /", BROWSER)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b'<textarea id="prompt"' in page.body
    for headers in ((), ("Accept: */*",), ("Accept: application/json",)):
        line = ask(server, "GET /", *headers)
        assert (line.body, line.headers["Content-Type"]) == (b"Runner is running", "text/plain; charset=utf-8")
        assert "Accept" in line.headers["Vary"]
    head = ask(server, "HEAD /", BROWSER)
    assert (head.status, head.body) == (200, b"")
    assert ask(server, "HEAD /").status == 200


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_served_safely(server: Served, name: str) -> None:
    reply = ask(server, f"GET /page/{name}")
    assert reply.status == 200
    assert reply.body == (FOLDER / name).read_bytes()
    policy = dict(rule.split(" ", 1) for rule in reply.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["Cache-Control"] == "no-cache"
    again = ask(server, f"GET /page/{name}", f"If-None-Match: {reply.headers['ETag']}")
    assert (again.status, again.body) == (304, b"")
    assert ask(server, f"GET /page/{name}", 'If-None-Match: "other"').status == 200


def test_the_icon_is_where_browsers_look_for_it(server: Served) -> None:
    assert ask(server, "GET /favicon.ico").headers["Content-Type"].startswith("image/svg+xml")


@pytest.mark.parametrize("name", ["nothing.js", "..", "%2e%2e%2ffiles.py", "..%2ffiles.py", "%00", "index.html%00.js"])
def test_there_is_no_way_out_of_the_folder(server: Served, name: str) -> None:
    assert ask(server, f"GET /page/{name}").status in (400, 404)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_fetched_from_elsewhere(name: str) -> None:
    """No address but the icon's name space, and no script or style in the page itself."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"'`)]+", text)) <= {"http://www.w3.org/2000/svg"}
    if name.endswith(".html"):
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]+src=)", text)
    if name.endswith(".js"):
        assert ("HTML" in text) == (name == "markdown.js"), "one place turns text into elements"
        for module in re.findall(r'from "([^"]+)"', text):
            assert module.removeprefix("/page/") in FILES


class TestRender:
    """/page/render."""

    def render(self, server: Served, **body: object) -> Reply:
        return ask(server, "POST /page/render", "Content-Type: application/json", body=json.dumps(body).encode())

    def test_a_whole_text_and_one_that_grows(self, server: Served) -> None:
        whole = self.render(server, text="*a*\n\n<b>")
        assert whole.json == {"settled": 8, "html": "<p><em>a</em></p>\n<p>&lt;b&gt;</p>\n", "rest": "", "plain": False}
        growing = self.render(server, text="*a*\n\nb\n", final=False)
        assert growing.json == {"settled": 5, "html": "<p><em>a</em></p>\n", "rest": "<p>b</p>\n", "plain": False}

    def test_too_much_is_refused_with_the_limit(self, server: Served) -> None:
        reply = self.render(server, text="x" * (LONGEST + 1))
        assert reply.status == 413
        assert str(LONGEST) in reply.json["error"]

    @pytest.mark.parametrize("body", [{}, {"text": 1}, {"text": "x", "final": "no"}])
    def test_a_bad_body_names_the_field(self, server: Served, body: dict[str, object]) -> None:
        reply = self.render(server, **body)
        assert reply.status == 400
        assert ("final" if "final" in body else "text") in reply.json["error"]


class TestGuard:
    """The files need no key, and nothing else is easier to get at for it."""

    @pytest.mark.parametrize("path", ["/", "/favicon.ico", "/page/app.js"])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_files_need_no_key(self, locked: Served, method: str, path: str) -> None:
        assert ask(locked, f"{method} {path}", BROWSER, host="runner.lan").status == 200

    @pytest.mark.parametrize(
        "line",
        [
            "POST /page/render",
            "POST /page/app.js",
            "DELETE /page/app.js",
            "POST /",
            "GET /api/tags",
            "GET /page/../api/tags",
            "GET //page/",
            "GET /page",
            "GET /api/tags?/page/",
            "GET /api/ps#/page/",
            "OPTIONS /page/render",
            "GET /api/tags;/page/",
            "POST /page/../api/chat",
        ],
    )
    def test_data_needs_it(self, locked: Served, line: str) -> None:
        reply = ask(locked, line, "Content-Type: application/json", body=b'{"text": "x"}', host="runner.lan")
        assert reply.status in (400, 401, 404)
        assert b"models" not in reply.body
        assert b"settled" not in reply.body

    def test_the_key_opens_it(self, locked: Served) -> None:
        headers = ("Content-Type: application/json", f"Authorization: Bearer {KEY}", "Origin: http://runner.lan")
        reply = ask(locked, "POST /page/render", *headers, body=b'{"text": "x"}', host="runner.lan")
        assert reply.json["html"] == "<p>x</p>\n"

    @pytest.mark.parametrize("host", ["192.168.7.7:{port}", "runner.lan", "runner.lan:8080", "127.0.0.1:{port}"])
    def test_the_page_may_ask_where_it_came_from(self, locked: Served, host: str) -> None:
        headers = (f"Origin: http://{host}", "Sec-Fetch-Site: same-origin", f"Authorization: Bearer {KEY}")
        kind = "Content-Type: application/json"
        assert ask(locked, "POST /page/render", *headers, kind, body=b'{"text": ""}', host=host).status == 200

    @pytest.mark.parametrize(
        ("host", "origin"),
        [
            ("evil.example", "http://evil.example"),  # a name that was bound to this machine's address afterwards
            ("evil.example:{port}", "http://evil.example:{port}"),
            ("runner.lan.evil.example", "http://runner.lan.evil.example"),
            ("runner.lan", "http://evil.example"),
            ("runner.lan", "http://runner.lan:1"),  # another server on that machine
            ("runner.lan", "null"),
            ("192.168.7.7:{port}", "http://192.168.7.8:{port}"),
        ],
    )
    def test_other_pages_may_not(self, locked: Served, host: str, origin: str) -> None:
        for line in ("POST /page/render", "GET /page/app.js", "GET /"):
            headers = (f"Origin: {origin}", "Content-Type: application/json", f"Authorization: Bearer {KEY}")
            assert ask(locked, line, *headers, body=b'{"text": ""}', host=host).status == 403

    def test_a_rebound_name_gets_not_even_the_page(self, server: Served) -> None:
        for path in ("/", "/page/app.js", "/favicon.ico"):
            assert ask(server, f"GET {path}", BROWSER, host="evil.example").status == 403

    VISIT = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")

    def test_a_link_elsewhere_leads_to_the_page(self, server: Served) -> None:
        assert ask(server, "GET /", BROWSER, *self.VISIT).status == 200
        for line in ("GET /api/tags", "GET /page/app.js", "POST /", "GET /runner/config", "POST /runner/shutdown"):
            assert ask(server, line, BROWSER, *self.VISIT).status == 403

    @pytest.mark.parametrize("instead", ["Sec-Fetch-Dest: iframe", "Sec-Fetch-Dest: embed", "Sec-Fetch-Mode: no-cors"])
    def test_but_not_into_a_frame(self, server: Served, instead: str) -> None:
        name = instead.partition(":")[0]
        headers = [header for header in self.VISIT if not header.startswith(name)]
        assert ask(server, "GET /", BROWSER, *headers, instead).status == 403


def test_libraries_are_loaded_by_the_first_rendering_only() -> None:
    script = "import sys, runner.daemon.__main__; print(*sys.modules, sep='\\n')"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert "runner.page.routes" in loaded
    assert not loaded & {"markdown_it", "pygments", "runner.page.markdown", "runner.page.highlight"}
