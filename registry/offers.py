"""What a name stands for at its source right now. A name that leaves the build open keeps to the one it had before.

What is chosen for a machine depends on the memory that is free at the moment; a second pull of the same name must not
bring another quantization than the first, only because something else was running.
"""

from __future__ import annotations

from dataclasses import replace

from registry.errors import RegistryError, UnknownTag
from registry.manifest import REFERENCE
from registry.names import DEFAULT_TAG, Name
from registry.origins import Reach, open_source
from registry.resolve import HubPlace, Pin, Reference
from registry.sources.source import Offer, Source
from registry.store import Store
from registry.transfer.http import Http


def find_offer(
    store: Store,
    name: Name,
    reference: Reference,
    http: Http,
    reach: Reach,
    memory: int | None = None,
    pin: Pin | None = None,
) -> tuple[Source, Offer]:
    """The source of a reference, looked at, and what it offers; `name` is what the model is or will be called.

    Raises what `open_source` and `Source.look` raise.
    """
    revision = pin.revision if pin else None
    before = _build_before(store, name, reference)
    if before and isinstance(reference.place, HubPlace):
        source = open_source(replace(reference, place=replace(reference.place, tag=before)), http, reach)
        try:
            return source, replace(source.look(memory, revision), why="the same as was pulled before")
        except UnknownTag:
            pass  # it is no longer there, so the choice is open again
    source = open_source(reference, http, reach)
    return source, source.look(memory, revision)


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
