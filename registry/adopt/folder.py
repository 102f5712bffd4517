"""Any folder of GGUF files as a place, or one file: shards and projectors put together, named after their files."""

from __future__ import annotations

import re
from pathlib import Path

from registry.adopt.builds import FoundBuild, builds
from registry.adopt.files import tree
from registry.adopt.found import YOURS, Found, Look
from registry.digests import Digest
from registry.errors import BadName, BadSource
from registry.names import Name
from registry.sources.local import refuse_other_formats
from registry.sources.shards import shards_of

_OTHER = re.compile(r"[^A-Za-z0-9_.-]+")
_NAMELESS = ("model", "ggml-model", "weights", "")


class Folder:
    """A folder, with those below it; or one file, with its shards."""

    def __init__(self, root: Path) -> None:
        self._file = None if root.is_dir() else root
        self.root = root if root.is_dir() else root.parent
        self.owner = YOURS
        # Who names a file means it, wherever a link of that name leads.
        self._bounds = self.root if self._file is None else Path(self.root.anchor)

    def look(self) -> Look:
        """Every model; files of one folder belong together."""
        look = Look()
        with look.passing_over(self._file or self.root):
            if self._file is None:
                self._in_all(look)
            else:
                refuse_other_formats(str(self._file))
                if self._file.suffix.lower() != ".gguf":
                    raise BadSource(f"{self._file}: its name doesn't end in .gguf")
                wanted = [self._file.with_name(name) for name in shards_of(self._file.name)]
                self._among(self._file.parent, wanted, look)
        return look

    def find(self, digest: Digest) -> Path | None:
        """Nothing: the files go by names of their own."""
        return None

    def _in_all(self, look: Look) -> None:
        by_folder: dict[Path, list[Path]] = {}
        for path in tree(self.root):
            by_folder.setdefault(path.parent, []).append(path)
        for folder, paths in by_folder.items():
            self._among(folder, paths, look)

    def _among(self, folder: Path, paths: list[Path], look: Look) -> None:
        for build in builds({path.name: path for path in paths}, self._bounds, look):
            with look.passing_over(folder / build.candidate.stem):
                look.models.append(
                    Found(
                        name=name_of(folder, build),
                        owner=self.owner,
                        files=build.files,
                        known_as=(build.files[0].title, str(build.files[0].path)),
                        quantization=build.candidate.label,
                    )
                )


def name_of(folder: Path, build: FoundBuild) -> Name:
    """What to call a file's model: the file's name, with its quantization as the tag.

    A file without a name to speak of ('model.gguf') is called after its folder.
    """
    stem, label = build.candidate.stem.rpartition("/")[2], build.candidate.label
    if label:
        stem = re.sub(rf"[-_.]*{re.escape(label)}(?![A-Za-z0-9])", "", stem, count=1, flags=re.IGNORECASE)
    if stem.lower() in _NAMELESS:
        stem = folder.name
    model = _OTHER.sub("-", stem).strip(".-_") or "model"
    try:
        return Name.parse(f"{model}:{label or 'latest'}")
    except BadName as error:
        raise BadSource(f"{folder / build.candidate.stem}: {error}") from error
