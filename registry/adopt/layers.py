"""Manifests of other tools' stores: layers by type and digest, read with suspicion. Knows no tool's types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.adopt.files import found_file, read_json
from registry.adopt.found import FoundFile
from registry.digests import Digest
from registry.errors import BadDigest, BadManifest, BadSource


@dataclass(frozen=True, slots=True)
class ForeignLayer:
    """One blob of somebody else's manifest; its type without parameters."""

    kind: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForeignManifest:
    """What somebody else's model is made of."""

    config: ForeignLayer | None
    layers: tuple[ForeignLayer, ...]


def read_manifest(path: Path) -> ForeignManifest:
    """Raises BadSource, BadManifest or OSError."""
    value = read_json(path)
    layers = value.get("layers")
    if not isinstance(layers, list):
        raise BadManifest("manifest: layers must be a list")
    config = value.get("config")
    return ForeignManifest(None if config is None else _layer(config), tuple(_layer(each) for each in layers))


def layer_file(layer: ForeignLayer, path: Path, root: Path, title: str) -> FoundFile:
    """The file of a layer inside `root`, of the length that the manifest says. Raises BadSource."""
    if not path.exists():
        raise BadSource(f"blob {layer.digest} is missing from it")
    return found_file(path, root, title, layer.digest, layer.size)


def _layer(value: Any) -> ForeignLayer:
    if not isinstance(value, dict):
        raise BadManifest("manifest: a layer must be an object")
    kind, digest, size = value.get("mediaType"), value.get("digest"), value.get("size")
    if not isinstance(kind, str) or not isinstance(digest, str) or type(size) is not int or size < 0:
        raise BadManifest("manifest: a layer needs a mediaType, a digest and a size")
    notes = value.get("annotations")
    try:
        return ForeignLayer(
            kind.partition(";")[0].strip(),
            Digest.parse(digest),
            size,
            {str(key): str(text) for key, text in notes.items()} if isinstance(notes, dict) else {},
        )
    except BadDigest as error:
        raise BadManifest(f"manifest: {error}") from error
