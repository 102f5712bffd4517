"""A stored model as container registries have it: a manifest and its config, in Docker's form or in CNCF ModelPack's.

Pure, and the same bytes each time: nothing in them tells when, where or by whom a model was pushed. What a form has no
place for travels in layers of Runner's own media types, so that a pull makes the same model again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Final

from modelfiles.template import is_go_template
from registry import manifest as own
from registry.digests import Digest, digest_of
from registry.manifest import MANIFEST_TYPE, Layer, to_canonical
from registry.oci.read import FILE_PATH
from registry.resolve import Form
from registry.stored import StoredModel

_METADATA: Final = "org.cncf.model.file.metadata+json"
_CNCF_ARTIFACT: Final = "application/vnd.cncf.model.manifest.v1+json"
_CONFIG_TYPES: Mapping[Form, str] = {
    "docker": "application/vnd.docker.ai.model.config.v0.1+json",
    "cncf": "application/vnd.cncf.model.config.v1+json",
}
_JINJA = "jinja"  # a template that other programs can use as well; Go's stays our own
_TYPES: Mapping[Form, Mapping[str, str]] = {
    "docker": {
        own.MODEL: "application/vnd.docker.ai.gguf.v3",
        own.PROJECTOR: "application/vnd.docker.ai.mmproj",
        own.LICENSE: "application/vnd.docker.ai.license",
        _JINJA: "application/vnd.docker.ai.chat.template.jinja",
    },
    "cncf": {
        own.MODEL: "application/vnd.cncf.model.weight.v1.raw",
        own.PROJECTOR: "application/vnd.cncf.model.weight.v1.raw",
        own.LICENSE: "application/vnd.cncf.model.doc.v1.raw",
        _JINJA: "application/vnd.cncf.model.weight.config.v1.raw",
    },
}
_PLACES: Mapping[str, str] = {
    _JINJA: "chat_template.jinja",
    own.TEMPLATE: "runner/template",
    own.SYSTEM: "runner/system",
    own.PARAMS: "runner/params.json",
    own.MESSAGES: "runner/messages.json",
    own.CONFIG_TYPE: "runner/config.json",
    own.LICENSE: "LICENSE",
    own.MODEL: "model.gguf",
    own.PROJECTOR: "mmproj-model.gguf",
    own.ADAPTER: "adapters/adapter.gguf",
    own.DRAFT: "draft/model.gguf",
}
"""Where a layer's file belongs. Weights keep the name that they had, where it does."""

_EPOCH = "1970-01-01T00:00:00Z"
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}\.gguf", re.IGNORECASE)
_PROJECTOR = re.compile(r"(?:^|[-._])mmproj(?:$|[-._])", re.IGNORECASE)
_SHARD = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})\.gguf", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model in one form. `layers` are its blobs as the manifest lists them; `config` is one more."""

    form: Form
    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]

    @property
    def digest(self) -> Digest:
        """The manifest's digest, by which the model can be pulled for good."""
        return digest_of(self.manifest)

    @property
    def config_digest(self) -> Digest:
        """The digest of `config`."""
        return digest_of(self.config)


def write(model: StoredModel, form: Form) -> Artifact:
    """A model's manifest and config in a form. Every layer is a blob of the model's, as it lies in the store."""
    layers = _layers(model, form)
    config = to_canonical(_docker_config(model, layers) if form == "docker" else _cncf_config(model, layers))
    value: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(Layer(_CONFIG_TYPES[form], digest_of(config), len(config))),
        "layers": [_descriptor(layer) for layer in layers],
    }
    if form == "cncf":
        value["artifactType"] = _CNCF_ARTIFACT
    return Artifact(form, to_canonical(value), config, layers)


def _layers(model: StoredModel, form: Form) -> tuple[Layer, ...]:
    """The model's layers in their order, and its config behind them as one more."""
    manifest = model.manifest
    shards = _shard_names([layer.title for layer in manifest.of(own.MODEL)])
    is_jinja = model.template is not None and not is_go_template(model.template)
    made: list[Layer] = []
    taken: set[str] = set()
    for layer in (*manifest.layers, manifest.config):
        kind = _JINJA if layer.media_type == own.TEMPLATE and is_jinja else layer.media_type
        path = _free(shards.pop(0) if kind == own.MODEL and shards else _path(kind, layer.title), taken)
        taken.add(path.lower())
        notes = {FILE_PATH: path, own.TITLE: path}
        if form == "cncf":
            notes[_METADATA] = _metadata(path, layer.size)
        made.append(Layer(_TYPES[form].get(kind, layer.media_type), layer.digest, layer.size, notes))
    return tuple(made)


