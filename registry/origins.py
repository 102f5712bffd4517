"""From a place to the source that fetches from it. The one list of the kinds of sources."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from registry.errors import BadSource
from registry.resolve import HubPlace, OciPlace, OllamaPlace, Reference, UrlPlace
from registry.sources.hub_api import HubSettings
from registry.sources.huggingface import HuggingFace
from registry.sources.oci import Oci
from registry.sources.ollama import Ollama
from registry.sources.source import Source
from registry.sources.web import Web
from registry.transfer.http import Http


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How sources are reached. None leaves a value to the source's own tools and their environment variables.

    `docker_config` is the folder of Docker's config.json. `registries` are the hosts that models may come from and go
    to, all of them where it is empty. `insecure` allows plain HTTP beyond loopback, and unsigned certificates.
    `timeout` is seconds of silence that count as down.
    """

    hf_endpoint: str | None = None
    hf_token: str | None = None
    hub_cache: Path | None = None
    docker_config: Path | None = None
    registries: tuple[str, ...] = ()
    insecure: bool = False
    timeout: float = 20.0


def hub_settings(reach: Reach) -> HubSettings:
    """How the hub is reached."""
    return HubSettings(endpoint=reach.hf_endpoint, token=reach.hf_token, cache=reach.hub_cache, timeout=reach.timeout)


def open_source(reference: Reference, http: Http, reach: Reach) -> Source:
    """The source of what a reference means. Asks no network yet; raises BadSource for a host that isn't allowed."""
    if reach.registries and reference.name.host not in reach.registries:
        allowed = ", ".join(reach.registries)
        raise BadSource(f"{reference.text}: models may come from {allowed} only (setting `registries`)")
    place = reference.place
    if isinstance(place, HubPlace):
        return HuggingFace(hub_settings(reach), http, place)
    if isinstance(place, OciPlace):
        return Oci(http, place, insecure=reach.insecure, docker_config=reach.docker_config)
    if isinstance(place, OllamaPlace):
        return Ollama(http, place, insecure=reach.insecure, docker_config=reach.docker_config, hf_token=reach.hf_token)
    if isinstance(place, UrlPlace):
        return Web(http, place, insecure=reach.insecure)
    assert_never(place)
