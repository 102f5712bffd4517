"""The store: what is listed is whole, what is removed is gone, and one bad model harms no other."""

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from modelfiles.parse import parse
from modelfiles.render import render
from registry.collect import Age
from registry.digests import digest_of
from registry.disk import Disk
from registry.errors import BadManifest, BadName, Corrupt, NotFound, StorageFault
from registry.manifest import LICENSE, Layer, Manifest
from registry.manifests import Manifests
from registry.names import Name
from registry.store import Store
from registry.stored import TEXTS_LIMIT
from registry.verify import verify
from tests.registry.faulty_disk import READS, FaultyDisk, ReadOnlyDisk
from tests.registry.models import make
from tests.registry.trees import contents, unfinished


def _manifest(root: Path, name: str) -> Path:
    return root.joinpath("manifests", *Name.parse(name).parts)


def test_a_new_store_is_empty_and_says_its_version(root: Path, store: Store) -> None:
    assert store.list() == ()
    assert store.broken() == ()
    assert json.loads((root / "store.json").read_text()) == {"format_version": 1}


def test_a_model_is_shown_as_it_was_made(store: Store, tmp_path: Path) -> None:
    more = """SYSTEM be nice
PARAMETER temperature 0.25
PARAMETER stop "<a>"
PARAMETER stop "<b>"
MESSAGE user hi
MESSAGE assistant hello
LICENSE free
TEMPLATE {{ .Prompt }}
"""
    made = make(store, "Mine", tmp_path, more=more)
    shown = store.show("mine")
    assert shown == made
    assert str(shown.name) == "Mine:latest"
    assert shown.system == "be nice"
    assert shown.template == "{{ .Prompt }}"
    assert shown.parameters == {"temperature": 0.25, "stop": ("<a>", "<b>")}
    assert [(role, content) for role, content in shown.messages] == [("user", "hi"), ("assistant", "hello")]
    assert shown.licenses == ("free",)
    assert [path.is_file() for path in shown.weights] == [True]
    assert shown.projector is None
    assert shown.size == sum(layer.size for layer in shown.manifest.layers)
    assert shown.digest == digest_of(_manifest(store.root, "Mine").read_bytes())
    assert shown.modified_at.tzinfo is UTC
    assert abs(datetime.now(UTC) - shown.modified_at) < timedelta(minutes=1)
    assert parse(render(shown.modelfile())).parameters == shown.parameters
    assert shown.modelfile().source == str(shown.weights[0])


def test_unknown_names_come_with_near_ones(store: Store, tmp_path: Path) -> None:
    make(store, "llama3", tmp_path)
    with pytest.raises(NotFound) as caught:
        store.show("lama3")
    assert caught.value.near == ("llama3:latest",)
    assert "did you mean llama3:latest?" in str(caught.value)
    for nothing_like_it in ("nosuch", "one2", "mama", "hf.co/org/one"):
        with pytest.raises(NotFound) as caught:
            store.show(nothing_like_it)
        assert caught.value.near == (), "a tag or a place in common makes no name near"
    make(store, "hf.co/org/Tiny-GGUF:Q8_0", tmp_path)
    with pytest.raises(NotFound) as caught:
        store.show("hf.co/org/Tinny-GGUF:Q8_0")
    assert caught.value.near == ("hf.co/org/Tiny-GGUF:Q8_0",)
    with pytest.raises(NotFound) as caught:
        store.show("tiny-gguf")
    assert caught.value.near == ("hf.co/org/Tiny-GGUF:Q8_0",)
    with pytest.raises(NotFound):
        store.remove("lama3")
    with pytest.raises(NotFound):
        store.copy("lama3", "other")
    with pytest.raises(BadName):
        store.show("../../etc/passwd")


def test_the_last_changed_is_listed_first(store: Store, tmp_path: Path) -> None:
    for age, name in enumerate(("new", "older", "oldest")):
        make(store, name, tmp_path)
        os.utime(_manifest(store.root, name), (1_700_000_000 - age, 1_700_000_000 - age))
    assert [each.name.model for each in store.list()] == ["new", "older", "oldest"]


