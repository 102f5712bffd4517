"""A model of the store as a value: its manifest with every short layer read, its weights as paths.

Reads through `blobs` and checks what it reads. Knows nothing of how models are found or kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from modelfiles import instructions as say
from modelfiles.errors import ModelfileError, ParameterError
from modelfiles.instructions import Instruction, Modelfile
from modelfiles.parameters import Value, check
from registry import manifest as media
from registry.blobs import HEALS, Blobs
from registry.digests import Digest, digest_of
from registry.errors import BadManifest, Corrupt
from registry.manifest import Layer, Manifest, ModelConfig
from registry.names import Name

Sizes = Callable[[Digest], int | None]
"""Tells a blob's bytes, or None if it isn't there."""

TEXTS_LIMIT = 32 << 20
"""Bytes of all texts of a model together; each counts as often as it is named."""

_TEXTS = frozenset({media.TEMPLATE, media.SYSTEM, media.PARAMS, media.MESSAGES, media.LICENSE})


class Message(NamedTuple):
    """One message of the conversation that every chat starts with."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model that is whole: every blob is there, of the right length.

    `digest` is its manifest's, the "ID" that people see. `size` is bytes of all layers. `modified_at` is in
    UTC. `weights` are the model's files in order, several for a split model. `parameters` are typed by the table.
    """

    name: Name
    digest: Digest
    size: int
    modified_at: datetime
    config: ModelConfig
    manifest: Manifest
    weights: tuple[Path, ...]
    adapters: tuple[Path, ...]
    projector: Path | None
    draft: tuple[Path, ...]
    template: str | None
    system: str | None
    parameters: Mapping[str, Value]
    messages: tuple[Message, ...]
    licenses: tuple[str, ...]

    def modelfile(self) -> Modelfile:
        """The Modelfile that makes this model again, with its weights as paths into the store."""
        lines: list[Instruction] = [say.From(str(path)) for path in self.weights]
        lines += [say.From(str(self.projector))] if self.projector else []
        lines += [say.Adapter(str(path)) for path in self.adapters]
        lines += [say.Draft(str(path)) for path in self.draft]
        lines += [say.Template(self.template)] if self.template is not None else []
        lines += [say.Renderer(self.config.renderer)] if self.config.renderer else []
        lines += [say.Parser(self.config.parser)] if self.config.parser else []
        lines += [say.System(self.system)] if self.system is not None else []
        for name, value in self.parameters.items():
            values = value if isinstance(value, tuple) else (value,)
            lines += [say.Parameter(name, each) for each in values]
        lines += [say.Message(role, content) for role, content in self.messages]
        lines += [say.Requires(self.config.requires)] if self.config.requires else []
        lines += [say.License(text) for text in self.licenses]
        return Modelfile(tuple(lines))


@dataclass(frozen=True, slots=True)
class BrokenModel:
    """A name whose manifest or blobs can't be used, and why."""

    name: Name
    path: Path
    reason: str


def load(name: Name, data: bytes, modified_at: datetime, blobs: Blobs, sizes: Sizes) -> StoredModel:
    """Read a manifest's bytes into a model; `sizes` tells which blobs are there.

    Raises BadManifest or Corrupt, saying which blob or field.
    """
    read = blobs.read
    manifest = Manifest.from_json(data)
    require_blobs(manifest, sizes, blobs.why_missing)
    require_short_texts(manifest)
    projectors = manifest.of(media.PROJECTOR)
    return StoredModel(
        name=name,
        digest=digest_of(data),
        size=sum(layer.size for layer in manifest.layers),
        modified_at=modified_at,
        config=ModelConfig.from_json(read(manifest.config.digest)),
        manifest=manifest,
        weights=_paths(manifest.of(media.MODEL), blobs),
        adapters=_paths(manifest.of(media.ADAPTER), blobs),
        projector=blobs.path(projectors[-1].digest) if projectors else None,
        draft=_paths(manifest.of(media.DRAFT), blobs),
        template=_last_text(manifest.of(media.TEMPLATE), read),
        system=_last_text(manifest.of(media.SYSTEM), read),
        parameters=_parameters(manifest.of(media.PARAMS), read),
        messages=read_messages(read(layer.digest) for layer in manifest.of(media.MESSAGES)),
        licenses=tuple(_text(layer, read) for layer in manifest.of(media.LICENSE)),
    )


def require_blobs(manifest: Manifest, sizes: Sizes, why_missing: Callable[[Digest], str]) -> None:
    """Make sure that every blob is there and of the right length; raises Corrupt naming the first that isn't."""
    for layer in manifest.blobs:
        size = sizes(layer.digest)
        if size is None:
            raise Corrupt(why_missing(layer.digest))
        if size != layer.size:
            raise Corrupt(f"blob {layer.digest} has {size} bytes instead of {layer.size}; {HEALS}")


def require_short_texts(manifest: Manifest) -> None:
    """Make sure that a model's texts can be held in memory beside those of all others; raises BadManifest."""
    size = sum(layer.size for layer in manifest.layers if layer.media_type in _TEXTS)
    if size > TEXTS_LIMIT:
        raise BadManifest(f"manifest: its texts have {size} bytes; {TEXTS_LIMIT} are allowed")


def _paths(layers: tuple[Layer, ...], blobs: Blobs) -> tuple[Path, ...]:
    return tuple(blobs.path(layer.digest) for layer in layers)


def _text(layer: Layer, read: Callable[[Digest], bytes]) -> str:
    try:
        # Hundreds of models share a licence: keep one copy of the text.
        return sys.intern(read(layer.digest).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadManifest(f"layer {layer.digest} isn't UTF-8 text") from error


def _last_text(layers: tuple[Layer, ...], read: Callable[[Digest], bytes]) -> str | None:
    return _text(layers[-1], read) if layers else None


def _parameters(layers: tuple[Layer, ...], read: Callable[[Digest], bytes]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for layer in layers:
        for name, value in media.read_object(read(layer.digest), "params").items():
            try:
                found[name] = check(name, value)
            except ParameterError as error:
                raise BadManifest(f"params: {error}") from error
    return found


def read_messages(layers: Iterable[bytes]) -> tuple[Message, ...]:
    """The messages that layers hold as JSON lists of roles and contents; raises BadManifest."""
    found: list[Message] = []
    for data in layers:
        listed = media.read_json(data, "messages")
        if not isinstance(listed, list):
            raise BadManifest("messages: it must be a list")
        for each in listed:
            try:
                message = say.Message(each["role"], each["content"])
            except (TypeError, KeyError, AttributeError, ModelfileError) as error:
                raise BadManifest(f"messages: not a message with role and content ({error})") from error
            found.append(Message(message.role, message.content))
    return tuple(found)
