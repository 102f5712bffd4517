"""A container registry on loopback that takes uploads into memory, and whose troubles are planned."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Shelf:
    """The running registry. `requests` has (method, path, Content-Range, Authorization) of each as it came.

    Troubles: `statuses` answers the next request of a method with a status and headers, before it is looked at; each
    of `cuts` tears the connection of the next upload after so many bytes, which are kept; with `forgets`, what is known
    of a torn upload is gone; `mute` tears it after all bytes, so that only the answer is lost. `largest` is bytes that
    one request may carry, `parts` how many an upload may have, `mounts` whether a blob may be had from another
    repository. `served` is a manifest given back in place of each; uploads go on at `elsewhere`, if given.
    """

    statuses: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    forgets: bool = False
    mute: bool = False
    largest: int = 1 << 40
    parts: int = 1000
    mounts: bool = True
    served: bytes | None = None
    elsewhere: str = ""
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    received: int = 0
    host: str = ""

    def asked(self, method: str) -> list[str]:
        """The paths of all requests of a method."""
        return [path for each, path, _, _ in self.requests if each == method]

    def ranges(self) -> list[str | None]:
        """What each PATCH said that it carries."""
        return [given for method, _, given, _ in self.requests if method == "PATCH"]


@contextmanager
def running(shelf: Shelf) -> Iterator[Shelf]:
    """Serve on a free port of this machine."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.shelf = shelf
    shelf.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield shelf
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    shelf: Shelf

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Quiet."""

    def _handle(self) -> None:
        shelf = self.server.shelf
        url = urlsplit(self.path)
        shelf.requests.append(
            (self.command, self.path, self.headers.get("Content-Range"), self.headers.get("Authorization"))
        )
        planned = shelf.statuses.get(self.command)
        length = int(self.headers.get("Content-Length") or 0)
        if planned:
            self.rfile.read(length)
            self._answer(*planned.pop(0))
            return
        path = url.path.removeprefix("/v2/")
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if "/blobs/uploads/" in path:
            self._upload(*path.split("/blobs/uploads/"), query, length)
        elif "/blobs/" in path:
            repository, digest = path.split("/blobs/")
            data = shelf.blobs.get((repository, digest))
            self._answer(200 if data is not None else 404, {}, data or b"")
        elif "/manifests/" in path:
            self._manifest(*path.split("/manifests/"), length)
        else:
            self._answer(200, {}, b"{}")

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = _handle  # noqa: N815  # the base class names them so

    def _manifest(self, repository: str, tag: str, length: int) -> None:
        shelf = self.server.shelf
        if self.command == "PUT":
            shelf.manifests[repository, tag] = self.rfile.read(length)
            self._answer(201)
            return
        data = shelf.served if shelf.served is not None else shelf.manifests.get((repository, tag))
        kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        self._answer(404 if data is None else 200, kind, data or b"")

    def _upload(self, repository: str, upload: str, query: dict[str, str], length: int) -> None:
        shelf = self.server.shelf
        if self.command == "POST":
            digest, origin = query.get("mount", ""), query.get("from", "")
            if shelf.mounts and (origin, digest) in shelf.blobs:
                shelf.blobs[repository, digest] = shelf.blobs[origin, digest]
                self._answer(201)
                return
            upload = f"u{len(shelf.requests)}"
            shelf.uploads[upload] = bytearray()
            self._answer(202, self._place(repository, upload))
        elif upload not in shelf.uploads:
            self.rfile.read(length)
            self._answer(404)
        elif self.command == "DELETE":
            del shelf.uploads[upload]
            self._answer(204)
        elif self.command == "GET":
            self._answer(204, self._place(repository, upload))
        elif length > shelf.largest or (self.command == "PATCH" and self._is_one_too_many(upload)):
            self.rfile.read(length)
            self._answer(413 if length > shelf.largest else 405)
        elif self._take(upload, length):
            self._taken(repository, upload, query)

    def _taken(self, repository: str, upload: str, query: dict[str, str]) -> None:
        shelf = self.server.shelf
        if self.command == "PATCH":
            self._answer(202, self._place(repository, upload))
            return
        data = bytes(shelf.uploads.pop(upload))
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != query["digest"]:
            self._answer(400)
            return
        shelf.blobs[repository, query["digest"]] = data
        if shelf.mute:
            shelf.mute = False
            self.close_connection = True
            return
        self._answer(201)

    def _take(self, upload: str, length: int) -> bool:
        """Read a body into an upload; False if that is where the connection is torn."""
        shelf = self.server.shelf
        given = self.headers.get("Content-Range")
        if given is not None and int(given.partition("-")[0]) != len(shelf.uploads[upload]):
            self.rfile.read(length)
            self._answer(416)
            return False
        cut = shelf.cuts.pop(0) if shelf.cuts and length else None
        data = self.rfile.read(length if cut is None else min(cut, length))
        shelf.received += len(data)
        shelf.uploads[upload] += data
        if cut is None:
            return True
        if shelf.forgets:
            del shelf.uploads[upload]
        self.close_connection = True
        return False

    def _is_one_too_many(self, upload: str) -> bool:
        paths = [path for path in self.server.shelf.asked("PATCH") if f"/{upload}?" in path]
        return len(paths) > self.server.shelf.parts

    def _place(self, repository: str, upload: str) -> dict[str, str]:
        shelf = self.server.shelf
        size = len(shelf.uploads[upload])
        base = shelf.elsewhere
        place = f"{base}/v2/{repository}/blobs/uploads/{upload}?step={len(shelf.requests)}"
        return {"Location": place, "Range": f"0-{max(size - 1, 0)}"}

    def _answer(self, status: int, headers: dict[str, str] | None = None, data: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(data)
