"""The embedded model: there from the first start, and never in the user's way."""

from pathlib import Path

import pytest

from modelfiles.embedded import demo_gguf, demo_modelfile
from modelfiles.parse import parse
from registry import embedded
from registry.create import create
from registry.embedded import ensure_demo
from registry.errors import Corrupt
from registry.manifest import EMBEDDED, MODEL, SYSTEM
from registry.progress import Progress
from registry.store import Store
from tests.registry.models import gguf_file, make
from tests.registry.trees import contents


def test_it_is_put_there_once(store: Store) -> None:
    first = ensure_demo(store)
    assert str(first.name) == "demo:latest"
    assert first.weights[0].read_bytes() == demo_gguf().read_bytes()
    assert first.parameters["temperature"] == 0.0
    assert demo_gguf().stat().st_ino != first.weights[0].stat().st_ino
    assert ensure_demo(store) == first
    assert [each.name for each in store.list()] == [first.name]


def test_a_removed_or_broken_one_comes_back(store: Store) -> None:
    first = ensure_demo(store)
    store.remove("demo")
    assert ensure_demo(store).digest == first.digest
    first.weights[0].unlink()
    assert ensure_demo(store).digest == first.digest
    store.check(store.show("demo"))


def test_a_newer_package_replaces_its_own(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = ensure_demo(store)
    newer = gguf_file(tmp_path, "demo.gguf", "newer")
    monkeypatch.setattr(embedded, "demo_gguf", lambda: newer)
    monkeypatch.setattr(embedded, "demo_modelfile", lambda: "FROM ./demo.gguf\nSYSTEM newer")
    new = ensure_demo(store)
    assert new.system == "newer"
    assert not old.weights[0].exists()


def test_the_users_own_is_left_alone(store: Store, tmp_path: Path) -> None:
    mine = make(store, "demo", tmp_path, "mine")
    told: list[Progress] = []
    assert ensure_demo(store, told.append) == mine
    assert [each.status for each in told] == [
        "demo is a model of yours, and stays; after `runner rm demo` a pull brings the built-in one"
    ]
    store.remove("demo")
    ensure_demo(store)
    changed = create(store, "demo", parse("FROM demo\nSYSTEM mine now"))
    assert EMBEDDED not in changed.manifest.annotations
    assert ensure_demo(store) == changed


def test_the_users_own_is_left_alone_when_it_is_broken(store: Store, tmp_path: Path) -> None:
    mine = make(store, "demo", tmp_path, "mine", "SYSTEM mine")
    store.blobs.path(mine.manifest.of(SYSTEM)[0].digest).unlink()
    before = contents(store.root)
    with pytest.raises(Corrupt, match=r"'demo:latest' is broken.*runner rm demo"):
        ensure_demo(store)
    assert contents(store.root) == before
    manifest = next((store.root / "manifests").rglob("latest"))
    manifest.write_bytes(manifest.read_bytes()[:-5])
    with pytest.raises(Corrupt):
        ensure_demo(store)
    assert store.blobs.has(mine.manifest.of(MODEL)[0].digest)
    store.remove("demo")
    assert ensure_demo(store).system != "mine"


def test_its_modelfile_names_its_file() -> None:
    assert parse(demo_modelfile()).source == "./demo.gguf"
