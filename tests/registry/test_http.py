"""The one HTTP client: where redirects may lead, and who sees a secret."""

import ast
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import Cancelled, Unreachable
from registry.transfer.http import Http, is_loopback, is_public


@dataclass
class Server:
    """Answers /to?URL with a redirect there, and everything else with 'here'. `seen` are each request's headers."""

    host: str
    port: int = 0
    seen: list[dict[str, str]] = field(default_factory=list)
    inside: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    let_out: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "") -> str:
        return f"http://{self.host}:{self.port}/{path}"

    def handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.seen.append({name.lower(): value for name, value in self.headers.items()})
                if self.path == "/slow":
                    server.inside.release()
                    server.let_out.wait(10)
                moves = self.path.startswith("/to?")
                self.send_response(302 if moves else 200)
                if moves:
                    self.send_header("Location", self.path[4:])
                self.send_header("Content-Length", "0" if moves else "4")
                self.end_headers()
                self.wfile.write(b"" if moves else b"here")

            do_POST = do_GET  # noqa: N815  # as the library calls it

            def log_message(self, *args: object) -> None:
                pass

        return Handler


@contextmanager
def serving(host: str) -> Iterator[Server]:
    server = Server(host)
    listening = ThreadingHTTPServer((host, 0), server.handler())
    server.port = listening.server_port
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.let_out.set()
        listening.shutdown()
        thread.join()
        listening.server_close()


@pytest.fixture
def named() -> Iterator[Server]:
    """The host that a person named."""
    with serving("127.0.0.1") as server:
        yield server


@pytest.fixture
def beside(named: Server) -> Iterator[Server]:
    """Another port of the same host."""
    with serving("127.0.0.1") as server:
        yield server


@pytest.fixture
def private(named: Server) -> Iterator[Server]:
    """Another host, that nobody named and that isn't public."""
    with serving("127.0.0.2") as server:
        yield server


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(timeout=5, connections=2) as client:
        yield client


def fetch(http: Http, url: str) -> bytes:
    with http.open("GET", url, headers={"X-Plain": "p"}, secret={"Authorization": "s", "X-Key": "s"}) as response:
        return response.read()


def test_redirects_within_the_named_host(http: Http, named: Server, beside: Server) -> None:
    assert fetch(http, named.url("to?/there")) == b"here"
    assert [each.get("authorization") for each in named.seen] == ["s", "s"]
    assert fetch(http, named.url(f"to?{beside.url('there')}")) == b"here"
    assert [(each.get("x-plain"), each.get("authorization"), each.get("x-key")) for each in beside.seen] == [
        ("p", None, None)
    ]


def test_a_way_back_gets_the_secret_again_and_the_one_between_never(http: Http, named: Server, beside: Server) -> None:
    assert fetch(http, named.url(f"to?{beside.url('to?' + named.url('there'))}")) == b"here"
    assert [each.get("x-key") for each in beside.seen] == [None]
    assert [each.get("x-key") for each in named.seen] == ["s", "s"]


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.2]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://2130706434:{port}/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "//127.0.0.2:{port}/",
    ],
)
def test_no_redirect_leads_to_a_private_place(http: Http, named: Server, private: Server, target: str) -> None:
    with pytest.raises(Unreachable):
        fetch(http, named.url("to?" + target.format(port=private.port)))
    assert private.seen == []


def test_who_goes_round_in_circles_is_stopped(http: Http, named: Server) -> None:
    with pytest.raises(Unreachable, match="more than 10 redirects"):
        fetch(http, named.url("to?/to?/to?/" + "to?/" * 20))


def test_only_what_changes_nothing_is_redirected(http: Http, named: Server) -> None:
    with http.open("POST", named.url("to?/there"), content=b"x") as response:
        assert response.status_code == 302
    with http.open("GET", named.url("to?/there"), follow=False) as response:
        assert response.status_code == 302


def test_so_many_at_once_and_no_more(http: Http, named: Server) -> None:
    def slow() -> None:
        with http.open("GET", named.url("slow"), bulk=True) as response:
            response.read()

    threads = [threading.Thread(target=slow) for _ in range(5)]
    for each in threads:
        each.start()
    for _ in range(2):
        assert named.inside.acquire(timeout=10)
    assert not named.inside.acquire(timeout=0.2)  # nobody else gets in while these two are there
    assert fetch(http, named.url("list")) == b"here", "what carries no file doesn't wait behind files"
    hasty = http.heeding(lambda: True)
    with pytest.raises(Cancelled), hasty.open("GET", named.url("more"), bulk=True):
        pass
    named.let_out.set()
    for each in threads:
        each.join(10)
    assert len(named.seen) == 6


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x?secret=1", "http://me:secret@127.0.0.1:9/", "nonsense", "http://["]
)
def test_errors_tell_the_place_and_no_secret(http: Http, url: str) -> None:
    with pytest.raises(Unreachable) as caught:
        fetch(http, url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.168.0.1", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:0001::", False),
        ("64:ff9b::7f00:1", False),
    ],
)
def test_what_is_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@given(st.ip_addresses(v=4, network="127.0.0.0/8"))
def test_what_is_this_machine(address: object) -> None:
    assert is_loopback(str(address))
    assert not is_public(str(address))


def test_nobody_else_speaks_http() -> None:
    root = Path(__file__).parents[2] / "registry"
    clients = {"httpx", "httpx2", "requests", "urllib3", "aiohttp", "http.client", "urllib.request"}
    found = {str(path.relative_to(root)) for path in root.rglob("*.py") if clients & set(_imported(path))}
    assert found == {"transfer/http.py", "transfer/dial.py"}
    for path in (root / "sources").glob("hu*.py"):
        text = path.read_text("utf-8")
        assert not any(each in text for each in ("Client(", "get_session", "HfApi", "import paginate")), path


def _imported(path: Path) -> Iterator[str]:
    """What a module imports when it runs."""
    tree = ast.parse(path.read_text("utf-8"))
    conditions = (
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    )
    for_types = {inner for node in conditions for each in node.body for inner in ast.walk(each)}
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
