"""Container registries as a source of models: Docker Hub, ghcr.io, one's own, on this machine or elsewhere."""

from __future__ import annotations

from pathlib import Path

from modelfiles.near import near
from registry.digests import Digest
from registry.errors import BadDigest, BadSource, Cancelled, NotFound, RegistryError
from registry.oci.client import RegistryClient
from registry.resolve import OciPlace
from registry.sources.choice import label_of
from registry.sources.image import Images
from registry.sources.source import Build, Offer, RemoteFile
from registry.transfer.http import Http
from registry.transfer.incoming import Opener

_MOST_BUILDS = 24
_COUNTING = frozenset({"registry-1.docker.io"})
"""Registries that count every manifest that somebody reads, and give out so many a day."""


class Oci:
    """One repository of a container registry, at a tag or at the digest of a manifest."""

    def __init__(
        self, http: Http, place: OciPlace, *, insecure: bool = False, docker_config: Path | None = None
    ) -> None:
        self._place = place
        self._client = RegistryClient(
            http, place.host, place.repository, insecure=insecure, docker_config=docker_config
        )
        self._images = Images(self._client)

    @property
    def cache(self) -> None:
        """Registries have no cache here that others use."""
        return None

    def look(self, memory: int | None = None, revision: str | None = None) -> Offer:
        """What the tag or digest means; `revision` is the digest of a manifest that it had."""
        place = self._place
        wanted = place.digest
        if revision is not None:
            try:
                wanted = Digest.parse(revision)
            except BadDigest as error:
                raise BadSource(
                    f"{self._client.shown}: a registry's revisions are digests of manifests: {error}"
                ) from None
        if None not in (wanted, place.digest) and wanted != place.digest:
            raise BadSource(f"{self._client.shown}: asked for {place.digest}, and locked to {wanted}")
        if wanted is not None:
            return self._images.look(wanted, f"{self._client.shown}@{wanted}")
        try:
            return self._images.look(place.tag, f"{self._client.shown}:{place.tag}")
        except NotFound as error:
            raise self._not_found(error) from error

    def builds(self) -> tuple[Build, ...]:
        """A build for each tag that is a model. Where looking at many is frowned upon, their files are left out."""
        tags = self._client.tags()
        if self._place.host in _COUNTING or len(tags) > _MOST_BUILDS:
            return tuple(Build(each, label_of(each)[1], ()) for each in tags)
        found = []
        for tag in tags:
            try:
                files = self._images.weights(tag)
            except Cancelled:
                raise
            except RegistryError:
                continue
            found.append(Build(tag, label_of(tag)[1], files))
        return tuple(found)

    def open_at(self, file: RemoteFile) -> Opener:
        """A function that opens a file's bytes from an offset on."""
        return self._images.open_at(file)

    def _not_found(self, error: NotFound) -> NotFound:
        """The error for a tag that isn't there, with those that are."""
        try:
            tags = self._client.tags()
        except RegistryError:
            return error
        named = f"{self._client.shown}:{self._place.tag}"
        shown = ", ".join(tags[:12]) + (", …" if len(tags) > 12 else "")
        return NotFound(named, near(self._place.tag, tags), f"Its tags: {shown}." if tags else "")