def test_case_does_not_make_two_models(store: Store, tmp_path: Path) -> None:
    make(store, "Demo", tmp_path, "a")
    make(store, "DEMO", tmp_path, "b")
    assert [str(each.name) for each in store.list()] == ["Demo:latest"]
    store.remove("demo")
    assert store.list() == ()


def test_a_copy_takes_no_space(root: Path, store: Store, tmp_path: Path) -> None:
    made = make(store, "one", tmp_path)
    before = contents(root / "blobs")
    copied = store.copy("one", "other/two:v2")
    assert contents(root / "blobs") == before
    assert copied.digest == made.digest
    assert str(copied.name) == "other/two:v2"


def test_blobs_go_with_the_last_name_that_needs_them(root: Path, store: Store, tmp_path: Path) -> None:
    make(store, "one", tmp_path)
    store.copy("one", "two")
    store.remove("one")
    assert store.show("two").weights[0].is_file()
    store.remove("two")
    assert contents(root / "blobs") == {}
    assert contents(root / "manifests") == {}
    assert list((root / "manifests").iterdir()) == []
    assert unfinished(root) == []


def test_replacing_a_model_frees_what_only_it_had(root: Path, store: Store, tmp_path: Path) -> None:
    old = make(store, "one", tmp_path, "a")
    new = make(store, "one", tmp_path, "b")
    assert not old.weights[0].exists()
    assert new.weights[0].exists()
    assert store.show("one") == new


def test_making_the_same_again_changes_nothing(root: Path, store: Store, tmp_path: Path) -> None:
    first = make(store, "one", tmp_path)
    assert make(store, "one", tmp_path) == first


def test_prune_spares_the_young_the_leased_and_the_needed(root: Path, store: Store, tmp_path: Path) -> None:
    model = make(store, "one", tmp_path)
    young = store.blobs.write(b"young" * 100)
    leased = store.blobs.write(b"leased" * 100)
    assert store.prune(grace=3600).count == 0
    with store.lease() as lease:
        lease.hold(leased)
        pruned = store.prune(grace=0)
        assert (pruned.count, pruned.bytes) == (1, 500)
        assert not store.blobs.has(young)
        assert store.blobs.has(leased)
    assert store.prune(grace=0).bytes == 600
    assert store.show("one") == model


def test_prune_spares_a_leased_download_and_drops_others(root: Path, store: Store) -> None:
    digests = [digest_of(b"one"), digest_of(b"two")]
    for digest in digests:
        part = store.blobs.begin(digest)
        part.write(b"o")
        part.keep()
    assert store.prune(grace=3600).count == 0
    with store.lease() as lease:
        lease.hold(digests[0])
        assert store.prune(grace=0).count == 1
    assert unfinished(root) == [f"{digests[0].file_name}.part"]


def test_prune_counts_what_others_still_hold(store: Store, tmp_path: Path) -> None:
    digest = store.blobs.write(b"shared" * 100)
    os.link(store.blobs.path(digest), tmp_path / "elsewhere")
    pruned = store.prune(grace=0)
    assert (pruned.count, pruned.bytes, pruned.shared) == (1, 0, 600)
    assert (tmp_path / "elsewhere").read_bytes() == b"shared" * 100


@pytest.mark.parametrize("jump", [-365 * 86400.0, 365 * 86400.0])
def test_a_clock_that_jumps_makes_nothing_old_and_keeps_nothing_for_ever(root: Path, jump: float) -> None:
    wall, monotonic = [time.time()], [50.0]
    with Store.open(root, age=Age(lambda: wall[0], lambda: monotonic[0])) as store:
        store.blobs.write(b"young")
        wall[0] += jump
        assert store.prune(grace=3600).count == 0
        monotonic[0] += 3601
        wall[0] += 3601
        assert store.prune(grace=3600).count == 1
        store.blobs.write(b"written while the clock is wrong")  # so its date lies a year off by this clock
    # The next process knows only that clock: what is a year off counts as old.
    with Store.open(root, age=Age(lambda: wall[0], lambda: monotonic[0])) as store:
        assert store.prune(grace=3600).count == 1


