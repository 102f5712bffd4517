"""Everything in any order, with deaths and corruption in between, against a model that is a dict."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from modelfiles.parse import parse
from registry.create import create
from registry.digests import Digest, digest_of
from registry.errors import Corrupt, NotFound
from registry.manifest import MODEL
from registry.store import Store
from registry.verify import Sample, verify
from tests.faults.scenes import PULLED, Place, World, corrupt
from tests.faults.sweeping import right_names
from tests.registry.faulty_disk import FaultyDisk, Killed
from tests.registry.models import gguf_file
from tests.registry.trees import unfinished

pytestmark = pytest.mark.faults

NAMES = st.sampled_from(["a:latest", "b:latest", "b:v2", "some/where/c:latest"])
SEEDS = st.sampled_from(["x", "y", "z"])
DEATHS = st.none() | st.integers(1, 60)


class AnyOrder(RuleBasedStateMachine):
    """`models` tells for each name the weights that it has; `hurt` are weights with a bad byte that nobody has seen
    yet, `lost` those that were found out."""

    world: ClassVar[World]
    rules: ClassVar[int] = 0
    deaths: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="any-order-"))
        self.place = Place(self.folder)
        self.weights = {
            seed: digest_of(gguf_file(self.place.files, f"{seed}.gguf", seed).read_bytes()) for seed in "xyz"
        }
        self.models: dict[str, Digest] = {}
        self.hurt: set[Digest] = set()
        self.lost: set[Digest] = set()
        self._open()

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)

    def _open(self) -> None:
        self.disk = FaultyDisk()
        self.store = Store.open(self.place.store, self.disk)

    def _do(self, work: Callable[[], object], after: dict[str, Digest], dies_in: int | None) -> None:
        """Some work that ends in `after`; or dies, and ends there or where it began, and then is done again."""
        type(self).rules += 1
        self.disk.at = None if dies_in is None else self.disk.count + dies_in
        try:
            work()
        except Killed:
            type(self).deaths += 1
            with suppress(Killed):
                self.store.close()
            self._open()
            assert self._found() in (self.models, after)
            work()
        self.disk.at = None
        self.models = after

    def _found(self) -> dict[str, Digest]:
        """Names with their weights, of whole and of broken models."""
        return {str(each.name): each.manifest.of(MODEL)[0].digest for each in self.store.manifests() if each.manifest}

    def _mended(self, digest: Digest) -> None:
        self.hurt.discard(digest)
        self.lost.discard(digest)

    @rule(name=NAMES, seed=SEEDS, dies_in=DEATHS)
    def create(self, name: str, seed: str, dies_in: int | None) -> None:
        text = parse(f"FROM ./{seed}.gguf")
        after = self.models | {name: self.weights[seed]}
        self._do(lambda: create(self.store, name, text, base=self.place.files, taking="copy"), after, dies_in)
        self._mended(self.weights[seed])

    @rule(dies_in=DEATHS)
    def pull(self, dies_in: int | None) -> None:
        def work() -> None:
            self.world.pull(self.store, self.place)

        data = self.world.hub.repositories["org/tiny"].files["tiny-Q8_0.gguf"].data
        self._do(work, self.models | {PULLED: digest_of(data)}, dies_in)
        self._mended(digest_of(data))

    @rule(source=NAMES, to=NAMES, dies_in=DEATHS)
    def copy(self, source: str, to: str, dies_in: int | None) -> None:
        if source not in self.models:
            with pytest.raises(NotFound):
                self.store.copy(source, to)
        elif self.models[source] in self.lost:
            with pytest.raises(Corrupt):
                self.store.copy(source, to)
        else:
            after = self.models | {to: self.models[source]}
            self._do(lambda: self.store.copy(source, to), after, dies_in)

    @rule(name=NAMES | st.just(PULLED), dies_in=DEATHS)
    def remove(self, name: str, dies_in: int | None) -> None:
        def work() -> None:
            with suppress(NotFound):
                self.store.remove(name)

        self._do(work, {key: each for key, each in self.models.items() if key != name}, dies_in)

    @rule(dies_in=DEATHS)
    def prune(self, dies_in: int | None) -> None:
        self._do(lambda: self.store.prune(grace=0), self.models, dies_in)
        if self.disk.at is None:
            assert unfinished(self.place.store) == []

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self._open()

    @precondition(lambda self: set(self.models.values()) - self.hurt - self.lost)
    @rule(which=st.integers(0, 10))
    def corrupt(self, which: int) -> None:
        sound = sorted(set(self.models.values()) - self.hurt - self.lost)
        digest = sound[which % len(sound)]
        path = self.store.blobs.path(digest)
        data = path.read_bytes()
        path.unlink()  # what the hub's cache shares with it stays sound
        path.write_bytes(data)
        self.store.blobs.stamp(digest)
        corrupt(path)
        self.hurt.add(digest)

    @rule(repair=st.booleans(), dies_in=DEATHS)
    def verify(self, repair: bool, dies_in: int | None) -> None:
        def work() -> None:
            verify(self.store, repair=repair, fetch=self.world.fetch(self.place, self.store))

        self._do(work, self.models, dies_in)
        self.lost |= self.hurt & set(self.models.values())
        self.hurt.clear()
        if repair and PULLED in self.models:
            self.lost.discard(self.models[PULLED])
        again = verify(self.store)
        assert {each.digest for each in again.bad} == self.lost & set(self.models.values())

    @rule(count=st.integers(1, 3), seed=st.integers(0, 5))
    def sample(self, count: int, seed: int) -> None:
        before = set(self.hurt)
        found = {each.digest for each in verify(self.store, sample=Sample(count=count, seed=seed)).bad}
        assert found <= before | self.lost
        self.lost |= {each for each in found if each is not None}
        self.hurt -= self.lost

    @invariant()
    def is_what_the_model_says(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self._found() == self.models
        gone = {name for name, digest in self.models.items() if digest in self.lost}
        assert {str(each.name) for each in self.store.broken()} == gone
        assert {str(each.name) for each in self.store.list()} == self.models.keys() - gone
        assert set(right_names(self.place.store)) <= {each.file_name for each in self.hurt}
        self.lost &= set(self.models.values())
        self.hurt &= {digest for digest, _ in self.store.blobs.all()}


def test_any_order(world: World, tally: Callable[[str], None]) -> None:
    AnyOrder.world = world
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=150,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    tally(f"commands in any order: {AnyOrder.rules:,}, with {AnyOrder.deaths:,} deaths")
    assert AnyOrder.deaths > 50
