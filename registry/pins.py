"""Pins: holding a pull to what was written down of an earlier one. Says what differs, and what to do about it.

Pure comparisons; fetches and publishes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from registry.digests import Digest, digest_of
from registry.errors import NotAsLocked
from registry.manifest import WEIGHTS, Manifest
from registry.resolve import HubPlace, Pin, Reference
from registry.sources.source import Offer

_NO_TAG = "latest"


def as_pinned(reference: Reference, pin: Pin) -> Reference:
    """The reference, leading to the build that is pinned where its own words leave the choice to the machine."""
    place = reference.place
    if isinstance(place, HubPlace) and place.tag.lower() == _NO_TAG and pin.digests:
        return replace(reference, place=replace(place, tag=pin.digests[0][0]))
    return reference


def check_offer(reference: Reference, offer: Offer, pin: Pin) -> None:
    """Raises NotAsLocked where a source has other files at a revision than when it was written down.

    Files whose digests the source doesn't tell are known only when they are here: see `check_manifest`.
    """
    if pin.digests:
        _check_files(reference, pin, ((each.title, each.digest) for each in offer.files))


def check_manifest(reference: Reference, manifest: Manifest, pin: Pin) -> None:
    """Raises NotAsLocked where a model that was fetched isn't, to the byte, the one that was written down."""
    if pin.digests:
        files = ((each.title, each.digest) for each in manifest.layers if each.media_type in WEIGHTS)
        _check_files(reference, pin, files)
    made = digest_of(manifest.to_json())
    if pin.model is not None and made != pin.model:
        raise NotAsLocked(
            f"{reference.text}: the files are as locked, and the model made of them isn't: its digest is {made}, the "
            f"lock says {pin.model}. Another version of Runner may have written the lock; `runner lock` writes it anew"
        )


def _check_files(reference: Reference, pin: Pin, found: Iterable[tuple[str, Digest | None]]) -> None:
    offered = dict(found)
    differing = [
        f"{title} is {offered[title]}, the lock says {digest}" if title in offered else f"{title} isn't there"
        for title, digest in pin.digests
        if offered.get(title, ...) not in (digest, None)
    ]
    differing += [f"{title} isn't in the lock" for title in offered if title not in dict(pin.digests)]
    if differing:
        raise NotAsLocked(f"{reference.text} at revision {pin.revision} isn't as locked: {'; '.join(differing)}")
