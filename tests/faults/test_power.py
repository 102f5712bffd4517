"""Power failures: whatever was never synced may be gone, and the store is whole all the same."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from registry.store import Store
from tests.faults.power import RecordingDisk, after_power_loss, cuts, rebuilt
from tests.faults.scenes import SCENES, Place, Scene, World, furnish
from tests.faults.sweeping import Models, check
from tests.registry.faulty_disk import Killed

pytestmark = pytest.mark.faults

SEED = 20260918
STATES: dict[str, int] = {}
_WHOLE = [each for each in SCENES if not each.hurt]


def _start(scene: Scene, world: World, base: Path) -> tuple[Place, Models]:
    place = Place(base)
    furnish(place)
    with Store.open(place.store) as store:
        scene.prepare(store, place, world)
        return place, {str(each.name): str(each.digest) for each in store.list()}


def _play(scene: Scene, world: World, place: Place, disk: RecordingDisk) -> Models:
    """The command, until it says that it is done; the models then."""
    with Store.open(place.store, disk) as store:
        scene.work(store, place, world)
        disk.acknowledge()
        return {str(each.name): str(each.digest) for each in store.list()}


def _look(scene: Scene, disk: RecordingDisk, at: int, dice: random.Random, folder: Path, allowed: list[Models]) -> None:
    """One state after the power went at an operation."""
    why = f"{scene.name}, seed {SEED}, power lost after operation {at} of {len(disk.ops)}: {disk.ops[at - 1]}"
    place = Place(rebuilt(after_power_loss(disk.start, disk.ops[:at], dice), disk.base, folder))
    found = check(place, why)
    assert found in allowed, f"{why}: {found}"


@pytest.mark.parametrize("scene", _WHOLE, ids=lambda each: each.name)
def test_a_power_failure_at_any_time_leaves_the_old_or_the_new(scene: Scene, world: World, scratch: Path) -> None:
    dice = random.Random(f"{SEED} {scene.name}")
    place, before = _start(scene, world, scratch / "start")
    disk = RecordingDisk(place.base)
    after = _play(scene, world, place, disk)
    done = next(index for index, op in enumerate(disk.ops) if op.kind == "acknowledged")
    count = 0
    for at in cuts(disk.ops, dice, 150):
        for _ in range(6):
            # What was acknowledged stays.
            _look(scene, disk, at, dice, scratch / "state", [after] if at > done else [before, after])
            count += 1
    STATES[scene.name] = count


@pytest.mark.parametrize("scene", _WHOLE, ids=lambda each: each.name)
def test_what_a_second_try_acknowledges_is_durable_though_the_first_one_died(
    scene: Scene, world: World, scratch: Path
) -> None:
    """A death leaves names that nobody has made durable; who finds them there must not take them for granted."""
    dice = random.Random(f"{SEED} {scene.name} again")
    place, _ = _start(scene, world, scratch / "start")
    counting = RecordingDisk(place.base)
    shutil.copytree(place.base, scratch / "spare", symlinks=True)
    _play(scene, world, place, counting)
    steps = range(1, counting.count + 1)
    count = 0
    for first in dice.sample(steps, min(len(steps), 12 if scene.needs_hub else 40)):
        shutil.rmtree(place.base)
        shutil.copytree(scratch / "spare", place.base, symlinks=True)
        disk = RecordingDisk(place.base, at=first)
        with suppress(Killed):
            _play(scene, world, place, disk)
        disk.revive()
        after = _play(scene, world, place, disk)
        for _ in range(6):
            _look(scene, disk, len(disk.ops), dice, scratch / "state", [after])
            count += 1
    STATES[f"{scene.name}, after a death"] = count


def test_there_were_enough(tally: Callable[[str], None]) -> None:
    if len(STATES) < 2 * len(_WHOLE):
        pytest.skip("counts are only known after the whole module")
    total = sum(STATES.values())
    tally(f"states after power loss: {total:,} (seed {SEED})")
    assert total >= 5000
