"""A container registry on loopback that can be told to lie, and to ask for credentials anywhere.

It serves manifests, tags and blobs from memory, hands out tokens, and logs who sent it what. A second one serves as
the stranger that the first sends people to. Knows nothing of Runner.
"""

import base64
import hashlib
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Blob:
    """A blob and what goes wrong with it.

    `served` is sent in place of `data`; `ranges` False ignores Range headers; each request is answered with the next
    of `statuses` while there are any; each download ends after the next of `cuts` bytes. `moved` is where requests
    are redirected to. `headers` come with every answer. `then` takes its place after a cut. With `stalls`, a download
    sends so many bytes, and then nothing more. Under /cdn/ a blob has any name, and nobody is asked for his.
    """

    data: bytes
    served: bytes | None = None
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    moved: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    then: "Blob | None" = None
    stalls: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)

    @property
    def secrets(self) -> str:
        """All that could carry a secret."""
        return " ".join([self.authorization or "", self.path, self.body.decode("latin-1")])


@dataclass
class Registry:
    """The running server: fill it, then read `requests`.

    `auth` is what it asks for: nothing, "basic", or "bearer", whose token `realm` hands out (itself if empty).
    Users log in with their password, `identities` with their identity token. Anonymous tokens are given to all if
    `public`. `digest_header` overrides Docker-Content-Digest. `life` is how many seconds tokens say they live;
    `revoke` makes those given so far worthless.
    """

    auth: str = ""
    realm: str = ""
    challenge: str = ""
    users: dict[str, str] = field(default_factory=dict)
    identities: set[str] = field(default_factory=set)
    public: bool = True
    life: int | None = None
    page: int = 1000
    digest_header: str | None = None
    token_answer: bytes | None = None
    manifests: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    host: str = ""
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def add_blob(self, data: bytes, **options: Any) -> str:
        """Publish a blob; returns its digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = Blob(data, **options)
        return digest

    def add_manifest(self, repository: str, tag: str, manifest: object, kind: str = OCI_MANIFEST) -> str:
        """Publish a manifest under its tag and its digest; returns the digest."""
        data = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.manifests[repository, tag] = self.manifests[repository, digest] = (data, kind)
        return digest

    def add(
        self,
        repository: str,
        tag: str,
        layers: list[dict[str, Any]],
        *,
        config: object = None,
        config_type: str = "application/vnd.docker.ai.model.config.v0.1+json",
        **more: Any,
    ) -> str:
        """Publish an image: layers are `layer(...)`; returns the manifest's digest."""
        config_data = config if isinstance(config, bytes) else json.dumps(config if config is not None else {}).encode()
        described = {"mediaType": config_type, "digest": self.add_blob(config_data), "size": len(config_data)}
        value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described, "layers": layers, **more}
        return self.add_manifest(repository, tag, value)

    def layer(self, media_type: str, data: bytes, *, path: str = "", **options: Any) -> dict[str, Any]:
        """A layer of an image, whose blob is published with it."""
        value: dict[str, Any] = {"mediaType": media_type, "digest": self.add_blob(data, **options), "size": len(data)}
        if path:
            value["annotations"] = {"org.cncf.model.filepath": path}
        return value

    def asked(self, part: str) -> list[Request]:
        """The requests whose path holds a text."""
        return [each for each in self.requests if part in each.path]


