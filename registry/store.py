"""The store: models by name over blobs by digest. Lists, shows, copies, removes, prunes and publishes.

One process holds it at a time; within it any thread may call. Knows no network and no Modelfile's making:
`create` and `pull` bring blobs and a manifest, and the store makes them a model.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from modelfiles.near import near
from registry.blobs import Blobs
from registry.collect import (
    KEEP_SECONDS,
    Age,
    Garbage,
    Pruned,
    discard,
    marked,
    outstayed,
    stray_stamps,
    unfinished,
    unneeded,
)
from registry.digests import Digest
from registry.disk import Disk, is_exhausted, storage
from registry.errors import BadManifest, BadSource, Corrupt, NotFound, RegistryError, StorageFault
from registry.layout import check_format, tidy
from registry.lock import StoreLock
from registry.manifest import ADAPTER, WEIGHTS, Manifest
from registry.manifests import Manifests, Stamp, stamp_of
from registry.names import Name
from registry.quarantine import Quarantined, quarantined
from registry.stored import BrokenModel, Sizes, StoredModel, load, require_blobs, require_short_texts

log = logging.getLogger(__name__)

DEFAULT_GRACE = 3600.0
"""Seconds that a blob without a model is kept: an upload waits this long for its create."""

NOTHING = b""
"""What `publish` is to expect under a name that must be free, or have the same model."""

_LATEST = ":latest"
_OUTDATED: Stamp = (0, 0, 0, 0)

_Entry = tuple[Stamp, StoredModel | BrokenModel]


class Lease:
    """Keeps digests from being pruned until it is released. Use with `with`; made by `Store.lease`."""

    def __init__(self, take: Callable[[Digest], None], drop: Callable[[Digest], None]) -> None:
        self._take = take
        self._drop = drop
        self._held: list[Digest] = []

    @property
    def held(self) -> frozenset[Digest]:
        """What it protects now."""
        return frozenset(self._held)

    def hold(self, digest: Digest) -> None:
        """Protect one more digest. Hold first, look whether the blob is there after."""
        self._take(digest)
        self._held.append(digest)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let go of everything held so far."""
        while self._held:
            self._drop(self._held.pop())


@dataclass(frozen=True, slots=True)
class Filed:
    """A manifest as it lies there: its bytes, and what they say, or why they say nothing."""

    name: Name
    path: Path
    data: bytes
    manifest: Manifest | None
    reason: str = ""


