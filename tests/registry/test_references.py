"""References: blobs in another tool's place are used where they are, watched, reported by name and never touched."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from modelfiles.parse import parse
from registry.blobs import Blobs
from registry.create import create
from registry.digests import digest_of
from registry.disk import Disk
from registry.errors import Corrupt, HashMismatch, StorageFault
from registry.manifest import ADAPTER, MODEL
from registry.store import Store
from registry.stored import StoredModel
from registry.verify import verify
from tests import tiny_gguf
from tests.registry.faulty_disk import FaultyDisk, Killed
from tests.registry.models import gguf_file
from tests.registry.strangers import Apart, Linking, look, make_read_only, make_writable
from tests.registry.trees import contents, unfinished

DATA = b"some weights" * 1000


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Another tool's folder, with one model in it."""
    gguf_file(tmp_path / "foreign", "theirs.gguf")
    return tmp_path / "foreign"


@pytest.fixture
def apart(root: Path) -> Iterator[Store]:
    """A store that shares no blocks and links with anything."""
    with Store.open(root, Apart()) as store:
        yield store


def made(store: Store, foreign: Path, name: str = "mine") -> StoredModel:
    return create(store, name, parse("FROM ./theirs.gguf"), base=foreign)


def test_a_file_that_cannot_be_shared_stays_where_it_is(apart: Store, root: Path, foreign: Path) -> None:
    before = look(foreign)
    model = made(apart, foreign)
    assert model.weights == (foreign / "theirs.gguf",)
    digest = model.manifest.of("application/vnd.runner.image.model")[0].digest
    assert not (root / "blobs" / digest.file_name).exists()
    assert apart.blobs.has(digest, model.weights[0].stat().st_size)
    assert digest in dict(apart.blobs.all())
    assert digest not in dict(apart.blobs.own())
    apart.check(model)
    assert unfinished(root) == []
    with pytest.raises(StopIteration):  # nothing of its size was written
        next(
            path
            for path in root.rglob("*")
            if path.is_file() and path.stat().st_size >= model.weights[0].stat().st_size
        )
    assert look(foreign) == before


def test_references_outlive_the_process(root: Path, foreign: Path) -> None:
    with Store.open(root, Apart()) as store:
        first = made(store, foreign)
    with Store.open(root) as store:
        assert store.show("mine") == first
        store.check(first)


def test_a_read_only_tree_is_adopted_served_and_given_up_without_a_change(apart: Store, foreign: Path) -> None:
    (foreign / "other.txt").write_text("theirs too")
    make_read_only(foreign)
    before = look(foreign)
    try:
        model = made(apart, foreign)
        apart.check(model)
        apart.copy("mine", "second")
        apart.prune(grace=0)
        assert apart.show("second").weights[0].read_bytes() == (foreign / "theirs.gguf").read_bytes()
        apart.remove("mine")
        assert apart.show("second").weights == (foreign / "theirs.gguf",)
        apart.remove("second")
        assert apart.prune(grace=0).references == 0
        assert list(apart.blobs.all()) == []
        assert look(foreign) == before
    finally:
        make_writable(foreign)


def test_a_vanished_file_is_reported_by_name_and_its_return_heals(apart: Store, foreign: Path, tmp_path: Path) -> None:
    model = made(apart, foreign)
    own = create(
        apart, "own", parse("FROM ./own.gguf"), base=gguf_file(tmp_path, "own.gguf", "y").parent, taking="copy"
    )
    digest = model.manifest.layers[0].digest
    away = tmp_path / "away.gguf"
    (foreign / "theirs.gguf").rename(away)
    for reason in [each.reason for each in apart.broken()]:
        assert str(digest) in reason
        assert str(foreign / "theirs.gguf") in reason
        assert "is gone" in reason
    assert [str(each.name) for each in apart.broken()] == ["mine:latest"]
    with pytest.raises(Corrupt, match=r"model 'mine:latest'.*a file of yours, .*theirs\.gguf, which is gone"):
        apart.show("mine")
    with pytest.raises(Corrupt, match="mine"):
        apart.check(model)
    assert apart.list() == (own,)
    # Another file of the same bytes, with another inode and date, is as good.
    (foreign / "theirs.gguf").write_bytes(away.read_bytes())
    assert len(apart.list()) == 2
    apart.check(apart.show("mine"))


