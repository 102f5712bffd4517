"""A hub on loopback that speaks Hugging Face's API, for the real huggingface_hub client to talk to.

It serves repositories from memory: model info, the tree in pages, resolve with redirects to a CDN of another
origin, ranges, ETags and gates. Faults are planned per file. Knows nothing of Runner.
"""

import hashlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.hub_files import Fault as Fault
from tests.hub_files import File as File

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LAST_MODIFIED = "2026-05-17T08:30:00.000Z"


@dataclass
class Repository:
    """`gated` wants the hub's token; `private` doesn't even admit to exist without it.

    `commit` is what the branch main is at, `older` the files of commits before it. `card` is its card's header, `gguf`
    what the hub has read of its files.
    """

    files: dict[str, File]
    gated: bool = False
    private: bool = False
    commit: str = COMMIT
    older: dict[str, dict[str, File]] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    gguf: dict[str, Any] = field(default_factory=dict)

    def at(self, revision: str) -> dict[str, File] | None:
        """The files of a commit, or of main."""
        return self.files if revision in ("", "main", self.commit) else self.older.get(revision)


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Span:
    """Bytes of a file that one answer brought so far, from `start` up to `stop`."""

    start: int
    stop: int


class Hub:
    """The running server. `requests` is its log; `sent` counts the bytes of files that left it.

    `tree` is answered in place of every listing. `rate` is bytes a second for each connection, 0 for as fast as can
    be; `latency` is seconds before each answer. `together` is the most answers that were under way at once; `spans` are
    the bytes of its file that each answer has brought.
    """

    def __init__(self, token: str = "hf_good", page: int = 1000) -> None:
        self.token = token
        self.page = page
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.sent = 0
        self.tree: bytes | None = None
        self.rate = 0.0
        self.latency = 0.0
        self.together = 0
        self.spans: list[Span] = []
        self._under_way = 0
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self.endpoint = ""
        self.cdn = ""

    def add(self, name: str, files: dict[str, bytes | File], **options: bool) -> Repository:
        """Publish a repository."""
        made = {path: each if isinstance(each, File) else File(each) for path, each in files.items()}
        self.repositories[name] = Repository(made, **options)
        return self.repositories[name]

    def change(self, name: str, files: dict[str, bytes | File]) -> str:
        """Publish a further commit, with these files instead; its hash. The one before stays to be had."""
        repository = self.repositories[name]
        repository.older[repository.commit] = repository.files
        repository.files = {path: each if isinstance(each, File) else File(each) for path, each in files.items()}
        repository.commit = hashlib.sha1(f"{name} {len(repository.older)}".encode()).hexdigest()
        return repository.commit

    def count(self, sent: int, span: Span) -> None:
        """Note bytes of a file that left."""
        with self._lock:
            self.sent += sent
            span.stop += sent

    @contextmanager
    def answering(self, start: int) -> Iterator[Span]:
        """Note an answer that is under way."""
        span = Span(start, start)
        with self._lock:
            self.spans.append(span)
            self._under_way += 1
            self.together = max(self.together, self._under_way)
        try:
            yield span
        finally:
            with self._lock:
                self._under_way -= 1

    def downloads(self) -> list[Request]:
        """Requests for the bytes of a file on the CDN."""
        return [each for each in self.requests if each.method == "GET" and each.path.startswith("/cdn/")]


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Serve on two free loopback ports, one of them the CDN's."""
    with _serving(hub) as hub.endpoint, _serving(hub) as hub.cdn:
        yield hub


