"""Other tools' stores as they lie on a disk, built file by file as their makers do. Knows nothing of Runner."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OLLAMA = "application/vnd.ollama.image."
DOCKER = "application/vnd.docker.ai."


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def ollama_blob(root: Path, data: bytes) -> dict[str, Any]:
    """A blob, and what a manifest says of it, but for its type."""
    blob = root / "blobs" / f"sha256-{sha256(data)}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    if not blob.exists():
        blob.write_bytes(data)
    return {"digest": f"sha256:{sha256(data)}", "size": len(data)}


def ollama_model(
    root: Path,
    name: str,
    layers: Sequence[tuple[str, bytes]],
    config: Mapping[str, Any] | None = None,
    host: str = "registry.ollama.ai",
) -> Path:
    """A model of an Ollama store; its manifest. `name` is namespace/model/tag, layers go by short types."""
    settings = {"model_format": "gguf", "model_family": "llama", "file_type": "Q8_0", **(config or {})}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            **ollama_blob(root, json.dumps(settings).encode()),
        },
        "layers": [{"mediaType": OLLAMA + kind, **ollama_blob(root, data)} for kind, data in layers],
    }
    path = root / "manifests" / host / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest))
    return path


def docker_model(
    root: Path, tags: Sequence[str], layers: Sequence[tuple[str, bytes, str]], config: Mapping[str, Any] | None = None
) -> str:
    """A model of Docker's store; its id. Layers are types, bytes and file paths."""

    def blob(data: bytes) -> dict[str, Any]:
        path = root / "blobs" / "sha256" / sha256(data)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {"digest": f"sha256:{sha256(data)}", "size": len(data)}

    said = json.dumps({"config": {"format": "gguf", "quantization": "Q8_0", **(config or {})}}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": DOCKER + "model.config.v0.1+json", **blob(said)},
        "layers": [
            {"mediaType": kind, **blob(data), "annotations": {"org.cncf.model.filepath": path} if path else {}}
            for kind, data, path in layers
        ],
    }
    raw = json.dumps(manifest).encode()
    (root / "manifests" / "sha256").mkdir(parents=True, exist_ok=True)
    (root / "manifests" / "sha256" / sha256(raw)).write_bytes(raw)
    index = root / "models.json"
    models = json.loads(index.read_text())["models"] if index.exists() else []
    files = [each["digest"] for each in (*manifest["layers"], manifest["config"])]  # type: ignore[misc]
    models.append({"id": f"sha256:{sha256(raw)}", "tags": list(tags), "files": files})
    index.write_text(json.dumps({"models": models}))
    (root / "layout.json").write_text('{"version": "1.0.0"}')
    return f"sha256:{sha256(raw)}"
