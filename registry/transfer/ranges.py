"""Ranges of a file over HTTP: how they are asked for, and what an answer says of what it brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from registry.errors import Unreachable
from registry.transfer.download import Incoming

if TYPE_CHECKING:
    import httpx2


def range_of(start: int, stop: int | None) -> Mapping[str, str]:
    """The header that asks for bytes from `start` up to `stop` (exclusive), or to the end; none for all of them."""
    if not start and stop is None:
        return {}
    return {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}


def incoming(response: httpx2.Response, url: str) -> Incoming:
    """A successful answer's bytes, or those of one that says that the range lies beyond the file's end (416).

    Raises Unreachable where it doesn't say which bytes they are, or brings them compressed.
    """
    if response.status_code == 416:
        # There is nothing beyond what we have, so what we have is of another file.
        return Incoming(0, iter(()))
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Unreachable(f"{url}: compressed, though plain bytes were asked for")
    return Incoming(_start(response, url), response.iter_raw(), response.headers.get("ETag", ""))


def _start(response: httpx2.Response, url: str) -> int:
    """Where the body begins in the file."""
    if response.status_code != 206:
        return 0
    said = response.headers.get("Content-Range", "")
    unit, _, rest = said.partition(" ")
    start = rest.partition("-")[0]
    if unit != "bytes" or not start.isdigit():
        raise Unreachable(f"{url}: a part of the file came without saying which: {said[:60]!r}")
    return int(start)
