"""Files from a source into the store: one flight for each, however many pulls need it, and none that is here already.

Tells how far each file is. Knows nothing of models: what the files make together is the pull's affair.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from modelfiles.sizes import human_bytes
from registry.digests import Digest, digest_of, git_hash
from registry.disk import EXHAUSTED, storage
from registry.errors import (
    BadGGUF,
    BadSource,
    Cancelled,
    Corrupt,
    HashMismatch,
    NoSpace,
    StorageFault,
    Truncated,
    Unreachable,
    UnsupportedModel,
)
from registry.gguf.check import check as check_gguf
from registry.gguf.check import shard_position
from registry.gguf.peek import peek, require_known
from registry.gguf.reader import read_header
from registry.ingest import Ingest
from registry.progress import Cancel, Progress, Report, is_news
from registry.sources.source import HUB_CACHE, Nearby, RemoteFile, Source
from registry.store import Lease, Store
from registry.transfer.download import Manner, download

log = logging.getLogger(__name__)

_ROOM = 1.05  # a file system needs some of its own, and other programs write too
_SMALL = 64 << 20  # git keeps larger files elsewhere, and those come with a SHA-256
_TOGETHER = 3  # files at once: small ones fill the waits of large ones, and each is hashed on a core of its own
_LOOKS = (1 << 18, 1 << 21, 1 << 23, 1 << 24, 1 << 25, 1 << 26, 1 << 27)


class Fetch:
    """Fetches for one pull. `report` is called by one thread at a time, and may come from any.

    `state` is what is being pulled and at which revision: what tells files without a SHA-256 from others of their path.

    Methods raise Unreachable, Denied, NotFound, HashMismatch, BadGGUF, UnsupportedModel, a StorageFault or Cancelled.
    """

    def __init__(
        self,
        store: Store,
        lease: Lease,
        source: Source,
        state: str,
        report: Report,
        cancelled: Cancel,
        manner: Manner,
        nearby: Nearby | None = None,
    ) -> None:
        self._store = store
        self._blobs = store.blobs
        self._lease = lease
        self._source = source
        self._state = state
        self._report = report
        self._cancelled = cancelled
        self._manner = manner
        self._nearby = nearby
        self._speaking = threading.RLock()
        self._shown: dict[Digest, int] = {}  # how far each file has been reported: that never goes back
        self._failed = threading.Event()

    def all(self, files: Sequence[RemoteFile]) -> dict[RemoteFile, Digest]:
        """Bring files into the store, small ones first and several at once; their digests.

        The first is the one that says what the others belong to.
        """
        late = set(files[1:])
        order = sorted(dict.fromkeys(files), key=lambda each: each.size)
        if len(order) < 2:
            return {file: self._one(file, file in late) for file in order}
        together = min(_TOGETHER, len(order))
        self._manner = replace(self._manner, connections=-(-self._manner.connections // together))
        with ThreadPoolExecutor(together, "file") as threads:
            work = {file: threads.submit(self._one, file, file in late) for file in order}
            done, pending = wait(work.values(), return_when=FIRST_EXCEPTION)
            errors = [error for each in done if (error := each.exception()) is not None]
            if errors:
                self._failed.set()
                for each in pending:
                    each.cancel()
                # What ended the others isn't what is wrong.
                raise next((each for each in errors if not isinstance(each, Cancelled)), errors[0])
            return {file: each.result() for file, each in work.items()}

    def small(self, file: RemoteFile) -> bytes:
        """A small file's bytes, checked against the hash that the source gives it."""
        if file.size > _SMALL:
            raise Unreachable(f"{file.path} should be small, and has {human_bytes(file.size)}")
        ingest = self._blobs.begin()
        try:
            download(self._source.open_at(file), ingest, file.size, lambda done: None, self._is_cancelled, self._manner)
            data = ingest.path.read_bytes()
            actual = ingest.digest()
        finally:
            ingest.abandon()
        if file.digest is not None:
            if actual != file.digest:
                raise HashMismatch(str(file.digest), str(actual), None)
        elif file.git_hash and (named := git_hash(data)) != file.git_hash:
            raise HashMismatch(f"git:{file.git_hash}", f"git:{named}", None)
        return data

    def share(self, files: Iterable[RemoteFile]) -> None:
        """Let other programs find the files in the source's cache, where that takes no space."""
        cache = self._source.cache
        if cache is None:
            return
        for file in files:
            if file.digest is None or cache.find(file) is not None or not self._blobs.is_ours_alone(file.digest):
                continue
            if cache.share(file, self._blobs.path(file.digest), self._store.disk):
                # A further name changes the file's stamp, and only that.
                self._blobs.stamp(file.digest)

    def check_room(self, files: Iterable[RemoteFile]) -> None:
        """Raise NoSpace where what is missing of the files would not find room."""
        missing = 0
        for file in set(files):
            if file.digest is not None and (self._blobs.has(file.digest, file.size) or self._is_at_hand(file)):
                continue
            missing += max(file.size - self._blobs.fetched(self._key(file)), 0)
        free = self._store.disk.free(self._store.root)
        if missing and free < missing * _ROOM:
            raise NoSpace(self._store.root, int(missing * _ROOM), free)

    def _one(self, file: RemoteFile, late: bool) -> Digest:
        """The digest of a file that is in the store when this returns."""
        if file.digest is None and file.git_hash:
            data = self.small(file)
            digest = digest_of(data)
            self._lease.hold(digest)
            return self._blobs.write(data, digest)
        size = file.size
        digest = self._key(file)
        self._lease.hold(digest)  # what has arrived is under this name, until it is whole
        with self._blobs.exclusive(digest, self._is_cancelled, lambda done: self._tell(digest, size, done)) as told:
            if file.digest is None:
                digest = self._download(file, digest, late, told)
            elif self._is_kept(file, digest) or self._is_at_others(file, digest):
                self._forget_unfinished(digest)
            else:
                self._download(file, digest, late, told)
        self._say(Progress("verifying sha256 digest", digest, size, size))
        return digest

    def _key(self, file: RemoteFile) -> Digest:
        """What a file under way is called: its digest, or else that of all that is known of it.

        Without a hash to go by, what an earlier try fetched counts for this very reference and revision alone.
        """
        return file.digest or digest_of(f"{self._state}\n{file.path}\n{file.size}".encode())

    def _forget_unfinished(self, digest: Digest) -> None:
        """Remove what a process left that died just before or after the file got its name."""
        for path in (self._blobs.part(digest), self._blobs.journal(digest)):
            if path.exists():
                with storage("removing what an earlier try left", path):
                    self._store.disk.remove(path)

    def _is_kept(self, file: RemoteFile, digest: Digest) -> bool:
        """Whether the store has the file already, and it is sound."""
        if not self._blobs.has(digest, file.size):
            return False
        try:
            self._blobs.ensure_intact(digest, cancelled=self._is_cancelled)
        except Corrupt as error:
            log.warning("%s; fetching it again", error)
            return False
        except StorageFault as error:
            if not self._is_foreign(error):
                raise
            log.warning("%s; fetching it, for a file of our own", error)
            return False
        with self._speaking:
            if digest in self._shown:  # somebody else has fetched it meanwhile
                self._tell(digest, file.size, file.size)
            else:
                self._shown[digest] = file.size
                self._say(Progress(f"{file.title} is here already", digest, file.size, file.size))
        return True

    def _is_at_others(self, file: RemoteFile, digest: Digest) -> bool:
        """Whether the file could be taken from another tool's place. One with wrong bytes stays there as it is."""
        for owner, path in self._places(file):
            status = f"reading {file.title} of {owner}"

            def tell(done: int, status: str = status) -> None:
                self._say(Progress(status, None, file.size, min(done, file.size)))

            try:
                tell(0)
                self._blobs.adopt(path, digest, progress=tell, cancelled=self._is_cancelled, owner=owner)
            except HashMismatch as error:
                log.warning("%s has a bad %s, which is passed over: %s (%s)", owner, file.title, path, error)
            except (BadSource, StorageFault) as error:
                if isinstance(error, StorageFault) and not self._is_foreign(error):
                    raise
                log.info("can't take %s of %s: %s", file.title, owner, error)
            else:
                self._tell(digest, file.size, file.size)
                return True
        return False

    def _is_foreign(self, error: StorageFault) -> bool:
        """Whether it is another tool's file that can't be read, and not our disk or the whole machine in trouble."""
        if isinstance(error, NoSpace) or getattr(error.__cause__, "errno", None) in EXHAUSTED:
            return False
        return self._store.root not in error.path.parents

    def _places(self, file: RemoteFile) -> list[tuple[str, Path]]:
        """Where files lie on this machine that should be this one, and whose they are; of its length, at least."""
        found = []
        if self._source.cache is not None and (path := self._source.cache.find(file)) is not None:
            found.append((HUB_CACHE, path))
        if self._nearby is not None and file.digest is not None:
            found += [each for each in self._nearby(file.digest) if each not in found]
        return [(owner, path) for owner, path in found if _size(path) == file.size]

    def _download(self, file: RemoteFile, digest: Digest, late: bool, told: Callable[[int], None]) -> Digest:
        journal = self._blobs.journal(digest)
        if file.digest is None and not journal.exists():
            self._forget_unfinished(digest)  # nothing says of what state of the file those bytes are
        if self._blobs.part(digest).exists():
            self._say(Progress(f"reading what an earlier try fetched of {file.title}"))
        ingest = self._blobs.begin(digest)
        try:
            self._receive(file, digest, ingest, journal, late, told)
            if file.digest is None:
                self._lease.hold(ingest.digest())
            return self._blobs.commit(ingest, file.digest, file.size)
        except (HashMismatch, BadGGUF, UnsupportedModel) as error:
            ingest.abandon()
            if not ingest.resumed:
                raise
            # Bytes from an earlier try may have been lost with the power: once more, from nothing.
            log.warning("%s: %s; fetching it anew", file.title, error)
            with storage("beginning a download anew", journal):
                self._store.disk.remove(journal)
            return self._download(file, digest, late, told)
        finally:
            ingest.keep()
            part = self._blobs.part(digest)
            if not (part.exists() and part.stat().st_size):
                ingest.abandon()
                with suppress(OSError):  # what stays is swept one day, and does no harm
                    self._store.disk.remove(journal)

    def _receive(
        self,
        file: RemoteFile,
        digest: Digest,
        ingest: Ingest,
        journal: Path,
        late: bool,
        told: Callable[[int], None],
    ) -> None:
        looks = [each for each in _LOOKS if each < file.size]

        def arrived(done: int) -> None:
            told(done)
            self._tell(digest, file.size, done)

        def grown(prefix: int) -> None:
            if looks and prefix >= looks[0]:
                looks[:] = [each for each in looks if each > prefix]
                if _is_sound(ingest.path, file, late, prefix):
                    looks.clear()

        opener = self._source.open_at(file)
        download(
            opener,
            ingest,
            file.size,
            arrived,
            self._is_cancelled,
            self._manner,
            journal=journal,
            grown=grown,
            certain=file.digest is not None,
        )

    def _is_at_hand(self, file: RemoteFile) -> bool:
        """Whether another tool has the file where it can be shared rather than copied."""
        device = self._store.root.stat().st_dev
        return any(self._blobs.may_refer_to(path) or path.stat().st_dev == device for _, path in self._places(file))

    def _is_cancelled(self) -> bool:
        return self._failed.is_set() or self._cancelled()

    def _tell(self, digest: Digest, size: int, count: int) -> None:
        """Report how far a file is: never less than before, and no more often than anyone could watch."""
        count = min(count, size)
        with self._speaking:
            if is_news(self._shown.get(digest, -1), count, size):
                self._shown[digest] = count
                self._say(Progress(f"pulling {digest.short}", digest, size, count))

    def _say(self, progress: Progress) -> None:
        with self._speaking:
            self._report(progress)


def _is_sound(path: Path, file: RemoteFile, late: bool, there: int) -> bool:
    """Look at a header before the rest arrives; False if more than the first `there` bytes is needed for that.

    `late` files are further shards and projectors, which need the whole set to be checked.
    """
    try:
        header = read_header(path, file_size=file.size, at_hand=there)
        if not late and shard_position(header)[1] == 1:
            check_gguf(header)
    except Truncated:
        if not late:  # its architecture stands in the first bytes, the header's end megabytes on
            with path.open("rb") as beginning:
                require_known(peek(beginning.read(min(there, _LOOKS[0]))))
        return False
    except BadGGUF as error:
        raise type(error)(error.reason, file.title) from error
    return True


def _size(path: Path) -> int | None:
    """A file's bytes; None where it can't be looked at."""
    try:
        return path.stat().st_size
    except OSError:
        return None
