"""Models in other tools' stores that keep them as container registries do: a manifest, and blobs named by digest.

What the layers are, `registry.oci` reads as it does for a registry; here are only the files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from registry.adopt.files import found_file, read_small
from registry.adopt.found import Found, FoundFile, FoundText
from registry.digests import Digest, digest_of
from registry.errors import BadSource
from registry.names import Name
from registry.oci.read import TEXTS, Image, Index, Piece, Role, check_texts, read_facts, read_manifest, read_pieces


@dataclass(frozen=True, slots=True)
class ImageStore:
    """Where a tool keeps its blobs: `blob` tells the path that one of a digest would have, below `root`."""

    root: Path
    owner: str
    blob: Callable[[Digest], Path]

    def model(self, manifest: Path, name: Name, known_as: tuple[str, ...], reference: str, shown: str) -> Found:
        """The model of a manifest, which is `shown` by this text, and which a pull of `reference` would bring.

        Raises BadSource, BadManifest or OSError.
        """
        data = read_small(found_file(manifest, self.root).path)
        image = read_manifest(data, shown)
        if isinstance(image, Index):
            raise BadSource("a list of manifests, not a model")
        pieces = read_pieces(image, shown)
        check_texts(pieces, shown)
        facts = read_facts(image, self._config(image), shown)
        texts = [FoundText(kind, file) for kind in TEXTS for file in self._files(pieces, kind)]
        if facts.renderer is not None:
            # As for a pull: what Ollama's own code renders comes with a template that says nothing.
            texts = [each for each in texts if each.kind != "template"]
        digest = digest_of(data)
        return Found(
            name=name,
            owner=self.owner,
            files=(*self._files(pieces, "weights"), *self._files(pieces, "projector")),
            adapters=self._files(pieces, "adapter"),
            draft=self._files(pieces, "draft"),
            texts=tuple(texts),
            known_as=known_as,
            quantization=facts.quantization,
            created=facts.created,
            reference=reference,
            origin=f"{name.short}@{digest}",
            revision=str(digest),
            renderer=facts.renderer,
            parser=facts.parser,
            requires=facts.requires,
        )

    def find(self, digest: Digest) -> Path | None:
        """The blob of a digest, if it is there. Raises BadSource for one that can't be used."""
        path = self.blob(digest)
        return found_file(path, self.root).path if path.exists() else None

    def _config(self, image: Image) -> bytes:
        config = image.config
        if image.is_ours or "json" not in config.media_type or not config.size:
            return b""
        return read_small(self._file(config.digest, config.size, "config").path)

    def _files(self, pieces: tuple[Piece, ...], role: Role) -> tuple[FoundFile, ...]:
        return tuple(self._file(each.blob.digest, each.blob.size, each.title) for each in pieces if each.role == role)

    def _file(self, digest: Digest, size: int, title: str) -> FoundFile:
        path = self.blob(digest)
        if not path.exists():
            raise BadSource(f"blob {digest} is missing from it")
        return found_file(path, self.root, title, digest, size)
