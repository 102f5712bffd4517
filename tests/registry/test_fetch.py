"""Fetching for a pull: what a large file costs, who shares a flight, and what a hub may do meanwhile."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from typing import Any

import pytest

from registry.digests import digest_of
from registry.disk import Disk
from registry.errors import Cancelled, Denied, NoSpace, RegistryError, Unreachable
from registry.fetch import Fetch
from registry.progress import Progress
from registry.pull import PullSettings, pull
from registry.resolve import Wanted
from registry.sources.source import Build, Offer, RemoteFile, SharedCache
from registry.store import Store
from registry.transfer.download import Manner
from registry.transfer.http import Http
from registry.transfer.incoming import Opener
from registry.transfer.pace import Pace
from registry.transfer.parts import MIB, Shape
from tests import tiny_gguf
from tests.hub import Fault, File, Hub
from tests.registry.senders import CHUNK, Sender
from tests.registry.trees import unfinished
from tests.tiny_gguf import Tensor


def model(megabytes: float, seed: int = 1) -> bytes:
    """A sound GGUF whose weights are noise, so that no byte of them is right by chance."""
    made = tiny_gguf.model(tensors=[Tensor("t", (int(megabytes * MIB) // 4,))]).build()
    noise = random.Random(seed).randbytes(int(megabytes * MIB) - 64)
    return made[: len(made) - len(noise)] + noise


def test_a_large_file_comes_over_several_connections(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model(50)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    hub.rate = 60e6  # for each connection, so that one isn't done before the next begins
    pulled = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert pulled.weights[0].read_bytes() == data
    assert 2 <= hub.together <= settings.connections // 2
    assert sorted(each.range or "" for each in hub.downloads()) == sorted(
        f"bytes={at}-{min(at + 16 * MIB, len(data)) - 1}" for at in range(0, len(data), 16 * MIB)
    )
    assert hub.sent == len(data)
    assert unfinished(store.root) == []


def test_shards_come_side_by_side(store: Store, hub: Hub, settings: PullSettings) -> None:
    made = tiny_gguf.shards(3)
    hub.add("org/big", {f"b-Q8_0-{index:05}-of-00003.gguf": data for index, data in enumerate(made, 1)})
    hub.latency = 0.1
    hub.rate = 1e5
    pull(store, "hf.co/org/big:Q8_0", settings=settings)
    assert hub.together >= 2


def test_one_client_and_one_cap_serve_many_pulls(store: Store, hub: Hub, settings: PullSettings) -> None:
    class Counted(Pace):
        taken = 0

        def take(self, count: int) -> float:
            Counted.taken += count
            return 0.0

    files = {f"{name}-Q8_0.gguf": model(0.1, seed) for seed, name in enumerate(("one", "two"))}
    for path, data in files.items():
        hub.add(f"org/{path[:3]}", {path: data})
    with Http() as http:
        for name in ("one", "two"):
            shared = replace(settings, pace=Counted(1))
            pull(store, Wanted(reference=f"hf.co/org/{name}", name=f"my-{name}"), settings=shared, http=http)
    assert Counted.taken == sum(map(len, files.values()))
    assert sorted(str(each.name) for each in store.list()) == ["my-one:latest", "my-two:latest"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_an_expired_link_is_asked_for_again(store: Store, hub: Hub, settings: PullSettings, status: int) -> None:
    data = model(0.1)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": File(data, faults=[Fault(status=status)])})
    assert pull(store, "hf.co/org/tiny:Q8_0", settings=settings).weights[0].read_bytes() == data
    assert sum("/resolve/" in each.path for each in hub.requests) == 2


def test_a_refusal_of_the_hub_itself_is_no_passing_trouble(store: Store, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": File(model(0.1), lfs=False, always=Fault(status=403))})
    with pytest.raises(Denied):
        pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert sum("/resolve/" in each.path for each in hub.requests) == 1


def test_a_server_that_wants_us_to_come_back_tomorrow_is_told_of(
    store: Store, hub: Hub, settings: PullSettings
) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": File(model(0.1), always=Fault(status=429, retry_after="86400"))})
    with pytest.raises(Unreachable, match="status 429"):
        pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert len(hub.downloads()) == 1


def test_cancelling_hangs_up_on_a_silent_server(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model(40)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": File(data, always=Fault(cut=3 * MIB, stall=True))})
    patient = replace(settings, reach=replace(settings.reach, timeout=120.0))
    give_up = threading.Event()
    outcome: list[object] = []

    def work() -> None:
        try:
            pull(store, "hf.co/org/tiny:Q8_0", cancelled=give_up.is_set, settings=patient)
        except RegistryError as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while hub.sent < 3 * 3 * MIB:  # all connections have fallen silent
        assert thread.is_alive()
        thread.join(0.01)
    give_up.set()
    thread.join(20)  # far below the two minutes that silence is borne
    assert isinstance(outcome[0], Cancelled)
    hub.repositories["org/tiny"].files["tiny-Q8_0.gguf"].always = Fault()
    assert pull(store, "hf.co/org/tiny:Q8_0", settings=settings).weights[0].read_bytes() == data
    assert hub.sent <= len(data) + MIB


class _Memory:
    """A source of one file that lies in memory."""

    cache: SharedCache | None = None

    def __init__(self, sender: Sender) -> None:
        self.sender = sender

    def look(self, memory: int | None = None, revision: str | None = None) -> Offer:
        raise NotImplementedError

    def builds(self) -> tuple[Build, ...]:
        return ()

    def open_at(self, file: RemoteFile) -> Opener:
        return self.sender.open_at


DATA = model(0.6)
FILE = RemoteFile("m.gguf", len(DATA), digest_of(DATA))
MANNER = Manner(waits=(0.0,) * 5, shape=Shape.cut(64 << 10))


class _Puller(threading.Thread):
    """One of several who want the same file."""

    def __init__(self, store: Store, sender: Sender, file: RemoteFile = FILE) -> None:
        super().__init__()
        self.seen: list[Progress] = []
        self.give_up = threading.Event()
        self.outcome: Any = None
        self._store, self._sender, self._file = store, sender, file

    def run(self) -> None:
        with self._store.lease() as lease:
            fetch = Fetch(
                self._store, lease, _Memory(self._sender), "r1", self.seen.append, self.give_up.is_set, MANNER
            )
            try:
                self.outcome = fetch.all([self._file])[self._file]
            except RegistryError as error:
                self.outcome = error

    def completed(self) -> list[int]:
        return [each.completed for each in self.seen if each.digest == FILE.digest]


def test_whoever_waits_for_a_flight_sees_it_and_takes_over(store: Store) -> None:
    """Two pulls share one download; the one that fetches is cancelled, and the other goes on from its journal."""
    halfway, watched = threading.Event(), threading.Event()

    def before(at: int) -> None:
        if at >= len(DATA) // 2:
            halfway.set()
            assert watched.wait(30)

    sender = Sender(DATA, before=before)
    first, second = _Puller(store, sender), _Puller(store, sender)
    first.start()
    assert halfway.wait(30)
    second.start()
    while not any(0 < count < len(DATA) for count in second.completed()):
        assert second.is_alive()
        second.join(0.01)
    asked = len(sender.asked)
    first.give_up.set()
    watched.set()
    first.join(30)
    second.join(30)
    assert isinstance(first.outcome, Cancelled)
    assert second.outcome == FILE.digest
    assert len(sender.asked) > asked
    assert sender.sent_twice() <= 4 * CHUNK  # what was on its way to the one who left
    assert second.completed() == sorted(second.completed())
    assert second.completed()[-1] == len(DATA)
    assert unfinished(store.root) == []


def test_what_a_dead_process_left_beside_a_finished_file_goes(store: Store) -> None:
    _Puller(store, Sender(DATA)).run()
    for path in (store.blobs.part(digest_of(DATA)), store.blobs.journal(digest_of(DATA))):
        path.write_bytes(b"left over")
    again = _Puller(store, sender := Sender(DATA))
    again.run()
    assert again.outcome == FILE.digest
    assert sender.asked == []
    assert unfinished(store.root) == []


def test_a_flight_that_fails_is_taken_over_too(store: Store) -> None:
    """What is wrong with one pull's source needn't be wrong with another's."""
    begun, waiting = threading.Event(), threading.Event()

    def before(at: int) -> None:
        begun.set()
        assert waiting.wait(30)
        if at > 200_000:
            raise Denied("not you")

    refusing, sound = Sender(DATA, before=before), Sender(DATA)
    first, second = _Puller(store, refusing), _Puller(store, sound)
    first.start()
    assert begun.wait(30)
    second.start()
    waiting.set()
    first.join(30)
    second.join(30)
    assert isinstance(first.outcome, Denied)
    assert second.outcome == FILE.digest
    assert refusing.sent + sound.sent <= len(DATA) + 4 * CHUNK


