"""What a manifest in a container registry offers: which of its layers is what of a model. Pure.

Reads the forms that publishers use: Docker's, CNCF's ModelPack (and its older name, CNAI), Ollama's, Runner's own, and
plain files with their names in annotations. Layers that Runner has no use for are passed over; where nothing is left,
the error names them. Knows no network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from registry import manifest as ours
from registry.digests import Digest
from registry.errors import BadDigest, BadManifest, BadSource
from registry.manifest import SIZE_LIMIT, read_object
from registry.oci.client import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

Role = Literal[
    "weights", "projector", "adapter", "draft", "template", "system", "params", "messages", "license", "config"
]
"""What a layer is of a model: a GGUF, or a text that an instruction of a Modelfile stands for."""

TextRole = Literal["template", "system", "params", "messages", "license", "config"]
TEXTS: Final[tuple[TextRole, ...]] = get_args(TextRole)

FILE_PATH = "org.cncf.model.filepath"
"""Annotation: the path that a layer's file has in its model."""

_FILE_PATHS = (FILE_PATH, "org.cnai.model.filepath", ours.TITLE)
_UNPACK = "io.deis.oras.content.unpack"
_ATTESTATION = "vnd.docker.reference.type"
_CREATED = "org.opencontainers.image.created"
_LICENCES = "org.opencontainers.image.licenses"
_MOST_LAYERS = 2000
_MOST_TEXT = 32 << 20
_LONGEST_PATH = 1024

_DOCKER = "application/vnd.docker.ai."
_OLLAMA = "application/vnd.ollama.image."
_PACK = re.compile(r"application/vnd\.(?:cncf|cnai)\.model\.(.+)")
_CHECKED = re.compile(r"application/vnd\.(?:docker\.ai|cncf|cnai)\.model\.config\.")
_ROLES: Mapping[str, Role] = {
    f"{_DOCKER}gguf.v3": "weights",
    f"{_DOCKER}gguf.v3.lora": "adapter",
    f"{_DOCKER}gguf.v3.mmproj": "projector",  # as Docker's published specification has it
    f"{_DOCKER}mmproj": "projector",  # as Docker's code has it
    f"{_DOCKER}chat.template.jinja": "template",
    f"{_DOCKER}license": "license",
    f"{_OLLAMA}model": "weights",
    f"{_OLLAMA}projector": "projector",
    f"{_OLLAMA}adapter": "adapter",
    f"{_OLLAMA}draft": "draft",
    f"{_OLLAMA}template": "template",
    f"{_OLLAMA}prompt": "template",
    f"{_OLLAMA}system": "system",
    f"{_OLLAMA}params": "params",
    f"{_OLLAMA}messages": "messages",
    f"{_OLLAMA}license": "license",
    ours.MODEL: "weights",
    ours.PROJECTOR: "projector",
    ours.ADAPTER: "adapter",
    ours.DRAFT: "draft",
    ours.TEMPLATE: "template",
    ours.SYSTEM: "system",
    ours.PARAMS: "params",
    ours.MESSAGES: "messages",
    ours.LICENSE: "license",
    ours.CONFIG_TYPE: "config",
}
_PROJECTOR = re.compile(r"(?:^|[-._])mmproj(?:$|[-._])", re.IGNORECASE)
_LICENCE = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)
_SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_ARCHIVE = re.compile(r"(?:\.|\+|/x-)(?:tar|gzip|zstd)\b", re.IGNORECASE)
_OTHER_WEIGHTS = re.compile(r"safetensors|\.dduf|vnd\.ollama\.image\.(?:tensor|json)", re.IGNORECASE)
_QUANTIZATION = re.compile(r"(?:MOSTLY_)?([A-Z0-9]+(?:_[A-Z0-9]+)*)")


