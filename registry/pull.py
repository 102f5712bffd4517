"""Pull: a name's files from their source into the store, verified, and made a model.

A file comes from the store if it is there, else from the cache of its source, else over the network; it takes its
space once. Knows neither HTTP nor file names: those are the source's.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from registry import embedded
from registry.assemble import Part, Recipe, assemble
from registry.digests import Digest, digest_of
from registry.errors import (
    BadGGUF,
    BadSource,
    Corrupt,
    HashMismatch,
    NoSpace,
    NotFound,
    Truncated,
    UnknownTag,
    Unreachable,
    UnsupportedModel,
    human_bytes,
)
from registry.gguf.check import check as check_gguf
from registry.gguf.check import shard_position
from registry.gguf.reader import read_header
from registry.ingest import Ingest
from registry.manifest import REFERENCE, REVISION, SOURCE
from registry.names import Name
from registry.origins import Reach, open_source
from registry.pins import as_pinned, check_manifest, check_offer
from registry.progress import Cancel, Progress, Report, never, unheard
from registry.resolve import Pin, Reference, Wanted, refer
from registry.sources.source import Offer, RemoteFile, Source
from registry.store import Lease, Store
from registry.stored import StoredModel
from registry.texts import with_texts
from registry.transfer.download import WAITS, download
from registry.transfer.http import Http

log = logging.getLogger(__name__)

_STEPS = 500
_STEP = 128 << 10
_ROOM = 1.05  # a file system needs some of its own, and other programs write too
_SMALL = 64 << 20  # git keeps larger files elsewhere, and those come with a SHA-256
_LOOKS = (1 << 18, 1 << 21, 1 << 23, 1 << 24, 1 << 25, 1 << 26, 1 << 27)


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSettings:
    """How to pull. `memory` is bytes that a model may have when a name leaves the choice to us.

    `waits` are seconds between tries while the network is down, `connections` as many as one host is asked for at once.
    """

    reach: Reach = field(default_factory=Reach)
    memory: int | None = None
    waits: tuple[float, ...] = WAITS
    connections: int = 8
    rate: int = 0


def pull(
    store: Store,
    wanted: Wanted | str,
    *,
    progress: Report = unheard,
    cancelled: Cancel = never,
    settings: PullSettings | None = None,
    http: Http | None = None,
) -> StoredModel:
    """Fetch a model, or bring it up to date. Returns it once it is durable.

    `http` is shared with others where it is given. Raises NotFound, UnknownTag, NotAsLocked, Denied, Unreachable,
    HashMismatch, BadGGUF, UnsupportedModel, NoSpace or another StorageFault, or Cancelled. Then no model has changed;
    what has arrived of a file is kept for the next try, unless it is the reason.
    """
    wanted = Wanted(reference=wanted) if isinstance(wanted, str) else wanted
    settings = settings or PullSettings()
    if _means_demo(wanted):
        return embedded.ensure_demo(store, progress)
    reference = refer(wanted.reference)
    name = Name.parse(wanted.name) if wanted.name else reference.name
    reach = replace(settings.reach, insecure=True) if wanted.insecure else settings.reach
    progress(Progress("pulling manifest"))
    with nullcontext(http) if http else Http(timeout=reach.timeout, connections=settings.connections) as opened:
        source = open_source(as_pinned(reference, wanted.pin) if wanted.pin else reference, opened, reach)
        offer = _look(source, reference, settings.memory, wanted.pin)
        titles = ", ".join(each.title for each in offer.files)
        progress(Progress(f"found {titles} ({human_bytes(offer.size)})"))
        with store.lease() as lease:
            work = _Pull(store, lease, source, progress, cancelled, settings.waits)
            return work.run(name, reference, offer, wanted.pin)


def _means_demo(wanted: Wanted) -> bool:
    if "://" in wanted.reference or "@" in wanted.reference:
        return False
    return Name.parse(wanted.reference).key == embedded.NAME.key


def _look(source: Source, reference: Reference, memory: int | None, pin: Pin | None) -> Offer:
    if pin is None:
        return source.look(memory)
    try:
        offer = source.look(memory, pin.revision)
    except UnknownTag:
        raise
    except NotFound as error:
        hint = (
            f"It is wanted at revision {pin.revision} (its source: {error}). `runner pull {reference.text}` takes what "
            "is there now, and `runner lock` writes that down"
        )
        raise NotFound(reference.text, hint=hint) from error
    check_offer(reference, offer, pin)
    return offer


@dataclass(frozen=True, slots=True)
class _Pull:
    """One pull under way. `shown` is how far each file has been reported: that never goes back."""

    store: Store
    lease: Lease
    source: Source
    report: Report
    cancelled: Cancel
    waits: tuple[float, ...]
    shown: dict[Digest, int] = field(default_factory=dict)

    def run(self, name: Name, reference: Reference, offer: Offer, pin: Pin | None) -> StoredModel:
        for file in offer.files:
            if file.digest is not None:
                self.lease.hold(file.digest)
        self._check_room(offer.files)
        texts = [(each.kind, self._small(each.file)) for each in offer.texts]
        parts = {file: Part(self._fetch(file, index > 0), file.title) for index, file in enumerate(offer.files)}
        recipe = Recipe(
            files=tuple(parts[file] for file in (*offer.weights, *offer.projectors)),
            adapters=tuple(parts[file] for file in offer.adapters),
            draft=tuple(parts[file] for file in offer.draft),
            quantization=offer.quantization,
            created=offer.created,
            annotations={SOURCE: offer.origin, REVISION: offer.revision, REFERENCE: reference.text},
        )
        try:
            approve = partial(check_manifest, reference, pin=pin) if pin is not None else None
            model = assemble(self.store, self.lease, name, with_texts(recipe, texts), self.report, approve)
        except (BadGGUF, UnsupportedModel, BadSource):
            self._reject([each.digest for each in parts.values()])
            raise
        self._share(offer.files)
        self.report(Progress("success"))
        return model

    def _fetch(self, file: RemoteFile, late: bool) -> Digest:
        """The digest of a file that is in the store when this returns."""
        if file.digest is None:
            data = self._small(file)
            digest = digest_of(data)
            self.lease.hold(digest)
            return self.store.blobs.write(data, digest)
        with self.store.blobs.exclusive(file.digest, self.cancelled):
            if not self._kept(file, file.digest) and not self._cached(file, file.digest):
                self._download(file, file.digest, late)
        self.report(Progress("verifying sha256 digest", file.digest, file.size, file.size))
        return file.digest

    def _kept(self, file: RemoteFile, digest: Digest) -> bool:
        """Whether the store has the file already, and it is sound."""
        if not self.store.blobs.has(digest, file.size):
            return False
        try:
            self.store.blobs.ensure_intact(digest, cancelled=self.cancelled)
        except Corrupt as error:
            log.warning("%s; fetching it again", error)
            return False
        self._tell(digest, file.size, file.size)
        return True

    def _cached(self, file: RemoteFile, digest: Digest) -> bool:
        """Whether the file could be taken from the hub's cache. Wrong bytes there are put aside and removed."""
        cache = self.source.cache
        path = cache.find(file) if cache else None
        if cache is None or path is None:
            return False
        status = f"reading {file.title} from the hub's cache"
        try:
            self.store.blobs.adopt(
                path,
                digest,
                progress=lambda done: self.report(Progress(status, None, file.size, min(done, file.size))),
                cancelled=self.cancelled,
            )
        except HashMismatch as error:
            log.warning("the hub's cache has a bad %s: %s", file.title, error)
            cache.forget(file, self.store.disk)
            return False
        except BadSource as error:
            log.info("can't take %s from the hub's cache: %s", file.title, error)
            return False
        self._tell(digest, file.size, file.size)
        return True

    def _download(self, file: RemoteFile, digest: Digest, late: bool) -> None:
        if self.store.blobs.part(digest).exists():
            self.report(Progress(f"reading what an earlier try fetched of {file.title}"))
        ingest = self.store.blobs.begin(digest, self.cancelled)
        resumed = ingest.resumed > 0
        try:
            self._receive(file, digest, ingest, late)
            self.store.blobs.commit(ingest, digest, file.size)
        except (HashMismatch, BadGGUF, UnsupportedModel) as error:
            ingest.abandon()
            if not resumed:
                raise
            # Bytes from an earlier try may have been lost with the power: once more, from nothing.
            log.warning("%s: %s; fetching it anew", file.title, error)
            self._download(file, digest, late)
        finally:
            if ingest.size:
                ingest.keep()
            else:
                ingest.abandon()

    def _receive(self, file: RemoteFile, digest: Digest, ingest: Ingest, late: bool) -> None:
        looks = [each for each in _LOOKS if each < file.size]

        def arrived(count: int) -> None:
            if looks and count >= looks[0]:
                looks[:] = [each for each in looks if each > count]
                if _sound(ingest.path, file, late):
                    looks.clear()
            self._tell(digest, file.size, count)

        self._tell(digest, file.size, ingest.size)
        download(self.source.open_at(file), ingest, file.size, arrived, self.cancelled, self.waits)

    def _tell(self, digest: Digest, size: int, count: int) -> None:
        """Report how far a file is: never less than before, and no more often than anyone could watch."""
        before = self.shown.get(digest, -1)
        count = min(count, size)
        if before < 0 or count - before >= max(size // _STEPS, _STEP) or before < count == size:
            self.shown[digest] = count
            self.report(Progress(f"pulling {digest.short}", digest, size, count))

    def _share(self, files: Iterable[RemoteFile]) -> None:
        """Let other programs find the files in the hub's cache, where that takes no space."""
        cache = self.source.cache
        if cache is None:
            return
        for file in files:
            if file.digest is None or cache.find(file) is not None:
                continue
            if cache.share(file, self.store.blobs.path(file.digest), self.store.disk):
                # A further name changes the file's stamp, and only that.
                self.store.blobs.stamp(file.digest)

    def _small(self, file: RemoteFile) -> bytes:
        """A small file's bytes, checked against the hash that the source gives it."""
        if file.size > _SMALL:
            raise Unreachable(f"the source gives no SHA-256 for {file.path}, which has {human_bytes(file.size)}")
        ingest = self.store.blobs.begin()
        try:
            download(self.source.open_at(file), ingest, file.size, lambda count: None, self.cancelled, self.waits)
            data = ingest.path.read_bytes()
            actual = ingest.digest()
        finally:
            ingest.abandon()
        if file.digest is not None:
            if actual != file.digest:
                raise HashMismatch(str(file.digest), str(actual), None)
        elif file.git_hash and (named := _git_hash(data)) != file.git_hash:
            raise HashMismatch(f"git:{file.git_hash}", f"git:{named}", None)
        return data

    def _check_room(self, files: Iterable[RemoteFile]) -> None:
        blobs = self.store.blobs
        missing = 0
        for file in files:
            if file.digest is not None and (blobs.has(file.digest, file.size) or self._at_hand(file)):
                continue
            part = blobs.part(file.digest) if file.digest is not None else None
            missing += max(file.size - (part.stat().st_size if part is not None and part.exists() else 0), 0)
        free = self.store.disk.free(self.store.root)
        if missing and free < missing * _ROOM:
            raise NoSpace(self.store.root, int(missing * _ROOM), free)

    def _at_hand(self, file: RemoteFile) -> bool:
        """Whether the source's cache has the file where it can be shared rather than copied."""
        path = self.source.cache.find(file) if self.source.cache else None
        return path is not None and path.stat().st_dev == self.store.root.stat().st_dev

    def _reject(self, digests: list[Digest]) -> None:
        """Remove blobs that turned out to be no model, once nobody leases them."""
        self.lease.release()
        self.store.discard(digests)


def _sound(path: Path, file: RemoteFile, late: bool) -> bool:
    """Look at a header before the rest arrives; False if more of it must arrive first.

    `late` files are further shards and projectors, which need the whole set to be checked.
    """
    try:
        header = read_header(path, file_size=file.size)
        if not late and shard_position(header)[1] == 1:
            check_gguf(header)
    except Truncated:
        return False
    except BadGGUF as error:
        raise type(error)(error.reason, file.title) from error
    return True


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