@pytest.mark.parametrize("disk", [Apart(), Linking()])
def test_a_file_rewritten_in_place_is_not_served(root: Path, foreign: Path, disk: Disk) -> None:
    with Store.open(root, disk) as store:
        model = made(store, foreign)
        file = foreign / "theirs.gguf"
        right, times = file.read_bytes(), file.stat()
        file.write_bytes(right[:-1] + b"!")  # of the same length
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # and with the old date
        with pytest.raises(Corrupt, match=r"model 'mine:latest'"):
            store.check(model)
        assert [str(each.name) for each in store.broken()] == ["mine:latest"]
        assert file.read_bytes() == right[:-1] + b"!"
        if type(disk) is Apart:
            assert "theirs.gguf, which has other bytes now" in store.broken()[0].reason
            file.write_bytes(right)
            store.check(store.show("mine"))
        else:
            assert made(store, foreign, "new").weights[0].samefile(file)


def test_a_file_of_another_length_is_broken_at_a_glance(apart: Store, foreign: Path) -> None:
    made(apart, foreign)
    with (foreign / "theirs.gguf").open("ab") as file:
        file.write(b"more")
    assert "bytes now instead of" in apart.broken()[0].reason


def test_what_stands_in_the_files_place_is_not_followed(apart: Store, foreign: Path, tmp_path: Path) -> None:
    made(apart, foreign)
    file = foreign / "theirs.gguf"
    file.rename(tmp_path / "moved.gguf")
    file.symlink_to(tmp_path / "moved.gguf")
    assert apart.list() == ()
    file.unlink()
    os.mkfifo(file)
    assert "is gone" in apart.broken()[0].reason


def test_a_file_of_our_own_wins(apart: Store, root: Path, foreign: Path) -> None:
    model = made(apart, foreign)
    digest = model.manifest.layers[0].digest
    apart.blobs.adopt(foreign / "theirs.gguf", mode="copy")
    assert apart.show("mine").weights == (root / "blobs" / digest.file_name,)
    assert apart.blobs.references.get(digest) is None
    (foreign / "theirs.gguf").unlink()
    apart.check(apart.show("mine"))


def test_a_reference_replaces_a_blob_that_is_gone(apart: Store, root: Path, foreign: Path) -> None:
    digest = apart.blobs.adopt(foreign / "theirs.gguf", mode="copy")
    model = made(apart, foreign)
    assert model.weights == (root / "blobs" / digest.file_name,)
    apart.blobs.path(digest).unlink()
    assert apart.list() == ()
    assert made(apart, foreign).weights == (foreign / "theirs.gguf",)


def test_links_on_the_way_are_resolved_once(apart: Store, foreign: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(foreign)
    digest = apart.blobs.adopt(tmp_path / "link" / "theirs.gguf")
    assert apart.blobs.path(digest) == foreign / "theirs.gguf"


def test_temporary_places_are_copied_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.references._FLEETING", (str(tmp_path / "tmp"),))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "tmp"))
    file = gguf_file(tmp_path / "tmp", "downloaded.gguf")
    lasting = Blobs(tmp_path / "store", Apart())
    assert lasting.path(lasting.adopt(file)).parent == tmp_path / "store" / "blobs"
    passing = Blobs(tmp_path / "tmp" / "store", Apart())
    assert passing.path(passing.adopt(file)) == file


def test_the_stores_own_files_are_never_referred_to(root: Path) -> None:
    blobs = Blobs(root, Apart())
    digest = blobs.write(DATA)
    assert blobs.adopt(blobs.path(digest)) == digest
    assert blobs.references.digests() == ()
    (root / "odd").write_bytes(b"odd")
    odd = blobs.adopt(root / "odd")
    assert blobs.path(odd).parent == root / "blobs"


def test_wrong_bytes_leave_nothing(root: Path, foreign: Path) -> None:
    for disk in (Apart(), Linking()):
        blobs = Blobs(root, disk)
        before = look(foreign)
        with pytest.raises(HashMismatch):
            blobs.adopt(foreign / "theirs.gguf", digest_of(b"other"))
        assert list(blobs.all()) == []
        assert contents(root) == {}
        assert look(foreign) == before


def test_an_adopted_file_is_known_again_without_reading_it(
    root: Path, foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for disk in (Apart(), Linking()):
        blobs = Blobs(root / type(disk).__name__, disk)
        digest = blobs.adopt(foreign / "theirs.gguf")
        with monkeypatch.context() as patched:
            patched.setattr("registry.blobs.take_in", lambda *_: pytest.fail("read again"))
            assert blobs.adopt(foreign / "theirs.gguf") == digest


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "broken"), None])
def test_dying_at_any_step_leaves_a_whole_reference_or_none(root: Path, foreign: Path, error: OSError | None) -> None:
    class Dying(FaultyDisk, Apart):
        def clone(self, source_fd: int, target_fd: int) -> bool:
            return Apart.clone(self, source_fd, target_fd)

        def link(self, source: Path, target: Path) -> bool:
            return Apart.link(self, source, target)

    root.mkdir()
    counted = Dying()
    digest = Blobs(root / "whole", counted).adopt(foreign / "theirs.gguf")
    before = look(foreign)
    assert counted.count > 10
    for at in range(1, counted.count + 1):
        place = root / f"at{at}"
        with suppress(StorageFault, Killed):  # closing what wasn't needed may fail without harm
            Blobs(place, Dying(at, error, torn=True)).adopt(foreign / "theirs.gguf")
        survivor = Blobs(place, Apart())
        assert survivor.size_if_there(digest) in (None, (foreign / "theirs.gguf").stat().st_size)
        assert survivor.adopt(foreign / "theirs.gguf") == digest
        assert survivor.path(digest) == foreign / "theirs.gguf"
    assert look(foreign) == before


