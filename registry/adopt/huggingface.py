"""The Hugging Face cache as a place: repositories as folders, snapshots of links, blobs named by their SHA-256.

Read as it lies on the disk, without the hub's library; nothing is asked of the network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from registry.adopt.builds import FoundBuild, builds
from registry.adopt.files import entries, found_file, inside, read_small, tree
from registry.adopt.found import Found, FoundText, Look
from registry.digests import Digest
from registry.errors import BadName, BadSource, RegistryError
from registry.names import HUGGING_FACE, Name
from registry.sources.source import HUB_CACHE, TextKind

_REPOSITORY = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_OVERRIDES: tuple[TextKind, ...] = ("template", "system", "params")
_OVERRIDE_LIMIT = 1 << 20


def default_root(environ: Mapping[str, str]) -> Path:
    """Where the hub's library keeps its cache for this user."""
    if named := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    if home := environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "huggingface" / "hub"


class HubCache:
    """One cache folder."""

    owner = HUB_CACHE

    def __init__(self, root: Path) -> None:
        self.root = root

    def look(self) -> Look:
        """Every build of every repository, at the commit that `main` had when it was last fetched, or the newest."""
        look = Look()
        with look.passing_over(self.root):
            for entry in entries(self.root):
                named = _REPOSITORY.fullmatch(entry.name)
                if named is not None and entry.is_dir(follow_symlinks=False):
                    with look.passing_over(entry.path):
                        self._repository(f"{named['owner']}/{named['name']}", Path(entry.path), look)
        return look

    def find(self, digest: Digest) -> Path | None:
        """The file of this digest, of whichever repository."""
        try:
            for entry in entries(self.root):
                blob = Path(entry.path) / "blobs" / digest.hex
                if entry.name.startswith("models--") and os.path.lexists(blob):
                    return found_file(blob, self.root).path
        except (RegistryError, OSError):
            return None
        return None

    def _repository(self, repository: str, folder: Path, look: Look) -> None:
        blobs = entries(folder / "blobs")
        for each in blobs:
            if each.name.endswith(".incomplete"):
                look.leave(f"{repository}: {each.path}", "an unfinished download")
        digests = {
            Path(os.path.realpath(each.path)): Digest(each.name) for each in blobs if _SHA256.fullmatch(each.name)
        }
        seen: set[str] = set()
        for snapshot in _snapshots(folder):
            inside(snapshot, folder)
            paths = {path.relative_to(snapshot).as_posix(): path for path in tree(snapshot)}
            for build in builds(paths, folder, look, digests):
                if build.tag.lower() not in seen:
                    seen.add(build.tag.lower())
                    with look.passing_over(f"{repository}: {build.candidate.stem}"):
                        look.models.append(self._model(repository, folder, snapshot, build))

    def _model(self, repository: str, folder: Path, snapshot: Path, build: FoundBuild) -> Found:
        try:
            name = Name.parse(f"{HUGGING_FACE}/{repository}:{build.tag}")
        except BadName as error:
            raise BadSource(f"{repository}: {error}") from error
        commit = snapshot.name if _COMMIT.fullmatch(snapshot.name) else ""
        texts = []
        for kind in _OVERRIDES:
            path = snapshot / kind
            if path.is_file() and path.stat().st_size <= _OVERRIDE_LIMIT:
                texts.append(FoundText(kind, found_file(path, folder)))
        return Found(
            name=name,
            owner=self.owner,
            files=build.files,
            texts=tuple(texts),
            quantization=build.candidate.label,
            reference=str(name) if commit else "",
            origin=f"https://hf.co/{repository}/tree/{commit}",
            revision=commit,
        )


def _snapshots(folder: Path) -> list[Path]:
    """The folders of commits: main's first, then the newest."""
    found = [Path(each.path) for each in entries(folder / "snapshots") if each.is_dir(follow_symlinks=False)]
    main = ""
    try:
        main = read_small(folder / "refs" / "main")[:100].decode("ascii", "replace").strip()
    except (RegistryError, OSError):
        main = ""  # fetched by commit
    return sorted(found, key=lambda each: (each.name != main, -each.stat().st_mtime, each.name))
