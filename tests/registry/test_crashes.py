"""Death at every step: whatever the store was doing, what it holds afterwards is the old or the new, whole."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from modelfiles.parse import parse
from registry.create import create
from registry.digests import digest_of
from registry.disk import Disk
from registry.store import Store
from tests.registry.faulty_disk import FaultyDisk, Killed
from tests.registry.models import gguf_file, make
from tests.registry.trees import unfinished


def _create(store: Store, folder: Path) -> None:
    create(store, "new", parse("FROM ./new.gguf\nSYSTEM hi"), base=folder)


def _replace(store: Store, folder: Path) -> None:
    create(store, "old", parse("FROM ./new.gguf\nSYSTEM hi"), base=folder, taking="copy")


def _copy(store: Store, folder: Path) -> None:
    store.copy("old", "copied")


def _remove(store: Store, folder: Path) -> None:
    store.remove("old")


def _prune(store: Store, folder: Path) -> None:
    store.prune(grace=0)


def _upload(store: Store, folder: Path) -> None:
    store.blobs.write(b"uploaded" * 1000, digest_of(b"uploaded" * 1000))


WORK = [_create, _replace, _copy, _remove, _prune, _upload]


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A store with two models and some garbage, to be copied; beside it files to make more of."""
    root, folder = tmp_path / "template", tmp_path / "files"
    with Store.open(root) as store:
        make(store, "old", folder, "old", "SYSTEM old")
        make(store, "bystander", folder, "bystander")
        store.blobs.write(b"garbage" * 100)
    gguf_file(folder, "new.gguf", "new")
    return root


def _check(root: Path) -> dict[str, str]:
    """The store's models by name, after making sure that they are whole and nothing is left over."""
    with Store.open(root) as store:
        assert store.broken() == ()
        models = {each.name.model: str(each.digest) for each in store.list()}
        for each in store.list():
            store.check(each)
        for digest, _ in store.blobs.all():
            store.blobs.ensure_intact(digest)
        assert unfinished(root) == []
        assert "bystander" in models
        store.prune(grace=0)
        assert {each.name.model: str(each.digest) for each in store.list()} == models
    return models


@pytest.mark.parametrize("torn", [False, True], ids=["between", "torn"])
@pytest.mark.parametrize("work", WORK, ids=lambda each: each.__name__.strip("_"))
def test_dying_at_any_step_is_all_or_nothing(
    tmp_path: Path, template: Path, work: Callable[[Store, Path], None], torn: bool
) -> None:
    shutil.copytree(template, tmp_path / "before")
    before = _check(tmp_path / "before")
    shutil.copytree(template, tmp_path / "count")
    disk = FaultyDisk()
    with Store.open(tmp_path / "count", disk) as store:
        opened = disk.count
        work(store, tmp_path / "files")
    after = _check(tmp_path / "count")
    for at in range(opened + 1, disk.count + 1):
        root = tmp_path / f"at{at}"
        shutil.copytree(template, root)
        dying = FaultyDisk(at, torn=torn)
        with suppress(Killed), Store.open(root, dying) as store:
            work(store, tmp_path / "files")
        assert dying.dead
        assert _check(root) in (before, after), f"step {at}"
        # The same command once more heals whatever it was.
        with Store.open(root) as store:
            if work is not _remove or store.has("old"):
                work(store, tmp_path / "files")
        assert _check(root) == after, f"step {at}"


def test_dying_while_opening_does_no_harm(tmp_path: Path, template: Path) -> None:
    (template / "ingest" / "stale.part").write_bytes(b"x")
    steps = []
    for name in ("old", "fresh"):
        if name == "old":
            shutil.copytree(template, tmp_path / name)
        disk = FaultyDisk()
        Store.open(tmp_path / name, disk).close()
        steps.append(disk.count)
    for at in range(1, max(steps) + 1):
        for old in (True, False):
            root = tmp_path / f"{old}{at}"
            if old:
                shutil.copytree(template, root)
            with suppress(Killed):
                Store.open(root, FaultyDisk(at)).close()
            with Store.open(root) as store:
                assert len(store.list()) == (2 if old else 0)
                assert unfinished(root) == []


def test_a_name_is_given_only_to_durable_bytes_and_made_durable_itself(tmp_path: Path) -> None:
    log: list[tuple[str, str]] = []
    names: dict[int, str] = {}

    class Recording(Disk):
        def create(self, path: Path) -> int:
            fd = super().create(path)
            names[fd] = path.name
            return fd

        def sync(self, fd: int) -> None:
            super().sync(fd)
            log.append(("sync", names.get(fd, "?")))

        def rename(self, source: Path, target: Path) -> None:
            super().rename(source, target)
            log.append(("rename", f"{source.name} {target}"))

        def sync_dir(self, path: Path) -> None:
            super().sync_dir(path)
            log.append(("folder", str(path)))

    with Store.open(tmp_path / "store", Recording()) as store:
        make(store, "one", tmp_path, more="SYSTEM hi")
    renames = [(at, *text.split(" ")) for at, (what, text) in enumerate(log) if what == "rename"]
    assert len(renames) >= 5  # weights, text, config, manifest, and the store's own word
    for at, source, target in renames:
        assert ("sync", source) in log[:at], f"{target} was named before its bytes were durable"
        assert ("folder", str(Path(target).parent)) in log[at:], f"the name {target} isn't durable"
    # The manifest comes last: everything that it refers to has a name by then.
    assert "manifests" in renames[-1][2]
