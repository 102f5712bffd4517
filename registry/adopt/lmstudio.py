"""LM Studio's folder of models as a place: publisher, repository, files, as they are on Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from registry.adopt.builds import builds
from registry.adopt.files import folders, read_json, tree
from registry.adopt.found import Found, Look
from registry.digests import Digest
from registry.errors import BadName, RegistryError
from registry.names import HUGGING_FACE, Name


def default_roots(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where LM Studio keeps models for this user: the folder chosen in it, and those of its versions."""
    home = Path.home()
    found = [home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"]
    with suppress(RegistryError, OSError):
        chosen = read_json(home / ".lmstudio" / "settings.json").get("downloadsFolder")
        if isinstance(chosen, str) and Path(chosen).is_absolute():
            found.insert(0, Path(chosen))
    return tuple(dict.fromkeys(found))


class LmStudio:
    """One folder of models."""

    owner = "LM Studio"

    def __init__(self, root: Path) -> None:
        self.root = root

    def look(self) -> Look:
        """Every model that has a publisher and a repository."""
        look = Look()
        with look.passing_over(self.root):
            for publisher in folders(self.root):
                for repository in folders(publisher):
                    with look.passing_over(repository):
                        self._repository(repository, look)
        return look

    def find(self, digest: Digest) -> Path | None:
        """Nothing: the files go by names of their own."""
        return None

    def _repository(self, folder: Path, look: Look) -> None:
        repository = f"{folder.parent.name}/{folder.name}"
        paths = {path.relative_to(folder).as_posix(): path for path in tree(folder)}
        for build in builds(paths, self.root, look):
            try:
                name = Name.parse(f"{HUGGING_FACE}/{repository}:{build.tag}")
            except BadName as error:
                look.leave(folder / build.candidate.stem, str(error))
                continue
            look.models.append(
                Found(
                    name=name,
                    owner=self.owner,
                    files=build.files,
                    known_as=(repository, *(each.title for each in build.files[:1])),
                    quantization=build.candidate.label,
                )
            )
