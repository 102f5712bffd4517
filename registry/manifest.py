"""Manifests: what a model is made of, as an OCI image manifest, and the config that describes it.

Pure values and their JSON. Knows neither where blobs lie nor what is inside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from registry.digests import Digest
from registry.errors import BadDigest, BadManifest

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.runner.model.config.v1+json"

MODEL: Final = "application/vnd.runner.image.model"
PROJECTOR: Final = "application/vnd.runner.image.projector"
ADAPTER: Final = "application/vnd.runner.image.adapter"
DRAFT: Final = "application/vnd.runner.image.draft"
TEMPLATE: Final = "application/vnd.runner.image.template"
SYSTEM: Final = "application/vnd.runner.image.system"
PARAMS: Final = "application/vnd.runner.image.params"
MESSAGES: Final = "application/vnd.runner.image.messages"
LICENSE: Final = "application/vnd.runner.image.license"

WEIGHTS: Final = frozenset({MODEL, PROJECTOR, ADAPTER, DRAFT})
"""Layers that are GGUF files; all others are short texts."""
KINDS: Final = WEIGHTS | {TEMPLATE, SYSTEM, PARAMS, MESSAGES, LICENSE}

TITLE: Final = "org.opencontainers.image.title"
"""Annotation: the file name that a layer had where it came from."""
SOURCE: Final = "org.opencontainers.image.source"
"""Annotation: where a pulled model came from, with its revision."""
REVISION: Final = "org.opencontainers.image.revision"
"""Annotation: the commit or manifest digest that it had there."""
REFERENCE: Final = "org.runner.reference"
"""Annotation: what was asked for when it was pulled, so that it can be asked for again."""
RECIPE: Final = "org.runner.modelfile"
"""Annotation: the digest of the Modelfile that a model was created from."""
BASE: Final = "org.runner.base"
"""Annotation: the digest that the model had whose name that Modelfile's FROM gave."""
EMBEDDED: Final = "org.runner.embedded"
"""Annotation: this model came with the package, and is replaced when the package brings a newer one."""

SIZE_LIMIT: Final = 4 << 20
"""Bytes that a manifest or a config may have."""
CAPABILITIES: Final = ("completion", "tools", "thinking", "vision", "insert", "embedding", "rerank")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Layer:
    """One blob of a model: what it is, its digest, its bytes, and notes that travel with it."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The file name it had, or an empty text."""
        return self.annotations.get(TITLE, "")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model is made of. Shards of one model are several MODEL layers, in order."""

    config: Layer
    layers: tuple[Layer, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def blobs(self) -> tuple[Layer, ...]:
        """All that must be in the store: the layers and the config."""
        return (*self.layers, self.config)

    def of(self, media_type: str) -> tuple[Layer, ...]:
        """The layers of one kind, in order."""
        return tuple(layer for layer in self.layers if layer.media_type == media_type)

    def to_json(self) -> bytes:
        """Canonical bytes: equal manifests have equal digests."""
        value: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _layer_json(self.config),
            "layers": [_layer_json(layer) for layer in self.layers],
        }
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return to_canonical(value)

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Read a manifest; raises BadManifest saying which field is wrong."""
        value = read_object(data, "manifest")
        if value.get("schemaVersion") != 2:
            raise BadManifest("manifest: schemaVersion must be 2")
        if value.get("mediaType", MANIFEST_TYPE) != MANIFEST_TYPE:
            raise BadManifest(f"manifest: unknown mediaType {str(value['mediaType'])[:100]!r}")
        layers = value.get("layers")
        if not isinstance(layers, list):
            raise BadManifest("manifest: layers must be a list")
        config = _layer(value.get("config"), "config")
        if config.media_type != CONFIG_TYPE:
            raise BadManifest(f"manifest: unknown config type {config.media_type[:100]!r}")
        manifest = cls(
            config,
            tuple(_layer(each, f"layers[{index}]") for index, each in enumerate(layers)),
            _texts(value.get("annotations"), "annotations"),
        )
        for layer in manifest.layers:
            if layer.media_type not in KINDS:
                raise BadManifest(f"manifest: unknown layer type {layer.media_type[:100]!r}")
        if not manifest.of(MODEL):
            raise BadManifest("manifest: it has no model layer")
        return manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """What lists and schedulers need to know of a model without opening its weights.

    `family` is the engine's architecture; `quantization` its name as people say it ('Q4_K_M');
    `parameter_size` is `parameter_count` for people ('8.0B'). `capabilities` is a subset of CAPABILITIES.
    """

    format: str = "gguf"
    family: str
    families: tuple[str, ...]
    architecture: str
    parameter_count: int
    parameter_size: str
    quantization: str
    context_length: int
    embedding_length: int
    capabilities: tuple[str, ...]
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None
    parent: str | None = None
    created: datetime | None = None

    def to_json(self) -> bytes:
        """Canonical bytes; what is None is left out."""
        value = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.created is not None:
            value["created"] = self.created.astimezone(UTC).isoformat()
        return to_canonical({key: each for key, each in value.items() if each is not None})

    @classmethod
    def from_json(cls, data: bytes) -> ModelConfig:
        """Read a config; raises BadManifest naming the field. Unknown fields are of a later version: ignored."""
        value = read_object(data, "config")
        return cls(
            format=_field(value, "format", str),
            family=_field(value, "family", str),
            families=_text_list(value, "families"),
            architecture=_field(value, "architecture", str),
            parameter_count=_count(value, "parameter_count"),
            parameter_size=_field(value, "parameter_size", str),
            quantization=_field(value, "quantization", str),
            context_length=_count(value, "context_length"),
            embedding_length=_count(value, "embedding_length"),
            capabilities=tuple(each for each in _text_list(value, "capabilities") if each in CAPABILITIES),
            renderer=_optional(value, "renderer"),
            parser=_optional(value, "parser"),
            requires=_optional(value, "requires"),
            parent=_optional(value, "parent"),
            created=_time(_optional(value, "created")),
        )