@dataclass(frozen=True, slots=True)
class Described:
    """One blob as a manifest describes it."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """A list of manifests, the first of which that is a model is meant."""

    manifests: tuple[Described, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """One layer that Runner has a use for. `title` is a file name, made up where the manifest gives none."""

    role: Role
    title: str
    blob: Described


@dataclass(frozen=True, slots=True)
class Image:
    """A model's manifest. `layers` are all of its layers, `config` is still to be read, if there is one to read."""

    config: Described
    layers: tuple[Described, ...]
    artifact_type: str
    annotations: Mapping[str, str]

    @property
    def is_ours(self) -> bool:
        """Whether Runner's own config stands in the config's place."""
        return self.config.media_type == ours.CONFIG_TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a config tells of a model, each empty where it doesn't. The last three are of Ollama's configs."""

    quantization: str = ""
    created: datetime | None = None
    licence: str = ""
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None


def read_manifest(data: bytes, what: str) -> Image | Index:
    """Read a manifest's bytes; raises BadManifest saying which field is wrong. `what` is its name, for messages."""
    value = read_object(data, what)
    if value.get("schemaVersion") != 2:
        raise BadManifest(f"{what}: schemaVersion must be 2")
    kind = value.get("mediaType", OCI_INDEX if "manifests" in value else OCI_MANIFEST)
    if kind in (OCI_INDEX, DOCKER_INDEX):
        return Index(_list(value, "manifests", what))
    if kind not in (OCI_MANIFEST, DOCKER_MANIFEST):
        raise BadManifest(f"{what}: a manifest of type {str(kind)[:100]!r}, which Runner doesn't know")
    return Image(
        _described(value.get("config"), f"{what}: config"),
        _list(value, "layers", what),
        _text(value, "artifactType", what),
        _texts(value.get("annotations"), what),
    )


def candidates(index: Index) -> tuple[Described, ...]:
    """The manifests of a list that may be models, in order: without those that only attest to others."""
    return tuple(
        each
        for each in index.manifests
        if _ATTESTATION not in each.annotations and each.media_type in (OCI_MANIFEST, DOCKER_MANIFEST, "")
    )


def check_texts(pieces: Iterable[Piece], shown: str) -> None:
    """Texts are read into memory. Raises BadSource for what is too long to be one, or too much together."""
    sizes = [each.blob.size for each in pieces if each.role in TEXTS]
    if sizes and (max(sizes) > SIZE_LIMIT or sum(sizes) > _MOST_TEXT):
        raise BadSource(f"{shown}: its texts have {sum(sizes)} bytes, the longest {max(sizes)}; that is too much")


def read_facts(image: Image, config: bytes, what: str) -> Facts:
    """What an image's config tells, and its annotations where that is silent.

    Raises BadManifest where it isn't JSON, or lists other bytes than the layers are.
    """
    value = read_object(config, f"{what}: config") if config.strip() else {}
    inner, origin = _object(value.get("config")), _object(value.get("descriptor"))
    if _CHECKED.match(image.config.media_type):
        _check_contents(image, value, what)
    licences = origin.get("licenses")
    listed = [each for each in licences if isinstance(each, str)] if isinstance(licences, list) else []
    is_ollamas = any(each.media_type.startswith(_OLLAMA) for each in image.layers)
    return Facts(
        quantization=_quantization(value.get("file_type") if is_ollamas else inner.get("quantization")),
        created=_when(origin.get("created") or origin.get("createdAt") or image.annotations.get(_CREATED)),
        licence=", ".join(listed) or image.annotations.get(_LICENCES, ""),
        renderer=_plain(value.get("renderer")) if is_ollamas else None,
        parser=_plain(value.get("parser")) if is_ollamas else None,
        requires=_plain(value.get("requires")) if is_ollamas else None,
    )


