"""Wheels made of what is installed beside the tests, so that an installation needs no network and compiles nothing."""

from __future__ import annotations

import re
import tomllib
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
_NOT_PACKED = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}


def make_wheels(folder: Path) -> None:
    """Put into `folder` all that Runner needs to be built and to run, as this environment has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    texts: list[str] = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    wanted = [Requirement(text) for text in texts]
    seen: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        needed = wanted.pop()
        key = (_canonical(needed.name), frozenset(needed.extras))
        if key in seen:
            continue
        seen.add(key)
        found = distribution(needed.name)
        if key[0] not in {name for name, _ in seen - {key}}:
            _pack(found, folder)
        below = (Requirement(text) for text in found.requires or ())
        wanted += [each for each in below if _applies(each, needed.extras)]


def _applies(needed: Requirement, extras: set[str]) -> bool:
    marker = needed.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pack(found: Distribution, folder: Path) -> None:
    tags = [tag.split("-") for tag in re.findall(r"^Tag: (\S+)$", found.read_text("WHEEL") or "", re.MULTILINE)]
    tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))
    name = f"{_canonical(found.metadata['Name']).replace('-', '_')}-{found.version}-{tag}.whl"
    record, info = [], ""
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for file in found.files or ():
            if file.parts[0] == ".." or "__pycache__" in file.parts or file.name in _NOT_PACKED:
                continue
            if file.parts[0].endswith(".dist-info"):
                info = file.parts[0]
            wheel.write(str(file.locate()), file.as_posix())
            record.append(f"{file.as_posix()},,\n")
        wheel.writestr(f"{info}/RECORD", "".join((*record, f"{info}/RECORD,,\n")))
