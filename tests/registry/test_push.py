"""Pushes: where they may go, what stands there after, and what a broken store or a cancel leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.errors import BadName, BadSource, Cancelled, Corrupt, NotFound, Unreachable
from registry.manifest import SOURCE
from registry.names import Name
from registry.origins import Reach
from registry.progress import Progress
from registry.pull import pull
from registry.push import PushSettings, push, target_of
from registry.resolve import Forms, Publication, Wanted
from registry.store import Store
from tests.registry.models import make
from tests.registry.shelf import Shelf, running

SETTINGS = PushSettings(waits=(0.0,) * 3, connections=4)


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with running(Shelf()) as shelf:
        yield shelf


def names(shelf: Shelf, form: Forms, target: str = "team/mine:v1") -> Publication:
    return Publication(model="mine", target=f"{shelf.host}/{target}", form=form)


def test_both_forms_share_their_blobs(store: Store, shelf: Shelf, tmp_path: Path) -> None:
    model = make(store, "mine", tmp_path, more="SYSTEM Be brief.\n")
    said: list[Progress] = []
    pushed = push(store, names(shelf, "both"), progress=said.append, settings=SETTINGS)
    assert [(each.name.tag, each.form) for each in pushed] == [("v1", "docker"), ("v1-cncf", "cncf")]
    assert {tag for _, tag in shelf.manifests} == {"v1", "v1-cncf"}
    digests = {str(layer.digest) for layer in model.manifest.blobs}
    configs = {json.loads(data)["config"]["digest"] for data in shelf.manifests.values()}
    assert {digest for _, digest in shelf.blobs} == digests | configs
    received = shelf.received
    again: list[Progress] = []
    assert push(store, names(shelf, "both"), progress=again.append, settings=SETTINGS) == pushed
    assert shelf.received == received, "what was there was sent again"
    assert {each.status.rpartition(" is ")[2] for each in again[:-1] if each.digest} == {"there already"}
    assert said[0].status == "retrieving manifest"
    assert said[-1].status == "success"
    assert said[-1].digest == pushed[0].digest
    for layer in model.manifest.layers:
        done = [each.completed for each in said if each.digest == layer.digest]
        assert done == sorted(done)
        assert done[-1] == layer.size


@pytest.mark.parametrize("form", ["docker", "cncf"])
def test_what_is_pulled_back_is_the_same_but_for_the_note_of_its_origin(
    store: Store, shelf: Shelf, tmp_path: Path, form: Forms
) -> None:
    pushed = make(store, "mine", tmp_path, more="SYSTEM Be brief.\nPARAMETER temperature 0.5\n").manifest
    push(store, names(shelf, form), settings=SETTINGS)
    with Store.open(tmp_path / "elsewhere") as elsewhere:
        pulled = pull(elsewhere, Wanted(reference=f"{shelf.host}/team/mine:v1")).manifest
    assert [each.digest for each in pulled.blobs] == [each.digest for each in pushed.blobs]
    assert pulled.config.digest == pushed.config.digest
    assert shelf.host in pulled.annotations[SOURCE]


def test_nothing_has_a_name_where_a_blob_is_rotten(store: Store, shelf: Shelf, tmp_path: Path) -> None:
    model = make(store, "mine", tmp_path)
    path = model.weights[0]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Corrupt, match=r"mine:latest.*sha256:[0-9a-f]{64}.*put aside"):
        push(store, names(shelf, "docker"), settings=SETTINGS)
    assert shelf.manifests == {}
    assert not path.exists(), "the next pull or create would take it for good"
    with pytest.raises(Corrupt):
        store.show("mine")


def test_a_model_that_is_removed_meanwhile_gets_there_whole(store: Store, shelf: Shelf, tmp_path: Path) -> None:
    make(store, "mine", tmp_path)

    def remove(step: Progress) -> None:
        if step.status == "retrieving manifest":
            store.remove("mine")
            store.prune(grace=0)

    push(store, names(shelf, "docker"), progress=remove, settings=SETTINGS)
    assert ("team/mine", "v1") in shelf.manifests
    store.prune(grace=0)
    assert list(store.blobs.all()) == []


def test_a_cancelled_push_names_nothing(store: Store, shelf: Shelf, tmp_path: Path) -> None:
    make(store, "mine", tmp_path)
    with pytest.raises(Cancelled):
        push(store, names(shelf, "docker"), cancelled=lambda: True, settings=SETTINGS)
    assert shelf.manifests == {}


def test_a_copy_under_its_own_name(store: Store, shelf: Shelf, tmp_path: Path) -> None:
    make(store, "mine", tmp_path)
    store.copy("mine", f"{shelf.host}/team/mine")
    push(store, Publication(model=f"{shelf.host}/team/mine"), settings=SETTINGS)
    assert ("team/mine", "latest") in shelf.manifests
    with pytest.raises(NotFound):
        push(store, Publication(model="nothing", target=f"{shelf.host}/x"), settings=SETTINGS)


def test_a_registry_that_is_not_there_is_known_at_once(store: Store, tmp_path: Path) -> None:
    make(store, "mine", tmp_path)
    said: list[Progress] = []
    patient = PushSettings(waits=(60.0,))
    with pytest.raises(Unreachable):
        push(store, Publication(model="mine", target="127.0.0.1:1/x"), progress=said.append, settings=patient)
    assert [each.status for each in said] == ["retrieving manifest"]


@pytest.mark.parametrize(
    ("target", "wrong", "said"),
    [
        ("mine", BadSource, "runner push demo:latest HOST/NAMESPACE/demo"),
        ("team/mine", BadSource, "HOST/NAMESPACE"),
        ("hf.co/team/mine", BadSource, "hf upload"),
        ("hf://team/mine", BadSource, "HOST/NAMESPACE"),
        ("ollama.com/team/mine", BadSource, "Ollama"),
        ("https://ghcr.io/team/mine", BadSource, "HOST/NAMESPACE"),
        ("ghcr.io/Team/My_Model_:v1", BadName, "ghcr.io/team/my-model:v1"),
        ("ghcr.io/team/mine@sha256:" + "0" * 64, BadName, "digest"),
        ("quay.io/team/mine", BadSource, "registries"),
        ("ghcr.io/team/mine:" + "x" * 125, BadName, "-cncf"),
    ],
)
def test_targets_that_are_none(target: str, wrong: type[Exception], said: str) -> None:
    with pytest.raises(wrong, match=said.replace("(", r"\(")):
        target_of(target, Name.parse("demo"), Reach(registries=("ghcr.io",)), "both")


def test_targets() -> None:
    place, name = target_of("docker.io/smol:v1", Name.parse("demo"), Reach())
    assert (place.host, place.repository, str(name)) == ("registry-1.docker.io", "ai/smol", "docker.io/ai/smol:v1")
    place, name = target_of("oci://localhost:5000/demo", Name.parse("demo"), Reach())
    assert (place.host, place.repository, place.tag) == ("localhost:5000", "demo", "latest")