def read_pieces(image: Image, what: str) -> tuple[Piece, ...]:
    """What of a model each layer is, in the order of the layers; Runner's own config too.

    Raises BadSource, naming what there is, where there are no GGUF weights, or those of several models; BadManifest for
    a path that leads out of the model.
    """
    pieces = [Piece("config", "config.json", image.config)] if image.is_ours else []
    paths: dict[str, Digest] = {}
    for index, layer in enumerate(image.layers):
        path = _path(layer, f"{what}: layers[{index}]")
        if path and paths.setdefault(path, layer.digest) != layer.digest:
            raise BadManifest(f"{what}: two layers are called {path!r}")
        role = _role(layer, path)
        if role is not None:
            pieces.append(Piece(role, path.rpartition("/")[2], layer))
    weights = [each for each in pieces if each.role == "weights"]
    if not weights:
        raise BadSource(f"{what}: {_why_nothing(image.layers)}")
    _check_one_model(weights, what)
    return _titled(pieces, len(weights))


def _role(layer: Described, path: str) -> Role | None:
    name = path.rpartition("/")[2].lower()
    role = _ROLES.get(layer.media_type.partition(";")[0].strip())
    if role is not None:
        return "projector" if role == "weights" and _is_projector(name) else role
    pack = _PACK.fullmatch(layer.media_type)
    if pack is not None:
        return _pack_role(pack[1], name)
    if layer.annotations.get(_UNPACK) == "true" or "gzip" in layer.media_type or "zstd" in layer.media_type:
        return None
    if layer.media_type == f"{_DOCKER}model.file" or name.endswith((".gguf", ".mmproj", ".jinja")):
        return _role_by_name(name)
    return None


def _pack_role(kind: str, name: str) -> Role | None:
    """What a layer of a ModelPack is: its type says no more than that it is weights, config or documents."""
    if kind in ("weight.v1.raw", "weight.v1.gguf"):
        if name.endswith((".safetensors", ".dduf", ".bin", ".pt", ".json")):
            return None
        return "projector" if _is_projector(name) else "weights"
    if kind in ("weight.config.v1.raw", "doc.v1.raw"):
        role = _role_by_name(name)
        return role if role in ("template", "license") else None
    # Artifacts made by hand may call their layers anything, and say by the name what they are.
    return _role_by_name(name) if name.endswith(".gguf") and not _ARCHIVE.search(kind) else None


def _role_by_name(name: str) -> Role | None:
    if name.endswith((".gguf", ".mmproj")):
        return "projector" if _is_projector(name) else "weights"
    if name.endswith(".jinja"):
        return "template"
    return "license" if _LICENCE.search(name) else None


def _is_projector(name: str) -> bool:
    return name.endswith(".mmproj") or bool(_PROJECTOR.search(name.removesuffix(".gguf")))


def _check_one_model(weights: Sequence[Piece], what: str) -> None:
    """Several weights must be shards of one model; those without names are known by their headers only."""
    stems = set()
    for each in weights:
        shard = _SHARD.fullmatch(each.title)
        stems.add((shard["stem"], shard["count"]) if shard else each.title)
    named = all(each.title for each in weights)
    if named and len(weights) > 1 and len(stems) > 1:
        raise BadSource(f"{what}: several models in one: {', '.join(each.title for each in weights)}")
    if len(stems) == 1 and isinstance(only := next(iter(stems)), tuple) and int(only[1]) != len(weights):
        raise BadSource(f"{what}: it has only {len(weights)} of {int(only[1])} shards")


def _titled(pieces: Sequence[Piece], shards: int) -> tuple[Piece, ...]:
    """The pieces with a file name each; shards are numbered by the order of their layers."""
    found, count = [], 0
    for each in pieces:
        title = each.title
        if each.role == "weights":
            count += 1
            title = title or ("model.gguf" if shards == 1 else f"model-{count:05}-of-{shards:05}.gguf")
        found.append(Piece(each.role, title or _TITLES.get(each.role, each.role), each.blob))
    return tuple(found)


_TITLES: Mapping[Role, str] = {
    "projector": "mmproj-model.gguf",
    "adapter": "adapter.gguf",
    "draft": "draft.gguf",
    "template": "template.jinja",
    "license": "LICENSE",
    "params": "params.json",
    "messages": "messages.json",
}