def _shard_names(titles: Sequence[str]) -> list[str]:
    """File names of a model's shards: their own if they are such as llama.cpp finds the others by."""
    if len(titles) == 1:
        return []  # one file is called as it was
    found = [_SHARD.fullmatch(PurePosixPath(each).name) for each in titles]
    kept = [each[0] for each in found if each and _is_plain(each[0]) and "mmproj" not in each[0].lower()]
    stems = {each[1] for each in found if each}
    counted = [(int(each[2]), int(each[3])) for each in found if each]
    if len(kept) == len(titles) and len(stems) == 1 and counted == [(i + 1, len(titles)) for i in range(len(titles))]:
        return kept
    return [f"model-{index:05d}-of-{len(titles):05d}.gguf" for index in range(1, len(titles) + 1)]


def _path(kind: str, title: str) -> str:
    """Where a layer's file belongs: under the name that it had, or the one for its kind."""
    place = PurePosixPath(_PLACES[kind])
    name = PurePosixPath(title).name
    if kind not in own.WEIGHTS or not _is_plain(name):
        return str(place)
    # ModelPack's readers know a projector by its name alone, some of them by the word anywhere in it.
    if kind == own.PROJECTOR and not _PROJECTOR.search(name):
        name = f"mmproj-{name}"
    elif kind != own.PROJECTOR and "mmproj" in name.lower():
        return str(place)
    elif kind == own.MODEL and (shard := _SHARD.fullmatch(name)) and int(shard[3]) > 1:
        return str(place)  # it is whole, and readers would look for the others
    return str(place.with_name(name))


def _is_plain(name: str) -> bool:
    return _FILE_NAME.fullmatch(name) is not None


def _free(path: str, taken: set[str]) -> str:
    """A path that no other layer has, on any file system: readers that unpack would take two of a name for one."""
    wanted = PurePosixPath(path)
    count = 1
    while path.lower() in taken:
        count += 1
        path = str(wanted.with_name(f"{wanted.stem}-{count}{wanted.suffix}"))
    return path


def _metadata(path: str, size: int) -> str:
    """The file's metadata as tar would have it, of nobody and of no time: a real one would change the digest."""
    value = {
        "name": PurePosixPath(path).name,
        "mode": 0o644,
        "uid": 0,
        "gid": 0,
        "size": size,
        "mtime": _EPOCH,
        "typeflag": ord("0"),
    }
    return to_canonical(value).decode()


def _docker_config(model: StoredModel, layers: Sequence[Layer]) -> dict[str, object]:
    config = model.config
    described: dict[str, object] = {
        "format": config.format,
        "quantization": config.quantization,
        "parameters": config.parameter_size,
        "architecture": config.architecture,
        "size": _human_size(sum(layer.size for layer in model.manifest.of(own.MODEL))),
    }
    context = model.parameters.get("num_ctx")
    if isinstance(context, int):
        # How long a context to run it with: what the model could do at most would cost memory that nobody asked for.
        described["context_size"] = context
    return {
        "config": described,
        "descriptor": {"created": _time(config.created)},
        "rootfs": {"type": "rootfs", "diff_ids": [str(layer.digest) for layer in layers]},
    }


def _cncf_config(model: StoredModel, layers: Sequence[Layer]) -> dict[str, object]:
    config = model.config
    can = config.capabilities
    return {
        "descriptor": {"createdAt": _time(config.created), "family": config.family},
        "config": {
            "architecture": config.architecture,
            "format": config.format,
            "paramSize": config.parameter_size,
            "quantization": config.quantization,
            "capabilities": {
                "inputTypes": ["text", "image"] if "vision" in can else ["text"],
                "outputTypes": ["embedding"] if "embedding" in can else ["text"],
                "reasoning": "thinking" in can,
                "toolUsage": "tools" in can,
            },
        },
        "modelfs": {"type": "layers", "diffIds": [str(layer.digest) for layer in layers]},
    }


def _descriptor(layer: Layer) -> dict[str, object]:
    value: dict[str, object] = {"mediaType": layer.media_type, "digest": str(layer.digest), "size": layer.size}
    if layer.annotations:
        value["annotations"] = dict(layer.annotations)
    return value


def _time(created: datetime | None) -> str:
    if created is None:
        return _EPOCH
    return created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _human_size(count: int) -> str:
    """As Docker writes sizes of models: '4.58GiB'."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f}{unit}" if unit == "B" else f"{size:.2f}{unit}"
        size /= 1024
    return f"{size:.2f}GiB"
