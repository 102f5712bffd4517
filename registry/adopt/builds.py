"""GGUF files of one folder or repository, put together to models: shards, and the projector that goes with them.

Told by file names, as for a repository elsewhere. Knows no tool's layout.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from registry.adopt.files import found_file
from registry.adopt.found import FoundFile, Look
from registry.digests import Digest
from registry.sources.choice import Candidate, candidates, projector_for
from registry.sources.local import refuse_unwritable
from registry.sources.source import RemoteFile

_UNFINISHED = re.compile(r"\.(part|partial|incomplete|download|crdownload|aria2|tmp)$|^downloading_", re.IGNORECASE)
_GGUF = re.compile(r"\.gguf\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FoundBuild:
    """One model: what its name says of it, its files, the projector last, and the tag to call it by."""

    candidate: Candidate
    files: tuple[FoundFile, ...]
    tag: str


def builds(
    paths: Mapping[str, Path], root: Path, look: Look, digests: Mapping[Path, Digest] | None = None
) -> Iterator[FoundBuild]:
    """The models among files, given by their names relative to a folder. What can't be one is noted in `look`.

    No link may lead out of `root`. `digests` are those that real paths go by.
    """
    found: dict[str, FoundFile] = {}
    for title, path in paths.items():
        if _UNFINISHED.search(path.name):
            if _GGUF.search(path.name):
                look.leave(path, "an unfinished download")
        elif path.name.lower().endswith(".gguf"):
            with look.passing_over(path):
                file = found_file(path, root)
                refuse_unwritable(path, file.path)
                digest = (digests or {}).get(file.path)
                found[title] = FoundFile(file.path, path.name, file.size, digest)
    remote = [RemoteFile(PurePosixPath(title).as_posix(), file.size) for title, file in found.items()]
    among = candidates(remote)
    tags = Counter(each.tag.lower() for each in among)
    for candidate in among:
        if not candidate.whole:
            look.leave(root / candidate.stem, f"only {len(candidate.files)} of its {candidate.shards} shards are there")
            continue
        projector = projector_for(remote, candidate)
        wanted = (*candidate.files, *((projector,) if projector else ()))
        # Several of one quantization are told apart by their file names, which are tags too.
        tag = candidate.tag if tags[candidate.tag.lower()] == 1 else candidate.stem.rpartition("/")[2]
        yield FoundBuild(candidate, tuple(found[each.path] for each in wanted), tag)
