"""Blobs: nothing gets its name before it is whole, and what isn't ours stays as it is."""

import errno
import io
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from registry.blobs import Blobs
from registry.digests import Digest, digest_of
from registry.disk import Disk
from registry.errors import BadSource, Cancelled, Corrupt, HashMismatch, NoSpace, StorageFault, Unwritable
from tests.registry.faulty_disk import FaultyDisk
from tests.registry.trees import contents, unfinished

DATA = b"some weights" * 1000


class Linking(Disk):
    """A disk that can't share blocks, so that the order of the other ways is seen on any file system."""

    def clone(self, source_fd: int, target_fd: int) -> bool:
        return False


class Copying(Linking):
    """Nor can it link: as across file systems."""

    def link(self, source: Path, target: Path) -> bool:
        return False


def test_written_bytes_are_there_under_their_digest(root: Path) -> None:
    blobs = Blobs(root)
    digest = blobs.write(DATA)
    assert digest == digest_of(DATA)
    assert blobs.path(digest) == root / "blobs" / digest.file_name
    assert blobs.path(digest).read_bytes() == DATA
    assert stat.S_IMODE(blobs.path(digest).stat().st_mode) == 0o444
    assert blobs.has(digest)
    assert blobs.has(digest, len(DATA))
    assert not blobs.has(digest, len(DATA) - 1)
    assert unfinished(root) == []


def test_streams_are_taken_in_with_progress(root: Path) -> None:
    seen: list[int] = []
    digest = Blobs(root).write(io.BytesIO(DATA * 300), digest_of(DATA * 300), seen.append)
    assert digest == digest_of(DATA * 300)
    assert seen == sorted(seen)
    assert seen[-1] == len(DATA) * 300


def test_a_mismatch_goes_to_quarantine_and_says_so(root: Path) -> None:
    blobs = Blobs(root)
    promised = digest_of(b"other")
    with pytest.raises(HashMismatch) as caught:
        blobs.write(DATA, promised)
    kept = caught.value.quarantined
    assert kept is not None
    assert kept.parent == root / "quarantine"
    assert kept.read_bytes() == DATA
    assert str(promised) in str(caught.value)
    assert str(digest_of(DATA)) in str(caught.value)
    assert not blobs.has(promised)
    assert list(blobs.all()) == []
    assert unfinished(root) == []


def test_cancelling_leaves_nothing(root: Path) -> None:
    with pytest.raises(Cancelled):
        Blobs(root).write(io.BytesIO(DATA), cancelled=lambda: True)
    assert contents(root) == {}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, NoSpace),
        (errno.EDQUOT, NoSpace),
        (errno.EROFS, Unwritable),
        (errno.EACCES, Unwritable),
        (errno.EIO, StorageFault),
        (errno.EMFILE, StorageFault),
    ],
)
def test_a_failing_disk_leaves_nothing_and_the_next_try_succeeds(
    tmp_path: Path, code: int, kind: type[StorageFault]
) -> None:
    steps = FaultyDisk()
    Blobs(tmp_path / "whole", steps).write(DATA)
    assert steps.count > 5
    durable = steps.steps.index(("sync_dir", tmp_path / "whole" / "blobs")) + 1  # the stamp after it only saves work
    for at in range(1, steps.count + 1):
        root = tmp_path / f"at{at}"
        disk = FaultyDisk(at, OSError(code, os.strerror(code)))
        if at > durable:
            Blobs(root, disk).write(DATA)
        else:
            with pytest.raises(StorageFault) as caught:
                Blobs(root, disk).write(DATA)
            assert isinstance(caught.value, kind)
        assert unfinished(root) == []
        # A name may be there only with the right bytes: the folder's sync is the last step.
        assert set(contents(root)) <= {f"blobs/{digest_of(DATA).file_name}"}
        assert Blobs(root, disk).write(DATA) == digest_of(DATA)
        assert Blobs(root).read(digest_of(DATA)) == DATA


