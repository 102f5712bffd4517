"""Where a model came from and what it is made of, as JSON: said alike by /api/show and by Runner's own endpoints.

Reads what a manifest says; decides nothing.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from registry.manifest import BASE, RECIPE, REFERENCE, REVISION, SOURCE
from registry.stored import StoredModel


class Source(msgspec.Struct, kw_only=True):
    """Where a model was pulled from: the `reference` that leads there again, the place itself, and the commit or
    manifest digest that it had there."""

    reference: str
    origin: str
    revision: str


class Recipe(msgspec.Struct, kw_only=True):
    """What a model was created from: the digest of its Modelfile, and the model that FROM named (empty where it named
    files), with the digest that this had."""

    modelfile: str
    base: str
    base_digest: str


class LayerInfo(msgspec.Struct, kw_only=True):
    """One file or text of a model. `title` is the file name that it had where it came from."""

    media_type: str
    digest: str
    size: int
    title: str


def source_of(stored: StoredModel) -> Source | UnsetType:
    """Nothing for a model that wasn't pulled."""
    notes = stored.manifest.annotations
    if REFERENCE not in notes:
        return UNSET
    return Source(reference=notes[REFERENCE], origin=notes.get(SOURCE, ""), revision=notes.get(REVISION, ""))


def recipe_of(stored: StoredModel) -> Recipe | UnsetType:
    """Nothing for a model that wasn't created, or of which it isn't known any more."""
    notes = stored.manifest.annotations
    if RECIPE not in notes:
        return UNSET
    base = stored.config.parent or "" if BASE in notes else ""
    return Recipe(modelfile=notes[RECIPE], base=base, base_digest=notes.get(BASE, ""))


def layers_of(stored: StoredModel) -> list[LayerInfo]:
    """All layers, in their order."""
    return [
        LayerInfo(media_type=each.media_type, digest=str(each.digest), size=each.size, title=each.title)
        for each in stored.manifest.layers
    ]
