"""Repair: what is bad in the store, and how it comes back from where its model came, at the very revision that it had.

Knows no network: how to fetch is given. What is bad, `verify` finds.
"""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from registry import embedded
from registry.digests import Digest
from registry.disk import is_exhausted
from registry.errors import BadDigest, BadSource, Cancelled, Corrupt, NotFound, RegistryError, StorageFault
from registry.manifest import EMBEDDED, RECIPE, REFERENCE, REVISION, TITLE, WEIGHTS
from registry.progress import Cancel, Progress, Report
from registry.resolve import Pin, Wanted
from registry.store import Filed, Store

log = logging.getLogger(__name__)

Fetch = Callable[[Wanted, Report, Cancel], object]
"""Brings a model into the store from where it is published, as `pull` does."""
Kind = Literal["blob", "manifest"]
Outcome = Literal["broken", "repaired", "not needed"]

_TEXT = r'"((?:[^"\\]|\\.)*)"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """One thing that is wrong: a blob or a manifest, what is wrong with it, and what became of it.

    `digest` is a blob's. `models` are all that need it. `advice` says what to do about it, where there is something.
    `is_shut` if it is a file that others have too, of which only the mode is wrong: it stays where it is. `lies_at` is
    where another program's file is, or was, that the blob is.
    """

    kind: Kind
    path: Path
    digest: Digest | None
    reason: str
    models: tuple[str, ...]
    quarantined: Path | None = None
    outcome: Outcome = "broken"
    advice: str = ""
    is_shut: bool = False
    lies_at: Path | None = None


@dataclass(frozen=True, slots=True)
class Repair:
    """Brings back what can be brought back, model by model."""

    store: Store
    filed: tuple[Filed, ...]
    fetch: Fetch | None
    progress: Report
    cancelled: Cancel

    def all(self, bad: tuple[Bad, ...]) -> tuple[Bad, ...]:
        """What became of each."""
        failures: dict[str, str] = {}
        by_name = {str(each.name): each for each in self.filed}
        for each in bad:
            if each.is_shut:
                continue
            if each.digest is not None and any(origin(by_name[name]) is not None for name in each.models):
                self._put_aside(each.digest)
            if each.digest is not None and each.models:
                self._find_aside(each.digest)
        shut = {name for each in bad if each.is_shut for name in each.models}
        for name in dict.fromkeys(name for each in bad for name in each.models if name not in shut):
            # Another model's repair may have brought back what this one needs.
            if not self._is_whole(name):
                failures[name] = self._bring_back(by_name[name])
        return tuple(self._judged(each, failures) for each in bad)

    def _bring_back(self, broken: Filed) -> str:
        """Why a model couldn't be repaired; nothing if it could."""
        wanted = origin(broken)
        if wanted is None:
            return ""
        if self.fetch is None:
            return "there is no way to fetch here"
        self.progress(Progress(f"repairing {broken.name}"))
        try:
            self.fetch(wanted, self.progress, self.cancelled)
        except Cancelled:
            raise
        except RegistryError as error:
            log.warning("%s can't be repaired: %s", broken.name, error)
            return str(error)
        return "" if self._is_whole(str(broken.name)) else "what was fetched isn't what it was made of"

    def _put_aside(self, digest: Digest) -> None:
        """Move a blob that still can't be read, so that another can take its place."""
        if self.store.blobs.has(digest):
            try:
                self.store.blobs.ensure_intact(digest, cancelled=self.cancelled)
            except StorageFault as error:
                if is_exhausted(error):
                    raise  # it says nothing about the file
                self.store.blobs.condemn(digest, str(error))
            except Corrupt as error:
                log.info("%s", error)

    def _find_aside(self, digest: Digest) -> None:
        """Take a missing blob from the quarantine, where its bytes lie if they stood under another's name."""
        if self.store.blobs.has(digest):
            return
        for each in self.store.quarantined():
            if each.actual == str(digest):
                try:
                    self.store.blobs.adopt(each.path, digest, cancelled=self.cancelled)
                except (BadSource, Corrupt, StorageFault) as error:
                    log.info("%s", error)

    def _is_whole(self, name: str) -> bool:
        try:
            for layer in self.store.show(name).manifest.blobs:
                self.store.blobs.ensure_intact(layer.digest, cancelled=self.cancelled)
        except (Corrupt, NotFound):
            return False
        except StorageFault as error:
            if is_exhausted(error):
                raise
            return False
        return True

    def _judged(self, bad: Bad, failures: Mapping[str, str]) -> Bad:
        if bad.digest is not None and not bad.models:
            return replace(bad, outcome="not needed")
        if bad.is_shut:
            return replace(bad, advice=advice(bad, self.filed))
        if all(self._is_whole(name) for name in bad.models):
            return replace(bad, outcome="repaired")
        why = next((failures[name] for name in bad.models if failures.get(name)), "")
        words = advice(bad, self.filed, tried=True)
        return replace(bad, advice=f"{why}; {words}" if why else words)


