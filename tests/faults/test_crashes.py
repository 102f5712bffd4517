"""Death at every step of everything that changes a store; and of what comes after a death."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.faults.scenes import SCENES, scene
from tests.faults.sweeping import Sweep

pytestmark = pytest.mark.faults

SEED = 20260917
POINTS: dict[str, int] = {}


@pytest.mark.parametrize("sweep", SCENES, ids=lambda each: each.name, indirect=True)
def test_dying_at_any_step_is_all_or_nothing_and_the_same_command_heals(sweep: Sweep) -> None:
    for at, torn in sweep.points():
        place = sweep.fresh()
        sweep.die(place, at, torn)
        sweep.settled(place, f"died {'in' if torn else 'before'} step {at}, {sweep.steps[at - 1]}")
    POINTS[sweep.scene.name] = len(sweep.points())


TWICE = ("create with a replaced tag", "rm with shared layers", "prune", "pull, resumed", "verify --repair")


@pytest.mark.parametrize("sweep", [scene(each) for each in TWICE], ids=lambda each: each.name, indirect=True)
def test_dying_again_while_recovering_does_no_more_harm(sweep: Sweep) -> None:
    chosen = random.Random(SEED).sample(sweep.points(), 3 if sweep.scene.needs_hub else 8)
    count = 0
    for first, torn in chosen:
        place = sweep.fresh()
        sweep.die(place, first, torn)
        second = 0
        while True:
            second += 1
            again = sweep.copy(place)
            disk = sweep.die(again, second, torn=False)
            sweep.settled(again, f"died at step {first} (seed {SEED}), and at step {second} of the next try")
            if not disk.dead:
                break
            count += 1
    POINTS[f"{sweep.scene.name}, twice"] = count


def test_there_were_enough(tally: Callable[[str], None]) -> None:
    if len(POINTS) < len(SCENES) + len(TWICE):
        pytest.skip("counts are only known after the whole module")
    for name, count in POINTS.items():
        tally(f"{count:6,}  {name}")
    total = sum(POINTS.values())
    tally(f"crash points: {total:,}")
    assert total >= 2000
