"""Pull, against a hub on loopback that speaks Hugging Face's API to the real huggingface_hub client."""

import errno
import hashlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelfiles import catalog
from modelfiles.catalog import CatalogEntry, CatalogTag
from registry.digests import digest_of
from registry.errors import (
    BadGGUF,
    BadSource,
    Cancelled,
    Corrupt,
    Denied,
    HashMismatch,
    NoSpace,
    NotFound,
    RegistryError,
    StorageFault,
    UnknownTag,
    Unreachable,
    UnsupportedModel,
)
from registry.manifest import SOURCE
from registry.progress import Progress
from registry.pull import PullSettings, pull
from registry.store import Store
from tests import tiny_gguf
from tests.hub import COMMIT, File, Hub
from tests.registry.faulty_disk import FaultyDisk
from tests.registry.strangers import Apart
from tests.registry.trees import contents, unfinished
from tests.tiny_gguf import Tensor


def model(seed: str = "x", megabytes: float = 0.0) -> bytes:
    """A sound GGUF; with `megabytes` of weights."""
    extra: dict[str, object] = {"general.version": seed}
    if not megabytes:
        return tiny_gguf.model(extra=extra).build()
    return tiny_gguf.model(extra=extra, tensors=[Tensor("t", (int(megabytes * 2**20) // 4,))]).build()


def _with(settings: PullSettings, **changed: Any) -> PullSettings:
    return replace(settings, reach=replace(settings.reach, **changed))


def hub_blob(settings: PullSettings, repository: str, data: bytes) -> Path:
    """Where the hub's cache keeps a file."""
    assert settings.reach.hub_cache is not None
    folder = f"models--{repository.replace('/', '--')}"
    return settings.reach.hub_cache / folder / "blobs" / hashlib.sha256(data).hexdigest()


def test_a_pulled_model_is_whole_and_says_where_it_came_from(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model()
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data, "README.md": File(b"# tiny", lfs=False)})
    seen: list[Progress] = []
    pulled = pull(store, "hf.co/org/tiny:Q8_0", progress=seen.append, settings=settings)
    assert pulled == store.show("hf.co/org/tiny:q8_0")
    assert pulled.weights[0].read_bytes() == data
    assert pulled.config.quantization == "Q8_0"
    assert pulled.config.created is None, "when the repository changed is no fact of this commit"
    assert COMMIT in pulled.manifest.annotations[SOURCE]
    assert pulled.manifest.layers[0].title == "tiny-Q8_0.gguf"
    assert seen[0].status == "pulling manifest"
    assert seen[-1].status == "success"
    store.check(pulled)
    assert unfinished(store.root) == []


def test_progress_never_goes_back_and_ends_at_the_total(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model(megabytes=3)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": File(data, cuts=[100_000, 1_000_000, 5])})
    seen: list[Progress] = []
    pull(store, "hf.co/org/tiny:Q8_0", progress=seen.append, settings=settings)
    steps = [each for each in seen if each.digest == digest_of(data)]
    assert {each.total for each in steps} == {len(data)}
    assert [each.completed for each in steps] == sorted(each.completed for each in steps)
    assert steps[0].completed == 0
    assert steps[-1].completed == len(data)
    assert len(steps) > 10


def test_a_torn_connection_is_gone_on_with(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model(megabytes=2)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": File(data, cuts=[500_000, 700_000])})
    pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert [each.range for each in hub.downloads()] == [None, "bytes=500000-", "bytes=1200000-"]
    assert hub.sent == len(data)


def test_a_later_pull_goes_on_where_an_earlier_one_gave_up(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model(megabytes=2)
    repository = hub.add("org/tiny", {"tiny-Q8_0.gguf": File(data, cuts=[500_000] + [0] * 10)})
    with pytest.raises(Unreachable, match=r"tiny-Q8_0\.gguf|ended after"):
        pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert store.list() == ()
    assert unfinished(store.root) == [f"{digest_of(data).file_name}.part"]
    repository.files["tiny-Q8_0.gguf"].cuts.clear()
    pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert hub.downloads()[-1].range == "bytes=500000-"
    assert hub.sent == len(data)
    assert unfinished(store.root) == []


KILLED = """
import os, sys
from pathlib import Path
from registry.origins import Reach
from registry.pull import PullSettings, pull
from registry.store import Store

def progress(step):
    if step.completed > 1_000_000:
        os.kill(os.getpid(), 9)

root, endpoint, cache = sys.argv[1:]
pull(Store.open(Path(root)), "hf.co/org/tiny:Q8_0", progress=progress,
     settings=PullSettings(reach=Reach(hf_endpoint=endpoint, hub_cache=Path(cache))))
"""


def test_after_kill_9_nothing_is_fetched_twice(root: Path, hub: Hub, settings: PullSettings) -> None:
    data = model(megabytes=3)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(root), hub.endpoint, str(settings.reach.hub_cache)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert killed.returncode == -9
    with Store.open(root) as store:
        assert store.list() == ()
        kept = store.blobs.part(digest_of(data)).stat().st_size
        assert kept > 1_000_000
        pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
        assert hub.downloads()[-1].range == f"bytes={kept}-"
        store.check(store.show("hf.co/org/tiny:Q8_0"))


def test_bytes_lost_with_the_power_are_fetched_again(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model(megabytes=1)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    part = store.blobs.begin(digest_of(data))
    part.write(b"\0" * 700_000)
    part.keep()
    seen: list[Progress] = []
    pull(store, "hf.co/org/tiny:Q8_0", progress=seen.append, settings=settings)
    assert [each.range for each in hub.downloads()] == ["bytes=700000-", None]
    counts = [each.completed for each in seen if each.digest == digest_of(data)]
    assert counts == sorted(counts)


@pytest.mark.parametrize("stale", [b"x" * 5_000_000, b"x" * 1_048_576], ids=["longer", "as long"])
def test_a_partial_file_that_is_too_long_is_begun_anew(
    store: Store, hub: Hub, settings: PullSettings, stale: bytes
) -> None:
    data = model(megabytes=1)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    part = store.blobs.begin(digest_of(data))
    part.write(stale)
    part.keep()
    assert pull(store, "hf.co/org/tiny:Q8_0", settings=settings).weights[0].read_bytes() == data


def test_a_server_without_ranges_costs_time_but_not_the_file(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model(megabytes=1)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": File(data, cuts=[300_000], ranges=False)})
    seen: list[Progress] = []
    pulled = pull(store, "hf.co/org/tiny:Q8_0", progress=seen.append, settings=settings)
    assert pulled.weights[0].read_bytes() == data
    counts = [each.completed for each in seen if each.digest == digest_of(data)]
    assert counts == sorted(counts)


def test_passing_trouble_is_waited_out(store: Store, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": File(model(), statuses=[503, 429, 500])})
    pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert len(hub.downloads()) == 4


def test_lasting_trouble_is_reported(store: Store, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": File(model(), statuses=[503] * 20)})
    with pytest.raises(Unreachable, match="status 503"):
        pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert len(hub.downloads()) == 6


@pytest.mark.parametrize("lie", ["flipped", "longer", "shorter", "empty"])
def test_wrong_bytes_never_become_a_model(store: Store, hub: Hub, settings: PullSettings, lie: str) -> None:
    data = model(megabytes=1)
    served = {
        "flipped": data[:-1] + b"\xff",
        "longer": data + b"more",
        "shorter": data[:-1000],
        "empty": b"",
    }[lie]
    repository = hub.add("org/tiny", {"tiny-Q8_0.gguf": File(data, served=served)})
    if lie == "longer":
        # What lies beyond the promised length is never looked at.
        assert pull(store, "hf.co/org/tiny:Q8_0", settings=settings).weights[0].read_bytes() == data
        return
    with pytest.raises(HashMismatch if lie == "flipped" else Unreachable) as caught:
        pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert store.list() == ()
    assert list(store.blobs.all()) == []
    assert not hub_blob(settings, "org/tiny", data).exists()
    if lie == "flipped":
        error = caught.value
        assert isinstance(error, HashMismatch)
        assert error.quarantined is not None
        assert error.quarantined.read_bytes() == served
        assert str(digest_of(data)) in str(error)
        assert unfinished(store.root) == []
    repository.files["tiny-Q8_0.gguf"].served = None
    pull(store, "hf.co/org/tiny:Q8_0", settings=settings)


def test_the_file_takes_its_space_once(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model()
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    pulled = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    blob = pulled.weights[0].stat()
    cached = hub_blob(settings, "org/tiny", data).stat()
    assert (blob.st_ino, blob.st_dev) == (cached.st_ino, cached.st_dev)
    assert blob.st_nlink == 2
    # The library itself finds it there, offline.
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache("org/tiny", "tiny-Q8_0.gguf", cache_dir=settings.reach.hub_cache, revision=COMMIT)
    assert isinstance(found, str)
    assert Path(found).read_bytes() == data
    # A second name doesn't count as a change.
    store.check(pulled)


def test_what_the_hubs_cache_has_is_not_fetched(store: Store, hub: Hub, settings: PullSettings) -> None:
    from huggingface_hub import hf_hub_download

    data = model()
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    path = hf_hub_download("org/tiny", "tiny-Q8_0.gguf", cache_dir=settings.reach.hub_cache, endpoint=hub.endpoint)
    mode = Path(path).stat().st_mode
    before = len(hub.downloads())
    pulled = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert len(hub.downloads()) == before
    blob = pulled.weights[0].stat()
    assert blob.st_ino == Path(path).stat().st_ino or blob.st_nlink == 1  # linked, or cloned
    assert Path(path).stat().st_mode == mode
    store.remove("hf.co/org/tiny:Q8_0")
    assert Path(path).read_bytes() == data


def test_without_links_the_cache_is_referred_to_and_not_copied_to(
    root: Path, hub: Hub, settings: PullSettings, tmp_path: Path
) -> None:
    class Apart(FaultyDisk):
        """As if store and cache were on different file systems."""

        def link(self, source: Path, target: Path) -> bool:
            return False

        def clone(self, source_fd: int, target_fd: int) -> bool:
            return False

    data, other = model("one"), model("two")
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    hub.add("org/other", {"other-Q8_0.gguf": other})
    cached = hub_blob(settings, "org/other", other)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(other)
    with Store.open(root, Apart()) as store:
        first = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
        assert not hub_blob(settings, "org/tiny", data).exists()
        assert first.weights[0].stat().st_nlink == 1
        second = pull(store, "hf.co/org/other:Q8_0", settings=settings)
        assert second.weights == (cached,)  # referred to
        assert cached.read_bytes() == other
        assert len(hub.downloads()) == 1


def test_a_bad_file_in_the_hubs_cache_stays_there_and_is_fetched(
    store: Store, hub: Hub, settings: PullSettings, caplog: pytest.LogCaptureFixture
) -> None:
    data = model()
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    cached = hub_blob(settings, "org/tiny", data)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"\0" * len(data))
    with caplog.at_level(logging.WARNING):
        pulled = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert "Hugging Face's cache has a bad tiny-Q8_0.gguf" in caplog.text
    assert str(cached) in caplog.text
    assert pulled.weights[0].read_bytes() == data
    assert cached.read_bytes() == b"\0" * len(data)


@pytest.mark.parametrize("when", ["before the pull", "after it was referred to"])
def test_an_unreadable_file_of_another_tool_is_fetched(
    root: Path, hub: Hub, settings: PullSettings, tmp_path: Path, when: str
) -> None:
    class Scratched(Apart):
        bad = 0

        def read_into(self, fd: int, view: memoryview) -> int:
            if os.fstat(fd).st_ino == self.bad:
                raise OSError(errno.EIO, "Input/output error")
            return super().read_into(fd, view)

    data = model()
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    cached = hub_blob(settings, "org/tiny", data)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(data)
    disk = Scratched()
    with Store.open(root, disk) as store:
        if when != "before the pull":
            assert pull(store, "hf.co/org/tiny:Q8_0", settings=settings).weights == (cached,)
            os.utime(cached, (1, 1))  # so that it is looked at again
        disk.bad = cached.stat().st_ino
        pulled = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
        assert pulled.weights == (store.root / "blobs" / digest_of(data).file_name,)
        assert cached.read_bytes() == data
        disk.bad = pulled.weights[0].stat().st_ino  # our own is another matter
        pulled.weights[0].chmod(0o644)
        os.utime(pulled.weights[0], (1, 1))
        with pytest.raises(StorageFault, match="reading a blob"):
            pull(store, "hf.co/org/tiny:Q8_0", settings=settings)


def test_what_is_here_already_is_said_to_be(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model()
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    for told in ("pulling " + digest_of(data).short, "tiny-Q8_0.gguf is here already"):
        seen: list[Progress] = []
        pull(store, "hf.co/org/tiny:Q8_0", progress=seen.append, settings=settings)
        steps = [each for each in seen if each.digest == digest_of(data) and "verifying" not in each.status]
        assert {each.status for each in steps} == {told}
        assert (steps[-1].total, steps[-1].completed) == (len(data), len(data))


def test_a_strangers_file_behind_a_link_in_the_cache_is_not_removed(
    store: Store, hub: Hub, settings: PullSettings, tmp_path: Path
) -> None:
    data = model()
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(b"my own work")
    cached = hub_blob(settings, "org/tiny", data)
    cached.parent.mkdir(parents=True)
    cached.symlink_to(mine)
    assert pull(store, "hf.co/org/tiny:Q8_0", settings=settings).weights[0].read_bytes() == data
    assert mine.read_bytes() == b"my own work"


def test_pulling_again_heals_a_damaged_store(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model(megabytes=1)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    pulled = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    hub_blob(settings, "org/tiny", data).unlink()
    blob = pulled.weights[0]
    blob.chmod(0o644)
    blob.write_bytes(b"\0" * len(data))  # zeroed, of the same length: as after a power cut
    healed = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert healed.weights[0].read_bytes() == data
    store.check(healed)


def test_pulling_again_fetches_and_changes_nothing(store: Store, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model()})
    first = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    before = len(hub.downloads())
    assert pull(store, "hf.co/org/tiny:Q8_0", settings=settings) == first
    assert len(hub.downloads()) == before


def test_a_new_version_replaces_the_old_and_frees_it(store: Store, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model("one")})
    first = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model("two")})
    second = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert second.digest != first.digest
    assert not first.weights[0].exists()


def test_all_shards_and_the_projector_come_along(store: Store, hub: Hub, settings: PullSettings) -> None:
    made = tiny_gguf.shards(3)
    files = {f"Q8_0/big-Q8_0-{index:05}-of-00003.gguf": data for index, data in enumerate(made, 1)}
    hub.add("org/big", {**files, "mmproj-F16.gguf": tiny_gguf.projector(), "big-F16.gguf": model()})
    pulled = pull(store, "hf.co/org/big:Q8_0", settings=settings)
    assert [path.read_bytes() for path in pulled.weights] == made
    assert pulled.projector is not None
    assert "vision" in pulled.config.capabilities
    assert "big-F16.gguf" not in str(hub.downloads())


def test_the_authors_settings_become_the_modelfiles(
    store: Store, hub: Hub, settings: PullSettings, caplog: pytest.LogCaptureFixture
) -> None:
    params = {"temperature": 0.1, "stop": ["<a>", "<b>"], "flux": 1, "top_k": "many"}
    hub.add(
        "org/tiny",
        {
            "tiny-Q8_0.gguf": model(),
            "system": File(b"be nice", lfs=False),
            "template": File(b"{{ .Prompt }}{{ .Tools }}", lfs=False),
            "params": File(json.dumps(params).encode(), lfs=False),
        },
    )
    with caplog.at_level(logging.WARNING):
        pulled = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert pulled.system == "be nice"
    assert pulled.template == "{{ .Prompt }}{{ .Tools }}"
    assert pulled.parameters == {"temperature": 0.1, "stop": ("<a>", "<b>")}
    assert "tools" in pulled.config.capabilities
    assert "flux" in caplog.text
    assert "top_k" in caplog.text


def test_a_changed_small_file_is_noticed(store: Store, hub: Hub, settings: PullSettings) -> None:
    system = File(b"be nice", lfs=False, served=b"be evil")
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model(), "system": system})
    with pytest.raises(HashMismatch, match="git:"):
        pull(store, "hf.co/org/tiny:Q8_0", settings=settings)


def test_files_outside_lfs_are_checked_by_gits_hash(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model()
    repository = hub.add("org/tiny", {"tiny-Q8_0.gguf": File(data, lfs=False)})
    assert pull(store, "hf.co/org/tiny:Q8_0", settings=settings).weights[0].read_bytes() == data
    store.remove("hf.co/org/tiny:Q8_0")
    repository.files["tiny-Q8_0.gguf"].served = data[:-1] + b"\1"
    with pytest.raises(HashMismatch, match="git:"):
        pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert store.list() == ()


def test_a_large_repository_is_listed_to_its_end(root: Path, settings: PullSettings) -> None:
    from tests.hub import running

    with running(Hub(page=3)) as hub, Store.open(root) as store:
        files = {f"notes/{index}.txt": File(b"x", lfs=False) for index in range(20)}
        hub.add("org/tiny", {**files, "tiny-Q8_0.gguf": model()})
        pull(store, "hf.co/org/tiny:Q8_0", settings=_with(settings, hf_endpoint=hub.endpoint))
        assert sum("/tree/" in each.path for each in hub.requests) == 8


class TestRefusals:
    """What can't be had says so, and leaves the store as it was."""

    @pytest.fixture(autouse=True)
    def unchanged(self, store: Store):  # type: ignore[no-untyped-def]  # a generator for pytest
        before = contents(store.root)
        yield
        assert contents(store.root) == before
        assert unfinished(store.root) == []

    def test_an_unknown_repository(self, store: Store, settings: PullSettings) -> None:
        with pytest.raises(NotFound, match=r"hf\.co/org/none:Q8_0.*HF_TOKEN") as caught:
            pull(store, "hf.co/org/none:Q8_0", settings=settings)
        assert not isinstance(caught.value, UnknownTag)

    def test_an_unknown_quantization(self, store: Store, hub: Hub, settings: PullSettings) -> None:
        hub.add("org/tiny", {"tiny-Q8_0.gguf": model(), "tiny-Q4_K_M.gguf": model()})
        with pytest.raises(UnknownTag) as caught:
            pull(store, "hf.co/org/tiny:Q4_K_S", settings=settings)
        assert [tag for tag, _ in caught.value.available] == ["Q4_K_M", "Q8_0"]
        assert "Q4_K_M" in caught.value.near

    def test_a_repository_without_ggufs(self, store: Store, hub: Hub, settings: PullSettings) -> None:
        hub.add("org/tiny", {"model.safetensors": b"x", "mmproj-F16.gguf": b"x"})
        with pytest.raises(UnknownTag, match="no GGUF files"):
            pull(store, "hf.co/org/tiny", settings=settings)

    def test_a_gated_repository(self, store: Store, hub: Hub, settings: PullSettings) -> None:
        hub.add("org/tiny", {"tiny-Q8_0.gguf": model()}, gated=True)
        with pytest.raises(Denied, match="set HF_TOKEN"):
            pull(store, "hf.co/org/tiny:Q8_0", settings=settings)

    def test_a_wrong_token(self, store: Store, hub: Hub, settings: PullSettings) -> None:
        hub.add("org/tiny", {"tiny-Q8_0.gguf": model()})
        with pytest.raises(Denied, match="HF_TOKEN"):
            pull(store, "hf.co/org/tiny:Q8_0", settings=_with(settings, hf_token="hf_wrong"))

    def test_nobody_at_home(self, store: Store, settings: PullSettings) -> None:
        with pytest.raises(Unreachable):
            pull(store, "hf.co/org/tiny", settings=_with(settings, hf_endpoint="http://127.0.0.1:9"))

    def test_an_endpoint_that_is_none(self, store: Store, settings: PullSettings) -> None:
        with pytest.raises(Unreachable):
            pull(store, "hf.co/org/tiny", settings=_with(settings, hf_endpoint="nonsense"))

    def test_a_silent_hub_is_not_waited_for_for_ever(self, store: Store, settings: PullSettings) -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            endpoint = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            with pytest.raises(Unreachable):
                pull(store, "hf.co/org/tiny", settings=_with(settings, hf_endpoint=endpoint, timeout=0.2))

    @pytest.mark.parametrize(
        "answer", [b"[]", b"{}", b"no", b'[{"type":"file"}]', b'[{"type":"file","path":1}]', b"[1]"]
    )
    def test_nonsense_from_the_hub(self, store: Store, hub: Hub, settings: PullSettings, answer: bytes) -> None:
        hub.add("org/tiny", {"tiny-Q8_0.gguf": model()})
        hub.tree = answer
        with pytest.raises((Unreachable, UnknownTag)):
            pull(store, "hf.co/org/tiny:Q8_0", settings=settings)

    def test_a_hash_that_is_none(self, store: Store, hub: Hub, settings: PullSettings) -> None:
        for hostile in ("../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"):
            hub.add("org/tiny", {"tiny-Q8_0.gguf": File(model(), listed_digest=hostile)})
            with pytest.raises(Unreachable, match="a hash that is none"):
                pull(store, "hf.co/org/tiny:Q8_0", settings=settings)

    def test_a_missing_shard(self, store: Store, hub: Hub, settings: PullSettings) -> None:
        hub.add("org/tiny", {"big-Q8_0-00001-of-00002.gguf": model()})
        with pytest.raises(BadSource, match="only 1 of 2 shards"):
            pull(store, "hf.co/org/tiny:Q8_0", settings=settings)

    def test_a_file_that_is_no_gguf_is_given_up_early(self, store: Store, hub: Hub, settings: PullSettings) -> None:
        hub.add("org/tiny", {"tiny-Q8_0.gguf": b"PK" + bytes(30_000_000)})
        with pytest.raises(BadGGUF, match=r"tiny-Q8_0\.gguf: not a GGUF"):
            pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
        assert hub.sent < 8_000_000

    def test_an_architecture_of_the_future_is_given_up_early(
        self, store: Store, hub: Hub, settings: PullSettings
    ) -> None:
        made = tiny_gguf.model("flying-carpet", tensors=[Tensor("t", (8 * 2**20,))]).build()
        hub.add("org/tiny", {"tiny-Q8_0.gguf": made})
        with pytest.raises(UnsupportedModel, match="flying-carpet"):
            pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
        assert hub.sent < 8_000_000

    def test_a_bad_set_of_files_is_taken_back(self, store: Store, hub: Hub, settings: PullSettings) -> None:
        first, second = tiny_gguf.shards(2)
        files = {"b-Q8_0-00001-of-00002.gguf": first, "b-Q8_0-00002-of-00002.gguf": first + b"\0" * 32}
        hub.add("org/tiny", files)
        with pytest.raises(BadGGUF, match="shard 2 of 2 is wanted"):
            pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
        assert second

    @pytest.mark.parametrize(
        ("name", "complaint"),
        [
            ("no-such-model", "model 'no-such-model:latest' not found"),
            ("someone/model", "say hf.co/someone/model"),
        ],
    )
    def test_names_without_a_source(
        self, store: Store, hub: Hub, settings: PullSettings, name: str, complaint: str
    ) -> None:
        with pytest.raises(RegistryError) as caught:
            pull(store, name, settings=settings)
        assert complaint in str(caught.value)
        assert hub.requests == []


def test_a_mistyped_name_of_a_model_that_is_here(store: Store, settings: PullSettings) -> None:
    pull(store, "demo", settings=settings)
    with pytest.raises(NotFound, match=r"model 'dmo:latest' not found; did you mean demo:latest\?$"):
        pull(store, "dmo", settings=settings)


def test_a_token_opens_a_gate_and_stays_at_the_hub(store: Store, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model()}, gated=True)
    pull(store, "hf.co/org/tiny:Q8_0", settings=_with(settings, hf_token="hf_good"))
    at_hub = [each for each in hub.requests if not each.path.startswith("/cdn/")]
    assert {each.authorization for each in at_hub} == {"Bearer hf_good"}
    assert {each.authorization for each in hub.downloads()} == {None}


def test_the_environment_is_honoured(root: Path, hub: Hub, tmp_path: Path) -> None:
    data = model()
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data}, private=True)
    code = (
        "import sys; from pathlib import Path; from registry.pull import pull; from registry.store import Store\n"
        "pull(Store.open(Path(sys.argv[1])), 'hf.co/org/tiny:Q8_0')"
    )
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": "hf_good",
        "HF_HOME": str(tmp_path / "hf-home"),
    }
    subprocess.run([sys.executable, "-c", code, str(root)], env=environment, check=True)
    assert list((tmp_path / "hf-home" / "hub").glob("models--org--tiny/blobs/*"))


def test_too_little_room_is_said_beforehand(root: Path, hub: Hub, settings: PullSettings) -> None:
    data = model(megabytes=1)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    disk = FaultyDisk()
    with Store.open(root, disk) as store:
        disk.free_bytes = len(data)
        with pytest.raises(NoSpace) as caught:
            pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
        assert caught.value.free == len(data)
        assert caught.value.needed is not None
        assert caught.value.needed > len(data)
        assert hub.downloads() == []
        disk.free_bytes = len(data) * 2
        pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
        disk.free_bytes = 0  # nothing to fetch, so nothing is needed
        pull(store, "hf.co/org/tiny:Q8_0", settings=settings)


def test_a_full_disk_in_the_middle_keeps_what_arrived(root: Path, hub: Hub, settings: PullSettings) -> None:
    data = model(megabytes=2)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    disk = FaultyDisk()
    with Store.open(root, disk) as store:
        disk.at, disk.error = disk.count + 12, OSError(28, "No space left on device")
        with pytest.raises(NoSpace):
            pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
        assert store.list() == ()
        kept = store.blobs.part(digest_of(data)).stat().st_size
        assert kept > 0
        pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
        assert hub.downloads()[-1].range == f"bytes={kept}-"


def test_cancelling_stops_at_once_and_keeps_what_arrived(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model(megabytes=4)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    seen: list[Progress] = []
    with pytest.raises(Cancelled):
        pull(
            store,
            "hf.co/org/tiny:Q8_0",
            progress=seen.append,
            cancelled=lambda: seen[-1].completed > 1_000_000,
            settings=settings,
        )
    assert store.list() == ()
    kept = store.blobs.part(digest_of(data)).stat().st_size
    assert 1_000_000 < kept < 3_000_000
    pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert hub.downloads()[-1].range == f"bytes={kept}-"


def test_two_pulls_of_one_model_fetch_it_once(store: Store, hub: Hub, settings: PullSettings) -> None:
    data = model(megabytes=2)
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    together = threading.Barrier(3)
    results: list[object] = []

    def work() -> None:
        together.wait(10)
        try:
            results.append(pull(store, "hf.co/org/tiny:Q8_0", settings=settings).digest)
        except RegistryError as error:
            results.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert len(set(results)) == 1
    assert len(results) == 3
    assert hub.sent == len(data)


def test_prune_does_not_take_what_a_pull_is_fetching(store: Store, hub: Hub, settings: PullSettings) -> None:
    first, second = tiny_gguf.shards(2)
    hub.add("org/big", {"b-Q8_0-00001-of-00002.gguf": first, "b-Q8_0-00002-of-00002.gguf": second})
    pull(
        store,
        "hf.co/org/big:Q8_0",
        progress=lambda step: store.prune(grace=0) and None,
        settings=settings,
    )
    store.check(store.show("hf.co/org/big:Q8_0"))


def test_short_names_go_through_the_catalog(
    store: Store, hub: Hub, settings: PullSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = CatalogTag("latest", "org/tiny", "Q8_0", 1)
    big = CatalogTag("big", "org/tiny", "F16", 1)
    entry = CatalogEntry("tiny", "chat", "Tiny.", "MIT", "1M", 512, (tag, big), ())
    monkeypatch.setattr(catalog, "entries", lambda: (entry,))
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model("small"), "tiny-F16.gguf": model("big")})
    assert pull(store, "tiny", settings=settings).manifest.layers[0].title == "tiny-Q8_0.gguf"
    assert pull(store, "tiny:big", settings=settings).manifest.layers[0].title == "tiny-F16.gguf"
    assert [str(each.name) for each in store.list()] == ["tiny:big", "tiny:latest"]
    with pytest.raises(NotFound) as caught:
        pull(store, "tinny", settings=settings)
    assert caught.value.near == ("tiny",)
    with pytest.raises(NotFound) as caught:
        pull(store, "tiny:bigg", settings=settings)
    assert "tiny:big" in caught.value.near


def test_sampling_is_the_repositorys_word_then_the_headers_then_the_catalogs(
    store: Store, hub: Hub, settings: PullSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = (("temperature", 0.6), ("top_p", 0.95), ("top_k", 20))
    tag = CatalogTag("latest", "org/tiny", "Q8_0", 1, listed)
    entry = CatalogEntry("tiny", "chat", "Tiny.", "MIT", "1M", 512, (tag,), ())
    monkeypatch.setattr(catalog, "entries", lambda: (entry,))
    data = tiny_gguf.model(extra={"general.sampling.top_k": 64}).build()
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data, "params": File(b'{"temperature": 0.1}', lfs=False)})
    assert pull(store, "tiny", settings=settings).parameters == {"top_p": 0.95, "temperature": 0.1}
    # The same file by its own name is nobody's but its authors'.
    assert pull(store, "hf.co/org/tiny:Q8_0", settings=settings).parameters == {"temperature": 0.1}


def test_the_embedded_model_needs_no_network(store: Store, hub: Hub, settings: PullSettings) -> None:
    assert str(pull(store, "demo", settings=settings).name) == "demo:latest"
    assert hub.requests == []


def test_a_damaged_store_is_noticed_while_pulling(store: Store, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model()})
    pulled = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    pulled.weights[0].unlink()
    with pytest.raises(Corrupt, match="is missing"):
        store.show("hf.co/org/tiny:Q8_0")
    assert pull(store, "hf.co/org/tiny:Q8_0", settings=settings) == store.show("hf.co/org/tiny:Q8_0")