def test_an_upload_is_kept_for_the_create_that_is_to_name_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = make(store, "one", tmp_path).manifest.layers[0].digest
    store.expect(weights)
    store.remove("one")
    assert store.blobs.has(weights)
    assert store.prune(grace=3600).count == 0
    assert store.prune(grace=0).count == 0
    assert store.blobs.has(weights)
    monkeypatch.setattr("registry.store.DEFAULT_GRACE", 0.0)  # the hour is over
    assert [each.digest for each in store.prune(grace=0).removed] == [weights]
    assert not store.blobs.has(weights)


def test_once_named_an_upload_goes_with_its_model(store: Store, tmp_path: Path) -> None:
    weights = make(store, "one", tmp_path).manifest.layers[0].digest
    store.expect(weights)
    store.copy("one", "two")
    store.remove("one")
    store.remove("two")
    assert not store.blobs.has(weights)


def test_a_model_whose_manifest_was_cut_keeps_the_blobs_that_it_had(root: Path, store: Store, tmp_path: Path) -> None:
    digests = {layer.digest for layer in make(store, "one", tmp_path, more="SYSTEM hi").manifest.blobs}
    garbage = store.blobs.write(b"garbage")
    path = _manifest(root, "one")
    path.write_bytes(path.read_bytes()[:30])
    assert [str(each.name) for each in store.broken()] == ["one:latest"]
    assert [each.digest for each in store.prune(grace=0).removed] == [garbage]
    assert all(store.blobs.has(each) for each in digests)
    store.remove("one")
    assert contents(root / "blobs") == {}