def _why_nothing(layers: Sequence[Described]) -> str:
    kinds = list(dict.fromkeys(each.media_type[:100] or "no type" for each in layers))
    shown = ", ".join(kinds[:5]) + (", …" if len(kinds) > 5 else "")
    if any(_OTHER_WEIGHTS.search(each.media_type + _any_path(each)) for each in layers):
        return f"its weights aren't in GGUF ({shown}); pull a GGUF build of the same model"
    if any(_ARCHIVE.search(each.media_type) for each in layers):
        return (
            f"its files lie in archives ({shown}), as in images that are made to be run, and Runner unpacks none; "
            "ask for an artifact with GGUF layers (`ramalama push --type artifact`, `docker model package`)"
        )
    return f"no model, as far as Runner knows: its layers are {shown}" if kinds else "no model: it has no layers"


def _any_path(layer: Described) -> str:
    return next((layer.annotations[key] for key in _FILE_PATHS if layer.annotations.get(key)), "")


def _path(layer: Described, what: str) -> str:
    """The path that a layer's file has, or an empty text. Raises BadManifest for one that leads elsewhere."""
    path = _any_path(layer)
    if not path:
        return ""
    parts = path.removeprefix("./").split("/")
    if (
        len(path) > _LONGEST_PATH
        or any(part in ("", ".", "..") for part in parts)
        or not path.isprintable()
        or "\\" in path
        or re.match(r"[A-Za-z]:", path)
    ):
        raise BadManifest(f"{what}: the path {path[:100]!r} leads out of the model, or is none")
    return "/".join(parts)


def _check_contents(image: Image, config: Mapping[str, Any], what: str) -> None:
    """Where a config lists the uncompressed bytes of all layers, those that are used as they are must be these."""
    listed = _object(config.get("rootfs")).get("diff_ids")
    pack = _object(config.get("modelfs"))
    listed = next((each for each in (pack.get("diffIds"), pack.get("diff_ids"), listed) if each is not None), None)
    if not isinstance(listed, list) or len(listed) != len(image.layers):
        return
    for index, (layer, said) in enumerate(zip(image.layers, listed, strict=True)):
        if _role(layer, _any_path(layer)) == "weights" and said != str(layer.digest):
            raise BadManifest(f"{what}: layers[{index}] is {layer.digest}, but the config lists {str(said)[:80]!r}")


def _quantization(value: object) -> str:
    """A quantization as people say it; those that only describe a mixture are left to the file's own header."""
    found = _QUANTIZATION.fullmatch(value.upper()) if isinstance(value, str) else None
    return found[1] if found is not None and found[1] != "UNKNOWN" else ""


def _when(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        return None if found is None else (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # the latter for what the zone moves out of the calendar
        return None


def _plain(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable() else None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Mapping[str, Any], name: str, what: str) -> tuple[Described, ...]:
    listed = value.get(name)
    if not isinstance(listed, list) or len(listed) > _MOST_LAYERS:
        raise BadManifest(f"{what}: {name} must be a list, of {_MOST_LAYERS} at most")
    return tuple(_described(each, f"{what}: {name}[{index}]") for index, each in enumerate(listed))


def _described(value: object, what: str) -> Described:
    if not isinstance(value, dict):
        raise BadManifest(f"{what} must be an object")
    size = value.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
        raise BadManifest(f"{what}: size must be a whole number, not negative")
    try:
        digest = Digest.parse(_text(value, "digest", what))
    except BadDigest as error:
        raise BadManifest(f"{what}: {error}") from error
    annotations = _texts(value.get("annotations"), what)
    return Described(_text(value, "mediaType", what), digest, size, annotations, _text(value, "artifactType", what))


def _text(value: Mapping[str, Any], name: str, what: str) -> str:
    found = value.get(name)
    if found is not None and not isinstance(found, str):
        raise BadManifest(f"{what}: {name} must be a text")
    return found or ""


def _texts(value: object, what: str) -> Mapping[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise BadManifest(f"{what}: annotations must be texts")
    return value
