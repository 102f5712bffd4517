"""What lies on the tests' hub, and what goes wrong with it."""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer that brings bytes.

    `cut`: it ends after so many of them, torn down cleanly or, with `reset`, by a TCP reset; with `stall` it falls
    silent there instead. `rate` is bytes a second, a byte at a time. `status` is answered in place of anything,
    `retry_after` goes with it. `whole` ignores the range. `etag`, `encoding`, `content_range` and `length` are said in
    place of the truth; `location` is where it sends the client.
    """

    cut: int | None = None
    reset: bool = False
    stall: bool = False
    rate: float = 0.0
    status: int = 0
    retry_after: str = ""
    whole: bool = False
    etag: str = ""
    encoding: str = ""
    content_range: str = ""
    length: int | None = None
    location: str = ""


_SOUND = Fault()


@dataclass
class File:
    """One file and what goes wrong with it. `lfs` files have a SHA-256 in the tree and lie on the CDN.

    `cuts`: each download ends after the next of these many bytes, with the connection torn; once they are
    used up, all is well. `statuses`: each request is answered with the next of these. `faults`: the same for all that
    may go wrong, in the order of requests. `always` goes wrong with every answer that has no fault of its own.
    `served` are the bytes sent in place of the true ones; `ranges` False ignores Range headers; `header_digest` lies
    in the tree. `etag` is what the CDN calls the bytes, by default their hash.
    """

    data: bytes
    lfs: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    always: Fault = _SOUND
    etag: str = ""
    served: bytes | None = None
    ranges: bool = True
    listed_digest: str | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def git(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()