def test_a_large_file_without_a_hash_is_gone_on_with_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.fetch._SMALL", 1000)
    file = RemoteFile("m.gguf", len(DATA))

    def before(at: int) -> None:
        if at > 300_000:
            raise Denied("not now")

    sender = Sender(DATA, before=before)
    failed, done = _Puller(store, sender, file), _Puller(store, sender, file)
    failed.run()
    assert isinstance(failed.outcome, Denied)
    sender.before = lambda at: None
    done.run()
    assert done.outcome == FILE.digest
    assert sender.sent_twice() <= 4 * CHUNK
    assert unfinished(store.root) == []


def test_what_is_there_of_a_file_without_a_hash_needs_no_further_room(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RemoteFile("m.gguf", len(DATA))

    def before(at: int) -> None:
        if at > 300_000:
            raise Denied("not now")

    _Puller(store, Sender(DATA, before=before), file).run()
    with store.lease() as lease:
        fetch = Fetch(store, lease, _Memory(Sender(DATA)), "r1", lambda step: None, lambda: False, MANNER)
        monkeypatch.setattr(Disk, "free", lambda disk, path: len(DATA) - 200_000)
        fetch.check_room([file])
        monkeypatch.setattr(Disk, "free", lambda disk, path: len(DATA) - 400_000)
        with pytest.raises(NoSpace):
            fetch.check_room([file])
