"""Files whose digest nobody tells beforehand: they are what they are found to be when they are here.

Only what a person named by its address comes this way. Knows neither URLs nor models.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from registry.digests import Digest, digest_of
from registry.errors import Cancelled, Unreachable
from registry.progress import Cancel, Progress, Report
from registry.sources.source import RemoteFile, Source
from registry.store import Lease, Store
from registry.transfer.download import download

_STEP = 1 << 20


def fetch_unnamed(
    store: Store,
    lease: Lease,
    source: Source,
    file: RemoteFile,
    *,
    arrived: Callable[[Path, int], None],
    report: Report,
    cancelled: Cancel,
    waits: tuple[float, ...],
) -> Digest:
    """Fetch a file and name it by its bytes. Returns its digest, which the lease holds, once it is durable.

    What has arrived is gone on with later if the file has a `version` and still is at it. `arrived` is told where the
    bytes lie and how many there are; what it raises ends the fetch. Raises Unreachable, HashMismatch where the length
    is another, Cancelled or a StorageFault.
    """
    state = digest_of("\n".join((file.path, str(file.size), file.version)).encode())
    shown = -_STEP

    def tell(count: int) -> None:
        nonlocal shown
        arrived(ingest.path, count)
        if count - shown >= _STEP or count == file.size:
            shown = max(count, shown)
            report(Progress(f"pulling {file.title}", None, file.size, shown))

    with store.blobs.exclusive(state, cancelled):
        ingest = store.blobs.begin(state if file.version else None, cancelled)
        kept = False
        try:
            tell(ingest.size)
            download(source.open_at(file), ingest, file.size, tell, cancelled, waits)
            digest = ingest.digest()
            lease.hold(digest)
            store.blobs.commit(ingest, None, file.size)
            kept = True
        except (Unreachable, Cancelled):
            if file.version and ingest.size:
                ingest.keep()
                kept = True
            raise
        finally:
            if not kept:
                ingest.abandon()
    report(Progress("verifying sha256 digest", digest, file.size, file.size))
    return digest
