"""A sweep: one scene played again and again, each time cut off one step later, and what must hold afterwards.

The invariants are those of docs/store.md: what is listed is whole (I1), what has a blob's name has its bytes (I2), what
was acknowledged stays (I3), what was not is all there or not at all (I4), the same command heals (I5), a prune takes
nothing that is needed (I6), and nothing half done outlives a start and a prune (I7).
"""

import hashlib
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry.store import Store
from tests.faults.scenes import Place, Scene, World, furnish
from tests.registry.faulty_disk import FaultyDisk, Killed
from tests.registry.trees import unfinished

Models = dict[str, str]


def check(place: Place, why: str) -> Models:
    """The store's models with their digests, after making sure of I1, I2, I6 and I7."""
    with Store.open(place.store) as store:
        assert store.broken() == (), why
        models = {str(each.name): str(each.digest) for each in store.list()}
        for each in store.list():
            store.check(each)
        assert right_names(place.store) == [], why
        # What is left is a download that can be gone on with: its name is a digest's.
        assert all(each.startswith("sha256-") for each in unfinished(place.store)), why
        assert "bystander:latest" in models, why
        store.prune(grace=0)
        assert {str(each.name): str(each.digest) for each in store.list()} == models, why
        assert store.broken() == (), why
        assert unfinished(place.store) == [], why
    return models


def right_names(root: Path) -> list[str]:
    """Blobs that aren't what their names say: there should be none."""
    return [
        each.name
        for each in (root / "blobs").iterdir()
        if not each.is_file() or f"sha256-{hashlib.sha256(each.read_bytes()).hexdigest()}" != each.name
    ]


@dataclass
class Sweep:
    """One scene, ready to be played from the same start any number of times."""

    scene: Scene
    world: World
    folder: Path

    def __post_init__(self) -> None:
        self.start = Place(self.folder / "start")
        furnish(self.start)
        with Store.open(self.start.store) as store:
            self.scene.prepare(store, self.start, self.world)
        self._made = 0
        (self.start.store / "ingest" / "stale.part").write_bytes(b"left by a process that is gone")
        whole = self.fresh()
        disk = FaultyDisk()
        self.play(whole, disk)
        self.steps = list(disk.steps)
        self.after = self.look(whole, "unharmed")
        self.before = self._before()

    def fresh(self) -> Place:
        """A place like the start."""
        return self.copy(self.start)

    def play(self, place: Place, disk: FaultyDisk | None = None) -> None:
        """The command once, from opening the store to closing it."""
        with Store.open(place.store, disk) as store:
            self.scene.work(store, place, self.world)

    def die(self, place: Place, at: int, torn: bool) -> FaultyDisk:
        """The command, cut off at a step."""
        disk = FaultyDisk(at, torn=torn)
        with suppress(Killed):
            self.play(place, disk)
        return disk

    def look(self, place: Place, why: str) -> Models:
        """The invariants, and the models that are there."""
        return check(place, f"{self.scene.name}, {why}")

    def settled(self, place: Place, why: str) -> None:
        """All or nothing after a death; and the same command heals. The place is removed."""
        if not self.scene.hurt:
            kept = self.copy(place)
            found = self.look(kept, why)
            assert found in (self.before, self.after), f"{self.scene.name}, {why}: neither before nor after: {found}"
            shutil.rmtree(kept.base)
        self.play(place)
        assert self.look(place, f"{why}, healed") == self.after, f"{self.scene.name}, {why}: not healed"
        shutil.rmtree(place.base)

    def points(self) -> list[tuple[int, bool]]:
        """Every step to die before, and every write to die in."""
        torn = [(at, True) for at, step in enumerate(self.steps, 1) if step.name == "write"]
        return [(at, False) for at in range(1, len(self.steps) + 1)] + torn

    def copy(self, place: Place) -> Place:
        """A place like this one."""
        self._made += 1
        copied = Place(self.folder / f"{self._made}")
        shutil.copytree(place.base, copied.base, symlinks=True)
        self._link_again(copied)
        return copied

    def _link_again(self, place: Place) -> None:
        """A copy has two files where there was one with two names: give the hub's cache its links back."""
        for cached in place.cache.glob("*/blobs/*"):
            blob = place.store / "blobs" / f"sha256-{cached.name}"
            if blob.is_file() and not cached.is_symlink() and blob.read_bytes() == cached.read_bytes():
                cached.unlink()
                cached.hardlink_to(blob)

    def _before(self) -> Models:
        place = self.fresh()
        with Store.open(place.store) as store:
            models = {str(each.name): str(each.digest) for each in store.list()}
        shutil.rmtree(place.base)
        return models

    def close(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.folder)
