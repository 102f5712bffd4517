"""From a manifest in a registry to an offer: what the sources that speak a container registry's protocol share."""

from __future__ import annotations

from collections.abc import Iterable

from registry.digests import Digest, digest_of
from registry.errors import BadManifest, BadSource, NotFound, RegistryError, Unreachable
from registry.manifest import SIZE_LIMIT
from registry.oci.client import RegistryClient
from registry.oci.read import (
    TEXTS,
    Facts,
    Image,
    Index,
    Piece,
    Role,
    candidates,
    check_texts,
    read_facts,
    read_manifest,
    read_pieces,
)
from registry.sources.source import Offer, RemoteFile, Text
from registry.transfer.http import SOON
from registry.transfer.incoming import Opener, in_time

_MOST_CANDIDATES = 8


class Images:
    """The images of one repository. Methods raise as a Source's do."""

    def __init__(self, client: RegistryClient) -> None:
        self.client = client

    def look(self, reference: str | Digest, what: str) -> Offer:
        """What the repository offers under a tag or a digest; the revision is the manifest's digest."""
        try:
            digest, image, pieces = self._find(reference, what)
            facts = read_facts(image, self._config(image), what)
        except BadManifest as error:
            raise Unreachable(f"{what}: the registry's answer makes no sense ({error})") from error
        check_texts(pieces, what)
        return _offer(f"{self.client.shown}@{digest}", digest, pieces, facts)

    def weights(self, tag: str) -> tuple[RemoteFile, ...]:
        """The weights under a tag, with nothing else asked for."""
        try:
            _, _, pieces = self._find(tag, f"{self.client.shown}:{tag}")
        except BadManifest as error:
            raise Unreachable(str(error)) from error
        return tuple(_files(pieces, "weights"))

    def open_at(self, file: RemoteFile) -> Opener:
        """A function that opens a file's bytes."""
        if file.digest is None:
            raise NotFound(file.path, hint="Container registries know files by their digest only.")
        return self.client.open_blob(file.digest)

    def _find(self, reference: str | Digest, what: str) -> tuple[Digest, Image, tuple[Piece, ...]]:
        """The manifest that a reference means: of a list, the first that is a model. The digest is the reference's."""
        data, _, digest = self.client.manifest(reference)
        found = read_manifest(data, what)
        if isinstance(found, Image):
            return digest, found, read_pieces(found, what)
        image, pieces = self._first_of(found, what)
        return digest, image, pieces

    def _first_of(self, index: Index, what: str) -> tuple[Image, tuple[Piece, ...]]:
        why: RegistryError = BadSource(f"{what}: a list of images, none of which is a model")
        for each in candidates(index)[:_MOST_CANDIDATES]:
            inner = f"{what}@{each.digest}"
            data, _, _ = self.client.manifest(each.digest)
            try:
                found = read_manifest(data, inner)
                if isinstance(found, Image):
                    return found, read_pieces(found, inner)
            except (BadManifest, BadSource) as error:
                why = error
        raise why

    def _config(self, image: Image) -> bytes:
        """The config's bytes, checked; nothing for those that aren't JSON, or that Runner wrote and reads by itself."""
        config = image.config
        if image.is_ours or "json" not in config.media_type or not config.size:
            return b""
        if config.size > SIZE_LIMIT:
            raise BadManifest(f"the config has {config.size} bytes, more than the {SIZE_LIMIT} allowed")
        data = bytearray()
        with self.client.open_blob(config.digest)(0, None) as incoming, in_time(incoming, SOON, "the config"):
            for chunk in incoming.chunks:
                data += chunk
                if len(data) > config.size:
                    break
        if digest_of(data) != config.digest:
            raise BadManifest(f"the config {config.digest} has other bytes than its digest says")
        return bytes(data)


def _offer(origin: str, digest: Digest, pieces: Iterable[Piece], facts: Facts) -> Offer:
    pieces = tuple(pieces)
    texts = [Text(kind, file) for kind in TEXTS for file in _files(pieces, kind)]
    if facts.renderer is not None:
        # What Ollama's own code renders comes with a template that says nothing; the weights' own is meant.
        texts = [each for each in texts if each.kind != "template"]
    return Offer(
        origin=origin,
        revision=str(digest),
        quantization=facts.quantization,
        weights=tuple(_files(pieces, "weights")),
        projectors=tuple(_files(pieces, "projector")),
        adapters=tuple(_files(pieces, "adapter")),
        draft=tuple(_files(pieces, "draft")),
        texts=tuple(texts),
        created=facts.created,
        licence=facts.licence,
        renderer=facts.renderer,
        parser=facts.parser,
        requires=facts.requires,
    )


def _files(pieces: Iterable[Piece], role: Role) -> list[RemoteFile]:
    return [RemoteFile(each.title, each.blob.size, each.blob.digest) for each in pieces if each.role == role]
