"""Downloads under fire: the daemon killed in the middle, and servers that lie, stall, trickle and storm.

Whatever happens: nothing wrong under a final name, the same command heals, and nothing is left over once it succeeded.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from registry.digests import digest_of
from registry.errors import HashMismatch, RegistryError, Unreachable
from registry.origins import Reach
from registry.pull import PullSettings, pull
from registry.store import Store
from registry.transfer.parts import MIB, Shape
from tests import tiny_gguf
from tests.benchmarks.daemon import Daemon
from tests.hub import Fault, File, Hub, Span, running
from tests.registry.trees import unfinished
from tests.tiny_gguf import Tensor

pytestmark = pytest.mark.faults

NAME = "hf.co/org/big:Q8_0"
FILE = "big-Q8_0.gguf"
KILLS = 40


def model(megabytes: int) -> bytes:
    """A sound GGUF whose weights are noise, so that no byte of them is right by chance."""
    made = tiny_gguf.model(tensors=[Tensor("t", (megabytes * MIB // 4,))]).build()
    noise = random.Random(megabytes).randbytes(megabytes * MIB - 64)
    return made[: len(made) - len(noise)] + noise


BIG = model(96)
PART = Shape.of(len(BIG)).part


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running(Hub()) as served:
        yield served


def sent_twice(earlier: list[Span], later: list[Span]) -> int:
    """Bytes of the later answers that the earlier ones, or one of the later, had brought before."""
    seen = bytearray(len(BIG))
    for span in earlier:
        seen[span.start : span.stop] = b"\1" * (span.stop - span.start)
    twice = 0
    for span in later:
        twice += sum(seen[span.start : span.stop])
        seen[span.start : span.stop] = b"\1" * (span.stop - span.start)
    return twice


def ask(daemon: Daemon) -> None:
    """Ask for the model; the daemon may die meanwhile."""
    with suppress(OSError, ValueError):
        daemon.post("/api/pull", {"model": NAME, "stream": False})


def test_a_daemon_killed_in_the_middle_fetches_at_most_one_part_again(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add("org/big", {FILE: BIG})
    hub.rate = 25e6  # for each connection, so that what is on its way is what a network holds, not what loopback does
    daemon = Daemon(tmp_path / "home", download_connections=8)
    daemon.environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf")}
    costs: list[int] = []
    spans = 0
    for number in range(1, KILLS + 1):
        daemon.start()
        begun = len(hub.spans)
        goal = len(BIG) * number // (KILLS + 2)
        asking = threading.Thread(target=ask, args=(daemon,))
        asking.start()
        deadline = time.monotonic() + 60
        while hub.sent - sum(costs) < goal and asking.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        assert daemon.process is not None
        daemon.process.kill()
        daemon.process.wait()
        asking.join(30)
        costs.append(sent_twice(hub.spans[:begun], hub.spans[begun:]))
        spans = begun
    daemon.start()
    begun = len(hub.spans)
    assert daemon.post("/api/pull", {"model": NAME, "stream": False}) == {"status": "success"}
    daemon.stop()
    costs.append(sent_twice(hub.spans[:begun], hub.spans[begun:]))
    assert spans < begun, "the last kill came too late"
    with capsys.disabled():
        print(
            f"\nmid-pull kills: {KILLS}, most re-fetched {max(costs) / PART:.2f} parts, {sum(costs) / PART:.1f} in all"
        )
    assert max(costs) <= PART
    root = tmp_path / "home" / "data" / "models"
    blob = next(path for path in (root / "blobs").iterdir() if path.stat().st_size == len(BIG))
    assert hashlib.sha256(blob.read_bytes()).hexdigest() == hashlib.sha256(BIG).hexdigest() == blob.name[7:]
    assert unfinished(root) == []


MIDDLING = model(40)
LITTLE = model(1)

PASSING: dict[str, tuple[bytes, list[Fault]]] = {
    "200 for a range": (MIDDLING, [Fault(), Fault(whole=True)]),
    "200 for every range": (MIDDLING, [Fault(whole=True)] * 50),
    "416": (MIDDLING, [Fault(), Fault(status=416), Fault(status=416)]),
    "an expired link in the middle": (MIDDLING, [Fault(), Fault(status=403), Fault(status=410)]),
    "429 with Retry-After": (MIDDLING, [Fault(status=429, retry_after="1"), Fault(), Fault(status=429)]),
    "a storm of 5xx": (MIDDLING, [Fault(status=each) for each in (500, 502, 503)] + [Fault(), Fault(status=504)]),
    "silence": (MIDDLING, [Fault(cut=1_000_000, stall=True), Fault(), Fault(cut=1, stall=True)]),
    "a trickle": (LITTLE, [Fault(rate=1.0)]),
    "a reset at once": (MIDDLING, [Fault(cut=1, reset=True)] * 3),
    "a wrong length": (MIDDLING, [Fault(), Fault(length=5), Fault(length=1 << 40, cut=100)]),
    "a range that isn't the one": (MIDDLING, [Fault(content_range="bytes 5-10/100"), Fault(content_range="x")]),
    "a part of a longer file": (MIDDLING, [Fault(), Fault(content_range=f"bytes 16777216-33554431/{1 << 40}")]),
    "compressed": (MIDDLING, [Fault(encoding="gzip"), Fault(), Fault(encoding="gzip")]),
    "another ETag in the middle": (MIDDLING, [Fault(), Fault(etag='"other"'), Fault(etag='"other"')]),
}


def settings_for(hub: Hub, folder: Path) -> PullSettings:
    """Quick tries, and little patience."""
    reach = Reach(hf_endpoint=hub.endpoint, hub_cache=folder / "hub", timeout=1.0)
    return PullSettings(reach=reach, waits=(0.0,) * 5, patience=2.0)


@pytest.mark.parametrize("trouble", PASSING)
def test_passing_trouble_of_every_kind_is_outlived(hub: Hub, tmp_path: Path, trouble: str) -> None:
    data, faults = PASSING[trouble]
    hub.add("org/big", {FILE: File(data, faults=list(faults))})
    with Store.open(tmp_path / "store") as store:
        model = pull(store, NAME, settings=settings_for(hub, tmp_path))
        assert model.weights[0].read_bytes() == data
        assert unfinished(store.root) == []


def always(fault: Fault) -> Callable[[File], None]:
    def arrange(file: File) -> None:
        file.always = fault

    return arrange


def serve(data: bytes) -> Callable[[File], None]:
    def arrange(file: File) -> None:
        file.served = data

    return arrange


LASTING: dict[str, tuple[bytes, Callable[[File], None], type[RegistryError]]] = {
    "other bytes": (MIDDLING, serve(MIDDLING[:-9] + b"\0" * 9), HashMismatch),
    "other bytes, early": (MIDDLING, serve(MIDDLING[: 20 * MIB] + b"\0" + MIDDLING[20 * MIB + 1 :]), HashMismatch),
    "zeros": (LITTLE, serve(LITTLE[:5000] + bytes(len(LITTLE) - 5000)), HashMismatch),
    "too short": (MIDDLING, serve(MIDDLING[:-1]), Unreachable),
    "too long": (MIDDLING, serve(MIDDLING + b"!"), Unreachable),
    "empty": (MIDDLING, serve(b""), Unreachable),
    "503 for ever": (MIDDLING, always(Fault(status=503)), Unreachable),
    "429 for an hour": (MIDDLING, always(Fault(status=429, retry_after="3600")), Unreachable),
    "silence for ever": (MIDDLING, always(Fault(cut=0, stall=True)), Unreachable),
    "a trickle for ever": (LITTLE, always(Fault(rate=5.0)), Unreachable),
    "gzip for ever": (MIDDLING, always(Fault(encoding="gzip")), Unreachable),
    "to this machine": (LITTLE, always(Fault(location="http://localhost:1/x")), Unreachable),
    "to the cloud's own": (LITTLE, always(Fault(location="http://169.254.169.254/latest")), Unreachable),
    "to a private network": (LITTLE, always(Fault(location="http://10.0.0.1/x")), Unreachable),
    "to IPv6 loopback": (LITTLE, always(Fault(location="http://[::ffff:127.0.0.1]/x")), Unreachable),
    "to a file": (LITTLE, always(Fault(location="file:///etc/passwd")), Unreachable),
    "round and round": (LITTLE, always(Fault(location="?again")), Unreachable),
}


@pytest.mark.parametrize("lie", LASTING)
def test_a_server_that_lies_gets_nothing_under_a_final_name(hub: Hub, tmp_path: Path, lie: str) -> None:
    data, arrange, error = LASTING[lie]
    file = File(data)
    arrange(file)
    hub.add("org/big", {FILE: file})
    settings = settings_for(hub, tmp_path)
    with Store.open(tmp_path / "store") as store:
        with pytest.raises(error):
            pull(store, NAME, settings=settings)
        assert list(store.blobs.all()) == []
        assert store.list() == ()
        hub.repositories["org/big"].files[FILE] = File(data)
        assert pull(store, NAME, settings=settings).weights[0].read_bytes() == data
        assert unfinished(store.root) == []
        store.check(store.show(NAME))
        assert {digest for digest, _ in store.blobs.all()} >= {digest_of(data)}


def test_resets_at_random_bytes(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(7)
    resets = 60
    faults = [Fault(cut=chance.randrange(1, 3 * MIB), reset=chance.random() < 0.7) for _ in range(resets)]
    hub.add("org/big", {FILE: File(MIDDLING, faults=faults)})
    with Store.open(tmp_path / "store") as store:
        model = pull(store, NAME, settings=settings_for(hub, tmp_path))
        assert model.weights[0].read_bytes() == MIDDLING
        assert unfinished(store.root) == []
    torn = resets - len(faults_left(hub))
    again = (hub.sent - len(MIDDLING)) / MIB
    with capsys.disabled():
        print(f"\nconnections torn: {torn}, re-fetched {again:.1f} of {len(MIDDLING) / MIB:.0f} MiB")
    assert torn > 10


def faults_left(hub: Hub) -> list[Fault]:
    """What hasn't happened yet."""
    return hub.repositories["org/big"].files[FILE].faults
