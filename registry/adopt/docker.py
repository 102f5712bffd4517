"""Docker Model Runner's store as a place: an index of models with their tags, manifests and blobs by SHA-256.

Reads its own form of artifacts and CNCF's; Docker itself isn't asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.adopt.files import found_file, read_json
from registry.adopt.found import Found, FoundFile, FoundText, Look
from registry.adopt.layers import ForeignLayer, ForeignManifest, layer_file, read_manifest
from registry.digests import Digest
from registry.errors import BadName, BadSource, RegistryError
from registry.names import DOCKER, Name

_DOCKER = "application/vnd.docker.ai."
_WEIGHTS = (f"{_DOCKER}gguf.v3", f"{_DOCKER}mmproj", f"{_DOCKER}gguf.v3.mmproj")
_ADAPTER = f"{_DOCKER}gguf.v3.lora"
_TEMPLATE = f"{_DOCKER}chat.template.jinja"
_LICENCE = f"{_DOCKER}license"
_CNCF = ("application/vnd.cncf.model.", "application/vnd.cnai.model.")
_FILE_PATHS = ("org.cncf.model.filepath", "org.cnai.model.filepath")


def default_root(environ: Mapping[str, str]) -> Path:
    """Where Docker keeps models for this user."""
    if named := environ.get("MODELS_PATH"):
        return Path(named).expanduser()
    return Path.home() / ".docker" / "models"


class Docker:
    """One store."""

    owner = "Docker Model Runner"

    def __init__(self, root: Path) -> None:
        self.root = root

    def look(self) -> Look:
        """Every tagged model whose layers are all there."""
        look = Look()
        index = self.root / "models.json"
        with look.passing_over(index):
            listed = read_json(index).get("models") if index.exists() else []
            if not isinstance(listed, list):
                raise BadSource("its models must be a list")
            for entry in listed:
                with look.passing_over(_shown(entry)):
                    look.models += self._models(entry)
        return look

    def find(self, digest: Digest) -> Path | None:
        """The blob of this digest."""
        try:
            path = self._path("blobs", digest)
            return found_file(path, self.root).path if os.path.lexists(path) else None
        except (RegistryError, OSError):
            return None

    def _models(self, entry: Any) -> list[Found]:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise BadSource("not a model with an id")
        digest = Digest.parse(entry["id"])
        tags = entry.get("tags")
        if not isinstance(tags, list) or not tags:
            raise BadSource("it has no tag to call it by")
        manifest = read_manifest(found_file(self._path("manifests", digest), self.root).path)
        files, adapters, texts = self._sorted(manifest)
        if not files:
            raise BadSource("it has no GGUF file")
        return [
            Found(
                name=_name(str(tag)),
                owner=self.owner,
                files=files,
                adapters=adapters,
                texts=texts,
                known_as=(str(tag), str(tag).removeprefix("ai/"), digest.short),
                quantization=self._quantization(manifest),
                origin=f"https://{_name(str(tag))}",
                revision=str(digest),
            )
            for tag in tags
        ]

    def _sorted(
        self, manifest: ForeignManifest
    ) -> tuple[tuple[FoundFile, ...], tuple[FoundFile, ...], tuple[FoundText, ...]]:
        files: list[FoundFile] = []
        adapters: list[FoundFile] = []
        texts: list[FoundText] = []
        for layer in manifest.layers:
            title = _title(layer)
            if layer.kind in _WEIGHTS or (layer.kind.startswith(_CNCF) and title.lower().endswith(".gguf")):
                files.append(self._file(layer, title or ("mmproj.gguf" if "mmproj" in layer.kind else "model.gguf")))
            elif layer.kind == _ADAPTER:
                adapters.append(self._file(layer, title or "adapter.gguf"))
            elif layer.kind == _TEMPLATE:
                texts.append(FoundText("template", self._file(layer, "template")))
            elif layer.kind == _LICENCE:
                texts.append(FoundText("license", self._file(layer, "license")))
            elif "safetensors" in layer.kind or title.lower().endswith(".safetensors"):
                raise BadSource("its weights are safetensors, not GGUF")
        return tuple(files), tuple(adapters), tuple(texts)

    def _quantization(self, manifest: ForeignManifest) -> str:
        if manifest.config is None:
            return ""
        config = read_json(self._file(manifest.config, "config").path).get("config")
        found = config.get("quantization") if isinstance(config, dict) else ""
        return found if isinstance(found, str) else ""

    def _file(self, layer: ForeignLayer, title: str) -> FoundFile:
        return layer_file(layer, self._path("blobs", layer.digest), self.root, title)

    def _path(self, what: str, digest: Digest) -> Path:
        return self.root / what / "sha256" / digest.hex


def _title(layer: ForeignLayer) -> str:
    return next((layer.annotations[key] for key in _FILE_PATHS if key in layer.annotations), "").rpartition("/")[2]


def _name(tag: str) -> Name:
    """Docker's short names are of Docker Hub, and there of the organisation `ai`."""
    first, slash, _ = tag.partition("/")
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    try:
        return Name.parse(tag if has_host else f"{DOCKER}/{tag}")
    except BadName as error:
        raise BadSource(str(error)) from error


def _shown(entry: Any) -> str:
    if not isinstance(entry, dict):
        return "an entry of models.json"
    tags = entry.get("tags")
    return str(tags[0] if isinstance(tags, list) and tags else entry.get("id"))