def origin(broken: Filed) -> Wanted | None:
    """What to pull to have a broken model back as it was, or None where nothing tells.

    A manifest that is no JSON any more is searched for what it says of its origin.
    """
    notes, digests = _told(broken)
    if EMBEDDED in notes or (broken.manifest is None and broken.name.key == embedded.NAME.key):
        return Wanted(reference=str(embedded.NAME))
    if REFERENCE not in notes or REVISION not in notes:
        return None
    return Wanted(reference=notes[REFERENCE], name=str(broken.name), pin=Pin(notes[REVISION], digests))


def _told(broken: Filed) -> tuple[Mapping[str, str], tuple[tuple[str, Digest], ...]]:
    """A manifest's annotations, and the digests of its GGUF files by their titles, as far as they can be made out."""
    if broken.manifest is not None:
        layers = broken.manifest.layers
        files = tuple((each.title, each.digest) for each in layers if each.media_type in WEIGHTS and each.title)
        return broken.manifest.annotations, files
    text = broken.data.decode("utf-8", "replace")
    try:
        read = json.loads(text)
        notes = {key: each for key, each in read["annotations"].items() if isinstance(each, str)}
        titled = ((each["annotations"][TITLE], each) for each in read["layers"] if each["mediaType"] in WEIGHTS)
        return notes, tuple((title, Digest.parse(each["digest"])) for title, each in titled)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadDigest):
        return _searched(text), ()


def _searched(text: str) -> dict[str, str]:
    notes = {}
    for key in (REFERENCE, REVISION, EMBEDDED):
        found = re.search(f'"{re.escape(key)}":\\s*{_TEXT}', text)
        if found is not None:
            with suppress(ValueError):  # half of an escape
                notes[key] = str(json.loads(f'"{found[1]}"', strict=False))
    return notes


def advice(bad: Bad, filed: tuple[Filed, ...], tried: bool = False) -> str:
    """What to do about something bad; `tried` if repair has failed."""
    if not bad.models:
        return "no model needs it"
    if bad.is_shut:
        return f"make it readable again: chmod a+r {shlex.quote(str(bad.path))}"
    broken = [each for each in filed if str(each.name) in bad.models]
    known = [each for each in broken if origin(each) is not None]
    if known:
        return "try again later" if tried else "`runner verify --repair` fetches it again, at the same revision"
    name = bad.models[0]
    if bad.kind == "manifest":
        return f"nothing tells where {name} came from: pull or create it again, or `runner rm {name}`"
    if bad.lies_at is not None:
        file = shlex.quote(str(bad.lies_at))
        return f"put the file back as it was; or `runner rm {name}`, then `runner pull {file}` takes it as it is now"
    adopted = next((each.manifest for each in broken if each.manifest is not None), None)
    if adopted is not None and RECIPE not in adopted.annotations:
        title = next((each.title for each in adopted.layers if each.media_type in WEIGHTS and each.title), "")
        if title:
            return f"it was adopted: `runner pull {shlex.quote(f'./{title}')}`, or `runner adopt`, brings it back"
    return (
        f"{name} was made here, and Runner doesn't know from which files: create it again from them, "
        f"or `runner rm {name}`"
    )
