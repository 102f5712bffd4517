"""One repository of a container registry: its manifests, tags and blobs, and any other request with our name to it.

Knows the protocol and no model. Plain HTTP is spoken to this machine, and elsewhere only where a person allowed it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit

from registry.digests import Digest, digest_of
from registry.errors import HashMismatch, NotFound, RegistryError, Unreachable
from registry.manifest import SIZE_LIMIT
from registry.oci.auth import Authority, Scopes
from registry.oci.challenges import challenges
from registry.oci.credentials import Credential, Credentials
from registry.resolve import called
from registry.transfer.http import SOON, Content, Http, is_loopback
from registry.transfer.incoming import Incoming, Opener
from registry.transfer.ranges import incoming, limited, next_page, range_of, refuse_passing

if TYPE_CHECKING:
    import httpx2

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"

_ACCEPTED = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
_NOTHING: Mapping[str, str] = MappingProxyType({})
_PAGES, _PAGE, _MOST_TAGS = 50, 1000, 10_000
_SAID_LIMIT = 1 << 14

Body = Content | Callable[[], Iterable[bytes]]
"""What a request carries: bytes, bytes in pieces, or a function that begins them anew, so that it can be sent twice."""


class RegistryClient:
    """One repository of one registry. Safe to use from several threads.

    `host` is `host` or `host:port`; `docker_config` the folder of Docker's config.json, if not the usual one. `write`
    asks for tokens that allow pushing. `given` is a credential for this host in place of Docker's; with `anonymous`,
    Docker's are left alone. Methods raise NotFound, Denied or Unreachable.
    """

    def __init__(
        self,
        http: Http,
        host: str,
        repository: str,
        *,
        insecure: bool = False,
        docker_config: Path | None = None,
        write: bool = False,
        anonymous: bool = False,
        given: Credential | None = None,
    ) -> None:
        self.host = host
        self.repository = repository
        self._http = http
        self._insecure = insecure
        self._loopback = is_loopback(_hostname(host))
        self._scopes: Scopes = (f"repository:{repository}:{'pull,push' if write else 'pull'}",)
        credentials = None if anonymous else Credentials(docker_config)
        self._authority = Authority(http, host, repository, credentials, given=given, insecure=self._lax)
        self._lock = threading.Lock()
        self._found = ""

    @property
    def shown(self) -> str:
        """The repository as people say it: `docker.io/ai/smollm2`."""
        return f"{called(self.host)}/{self.repository}"

    @property
    def base(self) -> str:
        """The registry's address, `https://host`, or `http://` where that may be and https isn't spoken."""
        with self._lock:
            if not self._found:
                self._found = self._find_base()
            return self._found

    def manifest(self, reference: str | Digest) -> tuple[bytes, str, Digest]:
        """A tag's or a digest's manifest: its bytes, its media type, and its digest, which has been checked.

        Raises HashMismatch where the bytes are others than the registry or the digest says.
        """
        what = f"{self.shown}{'@' if isinstance(reference, Digest) else ':'}{reference}"
        path = f"/v2/{self.repository}/manifests/{quote(str(reference), safe=':')}"
        with self.send("GET", path, headers={"Accept": _ACCEPTED}) as response:
            if response.status_code != 200:
                raise self.refusal(response, what)
            data = limited(response, SIZE_LIMIT, what)
            said = response.headers.get("Docker-Content-Digest", "")
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        actual = digest_of(data)
        if isinstance(reference, Digest) and reference != actual:
            raise HashMismatch(f"{what}", str(actual), None)
        if said.startswith("sha256:") and said != str(actual):
            raise HashMismatch(f"{what} with {said[:80]!r}", str(actual), None)
        return data, kind, actual

    def tags(self) -> tuple[str, ...]:
        """The tags of the repository, at most the first ten thousand."""
        found: list[str] = []
        target: str | None = f"/v2/{self.repository}/tags/list?{urlencode({'n': _PAGE})}"
        for _ in range(_PAGES):
            if target is None or len(found) >= _MOST_TAGS:
                break
            with self.send("GET", target) as response:
                if response.status_code != 200:
                    raise self.refusal(response, self.shown)
                found += _tags(limited(response, SIZE_LIMIT, self.shown), self.shown)
                following = next_page(response)
            before = self._url(target)
            target = urljoin(before, following) if following else None
            if target == before:
                break
        return tuple(dict.fromkeys(found[:_MOST_TAGS]))

    def open_blob(self, digest: Digest) -> Opener:
        """A function that opens a blob's bytes; tokens and signed addresses are renewed each time it is called."""
        return lambda start, stop: self._open_blob(digest, start, stop)

    @contextmanager
    def _open_blob(self, digest: Digest, start: int, stop: int | None) -> Iterator[Incoming]:
        path = f"/v2/{self.repository}/blobs/{digest}"
        with self.send("GET", path, headers=range_of(start, stop), bulk=True) as response:
            refuse_passing(response, f"{self.base}{path}", f"{self.shown}@{digest}")
            if response.status_code not in (200, 206, 416):
                raise self.refusal(response, f"{self.shown}@{digest}")
            yield incoming(response, f"{self.shown}@{digest}")

    @contextmanager
    def send(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] = _NOTHING,
        content: Body | None = None,
        follow: bool = True,
        scopes: Scopes = (),
        bulk: bool = False,
    ) -> Iterator[httpx2.Response]:
        """The answer to a request, whatever its status, with its body still to be read.

        `target` is a path, or an address that the registry has given (a Location, a Link); other hosts are sent it
        without our name. A 401 is answered once, unless `content` can't be sent twice. `scopes` are asked for beside
        the repository's own, as for a blob to be mounted from another. `bulk` is for what carries a file; what else is
        only read has to come soon.
        """
        url = self._url(target)
        ours = _origin(urlsplit(url)) == _origin(urlsplit(self.base))
        wanted = (*self._scopes, *scopes)
        once = content is not None and not isinstance(content, bytes) and not callable(content)
        for last in (False, True):
            proof = self._authority.header(wanted) if ours else ""
            with self._http.open(
                method,
                url,
                headers=headers,
                secret={"Authorization": proof} if proof else _NOTHING,
                content=content() if callable(content) else content,
                follow=follow,
                home=self.base,
                insecure=self._lax,
                within=SOON if not bulk and method in ("GET", "HEAD") else None,
                bulk=bulk,
            ) as response:
                refused = response.status_code == 401 and _is_from(response, url)
                if last or once or not ours or not refused:
                    yield response
                    return
                found = challenges(response.headers.get_list("WWW-Authenticate"))
                if not found:
                    yield response
                    return
            if not self._authority.answer(self.base, found, wanted, proof):
                raise self._authority.refused(self.shown, "")

    def refusal(self, response: httpx2.Response, what: str) -> RegistryError:
        """The error that an answer means, with what the registry says; `what` is what was asked for."""
        status, said = response.status_code, _said(response)
        if status in (401, 403):
            return self._authority.refused(what, said or str(status))
        if status == 404:
            return NotFound(what, hint=said)
        if status == 429:
            return Unreachable(f"{called(self.host)} has had too many requests from here (429); try again later")
        return Unreachable(f"{what}: {called(self.host)} answers with status {status}{said and f' ({said})'}")

    @property
    def _lax(self) -> bool:
        """Whether certificates may be anybody's. On this machine nobody stands between, as Docker has it too."""
        return self._insecure or self._loopback

    def _find_base(self) -> str:
        """Which of http and https a host speaks that may be asked for both. Nothing secret is sent to find out."""
        https, http = f"https://{self.host}", f"http://{self.host}"
        if not self._lax:
            return https
        first, second = (http, https) if self._loopback else (https, http)
        try:
            self._check_speaks(first)
        except Unreachable as error:
            try:
                self._check_speaks(second)
            except Unreachable:
                raise error from None
            return second
        return first

    def _check_speaks(self, base: str) -> None:
        with self._http.open("GET", f"{base}/v2/", follow=False, insecure=True, within=SOON) as response:
            # What servers of TLS say to those who don't begin with it.
            if base.startswith("http://") and response.status_code == 400 and "https" in _said(response).lower():
                raise Unreachable(f"{self.host} speaks https only")

    def _url(self, target: str) -> str:
        """The address of a path, or one that the registry gave, taken as it must be meant. Raises Unreachable."""
        base = urlsplit(self.base)
        if target.startswith("/") and not target.startswith("//"):
            return self.base + target
        try:
            given = urlsplit(urljoin(self.base, target))
            origin = _origin(given)
        except ValueError as error:
            raise Unreachable(
                f"{self.shown}: the registry sends us to {target[:100]!r}, which is no address"
            ) from error
        if given.scheme == "http" and base.scheme == "https":
            # Registries behind a proxy don't always know that they are spoken to over https.
            if given.hostname == base.hostname and given.port in (None, base.port):
                return given._replace(scheme=base.scheme, netloc=base.netloc).geturl()
            raise Unreachable(f"{self.shown}: the registry sends us to {origin[1]} over plain HTTP")
        return given.geturl()


