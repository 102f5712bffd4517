"""Docker Model Runner's store as a place: an index of models with their tags, manifests and blobs by SHA-256.

Docker itself isn't asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.adopt.files import read_json
from registry.adopt.found import Found, Look
from registry.adopt.images import ImageStore
from registry.digests import Digest
from registry.errors import BadName, BadSource, RegistryError
from registry.names import DOCKER, HUGGING_FACE, Name


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
        self._images = ImageStore(root, self.owner, lambda digest: self._path("blobs", digest))

    def look(self) -> Look:
        """Every tagged model whose layers are all there."""
        look = Look()
        index = self.root / "models.json"
        with look.passing_over(index):
            listed = read_json(index).get("models") if index.exists() else []
            if not isinstance(listed, list):
                raise BadSource("its models must be a list")
            for entry in listed:
                shown = _shown(entry)
                with look.passing_over(shown):
                    look.models += self._models(entry, shown)
        return look

    def find(self, digest: Digest) -> Path | None:
        """The blob of this digest."""
        try:
            return self._images.find(digest)
        except (RegistryError, OSError):
            return None

    def _models(self, entry: Any, shown: str) -> list[Found]:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise BadSource("not a model with an id")
        digest = Digest.parse(entry["id"])
        tags = entry.get("tags")
        if not isinstance(tags, list) or not tags:
            raise BadSource("it has no tag to call it by")
        found = []
        for tag in map(str, tags):
            known_as = (tag, tag.removeprefix("ai/"), digest.short)
            name = _name(tag)
            # What comes from Hugging Face is packed on this machine: no registry has it.
            reference = "" if name.host == HUGGING_FACE else str(name)
            found.append(self._images.model(self._path("manifests", digest), name, known_as, reference, shown))
        return found

    def _path(self, what: str, digest: Digest) -> Path:
        return self.root / what / "sha256" / digest.hex


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
