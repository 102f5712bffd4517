"""A GGUF somewhere on the web, by its URL: one file, or all the shards that lie beside it.

Most servers tell no SHA-256, so such a file is what its address gives while its ETag stays the same; a `#sha256=…`
after the URL makes it certain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

from registry.digests import digest_of
from registry.errors import BadSource, Denied, NotFound, RegistryError, Unreachable
from registry.resolve import UrlPlace
from registry.sources.choice import label_of
from registry.sources.shards import shards_of
from registry.sources.source import Build, Offer, RemoteFile
from registry.transfer.http import SOON, Http, is_loopback
from registry.transfer.incoming import Incoming, Opener
from registry.transfer.ranges import incoming, range_of, refuse_passing, whole_number

if TYPE_CHECKING:
    import httpx2

_MAGIC = b"GGUF"
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as it was when it was looked at.

    `mark` is whatever changes with it: ETag, or when it was modified. `certain` says that it does so with every byte.
    """

    url: str
    mark: str
    certain: bool


class Web:
    """The file that a URL leads to. Plain HTTP only to this machine, unless `insecure`; raises BadSource."""

    def __init__(self, http: Http, place: UrlPlace, *, insecure: bool = False) -> None:
        parts = urlsplit(place.url)
        host = parts.hostname or ""
        if parts.scheme == "http" and not insecure and not is_loopback(host):
            raise BadSource(
                f"{_shown(place.url)}: plain HTTP, where anybody on the way could change the file; "
                "say https://, or allow it with --insecure"
            )
        self._http = http
        self._place = place
        self._insecure = insecure
        self._seen: dict[str, _Seen] = {}
        self._offer: Offer | None = None

    @property
    def cache(self) -> None:
        """There is none that others use."""
        return None

    def look(self, memory: int | None = None, revision: str | None = None) -> Offer:
        """The file, or all of its shards, as they are now; NotFound where that isn't `revision`."""
        url, digest = self._place.url, self._place.digest
        parts = urlsplit(url)
        folder, _, given = parts.path.rpartition("/")
        typed = unquote(given)
        names = shards_of(typed)
        files = []
        for name in names:
            place = url if name == typed else parts._replace(path=f"{folder}/{quote(name)}").geturl()
            files.append(self._look_at(name, place))
        if digest is not None:
            files = [RemoteFile(each.path, each.size, digest) if each.path == typed else each for each in files]
        marks = [self._seen[each].mark or f"{file.size} bytes" for each, file in zip(names, files, strict=True)]
        now = marks[0] if len(marks) == 1 else str(digest_of("\n".join(marks).encode()))
        if revision not in (None, now):
            raise NotFound(f"{_shown(url)} at {revision}", hint=f"The server has it at {now} now.")
        label, _ = label_of(names[0][: -len(".gguf")])
        self._offer = Offer(origin=_shown(url), revision=now, quantization=label, weights=tuple(files))
        return self._offer

    def builds(self) -> tuple[Build, ...]:
        """The one that the URL leads to."""
        if self._offer is None:
            return ()
        label = self._offer.quantization
        return (Build(self._offer.weights[0].title, label, self._offer.weights),)

    def open_at(self, file: RemoteFile) -> Opener:
        """A function that opens a file's bytes from an offset on, as long as it is the file that was looked at."""
        return lambda start, stop: self._open(file, start, stop)

    @contextmanager
    def _open(self, file: RemoteFile, start: int, stop: int | None) -> Iterator[Incoming]:
        seen = self._seen[file.path]
        certain = seen.certain or file.digest is not None
        if not certain:
            start, stop = 0, None  # nothing would tell if the rest were of another file
        with self._get(seen.url, start, stop, bulk=True) as response:
            refuse_passing(response, seen.url, _shown(seen.url))
            if response.status_code not in (200, 206, 416):
                raise _refusal(response, seen.url)
            if response.status_code != 416 and _mark(response) != seen.mark:
                raise Unreachable(f"{_shown(seen.url)} has changed while it was being fetched; pull it again")
            found = incoming(response, _shown(seen.url))
            yield found if certain else replace(found, version=uuid4().hex)

    def _look_at(self, name: str, url: str) -> RemoteFile:
        """Size and state of a file, from the answer to a request for its first bytes. Raises BadSource for no GGUF."""
        with self._get(url, 0, len(_MAGIC)) as response:
            if response.status_code not in (200, 206):
                raise _refusal(response, url)
            size, mark = _size(response, url), _mark(response)
            beginning = b""
            for chunk in incoming(response, _shown(url)).chunks:
                beginning += chunk
                if len(beginning) >= len(_MAGIC):
                    break
            if beginning[: len(_MAGIC)] != _MAGIC:
                page = "a web page" if "html" in response.headers.get("Content-Type", "") else "another kind of file"
                raise BadSource(f"{_shown(url)}: not a GGUF file but {page}")
            tag = response.headers.get("ETag", "")
        self._seen[name] = _Seen(url, mark, certain=bool(tag) and not tag.startswith("W/"))
        return RemoteFile(name, size)

    @contextmanager
    def _get(self, url: str, start: int, stop: int | None, bulk: bool = False) -> Iterator[httpx2.Response]:
        within = None if bulk else SOON
        with self._http.open(
            "GET", url, headers=range_of(start, stop), insecure=self._insecure, within=within, bulk=bulk
        ) as response:
            yield response


def _size(response: httpx2.Response, url: str) -> int:
    if response.status_code == 206:
        said = _TOTAL.fullmatch(response.headers.get("Content-Range", ""))
        total = said[1] if said else ""
    else:
        total = response.headers.get("Content-Length", "")
    size = whole_number(total)
    if size is None:
        raise Unreachable(f"{_shown(url)}: the server doesn't say how long the file is")
    return size


def _mark(response: httpx2.Response) -> str:
    found: str = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    return found[:200]


def _refusal(response: httpx2.Response, url: str) -> RegistryError:
    status = response.status_code
    if status in (401, 403):
        return Denied(f"{_shown(url)}: the server refuses it ({status}), and Runner has no credentials for web servers")
    if status in (404, 410):
        return NotFound(_shown(url), hint=f"The server answers {status}.")
    return Unreachable(f"{_shown(url)}: the server answers with status {status}")


def _shown(url: str) -> str:
    """A URL without what may be secret in it."""
    return url.partition("?")[0].partition("#")[0]
