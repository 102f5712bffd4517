"""A disk that says no at one step: full, over quota, broken, read-only, out of handles, or ending a file too early."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from registry.digests import digest_of
from registry.errors import NoSpace, RegistryError, StorageFault
from registry.store import Store
from tests.faults.scenes import PULLED, SCENES, scene
from tests.faults.sweeping import Sweep, right_names
from tests.registry.faulty_disk import READS, FaultyDisk, ReadOnlyDisk, Step
from tests.registry.trees import contents

pytestmark = pytest.mark.faults

SEED = 20260919
CODES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE)
FAULTS: dict[str, int] = {}


def _faults(sweep: Sweep, code: int) -> list[int]:
    """The steps to fail at: all of them, or a sample of a long scene's that talks to the hub."""
    steps = list(range(1, len(sweep.steps) + 1))
    return sorted(random.Random(f"{SEED} {code}").sample(steps, min(len(steps), 30 if sweep.scene.needs_hub else 1000)))


def _survive(sweep: Sweep, disk: FaultyDisk, why: str) -> BaseException | None:
    """The command with one fault, then the same command: on the open store if there is one, and after a restart."""
    place = sweep.fresh()
    failure = None
    try:
        store = Store.open(place.store, disk)
    except RegistryError as error:
        failure = error
    else:
        with store:
            try:
                sweep.scene.work(store, place, sweep.world)
            except RegistryError as error:
                failure = error
            disk.at = None  # one fault is enough, and files fetched side by side may take fewer steps this time
            assert sweep.scene.hurt or right_names(place.store) == [], why
            assert store.show("bystander").system == "by", why
            sweep.scene.work(store, place, sweep.world)  # no restart is needed
        assert sweep.look(place, f"{why}, once more") == sweep.after, why
    sweep.play(place)
    assert sweep.look(place, f"{why}, restarted") == sweep.after, why
    shutil.rmtree(place.base)
    return failure


@pytest.mark.parametrize("sweep", SCENES, ids=lambda each: each.name, indirect=True)
@pytest.mark.parametrize("code", CODES, ids=lambda each: errno.errorcode[each])
def test_a_failing_write_is_told_with_its_path_and_the_next_try_heals(sweep: Sweep, code: int) -> None:
    told = 0
    for at in _faults(sweep, code):
        step = sweep.steps[at - 1]
        why = f"{sweep.scene.name}, {errno.errorcode[code]} at step {at} {step}"
        failure = _survive(sweep, FaultyDisk(at, OSError(code, os.strerror(code))), why)
        if failure is not None:
            told += 1
            assert isinstance(failure, StorageFault), f"{why}: {failure!r}"
            assert str(failure.path) in str(failure), why
            assert isinstance(failure, NoSpace) == (code in (errno.ENOSPC, errno.EDQUOT)), why
        FAULTS[errno.errorcode[code]] = FAULTS.get(errno.errorcode[code], 0) + 1
    assert told or sweep.scene.name == "verify --repair"


@pytest.mark.parametrize("sweep", SCENES, ids=lambda each: each.name, indirect=True)
@pytest.mark.parametrize("kind", ["EIO", "EMFILE", "short"])
def test_a_failing_read_harms_nothing_and_the_next_try_heals(sweep: Sweep, kind: str) -> None:
    counting = FaultyDisk(reads=True)
    place = sweep.fresh()
    sweep.play(place, counting)
    shutil.rmtree(place.base)
    reads = [at for at, step in enumerate(counting.steps, 1) if step.name in READS]
    for at in reads[:: 4 if sweep.scene.needs_hub else 1]:
        code = errno.EMFILE if kind == "EMFILE" else errno.EIO
        disk = FaultyDisk(at, OSError(code, os.strerror(code)), reads=True, short=kind == "short")
        failure = _survive(sweep, disk, f"{sweep.scene.name}, {kind} at step {at} {counting.steps[at - 1]}")
        assert failure is None or isinstance(failure, RegistryError)
        FAULTS[f"{kind} on reading"] = FAULTS.get(f"{kind} on reading", 0) + 1


class _FailsToSync(FaultyDisk):
    """A disk whose first sync of one file fails, whenever it comes: files are fetched side by side."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file
        self._failed = False

    def do(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """One operation."""
        if name == "sync" and not self._failed and self._about(arguments).name == self._file:
            self._failed = True
            self.steps.append(Step(name, self._about(arguments)))
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().do(name, arguments)


@pytest.mark.parametrize("sweep", [scene("pull")], ids=["pull"], indirect=True)
def test_what_a_sync_has_failed_on_is_lost_and_never_synced_again(sweep: Sweep) -> None:
    hub = sweep.world.hub
    data = hub.repositories["org/tiny"].files["tiny-Q8_0.gguf"].data
    part = f"{digest_of(data).file_name}.part"
    place = sweep.fresh()
    disk = _FailsToSync(part)
    with Store.open(place.store, disk) as store:
        with pytest.raises(StorageFault, match="Input/output error"):
            sweep.world.pull(store, place)
        assert [step.path.name for step in disk.steps].count(part) > 1
        assert sum(step.name == "sync" and step.path.name == part for step in disk.steps) == 1
        assert not store.blobs.part(digest_of(data)).exists()
        before = len(hub.downloads())
        sweep.world.pull(store, place)
        ranges = [each.range for each in hub.downloads()[before:] if "tiny-Q8_0" in each.path]
        assert ranges
        assert all(each in (None, "bytes=0-") or each.startswith("bytes=0-") for each in ranges)
        store.check(store.show(PULLED))


@pytest.mark.parametrize("sweep", SCENES, ids=lambda each: each.name, indirect=True)
def test_a_read_only_store_serves_and_refuses(sweep: Sweep) -> None:
    place = sweep.fresh()
    before = contents(place.store)
    with Store.open(place.store, ReadOnlyDisk()) as store:
        whole = {str(each.name): str(each.digest) for each in store.list()}
        assert sweep.scene.hurt or whole == sweep.before
        assert store.show("bystander").system == "by"
        store.check(store.show("bystander"))
        try:
            sweep.scene.work(store, place, sweep.world)
        except StorageFault as error:
            assert str(error.path) in str(error)  # noqa: PT017  # some scenes change nothing, and may well pass
        assert {str(each.name): str(each.digest) for each in store.list()} == whole
    assert contents(place.store) == before
    sweep.play(place)
    assert sweep.look(place, "writable again") == sweep.after


def test_there_were_enough(tally: Callable[[str], None]) -> None:
    if len(FAULTS) < len(CODES) + 3:
        pytest.skip("counts are only known after the whole module")
    tally(f"disk faults: {sum(FAULTS.values()):,} ({', '.join(f'{kind} {count}' for kind, count in FAULTS.items())})")
    assert sum(FAULTS.values()) >= 2000