def test_a_file_is_adopted_by_link_and_left_as_it_is(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "model.gguf"
    mine.write_bytes(DATA)
    mine.chmod(0o640)
    before = mine.stat()
    blobs = Blobs(root, Linking())
    digest = blobs.adopt(mine)
    after = mine.stat()
    assert after.st_ino == blobs.path(digest).stat().st_ino
    assert after.st_nlink == 2
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    blobs.remove(digest)
    assert mine.read_bytes() == DATA


def test_across_file_systems_a_file_is_copied_where_that_is_asked_for(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "model.gguf"
    mine.write_bytes(DATA)
    seen: list[int] = []
    blobs = Blobs(root, Copying())
    digest = blobs.adopt(mine, mode="copy", progress=seen.append)
    assert mine.stat().st_nlink == 1
    assert blobs.path(digest).stat().st_ino != mine.stat().st_ino
    assert stat.S_IMODE(blobs.path(digest).stat().st_mode) == 0o444
    assert blobs.read(digest) == DATA
    assert seen[-1] == len(DATA)


def test_a_copy_that_cannot_fit_is_refused_beforehand(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "model.gguf"
    mine.write_bytes(DATA)
    disk = FaultyDisk()
    disk.free_bytes = 10
    with pytest.raises(NoSpace) as caught:
        Blobs(root, disk).adopt(mine, mode="copy")
    assert (caught.value.needed, caught.value.free) == (len(DATA), 10)
    assert unfinished(root) == []


def test_adopting_can_rule_out_the_link(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "model.gguf"
    mine.write_bytes(DATA)
    digest = Blobs(root, Linking()).adopt(mine, mode="copy")
    assert Blobs(root).path(digest).stat().st_ino != mine.stat().st_ino


def test_adopting_with_the_wrong_hash_keeps_the_file(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "model.gguf"
    mine.write_bytes(DATA)
    with pytest.raises(HashMismatch):
        Blobs(root).adopt(mine, digest_of(b"other"))
    assert mine.read_bytes() == DATA
    assert list(Blobs(root).all()) == []
    assert unfinished(root) == []


def test_odd_files_are_refused_without_waiting(root: Path, tmp_path: Path) -> None:
    blobs = Blobs(root)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "loop", tmp_path / "gone", Path("/dev/zero")):
        with pytest.raises(BadSource):
            blobs.adopt(path)
    assert contents(root) == {}


def test_a_changed_blob_is_noticed_by_its_stamp(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "model.gguf"
    mine.write_bytes(DATA)
    blobs = Blobs(root, Linking())
    digest = blobs.adopt(mine)
    blobs.ensure_intact(digest)
    times = mine.stat()
    with mine.open("r+b") as file:  # in place, as some editors and downloaders do, and with the old date
        file.write(b"X")
    os.utime(mine, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(Corrupt, match="put aside"):
        blobs.ensure_intact(digest)
    assert not blobs.has(digest)
    assert mine.exists()


def test_an_unchanged_blob_is_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = Blobs(root)
    digest = blobs.write(DATA)
    monkeypatch.setattr("registry.blobs.hash_fd", lambda *_: pytest.fail("hashed again"))
    blobs.ensure_intact(digest)


def test_a_blob_without_a_stamp_is_hashed(root: Path) -> None:
    blobs = Blobs(root)
    digest = blobs.write(DATA)
    (root / "stamps" / digest.file_name).unlink()
    blobs.ensure_intact(digest)
    assert (root / "stamps" / digest.file_name).exists()


@pytest.mark.parametrize("what", ["folder", "link", "fifo", "short"])
def test_what_stands_in_a_blobs_place_is_put_aside(root: Path, what: str) -> None:
    blobs = Blobs(root)
    digest = digest_of(DATA)
    place = blobs.path(digest)
    place.parent.mkdir(parents=True)
    match what:
        case "folder":
            place.mkdir()
        case "link":
            place.symlink_to("/etc/passwd")
        case "fifo":
            os.mkfifo(place)
        case _:
            place.write_bytes(DATA[:5])
    assert not blobs.has(digest, len(DATA))
    ingest = blobs.begin()
    ingest.write(DATA)
    blobs.commit(ingest, digest, len(DATA))
    assert blobs.read(digest) == DATA
    assert any((root / "quarantine").iterdir())


def test_reading_checks_the_bytes(root: Path) -> None:
    blobs = Blobs(root)
    digest = blobs.write(DATA)
    blobs.path(digest).chmod(0o644)
    blobs.path(digest).write_bytes(b"0" * len(DATA))
    with pytest.raises(Corrupt, match="other bytes"):
        blobs.read(digest)
    with pytest.raises(Corrupt, match="is missing"):
        blobs.read(digest_of(b"never"))


def test_a_download_goes_on_where_it_stopped(root: Path) -> None:
    blobs = Blobs(root)
    digest = digest_of(DATA)
    first = blobs.begin(digest)
    first.write(DATA[:777])
    first.keep()
    second = blobs.begin(digest)
    assert (second.size, second.resumed) == (0, 777)
    second.write_at(777, DATA[777:])
    second.count(second.path.read_bytes())
    assert blobs.commit(second, digest, len(DATA)) == digest
    assert blobs.read(digest) == DATA
    assert unfinished(root) == []


def test_a_link_in_place_of_a_download_is_not_followed(root: Path, tmp_path: Path) -> None:
    blobs = Blobs(root)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    part = blobs.part(digest_of(DATA))
    part.parent.mkdir(parents=True)
    part.symlink_to(victim)
    with pytest.raises(StorageFault):
        blobs.begin(digest_of(DATA))
    assert victim.read_bytes() == b"precious"


def test_one_thread_at_a_time_per_digest(root: Path) -> None:
    blobs = Blobs(root)
    digest = Digest("0" * 64)
    order: list[str] = []
    inside, waiting = threading.Event(), threading.Event()

    def second() -> None:
        waiting.set()
        with blobs.exclusive(digest):
            order.append("second")

    thread = threading.Thread(target=second)
    with blobs.exclusive(digest):
        thread.start()
        assert waiting.wait(5)
        with pytest.raises(Cancelled), blobs.exclusive(digest, lambda: True):
            pass
        with blobs.exclusive(Digest("1" * 64)):
            order.append("another digest")
        order.append("first")
        inside.set()
    thread.join(5)
    assert order == ["another digest", "first", "second"]


@pytest.mark.parametrize("way", ["bytes", "promised bytes", "file", "promised file", "download"])
def test_a_damaged_blob_is_replaced_when_its_bytes_come_again(root: Path, tmp_path: Path, way: str) -> None:
    blobs = Blobs(root)
    digest = blobs.write(DATA)
    blobs.path(digest).chmod(0o644)
    blobs.path(digest).write_bytes(b"\0" * len(DATA))  # of the right length
    mine = tmp_path / "model.gguf"
    mine.write_bytes(DATA)
    match way:
        case "bytes":
            blobs.write(DATA)
        case "promised bytes":
            blobs.write(DATA, digest)
        case "file":
            blobs.adopt(mine)
        case "promised file":
            blobs.adopt(mine, digest)
        case _:
            ingest = blobs.begin(digest)
            ingest.write(DATA)
            blobs.commit(ingest, digest, len(DATA))
    assert blobs.read(digest) == DATA
    blobs.ensure_intact(digest)
    assert [each.suffix for each in (root / "quarantine").iterdir()].count(".json") == 1


def test_threads_that_bring_the_same_bytes_harm_each_other_in_nothing(root: Path) -> None:
    blobs, digest, lost = Blobs(root, FaultyDisk()), digest_of(DATA), []
    threads = 6
    together = threading.Barrier(threads, timeout=30)

    def bring(number: int) -> None:
        for _ in range(60):
            together.wait()
            if number == 0:
                blobs.remove(digest)
            together.wait()
            blobs.write(DATA, digest)
            if not blobs.has(digest):
                lost.append(number)

    with ThreadPoolExecutor(threads) as pool:
        for each in [pool.submit(bring, number) for number in range(threads)]:
            each.result()
    assert lost == []
    assert not (root / "quarantine").exists()
    assert blobs.read(digest) == DATA


def test_who_comes_second_with_the_same_bytes_finds_the_first_one_there(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is published just after the second has looked and found nothing."""
    blobs = Blobs(root)
    second = blobs.begin()
    second.write(DATA)
    look = blobs._own_status

    def late(digest: Digest) -> os.stat_result | None:
        monkeypatch.undo()
        found = look(digest)
        thread = threading.Thread(target=blobs.write, args=(DATA,))
        thread.start()
        thread.join()
        return found

    monkeypatch.setattr(blobs, "_own_status", late)
    blobs.commit(second)
    assert blobs.read(digest_of(DATA)) == DATA
    assert not (root / "quarantine").exists()


def test_a_file_linked_under_two_names_has_one_of_them(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "model.gguf"
    mine.write_bytes(DATA)
    blobs = Blobs(root, Linking())
    old = blobs.adopt(mine)
    mine.write_bytes(DATA[:-1] + b"!")
    new = blobs.adopt(mine)
    assert blobs.has(new)
    assert not blobs.has(old)
    blobs.ensure_intact(new)
    assert blobs.adopt(mine) == new


def test_a_wrong_copy_of_a_file_that_somebody_has_is_not_kept(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "model.gguf"
    mine.write_bytes(DATA)
    for _ in range(2):
        with pytest.raises(HashMismatch) as caught:
            Blobs(root, Copying()).adopt(mine, digest_of(b"claimed"), mode="copy")
        assert caught.value.quarantined is None
    assert contents(root) == {}


@pytest.mark.parametrize("mode", ["link", "copy"])
@pytest.mark.parametrize("disk", [Linking, Copying])
def test_a_file_that_cannot_be_read_is_its_owners_trouble(
    root: Path, tmp_path: Path, mode: Literal["link", "copy"], disk: type[Disk]
) -> None:
    code = errno.EIO

    class Failing(disk):  # type: ignore[misc, valid-type]
        def read_into(self, fd: int, view: memoryview) -> int:
            raise OSError(code, os.strerror(code))

    mine = tmp_path / "model.gguf"
    mine.write_bytes(DATA)
    with pytest.raises(BadSource, match="Input/output error"):
        Blobs(root, Failing()).adopt(mine, mode=mode)
    code = errno.EMFILE
    with pytest.raises(StorageFault):
        Blobs(root, Failing()).adopt(mine, mode=mode)
    assert contents(root) == {}