class Store:
    """An open store. `root` is its folder, `blobs` its content. Close it, or use it with `with`."""

    def __init__(self, root: Path, lock: StoreLock, disk: Disk, age: Age) -> None:
        self.root = root
        self.blobs = Blobs(root, disk)
        self.disk = disk
        self._manifests = Manifests(root, disk)
        self._process_lock = lock
        self._lock = threading.RLock()
        # Leases live in memory: the store's lock says that no other process is at work here.
        self._leased: Counter[Digest] = Counter()
        self._read: dict[Path, _Entry] = {}
        self._age = age
        # Uploads wait for their create, by the time that they came: a clock that no one can set.
        self._awaited: dict[Digest, float] = {}
        self._moved = 0  # up to which change of references all that is remembered is right
        self._when_names_change: Callable[[], None] = lambda: None

    @classmethod
    def open(cls, root: Path, disk: Disk | None = None, age: Age | None = None) -> Store:
        """Open the store in a folder, which is made if need be.

        Raises Locked if another process has it, StoreTooNew if a later Runner wrote it, or a StorageFault. A
        read-only store opens and can be read.
        """
        disk = disk or Disk()
        root = Path(os.path.abspath(root))
        check_format(root)
        with storage("opening the store", root):
            disk.make_dir(root)
            lock = StoreLock.acquire(root / "lock", root, disk)
        age = age or Age()
        try:
            check_format(root)
            tidy(root, disk, age)
        except BaseException:
            lock.release()
            raise
        return cls(root, lock, disk, age)

    def close(self) -> None:
        """Let another process open the store. Calling it twice is fine."""
        self._process_lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def list(self) -> tuple[StoredModel, ...]:
        """Every whole model, the one changed last first. A broken one hides only itself: see `broken`."""
        found = (each for each in self._scan() if isinstance(each, StoredModel))
        return tuple(sorted(found, key=lambda each: (-each.modified_at.timestamp(), str(each.name))))

    def broken(self) -> tuple[BrokenModel, ...]:
        """Every name whose manifest or blobs can't be used."""
        return tuple(each for each in self._scan() if isinstance(each, BrokenModel))

    def names(self) -> tuple[Name, ...]:
        """Every name, of whole models and broken ones. Raises a StorageFault where the folder can't be read."""
        return tuple(name for name, _ in self._manifests.all())

    def when_names_change(self, tell: Callable[[], None]) -> None:
        """Have `tell` called after each name that comes or goes, on the thread that did it; it must be quick."""
        self._when_names_change = tell

    def has(self, name: Name | str) -> bool:
        """Whether there is a manifest of this name, whole or broken."""
        return self._manifests.find(_named(name)) is not None

    def show(self, name: Name | str) -> StoredModel:
        """One model. Raises NotFound with near names, or Corrupt saying what is broken."""
        wanted = _named(name)
        with self._lock:
            found = self._manifests.find(wanted)
            entry = self._entry(*found, self.blobs.size_if_there) if found is not None else None
        if entry is None:
            raise self._not_found(wanted)
        if isinstance(entry, BrokenModel):
            raise Corrupt(f"model '{entry.name}' is broken: {entry.reason}")
        return entry

    def copy(self, source: Name | str, target: Name | str) -> StoredModel:
        """Give a model a second name; takes no space. An existing model of that name is replaced."""
        with self._lock:
            return self.publish(target, self.show(source).manifest)

    def remove(self, name: Name | str) -> Pruned:
        """Remove a name, and the blobs that no other name needs: these are the answer. Works on broken ones.

        Raises NotFound.
        """
        wanted = _named(name)
        with self._lock:
            found = self._manifests.find(wanted)
            if found is None:
                # A process may have died in the middle of removing it: what isn't here shall not come back.
                self._manifests.settle_all()
                raise self._not_found(wanted)
            path = found[1]
            own = marked([self._found(path)]) | self._remembered(path)
            self._manifests.remove(path)
            self._read.pop(path, None)
            self._when_names_change()
            return Pruned.of(self._drop_unneeded(own))

    def prune(self, grace: float = DEFAULT_GRACE, dry_run: bool = False) -> Pruned:
        """Remove what no model needs and nobody is using, if it is older than `grace` seconds.

        An upload waits an hour for its create, whatever `grace` is: see `expect`. Unfinished downloads and quarantined
        bytes are kept for a week, unless `grace` is 0. With `dry_run` nothing is removed: the answer is what would be.
        """
        with self._lock, storage("pruning", self.root):
            found: tuple[Garbage, ...] = self._garbage(grace)
            if found and not dry_run:
                self._manifests.settle_all()
                found = discard(found, self.blobs, self.disk)
        return Pruned.of(found)

    def quarantined(self) -> tuple[Quarantined, ...]:
        """What was put aside because it wasn't what it should be, the latest last."""
        with storage("looking at the quarantine", self.root / "quarantine"):
            return quarantined(self.root / "quarantine", self.disk)

    def unfinished(self) -> tuple[Garbage, ...]:
        """Downloads and uploads that are under way, or were broken off."""
        with storage("looking at unfinished downloads", self.root / "ingest"):
            return tuple(unfinished(self.root / "ingest", (), 0.0, self._age, all_others=True))

    def expect(self, digest: Digest) -> None:
        """Keep a blob that was uploaded, or would have been, for the create that will name it: for an hour."""
        with self._lock:
            self._awaited[digest] = time.monotonic()

    def manifests(self) -> tuple[Filed, ...]:
        """Every manifest, read from the disk whatever is remembered; one that can't be read tells why."""
        return tuple(self._as_filed(name, path) for name, path in self._manifests.all())

    def publish(self, name: Name | str, manifest: Manifest, expected: bytes | None = None) -> StoredModel:
        """Make a manifest's blobs a model: durable, and visible from here on. Replaces one of the same name.

        What the replaced one alone needed is removed. Raises Corrupt if a blob isn't there, or BadManifest for too
        much text. With `expected` only a manifest of these bytes is replaced (of none, nothing is), and BadSource is
        raised for another one.
        """
        wanted = _named(name)
        with self._lock:
            require_blobs(manifest, self.blobs.size_if_there, self.blobs.why_missing)
            require_short_texts(manifest)
            data = manifest.to_json()
            existing = self._manifests.find(wanted)
            replaced = self._found(existing[1]) if existing is not None else b""
            if existing is not None and replaced == data:
                # It may be there since a moment before the last process died, and not durable yet.
                self._manifests.settle(existing[1])
            elif expected is not None and existing is not None and (not replaced or replaced != expected):
                raise BadSource(not_replaced(wanted))
            else:
                path = self._manifests.put(existing[0] if existing is not None else wanted, data)
                self._read.pop(path, None)
                if existing is None:
                    self._when_names_change()
                self._drop_unneeded(marked([replaced]))
            for layer in manifest.blobs:
                self._awaited.pop(layer.digest, None)
            return self.show(wanted)

    def discard(self, digests: Collection[Digest]) -> None:
        """Remove these blobs where no model and no lease needs them: what a failed create brought along."""
        with self._lock:
            self._drop_unneeded(digests)

    def lease(self) -> Lease:
        """A lease for what is on its way to becoming a model."""
        return Lease(self._take, self._drop)

    def check(
        self,
        model: StoredModel,
        progress: Callable[[int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Make sure that a model's weights are what they were; costs a look at each file unless one changed.

        Raises Corrupt, after which the model is broken. Call it before weights go to native code.
        """
        for layer in model.manifest.layers:
            if layer.media_type in WEIGHTS:
                try:
                    self.blobs.ensure_intact(layer.digest, progress, cancelled)
                except Corrupt as error:
                    raise Corrupt(f"model '{model.name}': {error}") from error

    def keep_adapters(self, model: StoredModel) -> StoredModel:
        """The model with adapters that are files of the store, where some were references still.

        Raises Corrupt, or a StorageFault where that couldn't be done.
        """
        made = [self.blobs.keep(layer.digest) for layer in model.manifest.of(ADAPTER)]
        return self.show(model.name) if any(made) else model

    def _scan(self) -> tuple[StoredModel | BrokenModel, ...]:
        with self._lock:
            # One look at the folder of blobs serves all manifests.
            sizes = {digest: status.st_size for digest, status in self.blobs.all()}
            found = {path: self._entry(name, path, sizes.get) for name, path in self._manifests.all()}
            for gone in self._read.keys() - found.keys():
                del self._read[gone]
        return tuple(each for each in found.values() if each is not None)

    def _entry(self, name: Name, path: Path, sizes: Sizes) -> StoredModel | BrokenModel | None:
        """What a manifest's file holds now: from memory if nothing has changed since. None if it is gone."""
        try:
            self._forget_paths()
            known = self._read.get(path)
            if known is not None and known[0] == stamp_of(os.stat(path)) and isinstance(known[1], StoredModel):
                require_blobs(known[1].manifest, sizes, self.blobs.why_missing)
                return known[1]
            data, status = self._manifests.read(path)
            modified = datetime.fromtimestamp(status.st_mtime, UTC)
            model = load(name, data, modified, self.blobs, sizes)
        except FileNotFoundError:
            return None
        except (RegistryError, OSError) as error:
            if is_exhausted(error):
                with storage("reading the store", path):
                    raise
            # Where a command heals, it is given as it is to be typed.
            return BrokenModel(name, path, str(error).replace("runner verify --", f"runner verify {name} --"))
        self._read[path] = (stamp_of(status), model)
        return model

    def _forget_paths(self) -> None:
        """Have models be read again whose files lie elsewhere now."""
        self._moved, changed = self.blobs.references.changed(self._moved)
        if not changed:
            return
        for path, (_, entry) in self._read.items():
            # What it was stays known: a manifest that can't be read any more protects what it had.
            if isinstance(entry, StoredModel) and not changed.isdisjoint(each.digest for each in entry.manifest.blobs):
                self._read[path] = (_OUTDATED, entry)

    def _drop_unneeded(self, digests: Collection[Digest]) -> tuple[Garbage, ...]:
        if not digests:
            return ()
        try:
            # What a power failure brings back of manifests must find its blobs.
            garbage = list(unneeded(self.blobs, self._needed(), 0.0, self._age, only=digests))
            if garbage:
                self._manifests.settle_all()
            return discard(garbage, self.blobs, self.disk)
        except (OSError, StorageFault) as error:
            # What was asked for is done by now; the next prune finds the blobs.
            log.warning("unneeded blobs were kept: %s", error)
            return ()

    def _garbage(self, grace: float) -> tuple[Garbage, ...]:
        keep = KEEP_SECONDS if grace > 0 else 0.0
        return (
            *unneeded(self.blobs, self._needed(), grace, self._age),
            *unfinished(self.root / "ingest", self._leased, keep, self._age, all_others=False),
            *outstayed(self.root / "quarantine", keep, self._age),
            *stray_stamps(self.blobs, grace, self._age),
        )

    def _needed(self) -> set[Digest]:
        """Digests that a manifest, a lease or an upload of the last hour refers to.

        A manifest that can't be parsed counts by the digests that it shows, and by those that it had when it was whole.
        """
        paths = [path for _, path in self._manifests.all()]
        now = time.monotonic()
        self._awaited = {each: when for each, when in self._awaited.items() if now - when < DEFAULT_GRACE}
        needed = set(self._leased).union(*(self._referred(path) for path in paths))
        return needed | self._awaited.keys()

    def _referred(self, path: Path) -> set[Digest]:
        """What a manifest refers to. Raises StorageFault for one that never could be read: anything may be its."""
        known = self._remembered(path)
        try:
            return known | marked([self._manifests.contents(path)])
        except OSError:
            if known:
                return known
            with storage("reading a manifest, without which nothing can be pruned,", path):
                raise

    def _remembered(self, path: Path) -> set[Digest]:
        known = self._read.get(path)
        if known is None or not isinstance(known[1], StoredModel):
            return set()
        return {layer.digest for layer in known[1].manifest.blobs}

    def _as_filed(self, name: Name, path: Path) -> Filed:
        data = b""
        try:
            data = self._manifests.read(path)[0]
            return Filed(name, path, data, Manifest.from_json(data))
        except BadManifest as error:
            return Filed(name, path, data, None, str(error))
        except OSError as error:
            if is_exhausted(error):
                with storage("reading the store", path):
                    raise
            return Filed(name, path, data, None, f"manifest: {error.strerror or error}")

    def _found(self, path: Path) -> bytes:
        """A manifest's bytes, none if it can't be read: it is about to go."""
        try:
            return self._manifests.contents(path)
        except OSError:
            return b""

    def near(self, wanted: Name) -> tuple[str, ...]:
        """Names of the store that this one, which isn't there, may have meant."""
        # By the model first: a place or a tag in common makes no two names alike.
        with self._lock:
            alike = [name for name, _ in self._manifests.all() if near(wanted.model, (name.model,))]
        plain = {str(name).removesuffix(_LATEST): str(name) for name in alike}
        found = near(str(wanted).removesuffix(_LATEST), plain)
        return tuple(plain[each] for each in found) or tuple(plain.values())[:3]

    def _not_found(self, wanted: Name) -> NotFound:
        return NotFound(str(wanted), self.near(wanted))

    def _take(self, digest: Digest) -> None:
        with self._lock:
            self._leased[digest] += 1

    def _drop(self, digest: Digest) -> None:
        with self._lock:
            self._leased[digest] -= 1
            if self._leased[digest] <= 0:
                del self._leased[digest]


def not_replaced(name: Name) -> str:
    """What to tell somebody whose model would take another one's name."""
    return (
        f"{name}: there is another model of this name already, and it isn't replaced; "
        f"remove it (runner rm {name}), or give it another name first (runner cp)"
    )


def _named(name: Name | str) -> Name:
    return Name.parse(name) if isinstance(name, str) else name
