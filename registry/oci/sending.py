"""One blob on its way into a repository: begun, filled part by part, gone on with after a break, completed.

Every byte is hashed as it is read, and an upload whose bytes aren't those of the digest is never completed. How often
to try, and how long to wait between, `upload` decides.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import urlencode

from registry.digests import CHUNK, Digest
from registry.disk import storage
from registry.errors import Cancelled, Corrupt, Denied, NotFound, RegistryError, Unreachable
from registry.oci.client import RegistryClient
from registry.progress import Cancel
from registry.transfer.ranges import retry_after, whole_number

if TYPE_CHECKING:
    import httpx2

SMALLEST_PART: Final = 1 << 20
"""Bytes below which a part isn't cut again for a server that finds it too large."""

_LATER = (408, 421, 425, 429, 500, 502, 503, 504)
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,19})")
_BYTES = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob to be brought: a file, or bytes at hand. `origin` is a repository of the registry that may have it."""

    digest: Digest
    size: int
    source: Path | bytes
    origin: str = ""


class Later(Unreachable):
    """The registry has no time for us now; `seconds` from now it may, 0 if it doesn't say."""

    def __init__(self, message: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(message)


class Refused(Unreachable):
    """The registry doesn't take a request as it is (its `status`): the same once more would fare no better."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


def failure(client: RegistryClient, answer: httpx2.Response, what: str) -> RegistryError:
    """The error that an answer means: Later, Refused, or Denied. `what` names the blob or tag at which it was given."""
    error = client.refusal(answer, what)
    if isinstance(error, NotFound):
        return Refused(f"{what}: the registry knows no such place (404)", answer.status_code)
    if answer.status_code in _LATER:
        said = str(error) if what in str(error) else f"{what}: {error}"
        return Later(said, retry_after(answer))
    return Refused(str(error), answer.status_code) if isinstance(error, Unreachable) else error


class Sending:
    """Owned by one thread; close it. `sent` is how many bytes the registry has confirmed, at the most so far."""

    def __init__(
        self, client: RegistryClient, blob: Blob, arrived: Callable[[int], None], cancelled: Cancel, part: int
    ) -> None:
        self.sent = 0
        self._client = client
        self._blob = blob
        self._what = f"{client.shown}@{blob.digest}"
        self._arrived = arrived
        self._part = part
        self._whole = blob.size <= part
        self._mounts = blob.origin not in ("", client.repository)
        self._reader = _Reader(blob, cancelled)
        self._place = ""  # of the upload under way
        self._is_broken = False  # it ended in the middle of something
        self._forgotten = 0

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def is_there(self) -> bool:
        """Whether the repository has the blob."""
        with self._client.send("HEAD", f"/v2/{self._client.repository}/blobs/{self._blob.digest}") as answer:
            if answer.status_code not in (200, 404):
                raise failure(self._client, answer, self._what)
            return answer.status_code == 200

    def run(self) -> bool:
        """Bring the blob, or go on where the last call was cut off; False if another repository had it.

        Raises Unreachable: a further call may mend it.
        """
        start = 0
        if self._is_broken:
            if self.is_there():
                return True  # it was complete, and only the answer was lost
            start = self._resumed()
        if not self._place and self._begin():
            return False
        self._is_broken = True
        try:
            self._fill(start)
            self._complete()
        except Refused as error:
            self._place = ""
            if self.sent and error.status != 413:
                # It took parts before. It may have forgotten this upload, and take another; or it takes one part only.
                self._whole = self._whole or self._forgotten > 0
                self._forgotten += 1
                raise Unreachable(str(error)) from error
            raise
        self._is_broken = False
        return True

    def adapt(self, status: int) -> bool:
        """Change what the registry didn't take, if there is another way to ask."""
        if status == 413 and not self._whole and self._part > SMALLEST_PART:
            self._part = max(self._part // 4, SMALLEST_PART)
        elif status in (400, 404, 405, 411, 415, 416, 501) and not self._whole and self.sent == 0:
            self._whole = True  # it takes no parts
        else:
            return False
        return True

    def forget(self) -> None:
        """Tell the registry that an upload won't be gone on with. Raises nothing."""
        if self._place:
            with suppress(RegistryError), self._client.send("DELETE", self._place):
                self._place = ""

    def _begin(self) -> bool:
        """Begin an upload; True if there is nothing to upload, because another repository had the blob."""
        path = f"/v2/{self._client.repository}/blobs/uploads/"
        scopes: tuple[str, ...] = ()
        if self._mounts:
            self._mounts = False  # once: a registry that can't will not learn it
            path += "?" + urlencode({"mount": str(self._blob.digest), "from": self._blob.origin})
            scopes = (f"repository:{self._blob.origin}:pull",)
        try:
            with self._client.send("POST", path, content=b"", scopes=scopes) as answer:
                if answer.status_code == 201 and scopes:
                    return True
                if answer.status_code != 202:
                    raise failure(self._client, answer, self._what)
                self._follow(answer)
                least = whole_number(answer.headers.get("OCI-Chunk-Min-Length", ""))
                self._part = max(self._part, least or 0)
        except Denied:
            if not scopes:
                raise
            return self._begin()  # we may not read the other repository, and needn't
        return False

    def _resumed(self) -> int:
        """How far an upload that was cut off is; the registry may have forgotten it: then it begins anew, at 0."""
        if self._place and not self._whole:
            with self._client.send("GET", self._place) as answer:
                if answer.status_code in _LATER:
                    raise failure(self._client, answer, self._what)
                said = _RANGE.fullmatch(answer.headers.get("Range", ""))
                if answer.status_code == 204 and said is not None:
                    # 0-0 is how both nothing and one byte are said.
                    start = int(said[1]) + 1 if int(said[1]) else 0
                    if start <= self._reader.most:
                        self._follow(answer, self._place)
                        self.sent = max(self.sent, start)
                        return start
        self._place = ""
        return 0

    def _fill(self, start: int) -> None:
        """Send all bytes from `start` on, except those of a blob that goes in one request."""
        while not self._whole and start < self._blob.size:
            stop = min(start + self._part, self._blob.size)
            headers = {
                **_BYTES,
                "Content-Range": f"{start}-{stop - 1}",
                "Content-Length": str(stop - start),
            }
            with self._client.send(
                "PATCH", self._place, headers=headers, content=self._body(start, stop), bulk=True
            ) as answer:
                if answer.status_code not in (202, 204):
                    raise failure(self._client, answer, self._what)
                said = _RANGE.fullmatch(answer.headers.get("Range", ""))
                if said is not None and int(said[1]) + 1 != stop:
                    raise Unreachable(f"{self._what}: the registry took bytes up to {said[1]} instead of {stop - 1}")
                self._follow(answer, self._place)
            start = stop
            self.sent = max(self.sent, stop)

    def _complete(self) -> None:
        """Give the upload its digest, with all its bytes if none has been sent."""
        place = f"{self._place}{'&' if '?' in self._place else '?'}{urlencode({'digest': str(self._blob.digest)})}"
        whole = self._whole
        content = self._body(0, self._blob.size) if whole and self._blob.size else b""
        headers = {**_BYTES, "Content-Length": str(self._blob.size if whole else 0)}
        with self._client.send("PUT", place, headers=headers, content=content, bulk=True) as answer:
            if answer.status_code not in (201, 204):
                raise failure(self._client, answer, self._what)

    def _body(self, start: int, stop: int) -> Callable[[], Iterator[bytes]]:
        """Bytes of the blob, told as they go; a function, since a request may have to be sent twice."""

        def begin() -> Iterator[bytes]:
            self._reader.seek(start)
            while self._reader.at < stop:
                yield self._reader.read(stop)
                self._arrived(self._reader.at)

        return begin

    def _follow(self, answer: httpx2.Response, otherwise: str = "") -> None:
        """Where the upload goes on, by the registry's word."""
        self._place = answer.headers.get("Location", otherwise)
        if not self._place:
            raise Unreachable(f"{self._what}: the registry doesn't say where to upload to")


class _Reader:
    """A blob's bytes from any place on, hashed from the first to the last. `most` is how far it ever got."""

    def __init__(self, blob: Blob, cancelled: Cancel) -> None:
        self.at = 0
        self.most = 0
        self._blob = blob
        self._cancelled = cancelled
        self._file: BinaryIO | None = None
        self._sum = hashlib.sha256()
        self._mark = (0, self._sum.copy())  # where the latest request began: most go on from there

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def seek(self, at: int) -> None:
        """Go on from a byte, and remember the place."""
        if at != self.at:
            place, state = self._mark if self._mark[0] <= at else (0, hashlib.sha256())
            self.at, self._sum = place, state.copy()
            self._opened().seek(place)
            while self.at < at:
                self._next(at)
        self._mark = (at, self._sum.copy())

    def read(self, stop: int) -> bytes:
        """The next bytes, none beyond `stop`. The last ones come only if all of them are what they should be.

        Raises Corrupt, Cancelled or a StorageFault.
        """
        data = self._next(stop)
        if self.at == self._blob.size and self._sum.hexdigest() != self._blob.digest.hex:
            raise Corrupt(f"blob {self._blob.digest} has other bytes than when it was stored, so it was not pushed")
        return data

    def _next(self, stop: int) -> bytes:
        if self._cancelled():
            raise Cancelled("cancelled while pushing; blobs that have arrived stay there for the next try")
        wanted = min(CHUNK, stop - self.at)
        with storage("reading a blob", self._path):
            data = self._opened().read(wanted)
        if len(data) != wanted:
            raise Corrupt(f"blob {self._blob.digest} ends after {self.at + len(data)} of {self._blob.size} bytes")
        self._sum.update(data)
        self.at += wanted
        self.most = max(self.most, self.at)
        return data

    def _opened(self) -> BinaryIO:
        if self._file is None:
            source = self._blob.source
            try:
                self._file = BytesIO(source) if isinstance(source, bytes) else source.open("rb")
            except FileNotFoundError:
                raise Corrupt(f"blob {self._blob.digest} is missing") from None
        return self._file

    @property
    def _path(self) -> Path:
        return self._blob.source if isinstance(self._blob.source, Path) else Path(str(self._blob.digest))
