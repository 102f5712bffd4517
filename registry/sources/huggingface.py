"""Hugging Face as a source, through huggingface_hub: repositories, quantizations, tokens and the shared cache.

huggingface_hub (2.x) keeps no partial file: a broken download starts from nothing the next time. So it
resolves, authenticates and names URLs here, and `transfer` fetches them. Imported on use: it is large.
What is public of a repository's contents is true of one commit: the tree API tells it, with SHA-256 of large files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from registry.digests import Digest
from registry.disk import Disk
from registry.errors import BadDigest, Denied, NotFound, RegistryError, Unreachable
from registry.resolve import HubPlace
from registry.sources.choice import candidates, choose, projector_for, why
from registry.sources.source import Build, Offer, RemoteFile, Text, TextKind
from registry.transfer.http import Http
from registry.transfer.incoming import Incoming, Opener
from registry.transfer.ranges import incoming, range_of, refuse_passing

log = logging.getLogger(__name__)

_MOST_FILES = 50_000
_OVERRIDES: tuple[TextKind, ...] = ("template", "system", "params")
_OVERRIDE_LIMIT = 1 << 20
_REVISION = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """How to reach the hub. None leaves a value to huggingface_hub and its environment variables.

    `timeout` is how many seconds the hub may be silent.
    """

    endpoint: str | None = None
    token: str | None = None
    cache: Path | None = None
    timeout: float = 20.0


class HuggingFace:
    """One repository of a hub. `look` comes first: it fixes the commit that everything else is read from.

    Methods raise Unreachable, Denied, NotFound or UnknownTag; `share` raises nothing.
    """

    def __init__(self, settings: HubSettings, http: Http, place: HubPlace) -> None:
        from huggingface_hub import HfApi, constants

        self._api = HfApi(endpoint=settings.endpoint, token=settings.token, library_name="runner")
        self._http = http
        self._token = settings.token
        self._timeout = settings.timeout
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
        with sensible(shown), translated(shown):
            info = self._api.model_info(repository, revision=revision or _REVISION, timeout=self._timeout)
            if not info.sha:
                raise Unreachable(f"{self._api.endpoint} doesn't say at which commit {repository} is")
            self._commit = info.sha
            files = self._files = tuple(_file(each) for each in self._tree() if each["type"] == "file")
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
            licence=licence_of(vars(info.card_data) if info.card_data else {}),
            why=why(found, build, tag, memory),
        )

    def builds(self) -> tuple[Build, ...]:
        """Every whole build of the commit."""
        whole = (each for each in candidates(self._files) if each.whole)
        return tuple(Build(each.tag, each.quantization, each.files) for each in whole)

    def _tree(self) -> Iterator[dict[str, Any]]:
        """Every file and folder of the commit, as the hub describes it."""
        from huggingface_hub.utils import paginate  # type: ignore[attr-defined]  # exported lazily

        # HfApi.list_repo_tree would wait for ever for a hub that has fallen silent.
        url = f"{self._api.endpoint}/api/models/{self._repository}/tree/{self._commit}"
        pages = paginate(url, params={"recursive": True}, headers=self._headers(), timeout=self._timeout)
        yield from islice(pages, _MOST_FILES)

    def _headers(self) -> dict[str, str]:
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported lazily

        headers: dict[str, str] = build_hf_headers(token=self._token, library_name="runner")
        return headers

    def open_at(self, file: RemoteFile) -> Opener:
        """A function that opens the file's bytes; a fresh redirect is asked for each time."""
        return lambda start, stop: self._open(file, start, stop)

    @contextmanager
    def _open(self, file: RemoteFile, start: int, stop: int | None) -> Iterator[Incoming]:
        from huggingface_hub import hf_hub_url, hf_raise_for_status

        url = hf_hub_url(self._repository, file.path, revision=self._commit, endpoint=self._api.endpoint)
        with (
            translated(f"hf.co/{self._repository}/{file.path}"),
            self._http.open("GET", url, headers=range_of(start, stop), secret=self._headers()) as response,
        ):
            refuse_passing(response, url, f"hf.co/{self._repository}/{file.path}")
            if response.status_code >= 400 and response.status_code != 416:
                response.read()
                hf_raise_for_status(response)
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
    path, size = str(entry["path"]), int(entry["size"])
    if entry.get("lfs") is None:
        return RemoteFile(path, size, None, str(entry["oid"]))
    try:
        return RemoteFile(path, size, Digest.parse(f"sha256:{entry['lfs']['oid']}"))
    except BadDigest as error:
        raise Unreachable(f"the hub gives {path} a hash that is none: {error}") from error


def licence_of(card: Mapping[str, Any]) -> str:
    """The licence that a repository's card tells, whatever form it takes there."""
    told = card.get("license")
    if told == "other":
        told = card.get("license_name") or told
    if isinstance(told, list):
        told = ", ".join(str(each) for each in told)
    return str(told or "")[:100]


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the hub's errors into ours."""
    import httpx2
    from huggingface_hub import errors as hub

    try:
        yield
    except (hub.GatedRepoError, hub.DisabledRepoError) as error:
        raise Denied(
            f"{what} is gated: accept its terms on huggingface.co and set HF_TOKEN to a token of that account"
        ) from error
    except hub.RepositoryNotFoundError as error:
        raise NotFound(what, hint="No such repository, or a private one: then set HF_TOKEN.") from error
    except (hub.RevisionNotFoundError, hub.EntryNotFoundError) as error:
        raise NotFound(what, hint="The repository has changed; try again.") from error
    except hub.HFValidationError as error:
        raise NotFound(what, hint=f"Not a repository's name: {error}") from error
    except hub.HfHubHTTPError as error:
        raise _of_status(what, error.response.status_code) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise Unreachable(f"{what}: {str(error) or type(error).__name__}") from error
    except hub.OfflineModeIsEnabled as error:
        raise Unreachable(f"{what}: {error}") from error
    except RuntimeError as error:
        # The library closes the client that all threads share when any of them meets a dead host.
        if "client has been closed" not in str(error):
            raise
        raise Unreachable(f"{what}: {error}") from error


@contextmanager
def sensible(what: str) -> Iterator[None]:
    """Turn what an answer of the wrong shape does to its reader into an error that says so."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreachable(f"{what}: the hub's answer makes no sense ({type(error).__name__}: {error})") from error


def _of_status(what: str, status: int) -> RegistryError:
    if status in (401, 403):
        return Denied(f"{what}: the hub refuses us ({status}); set HF_TOKEN to a token that may read it")
    return Unreachable(f"{what}: the hub answers with status {status}")