@contextmanager
def _serving(hub: Hub) -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.hub = hub
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    hub: Hub

    def get_request(self) -> Any:
        """Small buffers: what is on its way when a client dies counts as sent."""
        connection, address = super().get_request()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes, and the second would wait 40 ms for the first
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Quiet."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        hub = self.server.hub
        hub.requests.append(
            Request(self.command, self.path, self.headers.get("Range"), self.headers.get("Authorization"))
        )
        path = unquote(urlsplit(self.path).path).strip("/")
        if path == "api/models":
            self._search()
        elif path.startswith("api/models/"):
            self._api(path.removeprefix("api/models/"), body)
        elif path.startswith("cdn/"):
            self._cdn(path.removeprefix("cdn/"))
        elif "/resolve/" in path:
            name, _, rest = path.partition("/resolve/")
            revision, _, file = rest.partition("/")
            self._resolve(name, revision, file, body)
        else:
            self._fail(404, "EntryNotFound", "no such page")

    def _known(self, name: str, bytes_wanted: bool) -> bool:
        """Whether the caller may go on; else it has been told why not."""
        repository = self.server.hub.repositories.get(name)
        authorization = self.headers.get("Authorization")
        if authorization is not None and authorization != f"Bearer {self.server.hub.token}":
            self._fail(401, None, "Invalid credentials in Authorization header")
        elif repository is None or (repository.private and authorization is None):
            # As the real hub: without a token, what is missing and what is private look the same.
            self._fail(401 if authorization is None else 404, "RepoNotFound", "Repository not found")
        elif repository.gated and bytes_wanted and authorization is None:
            self._fail(401, "GatedRepo", f"Access to model {name} is restricted.")
        else:
            return True
        return False

    def _api(self, path: str, body: bool) -> None:
        name, _, rest = path.partition("/tree/")
        if rest:
            if self._known(name, False):
                self._tree(name, rest)
            return
        name, _, revision = path.partition("/revision/")
        if path.endswith("/refs"):
            name = path.removesuffix("/refs")
            if self._known(name, False):
                self._json(
                    {
                        "branches": [
                            {
                                "name": "main",
                                "ref": "refs/heads/main",
                                "targetCommit": self.server.hub.repositories[name].commit,
                            }
                        ],
                        "tags": [],
                    }
                )
            return
        if not self._known(name, False):
            return
        repository = self.server.hub.repositories[name]
        files = repository.at(revision)
        if files is None:
            self._fail(404, "RevisionNotFound", f"no revision {revision}")
            return
        sha = revision if revision in repository.older else repository.commit
        # Of the repository, so that it is another one when something is added, whichever commit is asked for.
        modified = LAST_MODIFIED if not repository.older else f"2026-06-{len(repository.older):02}T00:00:00.000Z"
        self._json(
            {
                "_id": "0" * 24, "id": name, "modelId": name, "sha": sha, "lastModified": modified,
                "private": repository.private, "gated": "auto" if repository.gated else False, "disabled": False,
                "downloads": 1, "likes": 1, "tags": ["gguf"],
                "siblings": [{"rfilename": path} for path in files], "cardData": repository.card,
            }
        )  # fmt: skip

    def _search(self) -> None:
        """As the hub's list of models: the words of `search` in the name, those with all tags of `filter`, in pages."""
        asked = parse_qs(urlsplit(self.path).query)
        words = asked.get("search", [""])[0].lower().split()
        found = [
            {
                "_id": "0" * 24, "id": name, "modelId": name, "downloads": 10 * place, "likes": place,
                "gated": "manual" if repository.gated else False, "lastModified": LAST_MODIFIED,
                "cardData": repository.card, "gguf": repository.gguf, "tags": ["gguf"],
            }
            for place, (name, repository) in enumerate(self.server.hub.repositories.items(), 1)
            if not repository.private and all(word in name.lower() for word in words)
            and (asked.get("filter") != ["gguf"] or any(path.endswith(".gguf") for path in repository.files))
        ]  # fmt: skip
        found.sort(key=lambda each: -int(each["downloads"]))
        self._json(found[: int(asked.get("limit", ["1000"])[0])])

    def _tree(self, name: str, revision: str) -> None:
        files = self.server.hub.repositories[name].at(revision)
        if files is None:
            self._fail(404, "RevisionNotFound", f"no revision {revision}")
            return
        if self.server.hub.tree is not None:
            self._json(self.server.hub.tree)
            return
        folders = sorted({path.rpartition("/")[0] for path in files if "/" in path})
        entries: list[dict[str, Any]] = [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": each} for each in folders
        ]
        entries += [_listed(path, file) for path, file in files.items()]
        start = int(parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0])
        end = start + self.server.hub.page
        headers = {}
        if end < len(entries):
            place = f"{self.server.hub.endpoint}/api/models/{name}/tree/{revision}?recursive=True&cursor={end}"
            headers["Link"] = f'<{place}>; rel="next"'
        self._json(entries[start:end], headers)

    def _resolve(self, name: str, revision: str, path: str, body: bool) -> None:
        if not self._known(name, True):
            return
        repository = self.server.hub.repositories[name]
        file = (repository.at(revision) or {}).get(path)
        commit = revision if revision in repository.older else repository.commit
        if file is None:
            self._fail(404, "EntryNotFound", "Entry not found")
        elif file.lfs:
            listed = file.listed_digest or file.sha256
            self._head(
                302,
                {
                    "Location": f"{self.server.hub.cdn}/cdn/{name}/{quote(path)}?signature=1&commit={commit}",
                    "X-Repo-Commit": commit,
                    "X-Linked-Etag": f'"{listed}"',
                    "X-Linked-Size": str(len(file.data)),
                    "Content-Length": "0",
                },
            )
        else:
            headers = {"X-Repo-Commit": commit, "ETag": f'"{file.git}"'}
            self._bytes(file, headers, body)

    def _cdn(self, place: str) -> None:
        owner, repo, path = place.split("/", 2)
        commit = parse_qs(urlsplit(self.path).query).get("commit", ["main"])[0]
        file = (self.server.hub.repositories[f"{owner}/{repo}"].at(commit) or {})[path]
        self._bytes(file, {"ETag": file.etag or f'"{file.sha256}"'}, self.command == "GET")

    def _bytes(self, file: File, headers: dict[str, str], body: bool) -> None:
        hub = self.server.hub
        if hub.latency:
            hub.closing.wait(hub.latency)
        if file.statuses and body:
            self._fail(file.statuses.pop(0), None, "trouble")
            return
        fault = file.always
        if body and file.faults:
            fault = file.faults.pop(0)
        if fault.status:
            self._fail(fault.status, None, "trouble", {"Retry-After": fault.retry_after} if fault.retry_after else {})
            return
        if fault.location:
            self._head(302, {"Location": fault.location, "Content-Length": "0"})
            return
        data = file.data if file.served is None else file.served
        start, stop = 0, len(data)
        wanted = self.headers.get("Range")
        status = 200
        if wanted and file.ranges and not fault.whole:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1, len(data)) if last else len(data)
            if start >= len(data):
                self._fail(416, None, "out of range")
                return
            status = 206
            headers["Content-Range"] = fault.content_range or f"bytes {start}-{stop - 1}/{len(data)}"
        if fault.etag:
            headers["ETag"] = fault.etag
        if fault.encoding:
            headers["Content-Encoding"] = fault.encoding
        length = stop - start if fault.length is None else fault.length
        self._head(status, headers | {"Content-Length": str(length), "Accept-Ranges": "bytes"})
        if body:
            with hub.answering(start) as span:
                self._send(memoryview(data)[start:stop], file, fault, span)

    def _send(self, rest: memoryview, file: File, fault: Fault, span: Span) -> None:
        hub = self.server.hub
        cut = file.cuts.pop(0) if file.cuts else fault.cut
        rate = fault.rate or hub.rate
        step = 1 if fault.rate else 65536
        for at in range(0, len(rest), step):
            piece = rest[at : at + step] if cut is None else rest[at : min(at + step, cut)]
            self.wfile.write(piece)
            hub.count(len(piece), span)
            if rate and hub.closing.wait(len(piece) / rate):
                return
            if cut is not None and at + len(piece) >= cut:
                self._break(fault)
                return

    def _break(self, fault: Fault) -> None:
        self.close_connection = True
        self.wfile.flush()
        if fault.stall:
            # Until the client hangs up, or the test is over.
            self.connection.settimeout(0.05)
            while not self.server.hub.closing.is_set():
                try:
                    if not self.connection.recv(1):
                        return
                except TimeoutError:
                    continue
                except OSError:
                    return
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _json(self, value: object, headers: dict[str, str] | None = None) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})})
        self.wfile.write(data)

    def _fail(self, status: int, code: str | None, message: str, more: dict[str, str] | None = None) -> None:
        data = json.dumps({"error": message}).encode()
        headers = {"Content-Length": str(len(data)), "Content-Type": "application/json", "X-Error-Message": message}
        headers |= more or {}
        if code is not None:
            headers["X-Error-Code"] = code
        self._head(status, headers)
        if self.command != "HEAD":
            self.wfile.write(data)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()


def _listed(path: str, file: File) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "oid": file.git, "size": len(file.data), "path": path}
    if file.lfs:
        entry["lfs"] = {"oid": file.listed_digest or file.sha256, "size": len(file.data), "pointerSize": 134}
    return entry
