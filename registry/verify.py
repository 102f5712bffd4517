"""Verify: every byte of the store held against its digest, every manifest against its blobs.

What is wrong is put aside and named with its full digest, its path and the models that need it. How it comes back,
`repair` knows; how bytes are fetched, the caller.
"""

from __future__ import annotations

import logging
import math
import os
import random
import re
import secrets
import stat
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from registry.digests import Digest
from registry.disk import is_exhausted
from registry.errors import BadBlob, Cancelled, Corrupt, NotFound, StorageFault
from registry.manifest import Layer, Manifest
from registry.names import Name
from registry.progress import Cancel, Progress, Report, never, unheard
from registry.quarantine import Quarantined
from registry.repair import Bad, Fetch, Outcome, Repair, advice
from registry.store import Filed, Store

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_MISSING = "is missing"
_STEP = 8 << 20  # bytes between two words about how far it is
_SAMPLE = re.compile(r"(?P<share>[0-9]{1,3}(?:\.[0-9]+)?)%|(?P<count>[0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Sample:
    """How much to hash: a share from 0 to 1, or a number of blobs. `seed` chooses which, and gives the same again."""

    share: float | None = None
    count: int | None = None
    seed: int = field(default_factory=lambda: secrets.randbits(32))

    @classmethod
    def parse(cls, text: str, seed: int | None = None) -> Sample:
        """Read '5%' or '20'; raises ValueError saying what is wanted."""
        found = _SAMPLE.fullmatch(text.strip())
        share = float(found["share"]) / 100 if found is not None and found["share"] else None
        count = int(found["count"]) if found is not None and found["count"] else None
        if found is None or count == 0 or share == 0 or (share is not None and share > 1):
            raise ValueError("must be a share such as 5%, or a number of blobs")
        return cls(share, count) if seed is None else cls(share, count, seed)

    def of(self, items: Sequence[_T]) -> list[_T]:
        """So many of the items, at least one; which, the seed says."""
        wanted = self.count if self.share is None else math.ceil(self.share * len(items))
        return random.Random(self.seed).sample(items, min(max(wanted or 0, 1), len(items)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verification found. `blobs` of `there` were hashed, which are `size` bytes; `seed` is a sample's.

    `unfinished` and `quarantined` are leftovers, which are nothing bad.
    """

    models: int
    blobs: int
    there: int
    size: int
    seed: int | None
    bad: tuple[Bad, ...]
    unfinished: int
    unfinished_size: int
    quarantined: tuple[Quarantined, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is broken any more."""
        return all(each.outcome != "broken" for each in self.bad)


def verify(
    store: Store,
    *,
    models: Iterable[Name | str] = (),
    sample: Sample | None = None,
    repair: bool = False,
    fetch: Fetch | None = None,
    progress: Report = unheard,
    cancelled: Cancel = never,
) -> Verified:
    """Look at everything, or at `models` and what they need; hash all blobs, or a `sample` of them.

    Bad blobs go to quarantine, so that their models show as broken. With `repair`, `fetch` brings them back. Raises
    NotFound for a model that isn't there, Cancelled (what was hashed till then is known to be good), or a StorageFault
    where the disk can't be read at all.
    """
    filed = store.manifests()
    chosen = _chosen(filed, models)
    look = _Look(store, filed, chosen, progress, cancelled)
    hashed, size = look.at_blobs(sample, all_blobs=chosen is filed)
    look.at_manifests()
    bad = look.still_bad()
    if bad and repair:
        bad = Repair(store, filed, fetch, progress, cancelled).all(bad)
    else:
        bad = tuple(each if each.outcome == "repaired" else replace(each, advice=advice(each, filed)) for each in bad)
    left = store.unfinished()
    return Verified(
        models=len(chosen),
        blobs=hashed,
        there=look.there,
        size=size,
        seed=sample.seed if sample is not None else None,
        bad=bad,
        unfinished=len(left),
        unfinished_size=sum(each.size for each in left),
        quarantined=store.quarantined(),
    )


def _chosen(filed: tuple[Filed, ...], models: Iterable[Name | str]) -> tuple[Filed, ...]:
    wanted = {(Name.parse(each) if isinstance(each, str) else each).key: str(each) for each in models}
    missing = wanted.keys() - {each.name.key for each in filed}
    if missing:
        raise NotFound(wanted[min(missing)])
    return tuple(each for each in filed if each.name.key in wanted) if wanted else filed


class _Look:
    """One look at the store, blob by blob and manifest by manifest. `bad` grows."""

    def __init__(
        self,
        store: Store,
        filed: tuple[Filed, ...],
        chosen: tuple[Filed, ...],
        progress: Report,
        cancelled: Cancel,
    ) -> None:
        self.store = store
        self.chosen = chosen
        self.progress = progress
        self.cancelled = cancelled
        self.users = _users(filed)
        self.bad: list[Bad] = []
        self.there = 0

    def at_blobs(self, sample: Sample | None, all_blobs: bool) -> tuple[int, int]:
        """Look at every blob that is wanted, and hash those of the sample; how many those were, and their bytes."""
        blobs = self.store.blobs
        there = {**dict(blobs.all()), **dict(blobs.own(odd=True))}
        needed = _users(self.chosen).keys()
        wanted = sorted({*there, *blobs.references.digests(), *needed} if all_blobs else needed)
        self.there = len(wanted)
        sound = [digest for digest in wanted if not self._is_odd(digest)]
        to_hash = sound if sample is None else sorted(sample.of(sound)) if sound else []
        total = sum(there[digest].st_size for digest in to_hash if digest in there)
        done = 0
        for digest in to_hash:
            self._hash(digest, done, total)
            done += there[digest].st_size if digest in there else 0
        self.progress(Progress("verifying blobs", None, total, total))
        return len(to_hash), total

    def at_manifests(self) -> None:
        """Look at what manifests say, and at the small blobs that describe a model."""
        named = {name for each in self.bad if each.outcome == "broken" for name in each.models}
        for each in self.chosen:
            if each.manifest is None:
                self._note(each.path, each.reason, each)
            elif str(each.name) not in named:
                try:
                    self.store.show(each.name)
                except NotFound:
                    continue  # somebody removed it meanwhile
                except Corrupt as error:
                    if any(not self.store.blobs.has(layer.digest) for layer in each.manifest.blobs):
                        continue  # put aside, or removed with another model, since we looked
                    reason = str(error).partition("is broken: ")[2] or str(error)
                    self._note(each.path, reason, each)

    def still_bad(self) -> tuple[Bad, ...]:
        """All that is bad, without what only went while we looked, together with the models that needed it."""
        if not any(each.reason == _MISSING for each in self.bad):
            return tuple(self.bad)
        needed = _users(self.store.manifests())
        return tuple(each for each in self.bad if each.reason != _MISSING or each.digest in needed)

    def _is_odd(self, digest: Digest) -> bool:
        if self.cancelled():
            raise Cancelled("cancelled while verifying")
        reason = self.store.blobs.odd(digest)
        if not reason:
            return False
        if self._mended(digest):
            # Only its mode was wrong, and it has that back; it is hashed like the others.
            self._found(digest, reason, None, "repaired")
            return False
        if self._is_shut(digest):
            if digest in self.users:
                self._found(digest, f"{reason}, and other programs have it too", None, is_shut=True)
            return True
        kept = None if reason == _MISSING else self.store.blobs.condemn(digest, reason)
        if digest in self.users or kept is not None:
            self._found(digest, reason, kept.quarantined if kept is not None else None)
        return True

    def _mended(self, digest: Digest) -> bool:
        try:
            return self.store.blobs.mend(digest)
        except StorageFault as error:
            log.warning("%s", error)
            return False

    def _is_shut(self, digest: Digest) -> bool:
        """Whether only the mode is wrong with a file that isn't ours alone: its owner can undo that, and we mustn't."""
        with suppress(FileNotFoundError):
            found = os.lstat(self.store.blobs.path(digest))
            is_shut = os.name == "posix" and not found.st_mode & 0o444
            return stat.S_ISREG(found.st_mode) and found.st_nlink > 1 and is_shut
        return False

    def _hash(self, digest: Digest, before: int, total: int) -> None:
        said = 0

        def heard(count: int) -> None:
            nonlocal said
            if count - said >= _STEP:
                said = count
                self.progress(Progress("verifying blobs", None, total, min(before + count, total)))

        self.progress(Progress("verifying blobs", None, total, min(before, total)))
        try:
            self.store.blobs.rehash(digest, heard, self.cancelled)
        except BadBlob as error:
            self._found(digest, error.reason, error.quarantined)
        except Corrupt:
            if digest in self.users:  # gone while we looked
                self._found(digest, _MISSING, None)
        except StorageFault as error:
            if is_exhausted(error):
                raise
            # It may be the cable: the file stays where it is, and is hashed again before anybody uses it.
            self.store.blobs.forget(digest)
            self._found(digest, f"can't be read: {error}", None)

    def _found(
        self, digest: Digest, reason: str, kept: Path | None, outcome: Outcome = "broken", is_shut: bool = False
    ) -> None:
        blobs = self.store.blobs
        reference = blobs.references.get(digest)
        bad = Bad(
            kind="blob",
            path=blobs.path(digest),
            digest=digest,
            reason=reason,
            models=_names(self.users.get(digest, ())),
            quarantined=kept,
            outcome=outcome,
            is_shut=is_shut,
            lies_at=reference.path if reference is not None else None,
        )
        self._add(bad)

    def _note(self, path: Path, reason: str, user: Filed) -> None:
        self._add(Bad(kind="manifest", path=path, digest=None, reason=reason, models=_names([user])))

    def _add(self, bad: Bad) -> None:
        self.bad.append(bad)
        self.progress(Progress(f"bad {bad.kind} {bad.digest or bad.path}: {bad.reason}"))


def _names(users: Iterable[Filed]) -> tuple[str, ...]:
    return tuple(sorted({str(each.name) for each in users}))


def _users(filed: Iterable[Filed]) -> dict[Digest, list[Filed]]:
    """Who needs each blob."""
    users: dict[Digest, list[Filed]] = defaultdict(list)
    for each in filed:
        for digest in dict.fromkeys(layer.digest for layer in _layers(each.manifest)):
            users[digest].append(each)
    return dict(users)


def _layers(manifest: Manifest | None) -> Collection[Layer]:
    return manifest.blobs if manifest is not None else ()
