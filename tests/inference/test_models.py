"""The store from the event loop."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.digests import digest_of
from registry.errors import BadDigest, BadName, HashMismatch, NotFound
from registry.store import Store
from runner.inference.models import Models
from tests.inference.conftest import Make


@pytest.fixture
async def models(store: Store) -> AsyncIterator[Models]:
    unloaded: list[str] = []

    async def unload(name: str) -> bool:
        unloaded.append(name)
        return True

    with ThreadPoolExecutor(2) as threads:
        made = Models(store, threads, unload)
        made.unloaded = unloaded  # type: ignore[attr-defined]
        yield made


async def chunks(*parts: bytes, error: Exception | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if error is not None:
        raise error


async def test_list_show_copy_remove(models: Models, make: Make) -> None:
    make("m")
    await models.copy("m", "n")
    assert sorted(str(model.name) for model in await models.list()) == ["m:latest", "n:latest"]
    assert (await models.show("M")).digest == (await models.show("n")).digest
    assert (await models.header("m")).tensors
    await models.remove("m")
    assert models.unloaded == ["m"]  # type: ignore[attr-defined]
    with pytest.raises(NotFound):
        await models.show("m")
    assert await models.broken() == ()


async def test_a_copy_says_whether_it_took_a_name_from_another(models: Models, make: Make) -> None:
    make("m")
    make("other")
    assert not await models.copy("m", "n")
    assert not await models.copy("m", "n"), "it is the same model"
    assert await models.copy("other", "n")


async def test_what_others_hold_is_told_when_a_model_goes(models: Models, store: Store, make: Make) -> None:
    size = make("m").weights[0].stat().st_size
    assert (await models.remove("m")).shared == 0
    made = make("m")
    os.link(made.weights[0], store.root.parent / "anothers.gguf")
    gone = await models.remove("m")
    assert (gone.shared, gone.from_hub) == (size, False)


async def test_errors_are_the_registrys(models: Models) -> None:
    with pytest.raises(NotFound):
        await models.show("nobody")
    with pytest.raises(BadName):
        await models.show("no name")
    with pytest.raises(BadDigest):
        await models.has_blob("sha256:xyz")


async def test_blobs_come_in_by_chunks(models: Models, store: Store) -> None:
    digest = digest_of(b"one two")
    assert not await models.has_blob(str(digest))
    assert await models.write_blob(str(digest), chunks(b"one ", b"two"))
    assert await models.has_blob(digest)
    assert store.blobs.read(digest) == b"one two"
    assert not await models.write_blob(digest, chunks(b"not even read"))
    assert (await models.prune()).count == 0  # young enough for the create that follows


async def test_a_wrong_blob_leaves_nothing(models: Models, store: Store) -> None:
    digest = digest_of(b"right")
    with pytest.raises(HashMismatch):
        await models.write_blob(digest, chunks(b"wrong"))
    with pytest.raises(ConnectionError):
        await models.write_blob(digest, chunks(b"ri", error=ConnectionError("gone")))
    assert not await models.has_blob(digest)
    assert list((store.root / "ingest").iterdir()) == []
