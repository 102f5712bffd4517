"""An Ollama store as a place: manifests by name, blobs named by their SHA-256. Ollama itself isn't asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from registry.adopt.files import tree
from registry.adopt.found import Found, Look
from registry.adopt.images import ImageStore
from registry.digests import Digest
from registry.errors import BadName, BadSource, RegistryError
from registry.names import HUGGING_FACE, Name

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
        self._images = ImageStore(root, self.owner, self._blob)

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
            return self._images.find(digest)
        except (RegistryError, OSError):
            return None

    def _model(self, path: Path, shown: str) -> Found:
        parts = shown.split("/")
        if len(parts) != 4:
            raise BadSource("not host/namespace/model/tag")
        whole = f"{'/'.join(parts[:3])}:{parts[3]}"
        try:
            name = Name.parse(whole)
        except BadName as error:
            raise BadSource(str(error)) from error
        # Hugging Face makes manifests for Ollama that it doesn't have for others.
        reference = f"ollama://{name}" if name.host == HUGGING_FACE else str(name)
        return self._images.model(path, name, _known_as(whole), reference, shown)

    def _blob(self, digest: Digest) -> Path:
        old = self.root / "blobs" / f"sha256:{digest.hex}"  # as early versions wrote it
        return old if os.path.lexists(old) else self.root / "blobs" / digest.file_name


def _known_as(whole: str) -> tuple[str, ...]:
    """What Ollama's own list calls it, and its name in full."""
    short = whole.removeprefix(f"{_HOST}/").removeprefix("library/") if whole.startswith(f"{_HOST}/") else whole
    return tuple(dict.fromkeys((short, whole)))