@contextmanager
def running(
    registry: Registry, *, address: str = "127.0.0.1", name: str = "", certificate: str = ""
) -> Iterator[Registry]:
    """Serve on a free port of an address; `name` is what clients call that address, `certificate` a PEM for https."""
    server = _Server((address, 0), _Handler)
    server.registry = registry
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        registry.scheme = "https"
    registry.host = f"{name or address}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    registry: Registry

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Quiet."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        registry = self.server.registry
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        registry.requests.append(request)
        path = urlsplit(self.path).path
        if path in registry.answers:
            self._send(*registry.answers[path])
        elif path == "/token":
            self._token(request)
        elif path.startswith("/cdn/"):
            found = registry.blobs.get(unquote(path.removeprefix("/cdn/")))
            if found is None:
                self._fail(404, "BLOB_UNKNOWN", "no such file")
            else:
                self._blob(found)
        elif self._let_in(request):
            self._resource(path.removeprefix("/v2/"))

    def _let_in(self, request: Request) -> bool:
        registry = self.server.registry
        given = request.authorization or ""
        known = {
            "": True,
            "basic": given in {_basic(*each) for each in registry.users.items()},
            "bearer": given.removeprefix("Bearer ") in registry.tokens and given.startswith("Bearer "),
        }[registry.auth]
        if known:
            return True
        challenge = 'Basic realm="tests"'
        if registry.auth == "bearer":
            realm = registry.realm or f"{registry.url}/token"
            challenge = f'Bearer realm="{realm}",service="tests",scope="repository:other:pull"'
        headers = {"WWW-Authenticate": registry.challenge or challenge}
        self._fail(401, "UNAUTHORIZED", "authentication required", headers)
        return False

    def _token(self, request: Request) -> None:
        registry = self.server.registry
        if registry.token_answer is not None:
            self._send(200, {}, registry.token_answer)
            return
        given = request.authorization
        form = parse_qs(request.body.decode())
        if self.command == "POST":
            welcome = form.get("refresh_token", [""])[0] in registry.identities
        elif given is None:
            welcome = registry.public
        else:
            welcome = given in {_basic(*each) for each in registry.users.items()}
        if not welcome:
            self._fail(401, "UNAUTHORIZED", "who are you?")
            return
        token = f"token{len(registry.tokens)}"
        registry.tokens.add(token)
        value: dict[str, object] = {"access_token" if self.command == "POST" else "token": token}
        if registry.life is not None:
            value["expires_in"] = registry.life
        self._send(200, {}, json.dumps(value).encode())

    def _resource(self, path: str) -> None:
        registry = self.server.registry
        repository, _, rest = path.rpartition("/manifests/")
        if repository and (repository, rest) in registry.manifests:
            data, kind = registry.manifests[repository, rest]
            digest = registry.digest_header or f"sha256:{hashlib.sha256(data).hexdigest()}"
            self._send(200, {"Content-Type": kind, "Docker-Content-Digest": digest}, data)
            return
        if path.endswith("/tags/list"):
            self._tags(path.removesuffix("/tags/list"))
            return
        repository, _, rest = path.rpartition("/blobs/")
        if rest in registry.blobs:
            self._blob(registry.blobs[rest])
        elif not path:
            self._send(200, {}, b"{}")
        else:
            self._fail(404, "NAME_UNKNOWN", "repository name not known to registry")

    def _tags(self, repository: str) -> None:
        registry = self.server.registry
        tags = sorted({tag for name, tag in registry.manifests if name == repository and ":" not in tag})
        start = int(parse_qs(urlsplit(self.path).query).get("last", ["0"])[0])
        stop = start + registry.page
        headers = {}
        if stop < len(tags):
            headers["Link"] = f'</v2/{repository}/tags/list?last={stop}&n={registry.page}>; rel="next"'
        self._send(200, headers, json.dumps({"name": repository, "tags": tags[start:stop]}).encode())

    def _blob(self, blob: Blob) -> None:
        if blob.statuses:
            self._fail(blob.statuses.pop(0), "TOOMANYREQUESTS", "trouble")
            return
        if blob.moved is not None and not self.path.startswith("/cdn/"):
            self._send(307, {"Location": blob.moved}, b"")
            return
        data = blob.data if blob.served is None else blob.served
        wanted, status, headers = self.headers.get("Range"), 200, dict(blob.headers)
        if wanted and blob.ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = int(first), int(last) + 1 if last else len(data)
            if start >= len(data):
                self._fail(416, "RANGE_INVALID", "out of range")
                return
            headers["Content-Range"] = f"bytes {start}-{min(stop, len(data)) - 1}/{len(data)}"
            status, data = 206, data[start:stop]
        cut = blob.cuts.pop(0) if blob.cuts else None
        if cut is not None and cut < len(data) and blob.then is not None:
            blobs = self.server.registry.blobs
            blobs.update({name: blob.then for name, each in blobs.items() if each is blob})
        stall = blob.stalls.pop(0) if blob.stalls else None
        self._send(status, headers, data, cut if stall is None else stall, stall is not None)

    def _fail(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, headers or {}, json.dumps({"errors": [{"code": code, "message": message}]}).encode())

    def _send(
        self, status: int, headers: dict[str, str], data: bytes, cut: int | None = None, stall: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(data if cut is None else data[:cut])
        if stall:
            self.rfile.read(1)  # until the client has had enough
        if cut is not None and cut < len(data):
            self.close_connection = True


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
