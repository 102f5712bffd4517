"""The hub's API: who sees the token, how far a list is followed, and what nonsense becomes."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from registry.errors import Cancelled, Denied, NotFound, RegistryError, Unreachable
from registry.names import Name
from registry.offers import find_offer
from registry.origins import Reach
from registry.resolve import refer
from registry.sources.hub_api import HubSettings
from registry.sources.hub_search import search_hub
from registry.sources.huggingface import HuggingFace
from registry.store import Store
from registry.transfer.http import Http

COMMIT = "a" * 40
Answer = Callable[[BaseHTTPRequestHandler], None]


class Place:
    """A server whose answers are given by a function; `seen` are the paths and Authorizations of its requests."""

    def __init__(self, answer: Answer) -> None:
        self.seen: list[tuple[str, str | None]] = []
        self.url = ""
        self.answer = answer


@contextmanager
def serving(answer: Answer) -> Iterator[Place]:
    place = Place(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place.seen.append((self.path, self.headers.get("Authorization")))
            place.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    place.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield place
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def say(to: BaseHTTPRequestHandler, body: bytes | object, status: int = 200, **headers: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    to.send_response(status)
    for name, value in headers.items():
        to.send_header(name.replace("_", "-"), value)
    to.send_header("Content-Length", str(len(data)))
    to.end_headers()
    to.wfile.write(data)


def hub_of(tree: Answer, sha: str = COMMIT) -> Answer:
    """A hub with one repository, whose listing is answered by `tree`."""
    return lambda to: tree(to) if "/tree/" in to.path else say(to, {"id": "o/r", "sha": sha})


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(timeout=5) as opened:
        yield opened


def look(http: Http, hub: Place, revision: str | None = None) -> Any:
    place = refer("hf.co/o/r:Q8_0").place
    return HuggingFace(HubSettings(endpoint=hub.url, token="hf_SECRET"), http, place).look(None, revision)  # type: ignore[arg-type]


def test_a_list_that_goes_on_elsewhere_is_not_followed(http: Http) -> None:
    with serving(lambda to: say(to, [])) as other:
        tree: Answer = lambda to: say(to, [], Link=f'<{other.url}/more>; rel="next"')  # noqa: E731
        with serving(hub_of(tree)) as hub, pytest.raises(Unreachable, match="isn't the hub"):
            look(http, hub)
        assert {each[1] for each in hub.seen} == {"Bearer hf_SECRET"}
    assert other.seen == []


def test_a_redirect_elsewhere_carries_no_token(http: Http) -> None:
    with serving(lambda to: say(to, [])) as other:
        tree: Answer = lambda to: say(to, b"", 302, Location=f"{other.url}/moved")  # noqa: E731
        with serving(hub_of(tree)) as hub, pytest.raises(NotFound):
            look(http, hub)
    assert other.seen == [("/moved", None)]


def test_a_list_without_an_end_is_left(http: Http) -> None:
    pages = iter(range(10_000))
    tree: Answer = lambda to: say(to, [], Link=f'</api/models/o/r/tree/x?cursor={next(pages)}>; rel="next"')  # noqa: E731
    with serving(hub_of(tree)) as hub:
        with pytest.raises(Unreachable, match="more than 100 pages"):
            look(http, hub)
        assert len(hub.seen) == 101
        hub.answer = hub_of(lambda to: say(to, [], Link=f"<{to.path}>; rel=next"))
        with pytest.raises(Unreachable, match="where it began"):
            look(http, hub)


def test_a_hub_that_wants_to_be_left_alone_is_not_waited_for(http: Http) -> None:
    with (
        serving(hub_of(lambda to: say(to, b"", 503, Retry_After="86400"))) as hub,
        pytest.raises(Unreachable, match="busy") as caught,
    ):
        look(http, hub)
    assert caught.value.after == 86400


def test_who_changes_their_mind_is_heard_while_the_hub_drips(http: Http, store: Store) -> None:
    asked, gone = threading.Event(), threading.Event()

    def drip(to: BaseHTTPRequestHandler) -> None:
        to.send_response(200)
        to.send_header("Content-Length", "1000000")
        to.end_headers()
        asked.set()
        try:
            while not gone.wait(0.05):
                to.wfile.write(b" ")
        except OSError:
            pass

    with serving(drip) as hub:
        reach = Reach(hf_endpoint=hub.url)
        reference = refer("hf.co/o/r:Q8_0")
        try:
            with pytest.raises(Cancelled):
                find_offer(store, Name.parse("m"), reference, http, reach, cancelled=asked.is_set)
        finally:
            gone.set()
        seen = len(hub.seen)
        with pytest.raises(Cancelled):
            find_offer(store, Name.parse("m"), reference, http, reach, cancelled=lambda: True)
        assert len(hub.seen) == seen


@pytest.mark.parametrize("size", ["-1", "1e400", "Infinity", "true", '"5"', "9" * 30])
def test_a_size_that_is_none(http: Http, size: str) -> None:
    entry = f'[{{"type":"file","path":"m-Q8_0.gguf","oid":"b","size":{size}}}]'.encode()
    with serving(hub_of(lambda to: say(to, entry))) as hub, pytest.raises(Unreachable, match="makes no sense"):
        look(http, hub)


@pytest.mark.parametrize("body", [b'{"a": 1}', b"[" * 100_000, b"[1]", b"", b'[{"type": []}]', b"\xff"])
def test_a_listing_that_is_none(http: Http, body: bytes) -> None:
    with serving(hub_of(lambda to: say(to, body))) as hub, pytest.raises(RegistryError):
        look(http, hub)


def test_a_pinned_commit_is_that_one_or_none(http: Http) -> None:
    entry = [{"type": "file", "path": "m-Q8_0.gguf", "oid": "b", "size": 5}]
    with serving(hub_of(lambda to: say(to, entry), sha="d" * 40)) as hub:
        assert look(http, hub, "d" * 40).revision == "d" * 40
        with pytest.raises(NotFound, match="another commit"):
            look(http, hub, COMMIT)


@pytest.mark.parametrize(
    "body",
    [
        b'[{"id":"a/b","downloads":Infinity}]',
        b'[{"id":"a/b","likes":-1}]',
        b'[{"id":"a/b","lastModified":"0001-01-01T00:00:00+14:00"}]',
        b"[" * 100_000,
        b"{}",
    ],
)
def test_a_search_that_makes_no_sense(body: bytes) -> None:
    with serving(lambda to: say(to, body)) as hub, pytest.raises(Unreachable, match="makes no sense"):
        search_hub("x", 5, HubSettings(endpoint=hub.url))


def test_a_refusal_says_what_to_do_and_whether_a_token_was_sent(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda to: say(to, b"", 401, X_Error_Code="GatedRepo")) as hub:
        with pytest.raises(Denied, match=r"A token was sent, .*`hf auth login`.*`runner shutdown`"):
            look(http, hub)
        monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
        monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: None)
        with pytest.raises(Denied, match="No token was sent"):
            HuggingFace(HubSettings(endpoint=hub.url), http, refer("hf.co/o/r").place).look()  # type: ignore[arg-type]