def test_running_out_of_files_breaks_no_model(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(root) as store:
        make(store, "one", tmp_path)
    with Store.open(root) as store:
        monkeypatch.setattr("registry.manifests.os.open", _no_more_files)
        with pytest.raises(StorageFault, match="Too many open files"):
            store.list()
        monkeypatch.undo()
        assert [each.name.model for each in store.list()] == ["one"]


def _no_more_files(*_: object) -> int:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_an_older_store_is_brought_up_to_date_even_if_that_is_cut_off(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.open(root).close()
    done: list[int] = []

    def first(root: Path, disk: Disk) -> None:
        done.append(1)
        if len(done) == 1:
            raise OSError(errno.EIO, "cut off")

    monkeypatch.setattr("registry.layout.FORMAT_VERSION", 3)
    monkeypatch.setattr("registry.layout.MIGRATIONS", {1: first, 2: lambda root, disk: done.append(2)})
    with pytest.raises(StorageFault):
        Store.open(root)
    Store.open(root).close()
    Store.open(root).close()
    assert done == [1, 1, 2]
    assert json.loads((root / "store.json").read_text()) == {"format_version": 3}


BROKEN = {
    "empty": b"",
    "half": b'{"schemaVersion": 2, "conf',
    "not json": b"\x00\x01",
    "unknown type": b'{"schemaVersion": 2, "mediaType": "x"}',
    "a list": b"[]",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_one_bad_manifest_hides_only_its_model(store: Store, tmp_path: Path, data: bytes) -> None:
    make(store, "good", tmp_path, "a")
    make(store, "bad", tmp_path, "b")
    _manifest(store.root, "bad").write_bytes(data)
    assert [each.name.model for each in store.list()] == ["good"]
    assert [(each.name.model, bool(each.reason)) for each in store.broken()] == [("bad", True)]
    with pytest.raises(Corrupt, match="'bad:latest' is broken"):
        store.show("bad")
    store.prune(grace=0)
    store.copy("good", "second")
    store.remove("bad")
    assert store.broken() == ()
    store.check(store.show("good"))


@pytest.mark.parametrize("fault", ["missing", "truncated", "folder"])
def test_a_bad_blob_breaks_only_its_model(store: Store, tmp_path: Path, fault: str) -> None:
    make(store, "good", tmp_path, "a")
    bad = make(store, "bad", tmp_path, "b")
    blob = bad.weights[0]
    if fault == "truncated":
        blob.chmod(0o644)
        blob.write_bytes(b"short")
    else:
        blob.unlink()
        if fault == "folder":
            blob.mkdir()
    assert [each.name.model for each in store.list()] == ["good"]
    reason = store.broken()[0].reason
    assert blob.name.removeprefix("sha256-") in reason
    assert "pull or create the model again" in reason
    healed = make(store, "bad", tmp_path, "b")
    assert healed == store.show("bad")


def test_a_zeroed_blob_is_found_before_it_is_used(store: Store, tmp_path: Path) -> None:
    model = make(store, "one", tmp_path)
    store.check(model)
    blob = model.weights[0]
    blob.chmod(0o644)
    blob.write_bytes(b"\0" * blob.stat().st_size)
    with pytest.raises(Corrupt) as caught:
        store.check(model)
    assert "model 'one:latest'" in str(caught.value)
    assert str(model.manifest.layers[0].digest) in str(caught.value)
    assert [each.name.model for each in store.broken()] == ["one"]


def test_a_changed_text_layer_is_never_believed(root: Path, store: Store, tmp_path: Path) -> None:
    make(store, "one", tmp_path, more="SYSTEM be nice")
    blob = store.blobs.path(digest_of(b"be nice"))
    blob.chmod(0o644)
    blob.write_bytes(b"be evil")
    store.close()
    with Store.open(root) as again:
        assert again.list() == ()
        assert "other bytes" in again.broken()[0].reason


def test_publishing_needs_its_blobs(store: Store, tmp_path: Path) -> None:
    manifest = make(store, "one", tmp_path).manifest
    store.remove("one")
    with pytest.raises(Corrupt, match="is missing"):
        store.publish("two", manifest)
    assert store.list() == ()


def test_strangers_files_are_left_alone(root: Path, store: Store, tmp_path: Path) -> None:
    make(store, "one", tmp_path)
    strange = [
        root / "manifests" / "README",
        root / "blobs" / "notes.txt",
        root / "manifests" / "a b" / "c" / "d" / "e",
    ]
    for path in strange:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    assert [each.name.model for each in store.list()] == ["one"]
    assert store.broken() == ()
    store.prune(grace=0)
    assert all(path.exists() for path in strange)


def test_opening_clears_what_a_dead_process_left(root: Path) -> None:
    with Store.open(root) as store:
        download = store.blobs.begin(digest_of(b"half"))
        download.write(b"ha")
        download.keep()
        (root / "ingest" / "0123.part").write_bytes(b"x" * 100)
    with Store.open(root):
        assert unfinished(root) == [f"{digest_of(b'half').file_name}.part"]


def test_a_read_only_store_can_be_read(root: Path, tmp_path: Path) -> None:
    with Store.open(root) as store:
        make(store, "one", tmp_path)
    (root / "ingest" / "old.part").write_bytes(b"")
    with Store.open(root, ReadOnlyDisk()) as store:
        assert [each.name.model for each in store.list()] == ["one"]
        with pytest.raises(Exception, match="not allowed while removing") as caught:
            store.remove("one")
        assert type(caught.value).__name__ == "Unwritable"
        assert store.show("one")


def test_a_thousand_models_are_listed_quickly(store: Store, tmp_path: Path) -> None:
    manifest = make(store, "first", tmp_path).manifest
    data = manifest.to_json()
    for index in range(1000):
        path = _manifest(store.root, f"model{index}")
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    assert len(store.list()) == 1001
    started = time.perf_counter()
    assert len(store.list()) == 1001
    # A second list reads no file: about 50 ms. The bound is for a machine under load.
    assert time.perf_counter() - started < 1.0


def test_threads_may_list_publish_remove_and_prune_together(store: Store, tmp_path: Path) -> None:
    manifest = make(store, "kept", tmp_path).manifest
    failures: list[BaseException] = []

    def work(index: int) -> None:
        try:
            for _ in range(20):
                store.publish(f"temporary{index}", manifest)
                assert any(each.name.model == "kept" for each in store.list())
                store.prune(grace=0)
                store.remove(f"temporary{index}")
        except BaseException as error:  # noqa: BLE001  # carried to the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []
    assert [each.name.model for each in store.list()] == ["kept"]
    store.check(store.show("kept"))


def test_a_manifest_that_cannot_be_read_protects_everything_or_what_it_had(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(root) as store:
        digests = {layer.digest for layer in make(store, "one", tmp_path).manifest.blobs}
        garbage = store.blobs.write(b"garbage")

    def unreadable(self: Manifests, path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Store.open(root) as store:
        with monkeypatch.context() as broken:
            broken.setattr(Manifests, "contents", unreadable)
            with pytest.raises(StorageFault, match="reading a manifest") as caught:
                store.prune(grace=0)
            assert caught.value.path == _manifest(root, "one")
        assert store.list()  # from here on it is known what the manifest refers to
        with monkeypatch.context() as broken:
            broken.setattr(Manifests, "contents", unreadable)
            assert [each.digest for each in store.prune(grace=0).removed] == [garbage]
        assert all(store.blobs.has(each) for each in digests)


def test_a_manifest_that_names_too_much_text_is_no_model(store: Store, tmp_path: Path) -> None:
    """One text of a few megabytes, named often enough, would fill the memory at every look."""
    model = make(store, "one", tmp_path)
    text = store.blobs.write(b"L" * (4 << 20))
    often = (Layer(LICENSE, text, 4 << 20),) * (TEXTS_LIMIT // (4 << 20))
    fits = Manifest(model.manifest.config, (*model.manifest.layers, *often))
    assert len(store.publish("fits", fits).licenses) == len(often)
    much = Manifest(model.manifest.config, (*fits.layers, often[0]))
    with pytest.raises(BadManifest, match="texts"):
        store.publish("much", much)
    assert not store.has("much")
    _manifest(store.root, "fits").write_bytes(much.to_json())  # as if an earlier Runner had
    assert [each.reason.partition(" have ")[0] for each in store.broken()] == ["manifest: its texts"]


def test_what_heals_a_broken_model_is_given_as_it_is_to_be_typed(store: Store, tmp_path: Path) -> None:
    model = make(store, "one", tmp_path)
    model.weights[0].unlink()
    assert "`runner verify one:latest --repair`" in store.broken()[0].reason


LOOKS: dict[str, Callable[[Store], object]] = {
    "list": Store.list,
    "broken": Store.broken,
    "show": lambda store: store.show("one"),
    "has": lambda store: store.has("one"),
    "copy": lambda store: store.copy("one", "two"),
    "remove": lambda store: store.remove("one"),
    "manifests": Store.manifests,
    "quarantined": Store.quarantined,
    "verify": verify,
}


@pytest.mark.parametrize("what", LOOKS)
def test_no_handles_left_is_told_and_hides_nothing(
    root: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(root) as store:
        model = make(store, "one", tmp_path)
        store.blobs.quarantine.take(store.blobs.begin().path, "expected", "actual")
    none_left = OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    class Exhausted(Disk):
        def open(self, path: Path) -> int:
            raise none_left

    def scandir(path: object) -> object:
        raise none_left

    disk = Disk()
    with Store.open(root, disk) as store:
        with monkeypatch.context() as patched:
            patched.setattr("os.scandir", scandir)
            patched.setattr(disk, "open", lambda path: Exhausted().open(path))
            with pytest.raises(StorageFault, match="Too many open files"):
                LOOKS[what](store)
        assert store.list() == (model,)
        assert store.quarantined()[0].actual == "actual"


def test_each_reading_that_fails_for_want_of_handles_is_a_storage_fault(root: Path, tmp_path: Path) -> None:
    with Store.open(root) as store:
        model = make(store, "one", tmp_path, more="SYSTEM s")
    counted = FaultyDisk(reads=True)
    with Store.open(root, counted) as store:
        store.show("one")
    reads = [at for at, step in enumerate(counted.steps, 1) if step.name in READS]
    assert len(reads) >= 4
    for at in reads:
        disk = FaultyDisk(at, OSError(errno.EMFILE, "none left"), reads=True)
        with Store.open(root, disk) as store:
            with pytest.raises(StorageFault, match="none left"):
                store.show("one")
            assert store.show("one") == model
