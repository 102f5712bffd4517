"""Verify and repair: what is asked for is looked at, what is found is named, and nothing else is put in its place."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from registry.adopt.places import look_in
from registry.adopt.take import adopt
from registry.digests import Digest
from registry.disk import Disk, storage
from registry.errors import Cancelled, NotFound, StorageFault
from registry.manifest import MODEL
from registry.origins import Reach
from registry.progress import Progress
from registry.pull import PullSettings, pull
from registry.repair import Fetch
from registry.store import Store
from registry.verify import Sample, Verified, verify
from tests import tiny_gguf
from tests.hub import Hub
from tests.registry.faulty_disk import ReadOnlyDisk
from tests.registry.models import gguf_file, make
from tests.registry.strangers import Apart, Linking
from tests.registry.trees import contents

PULLED = "hf.co/org/tiny:Q8_0"


def _damage(store: Store, name: str) -> Path:
    path = store.blobs.path(store.show(name).manifest.of(MODEL)[0].digest)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return path


def _fetch(store: Store, settings: PullSettings) -> Fetch:
    return lambda wanted, report, cancelled: pull(
        store, wanted, progress=report, cancelled=cancelled, settings=settings
    )


def _outcomes(found: Verified) -> list[str]:
    return [each.outcome for each in found.bad]


def test_a_sound_store_is_counted(store: Store, tmp_path: Path) -> None:
    make(store, "one", tmp_path, "one", "SYSTEM hi")
    make(store, "two", tmp_path, "two")
    spare = store.blobs.write(b"spare")
    seen: list[Progress] = []
    found = verify(store, progress=seen.append)
    assert found.is_sound
    blobs = dict(store.blobs.all())
    assert (found.models, found.blobs, found.there) == (2, len(blobs), len(blobs))
    assert found.size == sum(each.st_size for each in blobs.values())
    assert (seen[-1].total, seen[-1].completed) == (found.size, found.size)
    assert [each.completed for each in seen] == sorted(each.completed for each in seen)
    of_one = verify(store, models=["ONE"])
    assert (of_one.models, of_one.there) == (1, len(store.show("one").manifest.blobs))
    assert spare in blobs
    with pytest.raises(NotFound):
        verify(store, models=["one", "three"])


def test_only_what_is_asked_for_is_looked_at(store: Store, tmp_path: Path) -> None:
    make(store, "one", tmp_path, "one")
    make(store, "two", tmp_path, "two")
    _damage(store, "two")
    assert verify(store, models=["one"]).is_sound
    assert not verify(store, models=["two"]).is_sound


def test_a_blob_that_nobody_needs_is_put_aside_and_told(store: Store) -> None:
    digest = store.blobs.write(b"spare")
    store.blobs.path(digest).chmod(0o644)
    store.blobs.path(digest).write_bytes(b"parse")
    [bad] = verify(store).bad
    assert (bad.digest, bad.models, bad.outcome) == (digest, (), "broken")
    assert bad.quarantined is not None
    assert bad.quarantined.read_bytes() == b"parse"
    [kept] = verify(store).quarantined
    assert (kept.path, kept.expected) == (bad.quarantined, str(digest))
    assert verify(store).is_sound


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "-1", "5 %", "1e3", "٣", "5%%"])
def test_a_sample_is_a_share_or_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="a share such as 5%"):
        Sample.parse(text)


def test_a_sample_is_as_large_as_asked_and_the_same_again(store: Store) -> None:
    for index in range(40):
        store.blobs.write(b"%d" % index)
    assert verify(store, sample=Sample.parse("5%")).blobs == 2
    assert verify(store, sample=Sample.parse("7")).blobs == 7
    assert verify(store, sample=Sample.parse("0.1%")).blobs == 1
    assert verify(store, sample=Sample.parse("1000")).blobs == 40
    items = list(range(1000))
    assert Sample.parse("5%", 7).of(items) == Sample.parse("5%", 7).of(items) != Sample.parse("5%", 8).of(items)
    assert verify(store, sample=Sample.parse("5%", 9)).seed == 9


def test_a_sample_still_sees_what_costs_nothing_to_see(store: Store, tmp_path: Path) -> None:
    model = make(store, "one", tmp_path, more="SYSTEM hi")
    for layer in model.manifest.blobs:
        store.blobs.path(layer.digest).unlink()
    found = verify(store, sample=Sample(count=1))
    assert {each.digest for each in found.bad} == {each.digest for each in model.manifest.blobs}


def test_cancelling_ends_it_between_two_looks(store: Store, tmp_path: Path) -> None:
    make(store, "one", tmp_path)
    _damage(store, "one")
    answers = iter([False, False, True])
    with pytest.raises(Cancelled):
        verify(store, cancelled=lambda: next(answers))
    assert not verify(store).is_sound


def test_repair_brings_back_the_very_same(store: Store, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": tiny_gguf.model().build()})
    before = pull(store, PULLED, settings=settings)
    _damage(store, PULLED)
    found = verify(store, repair=True, fetch=_fetch(store, settings))
    assert _outcomes(found) == ["repaired"]
    assert store.show(PULLED).digest == before.digest
    assert verify(store).bad == ()


def test_repair_never_takes_another_build(root: Path, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": tiny_gguf.model().build()})
    # Nothing of it in the hub's cache: it must come over the wire.
    bare = PullSettings(reach=Reach(hf_endpoint=hub.endpoint, hub_cache=root.parent / "none", timeout=5.0), waits=())
    with Store.open(root) as store:
        before = pull(store, PULLED, settings=settings)
        path = _damage(store, PULLED)
        hub.add("org/tiny", {"tiny-Q8_0.gguf": tiny_gguf.model(extra={"general.version": "other"}).build()})
        found = verify(store, repair=True, fetch=_fetch(store, bare))
        [bad] = found.bad
        assert bad.outcome == "broken"
        assert "as locked" in bad.advice or "hash mismatch" in bad.advice
        assert not path.exists()
        assert [str(each.name) for each in store.broken()] == [PULLED]
        assert [each.manifest for each in store.manifests()] == [before.manifest]
        assert not verify(store, repair=True, fetch=None).is_sound


def test_a_read_only_store_is_verified_and_left_as_it_is(root: Path, tmp_path: Path) -> None:
    with Store.open(root) as store:
        make(store, "one", tmp_path)
        make(store, "two", tmp_path, "two")
        path = _damage(store, "one")
        path.chmod(0)
    before = contents(root)
    with Store.open(root, ReadOnlyDisk()) as store:
        found = verify(store)
        assert {each.digest for each in found.bad} == {store.show("one").manifest.of(MODEL)[0].digest}
        assert all(each.quarantined is None for each in found.bad)
        assert not found.is_sound
        store.check(store.show("two"))
    assert contents(root) == before


@pytest.mark.skipif(os.name != "posix", reason="modes mean little here")
def test_a_blob_that_others_hold_too_keeps_the_mode_that_it_has(store: Store, tmp_path: Path) -> None:
    digest = store.blobs.adopt(make(store, "one", tmp_path).weights[0])
    path = store.blobs.path(digest)
    os.link(path, tmp_path / "another name")
    path.chmod(0)
    for again in (False, True):  # a repair doesn't fetch what a change of mode brings back
        [bad] = verify(store, repair=again).bad
        assert (bad.outcome, bad.quarantined) == ("broken", None)
        assert bad.reason.startswith("may not be read by anybody")
        assert f"chmod a+r {path}" in bad.advice
    assert (tmp_path / "another name").stat().st_mode & 0o777 == 0
    assert path.samefile(tmp_path / "another name")
    path.chmod(0o644)
    assert verify(store).bad == ()
    assert store.list()


class Failing(Disk):
    """Opening files says what a test puts into `errors`, one after the other, for files of one name."""

    def __init__(self, name: str, errors: list[int]) -> None:
        self.name = name
        self.errors = errors

    def open(self, path: Path) -> int:
        if path.name == self.name and path.parent.name == "blobs" and self.errors:
            raise OSError(self.errors.pop(0), "made up")
        return super().open(path)


def test_a_repair_that_runs_out_of_file_handles_condemns_nothing(root: Path, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": tiny_gguf.model().build()})
    with Store.open(root) as store:
        digest = pull(store, PULLED, settings=settings).manifest.of(MODEL)[0].digest
    # First it may be the cable; the second says nothing about the file.
    with Store.open(root, Failing(digest.file_name, [errno.EIO, errno.EMFILE])) as store:
        with pytest.raises(StorageFault):
            verify(store, repair=True, fetch=_fetch(store, settings))
        assert store.quarantined() == ()
        assert verify(store).bad == ()


def test_advice_for_a_file_of_another_program_is_how_to_bring_it_back(root: Path, tmp_path: Path) -> None:
    file = gguf_file(tmp_path / "theirs", "Parrot-Q8_0.gguf")
    for disk, said in ((Apart(), f"`runner pull {file}`"), (Linking(), "`runner pull ./Parrot-Q8_0.gguf`")):
        with Store.open(root, disk) as store:
            [found] = look_in(str(file)).models
            model = adopt(store, found)
            data = file.read_bytes()
            file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
            [bad] = verify(store).bad
            assert said in bad.advice
            store.remove(str(model.name))
            store.prune(0)
            file.write_bytes(data)


def test_what_goes_while_it_looks_is_not_missed(store: Store, tmp_path: Path) -> None:
    make(store, "one", tmp_path, "one", "SYSTEM hi")
    make(store, "two", tmp_path, "two")

    def remove(step: Progress) -> None:
        if store.has("one"):
            store.remove("one")

    assert verify(store, progress=remove).bad == ()


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE])
def test_repair_puts_nothing_aside_for_want_of_handles(
    store: Store, hub: Hub, settings: PullSettings, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": tiny_gguf.model().build()})
    model = pull(store, PULLED, settings=settings)
    weights = model.manifest.of(MODEL)[0].digest
    codes = iter([errno.EIO, code])  # while it is verified, and once more while it is repaired
    rehash = store.blobs.rehash

    def failing(digest: Digest, *more: Any) -> None:
        if digest == weights and (failed := next(codes, 0)):
            with storage("reading a blob", model.weights[0]):
                raise OSError(failed, os.strerror(failed))
        rehash(digest, *more)

    monkeypatch.setattr(store.blobs, "rehash", failing)
    if code == errno.EMFILE:
        with pytest.raises(StorageFault, match="Too many open files"):
            verify(store, repair=True, fetch=_fetch(store, settings))
    else:
        assert _outcomes(verify(store, repair=True, fetch=_fetch(store, settings))) == ["repaired"]
    assert bool(store.quarantined()) == (code == errno.EIO)
    store.check(store.show(PULLED))
