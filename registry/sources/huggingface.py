"""Hugging Face as a source, through huggingface_hub: repositories, quantizations, tokens and the shared cache.

huggingface_hub (2.x) keeps no partial file: a broken download starts from nothing the next time. So it
resolves, authenticates and names URLs here, and `transfer` fetches them. Imported on use: it is large.
What is public of a repository's contents is true of one commit: the tree API tells it, with SHA-256 of large files.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from registry.digests import Digest
from registry.disk import Disk
from registry.errors import BadDigest, NotFound, Unreachable
from registry.resolve import HubPlace
from registry.sources.choice import candidates, choose, projector_for, why
from registry.sources.hub_api import HubApi, HubSettings, count, licence_of, sensible
from registry.sources.source import Build, Offer, RemoteFile, Text, TextKind
from registry.transfer.http import Http
from registry.transfer.incoming import Incoming, Opener
from registry.transfer.ranges import incoming, range_of

log = logging.getLogger(__name__)

_MOST_FILES = 50_000
_OVERRIDES: tuple[TextKind, ...] = ("template", "system", "params")
_OVERRIDE_LIMIT = 1 << 20
_REVISION = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class HuggingFace:
    """One repository of a hub. `look` comes first: it fixes the commit that everything else is read from.

    Methods raise Unreachable, Denied, NotFound or UnknownTag; `share` raises nothing.
    """

    def __init__(self, settings: HubSettings, http: Http, place: HubPlace) -> None:
        from huggingface_hub import constants

        self._api = HubApi(http, settings)
        self._http = http
        self._cache = settings.cache or Path(constants.HF_HUB_CACHE)
        self._repository = place.repository
        self._tag = place.tag
        self._commit = ""
        self._files: tuple[RemoteFile, ...] = ()

    @property
    def cache(self) -> HuggingFace:
        """The hub's cache, which other programs use as well."""
        return self

    def look(self, memory: int | None = None, revision: str | None = None) -> Offer:
        """What the repository offers under the tag, at the commit that its main branch has now, or at `revision`."""
        repository, tag = self._repository, self._tag
        shown = f"hf.co/{repository}:{tag}"
        with sensible(shown):
            info = self._info(shown, revision or _REVISION)
            licence = licence_of(info.get("cardData") or {})
            files = self._files = tuple(_file(each) for each in self._tree(shown) if each["type"] == "file")
        found = candidates(files)
        build = choose(shown, found, tag, memory)
        projector = projector_for(files, build)
        small = {each.path: each for each in files if each.size <= _OVERRIDE_LIMIT}
        return Offer(
            origin=f"https://hf.co/{repository}/tree/{self._commit}",
            revision=self._commit,
            quantization=build.label,
            weights=build.files,
            projectors=(projector,) if projector else (),
            # Nothing of when the repository changed: that is no fact of the commit, and models of it must be equal.
            texts=tuple(Text(name, small[name]) for name in _OVERRIDES if name in small),
            licence=licence,
            why=why(found, build, tag, memory),
        )

    def builds(self) -> tuple[Build, ...]:
        """Every whole build of the commit."""
        whole = (each for each in candidates(self._files) if each.whole)
        return tuple(Build(each.tag, each.quantization, each.files) for each in whole)

    def _info(self, shown: str, revision: str) -> Mapping[str, Any]:
        """What the hub says of the repository; fixes the commit. Raises NotFound for another than was asked for."""
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # exported lazily

        with self._api.translated(shown):
            validate_repo_id(self._repository)
        path = f"/api/models/{self._repository}/revision/{quote(revision, safe='')}"
        info: Mapping[str, Any] = self._api.one(path, shown)
        commit = info.get("sha")
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise Unreachable(f"{self._api.endpoint} doesn't say at which commit {self._repository} is")
        if _COMMIT.fullmatch(revision) and commit != revision:
            raise NotFound(f"{shown} at {revision}", hint=f"The hub gives another commit for it ({commit}).")
        self._commit = commit
        return info

    def _tree(self, shown: str) -> Iterator[Mapping[str, Any]]:
        """Every file and folder of the commit, as the hub describes it."""
        path = f"/api/models/{self._repository}/tree/{self._commit}?recursive=true"
        yield from islice(self._api.pages(path, shown), _MOST_FILES)

    def open_at(self, file: RemoteFile) -> Opener:
        """A function that opens the file's bytes; a fresh redirect is asked for each time."""
        return lambda start, stop: self._open(file, start, stop)

    @contextmanager
    def _open(self, file: RemoteFile, start: int, stop: int | None) -> Iterator[Incoming]:
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(self._repository, file.path, revision=self._commit, endpoint=self._api.endpoint)
        what = f"hf.co/{self._repository}/{file.path}"
        with (
            self._api.translated(what),
            self._http.open(
                "GET", url, headers=range_of(start, stop), secret=self._api.headers(), bulk=True
            ) as response,
        ):
            if response.status_code != 416:
                self._api.check(response, url, what)
            yield incoming(response, url)

    def find(self, file: RemoteFile) -> Path | None:
        """The file in the hub's cache, whoever put it there."""
        blob = self._cached_blob(file)
        if blob is None or not blob.is_file():
            return None
        # The cache may itself be made of links into another store.
        return Path(os.path.realpath(blob))

    def share(self, file: RemoteFile, blob: Path, disk: Disk) -> bool:
        """Give a blob of ours its names in the hub's cache, so that other programs find it there.

        False, without an error, where that can't be: the cache is a convenience.
        """
        target = self._cached_blob(file)
        if target is None:
            return False
        folder = target.parent.parent
        pointer = folder.joinpath("snapshots", self._commit, *PurePosixPath(file.path).parts)
        try:
            disk.make_dir(target.parent)
            if not os.path.lexists(target) and not disk.link(blob, target):
                return False
            # Programs look for the snapshot's link; without one the library makes it when it meets the blob.
            if folder in pointer.parents and ".." not in pointer.parts and not os.path.lexists(pointer):
                disk.make_dir(pointer.parent)
                disk.symlink(os.path.relpath(target, pointer.parent), pointer)
        except OSError as error:
            log.info("%s isn't in the hub's cache under all its names: %s", file.path, error)
        return target.is_file()

    def _cached_blob(self, file: RemoteFile) -> Path | None:
        from huggingface_hub.file_download import repo_folder_name

        if file.digest is None:
            return None
        folder = repo_folder_name(repo_id=self._repository, repo_type="model")
        return self._cache / folder / "blobs" / file.digest.hex


def _file(entry: Mapping[str, Any]) -> RemoteFile:
    """One entry of the tree. Large files carry their SHA-256, small ones git's hash."""
    path, size = str(entry["path"]), count(entry["size"])
    if entry.get("lfs") is None:
        return RemoteFile(path, size, None, str(entry["oid"]))
    try:
        return RemoteFile(path, size, Digest.parse(f"sha256:{entry['lfs']['oid']}"))
    except BadDigest as error:
        raise Unreachable(f"the hub gives {path} a hash that is none: {error}") from error