def _hostname(host: str) -> str:
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname if parts.port != 0 else None
    except ValueError:
        name = None
    if not name:
        raise Unreachable(f"{host[:200]!r} is no host, or has no such port")
    return name


def _tags(data: bytes, what: str) -> list[str]:
    try:
        given = json.loads(data)["tags"] or []
        if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
            raise ValueError("tags must be texts")
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise Unreachable(f"{what}: the list of its tags makes no sense ({type(error).__name__})") from error
    return given


def _said(response: httpx2.Response) -> str:
    """What a registry says of an error, as far as it is fit to be shown."""
    data = bytearray()
    for chunk in response.iter_raw():
        data += chunk
        if len(data) > _SAID_LIMIT:
            break
    text = bytes(data[:_SAID_LIMIT]).decode("utf-8", "replace")
    try:
        value = json.loads(text)
        # As the protocol has it, and as Hugging Face does.
        first = {"message": value["error"]} if "error" in value else value["errors"][0]
        text = str(first.get("message") or first.get("code") or "")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        if text.lstrip().startswith(("<", "{")):
            return ""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:200]


def _is_from(response: httpx2.Response, url: str) -> bool:
    """Whether an answer is of the server that was asked, and not of one that it redirected to."""
    return _origin(urlsplit(str(response.request.url))) == _origin(urlsplit(url))


def _origin(url: SplitResult) -> tuple[str, str, int]:
    return url.scheme, url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
