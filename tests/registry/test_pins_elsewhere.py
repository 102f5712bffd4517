"""Pins and standings of models from container registries, Ollama's registry and URLs."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from registry.errors import NotAsLocked, NotFound
from registry.manifest import MODEL, REVISION, SYSTEM, WEIGHTS
from registry.origins import Reach
from registry.pull import PullSettings, pull
from registry.resolve import Pin, Wanted
from registry.standing import Standing, compare
from registry.store import Store
from registry.stored import StoredModel
from registry.transfer.http import Http
from tests import tiny_gguf
from tests.oci_registry import Registry, running
from tests.registry.test_pull_web import put

DOCKER = "application/vnd.docker.ai."


def gguf(seed: str) -> bytes:
    return tiny_gguf.model(extra={"general.version": seed}).build()


def pin_of(stored: StoredModel) -> Pin:
    files = [(each.title, each.digest) for each in stored.manifest.layers if each.media_type in WEIGHTS]
    titled = tuple(files) if all(title for title, _ in files) else ()
    return Pin(stored.manifest.annotations[REVISION], titled, stored.digest)


@pytest.fixture
def served() -> Iterator[Registry]:
    with running(Registry()) as registry:
        yield registry


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "elsewhere") as opened:
        yield opened


@pytest.fixture
def settings(tmp_path: Path) -> PullSettings:
    return PullSettings(reach=Reach(docker_config=tmp_path / "docker", timeout=5.0), waits=(0.0,) * 3)


def look(store: Store, stored: StoredModel, settings: PullSettings) -> Standing:
    with Http(timeout=5.0) as http:
        return compare(store, stored, http, settings.reach)


@pytest.mark.parametrize("kinds", [(f"{DOCKER}gguf.v3", f"{DOCKER}license"), (MODEL, SYSTEM)])
def test_a_registrys_model_is_pinned_by_its_manifest(
    store: Store, elsewhere: Store, served: Registry, settings: PullSettings, kinds: tuple[str, str]
) -> None:
    layers = [served.layer(kinds[0], gguf("one")), served.layer(kinds[1], b"hello")]
    served.add("ai/tiny", "1", layers)
    reference = f"{served.host}/ai/tiny:1"
    first = pull(store, reference, settings=settings)
    assert look(store, first, settings).state == "current"
    served.add("ai/tiny", "1", layers, annotations={"note": "pushed again"})
    again = look(store, first, settings)
    assert (again.state, again.latest != first.manifest.annotations[REVISION]) == ("current", True)
    served.add("ai/tiny", "1", [served.layer(kinds[0], gguf("two"))])
    assert look(store, first, settings).state == "outdated"
    same = pull(elsewhere, Wanted(reference=reference, pin=pin_of(first)), settings=settings)
    assert same.manifest == first.manifest
    with pytest.raises(NotAsLocked):
        pull(elsewhere, Wanted(reference=reference, pin=replace(pin_of(first), model=first.manifest.layers[0].digest)))


def test_a_url_is_pinned_as_long_as_it_is_what_it_was(
    store: Store, elsewhere: Store, served: Registry, settings: PullSettings
) -> None:
    url = put(served, "tiny-Q8_0.gguf", gguf("one"))
    first = pull(store, url, settings=settings)
    assert look(store, first, settings).state == "current"
    same = pull(elsewhere, Wanted(reference=url, pin=pin_of(first)), settings=settings)
    assert same.manifest == first.manifest
    put(served, "tiny-Q8_0.gguf", gguf("two"), etag='"2"')
    assert look(store, first, settings).state == "outdated"
    with pytest.raises(NotFound, match="runner pull"):
        pull(elsewhere, Wanted(reference=url, pin=pin_of(first)), settings=settings)
