"""Where other tools keep models on this machine. The one list of the kinds of places."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from modelfiles.near import near
from registry.adopt import docker, huggingface, lmstudio, ollama
from registry.adopt.files import entries
from registry.adopt.folder import Folder
from registry.adopt.found import Found, Look, Place
from registry.digests import Digest
from registry.errors import BadName, BadSource, NotFound
from registry.names import Name
from registry.sources.source import Nearby

_Open = Callable[[Mapping[str, str]], list[Place]]
_KINDS: Mapping[str, _Open] = {
    "huggingface": lambda environ: [huggingface.HubCache(huggingface.default_root(environ))],
    "ollama": lambda environ: [ollama.Ollama(each) for each in ollama.default_roots(environ)],
    "lmstudio": lambda environ: [lmstudio.LmStudio(each) for each in lmstudio.default_roots(environ)],
    "docker": lambda environ: [docker.Docker(docker.default_root(environ))],
}
KINDS: Final = tuple(_KINDS)
"""The tools whose places are known, by the words for them."""


def places(kind: str, environ: Mapping[str, str] = os.environ) -> tuple[Place, ...]:
    """The folders of a tool that are there; none if it isn't installed. Raises BadSource for an unknown word."""
    found = [each for each in _known(kind, environ) if _is_there(each.root)]
    return tuple({os.path.realpath(each.root): each for each in found}.values())


def _known(kind: str, environ: Mapping[str, str]) -> list[Place]:
    """The folders that a tool would use, whether they are there or not; none where nobody has a home."""
    if kind not in _KINDS:
        raise BadSource(f"{kind[:100]!r} is none of {', '.join(KINDS)}, and no absolute path")
    try:
        return _KINDS[kind](environ)
    except RuntimeError:  # neither HOME nor an entry for this user, as in many containers; or '~nobody' in a variable
        return []


def place_at(path: Path) -> Place:
    """The place that a path is: a tool's folder if it looks like one, else a folder of files, or one file.

    Raises BadSource if nothing is there.
    """
    try:
        names = {each.name for each in entries(path)} if path.is_dir() else set()
        if not path.exists():
            raise BadSource(f"{path}: nothing is there")
    except OSError as error:
        raise BadSource(f"{path}: {error.strerror}") from error
    if any(each.startswith("models--") for each in names):
        return huggingface.HubCache(path)
    if "hub" in names and any(each.name.startswith("models--") for each in entries(path / "hub")):
        return huggingface.HubCache(path / "hub")
    if {"models.json", "manifests", "blobs"} <= names:
        return docker.Docker(path)
    if {"manifests", "blobs"} <= names:
        return ollama.Ollama(path)
    if "models" in names and {"manifests", "blobs"} <= {each.name for each in entries(path / "models")}:
        return ollama.Ollama(path / "models")
    return Folder(path)


def look_in(where: str, environ: Mapping[str, str] = os.environ) -> Look:
    """All models of a tool, or at an absolute path. Raises BadSource."""
    path = Path(where)
    if path.is_absolute():
        whole, found = Look(places=[path]), [place_at(path)]
    else:
        whole, found = Look(places=[each.root for each in _known(where, environ)]), [*places(where, environ)]
    for place in found:
        whole.add(place.look())
    return whole


def chosen(look: Look, wanted: Iterable[str]) -> tuple[Found, ...]:
    """The models that go by these names, here or there. Raises NotFound with near names for one that isn't among them.

    One that was passed over is told with its reason, as BadSource.
    """
    return tuple({each.key: each for text in wanted for each in _matching(look, text)}.values())


def nearby(kinds: Iterable[str], environ: Mapping[str, str] = os.environ) -> Nearby:
    """Tells which of these tools call a file by its digest. Looks at names alone, each time anew."""
    asked = tuple(kinds)

    def find(digest: Digest) -> list[tuple[str, Path]]:
        all_places = [place for kind in asked for place in places(kind, environ)]
        found = [(place.owner, place.find(digest)) for place in all_places]
        return [(owner, path) for owner, path in found if path is not None]

    return find


def _matching(look: Look, text: str) -> list[Found]:
    try:
        key = Name.parse(text).key
    except BadName:
        key = None
    plain = text.lower()
    for matches in (
        lambda each: each.name.key == key,
        lambda each: plain in [known.lower() for known in each.known_as],
        lambda each: f"{plain}:latest" in [known.lower() for known in each.known_as],
        lambda each: each.name.model.lower() == plain,
    ):
        found = [each for each in look.models if matches(each)]
        if found:
            return found
    for passed in look.passed_over:
        if plain in passed.what.lower():
            raise BadSource(f"{passed.what} can't be adopted: {passed.reason}")
    names = [str(each.name) for each in look.models]
    raise NotFound(text, near(text, names), "`runner adopt` with the place alone lists what is there.")


def _is_there(root: Path) -> bool:
    try:
        return root.is_dir()
    except OSError:  # in a home that isn't ours to look into
        return False
