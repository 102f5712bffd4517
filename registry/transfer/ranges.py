"""Ranges of a file over HTTP: how they are asked for, and what an answer says of what it brings."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from registry.errors import Unreachable
from registry.transfer.incoming import Incoming

if TYPE_CHECKING:
    import httpx2

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_BUSY = (429, 503)
_EXPIRED = (401, 403, 404, 410)
_WHOLE = re.compile(r"[0-9]{1,18}")
_NEXT = re.compile(r'<([^<>"\s]+)>\s*;[^,]*?rel="?next"?', re.IGNORECASE)
_LONGEST_LINK = 4096


def range_of(start: int, stop: int | None) -> Mapping[str, str]:
    """The header that asks for bytes from `start` up to `stop` (exclusive), or to the end; none for all of them."""
    if not start and stop is None:
        return {}
    return {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}


def incoming(response: httpx2.Response, url: str) -> Incoming:
    """A successful answer's bytes. Raises Unreachable where it doesn't say which they are, or brings them compressed,
    and for one that says that the range lies beyond the file's end (416).
    """
    if response.status_code == 416:
        raise Unreachable(f"{url}: the file ends before the bytes that were asked for")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Unreachable(f"{url}: compressed, though plain bytes were asked for")
    version = response.headers.get("ETag", "")
    chunks = response.iter_raw()
    if response.status_code != 206:
        return Incoming(0, chunks, version, hang_up=lambda: _hang_up(response))
    said = response.headers.get("Content-Range", "")
    found = _CONTENT_RANGE.fullmatch(said)
    if found is None or int(found[1]) > int(found[2]):
        raise Unreachable(f"{url}: a part of the file came without saying which: {said[:60]!r}")
    total = None if found[3] == "*" else int(found[3])
    return Incoming(int(found[1]), chunks, version, int(found[2]) + 1, total, lambda: _hang_up(response))


def refuse_passing(response: httpx2.Response, url: str, what: str) -> None:
    """Raise Unreachable for an answer of trouble that may pass: the server is busy, or a link has expired.

    `url` is what was asked for, `what` what to call it. A redirect's target that won't have us doesn't say anything
    about our rights at the origin, which hands out a fresh link when it is asked again.
    """
    status = response.status_code
    if status in _BUSY:
        raise Unreachable(f"{what}: the server is busy (status {status})", retry_after(response))
    if status in _EXPIRED and _origin(str(response.url)) != _origin(url):
        raise Unreachable(f"{what}: the link that was given for it isn't valid any more (status {status})")


def retry_after(response: httpx2.Response) -> float:
    """How many seconds an answer says to wait, 0 if it doesn't say."""
    said = response.headers.get("Retry-After", "").strip()
    seconds = whole_number(said)
    if seconds is not None:
        return float(seconds)
    with suppress(ValueError, TypeError, OverflowError):
        when = parsedate_to_datetime(said)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max((when - datetime.now(UTC)).total_seconds(), 0.0)
    return 0.0


def whole_number(said: str) -> int | None:
    """A number as headers write it, with plain digits and no more of them than a size has; None for anything else."""
    return int(said) if _WHOLE.fullmatch(said) else None


def next_page(response: httpx2.Response) -> str | None:
    """Where a list goes on (`Link: <…>; rel="next"`), as an address or relative to the answer's; None at its end.

    Raises Unreachable for more than anybody needs to say that.
    """
    said = response.headers.get("Link", "")
    if len(said) > _LONGEST_LINK:
        raise Unreachable(f"{response.url.host} says in {len(said)} letters where its list goes on")
    found = _NEXT.search(said)
    return found[1] if found else None


def limited(response: httpx2.Response, limit: int, what: str) -> bytes:
    """A body that must be small. Raises Unreachable for one that isn't, or that is compressed."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Unreachable(f"{what}: compressed, though plain bytes were asked for")
    data = bytearray()
    for chunk in response.iter_raw():
        data += chunk
        if len(data) > limit:
            raise Unreachable(f"{what}: the answer has more than {limit} bytes")
    return bytes(data)


def _origin(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split(r'[/?#]', rest, maxsplit=1)[0]}".lower()


def _hang_up(response: httpx2.Response) -> None:
    """End a transfer from another thread than the one that reads it: closing alone would leave that one waiting."""
    stream = response.extensions.get("network_stream")
    found = stream.get_extra_info("socket") if stream is not None else None
    if isinstance(found, socket.socket):
        with suppress(OSError):
            # The plain one, also under TLS: its own would take the reader's state away under its hands.
            socket.socket.shutdown(found, socket.SHUT_RDWR)
