"""What a name stands for at its source right now. A name that leaves the build open keeps to the one it had before.

What is chosen for a machine depends on the memory that is free at the moment; a second pull of the same name must not
bring another quantization than the first, only because something else was running.
"""

from __future__ import annotations

from dataclasses import replace

from registry.errors import Cancelled, NotFound, RegistryError, UnknownTag
from registry.manifest import REFERENCE
from registry.names import DEFAULT_TAG, Name
from registry.origins import Reach, open_source
from registry.pins import as_pinned, check_offer
from registry.progress import Cancel, never
from registry.resolve import HubPlace, Pin, Reference, refer
from registry.sources.source import Offer, Source
from registry.store import Store
from registry.transfer.http import Http

_MOST_NEAR = 3


def meant(store: Store, text: str) -> Reference:
    """What a person means to pull. Raises as `refer` does; NotFound also names models of the store that are near."""
    try:
        return refer(text)
    except NotFound as error:
        if error.hint:
            raise
        here = (name for name in store.near(Name.parse(text)) if name.partition(":")[0] not in error.near)
        raise NotFound(error.name, tuple(dict.fromkeys((*here, *error.near)))[:_MOST_NEAR]) from error


def find_offer(
    store: Store,
    name: Name,
    reference: Reference,
    http: Http,
    reach: Reach,
    memory: int | None = None,
    pin: Pin | None = None,
    cancelled: Cancel = never,
) -> tuple[Source, Offer]:
    """The source of a reference, looked at, and what it offers; `name` is what the model is or will be called.

    With a `pin`, what stood there then. The source heeds `cancelled` from then on. Raises what `open_source` and
    `Source.look` raise, NotAsLocked and Cancelled.
    """
    _check(cancelled, reference)
    found = _find(store, name, reference, http.heeding(cancelled), reach, memory, pin)
    _check(cancelled, reference)
    return found


def _check(cancelled: Cancel, reference: Reference) -> None:
    if cancelled():
        raise Cancelled(f"cancelled while looking at {reference.text}")


def _find(
    store: Store, name: Name, reference: Reference, http: Http, reach: Reach, memory: int | None, pin: Pin | None
) -> tuple[Source, Offer]:
    if pin is not None:
        return _find_pinned(reference, http, reach, memory, pin)
    before = _build_before(store, name, reference)
    if before and isinstance(reference.place, HubPlace):
        source = open_source(replace(reference, place=replace(reference.place, tag=before)), http, reach)
        try:
            return source, replace(source.look(memory), why="the same as was pulled before")
        except UnknownTag:
            pass  # it is no longer there, so the choice is open again
    source = open_source(reference, http, reach)
    return source, source.look(memory)


def _find_pinned(reference: Reference, http: Http, reach: Reach, memory: int | None, pin: Pin) -> tuple[Source, Offer]:
    """What stood there then. Raises NotAsLocked as well, and NotFound with a hint where it is gone."""
    source = open_source(as_pinned(reference, pin), http, reach)
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
    return source, offer


def _build_before(store: Store, name: Name, reference: Reference) -> str:
    """The label of the build that the store has of a reference that leaves it open; empty where there is none."""
    if not isinstance(reference.place, HubPlace) or reference.place.tag.lower() != DEFAULT_TAG:
        return ""
    try:
        stored = store.show(name)
    except RegistryError:
        return ""
    # A model that somebody else made under this name says nothing.
    return stored.config.quantization if stored.manifest.annotations.get(REFERENCE) == reference.text else ""