def to_canonical(value: object) -> bytes:
    """JSON with sorted keys and no blanks."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def read_json(data: bytes, what: str) -> Any:
    """JSON of any shape; raises BadManifest for bad text, double keys, or more than SIZE_LIMIT bytes."""
    if len(data) > SIZE_LIMIT:
        raise BadManifest(f"{what}: {len(data)} bytes are more than the {SIZE_LIMIT} allowed")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_without_doubles)
    except BadManifest as error:
        raise BadManifest(f"{what}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise BadManifest(f"{what}: not JSON ({error})") from error


def read_object(data: bytes, what: str) -> dict[str, Any]:
    """As `read_json`, for an object."""
    value = read_json(data, what)
    if not isinstance(value, dict):
        raise BadManifest(f"{what}: it must be a JSON object")
    return value


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadManifest("a key occurs twice")
    return value


def _layer_json(layer: Layer) -> dict[str, object]:
    value: dict[str, object] = {
        "mediaType": layer.media_type,
        "digest": str(layer.digest),
        "size": layer.size,
    }
    if layer.annotations:
        value["annotations"] = dict(layer.annotations)
    return value


def _layer(value: object, what: str) -> Layer:
    if not isinstance(value, dict):
        raise BadManifest(f"manifest: {what} must be an object")
    try:
        digest = Digest.parse(_field(value, "digest", str))
    except BadDigest as error:
        raise BadManifest(f"manifest: {what}: {error}") from error
    return Layer(_field(value, "mediaType", str), digest, _count(value, "size"), _texts(value.get("annotations"), what))


def _texts(value: object, what: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise BadManifest(f"manifest: annotations of {what} must be texts")
    return value


def _field(value: Mapping[str, object], name: str, kind: type[_T]) -> _T:
    found = value.get(name)
    if not isinstance(found, kind) or isinstance(found, bool):
        raise BadManifest(f"{name} must be {'a text' if kind is str else 'a whole number'}")
    return found


def _count(value: Mapping[str, object], name: str) -> int:
    found = _field(value, name, int)
    if not 0 <= found < 2**63:
        raise BadManifest(f"{name} must not be negative or beyond 2^63")
    return found


def _optional(value: Mapping[str, object], name: str) -> str | None:
    return None if value.get(name) is None else _field(value, name, str)


def _text_list(value: Mapping[str, object], name: str) -> tuple[str, ...]:
    found = value.get(name)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise BadManifest(f"{name} must be a list of texts")
    return tuple(found)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadManifest(f"created must be a time, not {text[:40]!r}") from error
    return when if when.tzinfo else when.replace(tzinfo=UTC)
