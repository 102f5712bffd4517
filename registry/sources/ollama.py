"""Ollama's registry as a source, and those that speak as it does: Hugging Face's for `ollama://hf.co/…`.

Public models are given to everybody. Private ones want requests that are signed with a person's Ollama key, which
Runner doesn't touch.
"""

from __future__ import annotations

from pathlib import Path

from registry.errors import Denied, NotFound
from registry.oci.client import RegistryClient
from registry.oci.credentials import Credential
from registry.resolve import OllamaPlace
from registry.sources.image import Images
from registry.sources.source import Build, Offer, RemoteFile
from registry.transfer.http import Http
from registry.transfer.incoming import Opener

_HUGGING_FACE = "huggingface.co"
_OLLAMA = "registry.ollama.ai"


class Ollama:
    """One repository of Ollama's registry, or of another in its manner, at a tag.

    `hf_token` is sent to Hugging Face alone; None leaves it to huggingface_hub. Registries other than Ollama's and
    Hugging Face's are asked with Docker's credentials, as any.
    """

    def __init__(
        self,
        http: Http,
        place: OllamaPlace,
        *,
        insecure: bool = False,
        docker_config: Path | None = None,
        hf_token: str | None = None,
    ) -> None:
        self._place = place
        given = _hub_credential(hf_token) if place.host == _HUGGING_FACE else None
        self._client = RegistryClient(
            http,
            place.host,
            place.repository,
            insecure=insecure,
            docker_config=docker_config,
            anonymous=place.host in (_HUGGING_FACE, _OLLAMA),
            given=given,
        )
        self._images = Images(self._client)

    @property
    def cache(self) -> None:
        """Ollama's own store isn't a cache: what lies there is adopted."""
        return None

    def look(self, memory: int | None = None, revision: str | None = None) -> Offer:
        """What the tag means; `revision` is the digest of a manifest that it had, which must still be its own.

        Raises NotFound where it no longer is: these registries keep manifests by tag only.
        """
        shown = f"{self._client.shown}:{self._place.tag}"
        try:
            offer = self._images.look(self._place.tag, shown)
        except Denied as error:
            raise Denied(self._refusal(shown, error)) from error
        if revision not in (None, offer.revision):
            hint = f"It is at {offer.revision} now, and this registry keeps no older state than that."
            raise NotFound(f"{shown} at {revision}", hint=hint)
        return offer

    def builds(self) -> tuple[Build, ...]:
        """Nothing: these registries don't list their tags."""
        return ()

    def open_at(self, file: RemoteFile) -> Opener:
        """A function that opens a file's bytes from an offset on."""
        return self._images.open_at(file)

    def _refusal(self, shown: str, error: Denied) -> str:
        if self._place.host == _OLLAMA:
            return (
                f"{shown} is private, or isn't there. Runner doesn't sign requests with Ollama's key: "
                "pull it with Ollama and take it over with `runner adopt`"
            )
        if self._place.host == _HUGGING_FACE:
            return (
                f"{shown} is private, gated, or isn't there: accept its terms on huggingface.co if it has any, and log "
                "in with `hf auth login`, or end the daemon (`runner shutdown`), set HF_TOKEN and start it again"
            )
        return str(error)


def _hub_credential(token: str | None) -> Credential | None:
    if token is None:
        from huggingface_hub import get_token  # on use: large

        token = get_token()
    return Credential("", token, "registry") if token else None