def test_verify_tells_and_touches_nothing(apart: Store, foreign: Path, tmp_path: Path) -> None:
    model = made(apart, foreign)
    file, digest = foreign / "theirs.gguf", model.manifest.layers[0].digest
    assert verify(apart).is_sound
    right = file.read_bytes()
    for damage, word in (
        (right[:-1] + b"!", "has other bytes now"),
        (right + b"more", "bytes now instead of"),
        (b"", ""),
    ):
        file.chmod(0o600)
        file.write_bytes(damage)
        file.chmod(0o440)
        before = look(foreign)
        for _ in range(2):  # the second time it is known
            [bad] = verify(apart).bad
            assert (bad.digest, bad.path, bad.models) == (digest, file, ("mine:latest",))
            assert word in bad.reason
            assert "a file of yours" in bad.reason
            assert bad.quarantined is None
        assert look(foreign) == before
    file.unlink()
    [bad] = verify(apart).bad
    assert str(file) in bad.reason
    assert "is gone" in bad.reason
    file.write_bytes(right)
    assert verify(apart).is_sound
    assert not (apart.root / "quarantine").exists()


def test_a_damaged_reference_breaks_only_its_model(apart: Store, root: Path, foreign: Path) -> None:
    model = made(apart, foreign)
    note = root / "references" / model.manifest.layers[0].digest.file_name
    note.chmod(0o644)
    for damage in (b"", b"{", b'{"path": "relative", "size": 1, "mtime_ns": 1, "inode": 1, "owner": ""}', b"[]"):
        note.unlink()
        note.write_bytes(damage)
        assert "is missing" in apart.broken()[0].reason
    made(apart, foreign)
    assert apart.broken() == ()


def test_prune_counts_references_apart(apart: Store, foreign: Path) -> None:
    digest = apart.blobs.adopt(foreign / "theirs.gguf")
    assert apart.prune().references == 0  # it is young
    found = apart.prune(grace=0)
    assert (found.count, found.bytes, found.references) == (0, 0, 1)
    assert not apart.blobs.has(digest)
    assert (foreign / "theirs.gguf").exists()


def test_a_new_reference_doesnt_make_a_damaged_manifest_lose_what_it_had(
    apart: Store, root: Path, foreign: Path, tmp_path: Path
) -> None:
    own = create(
        apart, "own", parse("FROM ./own.gguf"), base=gguf_file(tmp_path, "own.gguf", "y").parent, taking="copy"
    )
    assert apart.list() == (own,)
    (root / "manifests" / "runner.local" / "library" / "own" / "latest").write_bytes(b"")
    made(apart, foreign)
    assert [str(each.name) for each in apart.broken()] == ["own:latest"]
    apart.prune(grace=0)
    assert own.weights[0].exists()


class Unreadable(Apart):
    """A disk on which what lies under some folder can't be opened or read just now."""

    def __init__(self) -> None:
        self.under: Path | None = None
        self.code = errno.EIO
        self.opened: list[Path] = []

    def open(self, path: Path) -> int:
        self.opened.append(path)
        if self.under is not None and self.under in path.parents:
            raise OSError(self.code, os.strerror(self.code))
        return super().open(path)


def test_references_that_cannot_be_read_just_now_are_there_later(root: Path, foreign: Path) -> None:
    with Store.open(root, Apart()) as store:
        model = made(store, foreign)
    disk = Unreadable()
    disk.under = root / "references"
    with Store.open(root, disk) as store:
        disk.code = errno.EMFILE
        for look in (store.list, store.broken, lambda: store.show("mine"), lambda: verify(store)):
            with pytest.raises(StorageFault, match="Too many open files"):
                look()
        disk.code = errno.EIO  # the cable: only this model is concerned, and only while it lasts
        assert [str(each.name) for each in store.broken()] == ["mine:latest"]
        disk.under = None
        assert store.list() == (model,)
        assert verify(store).is_sound


