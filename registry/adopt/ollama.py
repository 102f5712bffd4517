"""An Ollama store as a place: manifests by name, blobs named by their SHA-256.

Its manifests, their types and its config are read here; Ollama itself isn't asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.adopt.files import found_file, read_json, tree
from registry.adopt.found import Found, FoundFile, FoundText, Look
from registry.adopt.layers import ForeignLayer, ForeignManifest, layer_file, read_manifest
from registry.digests import Digest, hash_file
from registry.errors import BadName, BadSource, RegistryError
from registry.names import OLLAMA, Name
from registry.sources.source import TextKind

_TYPE = "application/vnd.ollama.image."
_FILES: Mapping[str, str] = {"model": "{name}.gguf", "projector": "mmproj-{name}.gguf"}
_TEXTS: Mapping[str, TextKind] = {
    "template": "template",
    "system": "system",
    "params": "params",
    "messages": "messages",
    "license": "license",
}
_HOST = "registry.ollama.ai"
_SYSTEM_ROOTS = (Path("/usr/share/ollama/.ollama/models"), Path("/var/lib/ollama/models"))


def default_roots(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where Ollama keeps models: where this user says, or else where this user's and the machine's service do."""
    if named := environ.get("OLLAMA_MODELS"):
        return (Path(named).expanduser(),)
    return (Path.home() / ".ollama" / "models", *_SYSTEM_ROOTS)


class Ollama:
    """One store."""

    owner = "Ollama"

    def __init__(self, root: Path) -> None:
        self.root = root

    def look(self) -> Look:
        """Every model whose layers are all there."""
        look = Look()
        manifests = self.root / "manifests"
        with look.passing_over(manifests):
            for path in tree(manifests):
                shown = path.relative_to(manifests).as_posix()
                with look.passing_over(shown):
                    look.models.append(self._model(path, shown))
        return look

    def find(self, digest: Digest) -> Path | None:
        """The blob of this digest."""
        try:
            path = self._blob(digest)
            return found_file(path, self.root).path if os.path.lexists(path) else None
        except (RegistryError, OSError):
            return None

    def _model(self, path: Path, shown: str) -> Found:
        host, namespace, model, tag = _parts(shown)
        try:
            name = Name.parse(f"{host}/{namespace}/{model}:{tag}")
        except BadName as error:
            raise BadSource(str(error)) from error
        manifest = read_manifest(found_file(path, self.root).path)
        config = self._config(manifest)
        files, adapters, texts = self._sorted(manifest, f"{name.model}-{name.tag}")
        if not files:
            raise BadSource("it has no weights here" + (": it runs elsewhere" if config.get("remote_host") else ""))
        return Found(
            name=name,
            owner=self.owner,
            files=files,
            adapters=adapters,
            texts=texts,
            known_as=_known_as(host, namespace, model, tag),
            quantization=_text(config, "file_type") or "",
            origin=f"https://{OLLAMA}/{namespace}/{model}:{tag}" if host == _HOST else "",
            revision=str(hash_file(path)),
            renderer=_text(config, "renderer"),
            parser=_text(config, "parser"),
            requires=_text(config, "requires"),
        )

    def _config(self, manifest: ForeignManifest) -> dict[str, Any]:
        if manifest.config is None:
            return {}
        config = read_json(self._file(manifest.config, "config").path)
        if config.get("model_format") not in ("gguf", "", None):
            raise BadSource(f"its format is {str(config['model_format'])[:40]}, not GGUF")
        return config

    def _sorted(
        self, manifest: ForeignManifest, name: str
    ) -> tuple[tuple[FoundFile, ...], tuple[FoundFile, ...], tuple[FoundText, ...]]:
        files: list[FoundFile] = []
        adapters: list[FoundFile] = []
        texts: list[FoundText] = []
        for layer in manifest.layers:
            kind = layer.kind.removeprefix(_TYPE)
            if kind in _FILES:
                title = _FILES[kind].format(name=name if not files else f"{name}-{len(files)}")
                files.append(self._file(layer, title))
            elif kind == "adapter":
                adapters.append(self._file(layer, f"adapter-{len(adapters)}-{name}.gguf"))
            elif kind in _TEXTS:
                texts.append(FoundText(_TEXTS[kind], self._file(layer, kind)))
            elif kind == "tensor":
                raise BadSource("its weights are safetensors, not GGUF")
            else:
                raise BadSource(f"a layer of the unknown type {layer.kind[:100]!r}")
        return tuple(files), tuple(adapters), tuple(texts)

    def _file(self, layer: ForeignLayer, title: str) -> FoundFile:
        return layer_file(layer, self._blob(layer.digest), self.root, title)

    def _blob(self, digest: Digest) -> Path:
        old = self.root / "blobs" / f"sha256:{digest.hex}"  # as early versions wrote it
        return old if os.path.lexists(old) else self.root / "blobs" / digest.file_name


def _parts(shown: str) -> tuple[str, str, str, str]:
    parts = shown.split("/")
    if len(parts) != 4:
        raise BadSource("not host/namespace/model/tag")
    return parts[0], parts[1], parts[2], parts[3]


def _known_as(host: str, namespace: str, model: str, tag: str) -> tuple[str, ...]:
    """What Ollama's own list calls it."""
    whole = f"{host}/{namespace}/{model}:{tag}"
    if host != _HOST:
        return (whole,)
    return (f"{model}:{tag}" if namespace == "library" else f"{namespace}/{model}:{tag}", whole)


def _text(config: Mapping[str, Any], field: str) -> str | None:
    value = config.get(field)
    return value if isinstance(value, str) and value else None