def test_one_more_reference_has_no_other_one_read_again(root: Path, foreign: Path) -> None:
    disk = Unreadable()
    with Store.open(root, disk) as store:
        models = [
            create(
                store,
                f"m{number}",
                parse(f"FROM ./{number}.gguf"),
                base=gguf_file(foreign, f"{number}.gguf", f"{number}").parent,
            )
            for number in range(5)
        ]
        assert len(store.list()) == 5
        disk.opened.clear()
        made(store, foreign)
        assert len(store.list()) == 6
        assert not [path for path in disk.opened if path.parent.name in ("m0", "m1", "m2", "m3", "m4")]
        store.remove("mine")
        assert len(store.list()) == 5
        others = {layer.digest.file_name for each in models for layer in each.manifest.layers}
        assert not [path for path in disk.opened if path.name in others]
        # A reference that somebody else took away is noticed all the same.
        os.unlink(root / "references" / models[0].manifest.layers[0].digest.file_name)
        assert [str(each.name) for each in store.broken()] == ["m0:latest"]


def test_a_file_of_another_tool_that_cannot_be_read_gives_way_to_another(
    root: Path, foreign: Path, tmp_path: Path
) -> None:
    disk = Unreadable()
    with Store.open(root, disk) as store:
        model = made(store, foreign)
        digest, before = model.manifest.layers[0].digest, look(foreign)
        disk.under = foreign
        with pytest.raises(StorageFault):
            store.blobs.rehash(digest)
        assert store.blobs.has(digest)
        error = store.blobs.condemn(digest, "can't be read")
        assert error is not None
        assert f"it stays at {foreign / 'theirs.gguf'}" in str(error)
        assert not store.blobs.has(digest)
        store.blobs.adopt(gguf_file(tmp_path / "again", "theirs.gguf"), digest)
        store.check(store.show("mine"))
        assert look(foreign) == before
        assert not (root / "quarantine").exists()


def test_a_store_behind_a_link_refers_to_none_of_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "real")
    blobs = Blobs(tmp_path / "store", Apart())
    (tmp_path / "real" / "aside").write_bytes(DATA)
    for way in ("real", "store"):
        assert not blobs.may_refer_to(tmp_path / way / "aside")
    assert blobs.may_refer_to(tmp_path / "elsewhere")


def test_a_folder_in_a_blobs_place_beside_a_reference_is_what_goes(apart: Store, root: Path, foreign: Path) -> None:
    model = made(apart, foreign)
    place = root / "blobs" / model.manifest.layers[0].digest.file_name
    place.mkdir()
    [bad] = verify(apart, repair=True).bad
    assert bad.outcome == "repaired"
    assert bad.quarantined is not None
    assert not place.exists()
    assert verify(apart).bad == ()
    assert apart.list() == (model,)


def test_a_note_that_may_not_last_is_taken_back(root: Path, foreign: Path) -> None:
    class Tired(Apart):
        """Syncs no folder of references."""

        tired = True

        def sync_dir(self, path: Path) -> None:
            if self.tired and path.name == "references":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().sync_dir(path)

    disk = Tired()
    with Store.open(root, disk) as store:
        with pytest.raises(StorageFault):
            made(store, foreign)
        assert store.blobs.references.digests() == ()
        disk.tired = False
        assert store.blobs.references.get(made(store, foreign).manifest.layers[0].digest) is not None


def test_adapters_are_files_of_the_store_and_old_references_become_such(
    apart: Store, root: Path, foreign: Path
) -> None:
    base = foreign / "base.gguf"
    base.write_bytes(tiny_gguf.model("llama").build())
    (foreign / "lora.gguf").write_bytes(tiny_gguf.adapter())
    model = create(apart, "sql", parse("FROM ./base.gguf\nADAPTER ./lora.gguf"), base=foreign)
    (layer,) = model.manifest.of(ADAPTER)
    own = root / "blobs" / layer.digest.file_name
    assert (model.weights, model.adapters) == ((base,), (own,))
    assert apart.blobs.references.digests() == (model.manifest.of(MODEL)[0].digest,)

    own.unlink()  # as an earlier Runner had it
    assert apart.blobs.adopt(foreign / "lora.gguf") == layer.digest
    assert apart.show("sql").adapters == (foreign / "lora.gguf",)
    kept = apart.keep_adapters(apart.show("sql"))
    assert kept.adapters == (own,)
    assert own.read_bytes() == (foreign / "lora.gguf").read_bytes()
    assert apart.keep_adapters(kept) is kept

    own.unlink()
    apart.blobs.adopt(foreign / "lora.gguf")
    (foreign / "lora.gguf").write_bytes(b"x" * (foreign / "lora.gguf").stat().st_size)
    with pytest.raises(HashMismatch):
        apart.blobs.keep(layer.digest)
    assert not own.exists()
    assert not list((root / "ingest").iterdir())
