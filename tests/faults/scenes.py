"""What a store may be in the middle of when it dies: each scene has a store to begin with, and a command to run on it.

A command means the same every time it is given, so that a second time heals what broke the first.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelfiles.parse import parse
from registry.adopt.places import look_in
from registry.adopt.take import adopt
from registry.create import create
from registry.digests import digest_of
from registry.errors import NotFound
from registry.origins import Reach
from registry.progress import Cancel, Progress, Report
from registry.pull import PullSettings, pull
from registry.resolve import Wanted
from registry.store import Store
from registry.transfer.http import Http
from registry.verify import verify
from tests import tiny_gguf
from tests.hub import File, Hub
from tests.registry.models import gguf_file, make

UPLOAD = b"uploaded" * 1000
PULLED = "hf.co/org/tiny:Q8_0"


@dataclass(frozen=True)
class Place:
    """Where a scene plays: `store` is the store's folder, `files` has GGUFs to create from, `cache` is the hub's."""

    base: Path

    @property
    def store(self) -> Path:
        return self.base / "store"

    @property
    def files(self) -> Path:
        return self.base / "files"

    @property
    def cache(self) -> Path:
        return self.base / "cache"


@dataclass(frozen=True)
class World:
    """What there is beside the store: a hub with `org/tiny` and `org/twin`, which share their weights."""

    hub: Hub
    http: Http

    def settings(self, place: Place) -> PullSettings:
        """Pull from that hub without waiting."""
        reach = Reach(hf_endpoint=self.hub.endpoint, hub_cache=place.cache, timeout=5.0)
        return PullSettings(reach=reach, waits=(0.0,))

    def pull(self, store: Store, place: Place, reference: str = PULLED, report: Report = lambda step: None) -> None:
        """One pull."""
        pull(store, reference, progress=report, settings=self.settings(place), http=self.http)

    def fetch(self, place: Place, store: Store) -> Callable[[Wanted, Report, Cancel], object]:
        """As the daemon gives it to `verify`."""
        return lambda wanted, report, cancelled: pull(
            store, wanted, progress=report, cancelled=cancelled, settings=self.settings(place), http=self.http
        )


Prepare = Callable[[Store, Place, World], None]
Work = Callable[[Store, Place, World], None]


@dataclass(frozen=True)
class Scene:
    """`prepare` fills a store that has two models already, `work` is the command. `hurt` if the store isn't whole."""

    name: str
    work: Work
    prepare: Prepare = lambda store, place, world: None
    needs_hub: bool = False
    hurt: bool = False


def weights(seed: str, size: int = 0) -> bytes:
    """A GGUF of at least so many bytes: large enough for several writes."""
    extra = {"general.version": seed, "filler": tiny_gguf.array(tiny_gguf.UINT8, [7] * size)}
    return tiny_gguf.model(extra=extra).build()


def publish(hub: Hub) -> None:
    """What the hub has."""
    shared = File(weights("hub", 150_000))
    hub.add(
        "org/tiny",
        {
            "tiny-Q8_0.gguf": shared,
            "mmproj-tiny.gguf": tiny_gguf.projector(),
            "template": File(b"{{ .Prompt }}", lfs=False),
            "params": File(b'{"temperature": 0.5}', lfs=False),
        },
    )
    hub.add("org/twin", {"tiny-Q8_0.gguf": shared, "system": File(b"I am the other one", lfs=False)})


def furnish(place: Place) -> None:
    """A store with two models of its own, garbage and leftovers; beside it files to make more of."""
    with Store.open(place.store) as store:
        make(store, "old", place.files, "old", "SYSTEM old")
        make(store, "bystander", place.files, "bystander", "SYSTEM by")
        store.blobs.write(b"garbage" * 100)
    gguf_file(place.files, "new.gguf", "new")
    (place.store / "ingest" / "stale.part").write_bytes(b"left by a process that is gone")


def corrupt(path: Path) -> None:
    """Change a byte in the middle, as a failing disk would."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def _create(store: Store, place: Place, world: World) -> None:
    create(store, "new", parse("FROM ./new.gguf\nSYSTEM hi\nPARAMETER top_k 3"), base=place.files)


def _create_over(store: Store, place: Place, world: World) -> None:
    create(store, "old", parse("FROM ./new.gguf\nSYSTEM hi"), base=place.files, taking="copy")


def _create_from(store: Store, place: Place, world: World) -> None:
    create(store, "derived", parse("FROM bystander\nSYSTEM derived"), base=None)


def _create_uploaded(store: Store, place: Place, world: World) -> None:
    data = (place.files / "new.gguf").read_bytes()
    digest = digest_of(data)
    store.blobs.write(data, digest)
    store.expect(digest)
    create(store, "uploaded", parse("FROM new.gguf"), files={"new.gguf": digest})


def _copy(store: Store, place: Place, world: World) -> None:
    store.copy("bystander", "some/where:else")


def _copy_over(store: Store, place: Place, world: World) -> None:
    store.copy("bystander", "old")


def _adopt(store: Store, place: Place, world: World) -> None:
    adopt(store, look_in(str(place.files / "new.gguf")).models[0])


def _adopt_by_reference(store: Store, place: Place, world: World) -> None:
    """As from another file system."""
    store.disk.link = store.disk.clone = _cannot  # type: ignore[method-assign, assignment]
    _adopt(store, place, world)
    assert any(store.blobs.references.files())


def _cannot(*_: object) -> bool:
    return False


def _remove(store: Store, place: Place, world: World) -> None:
    with suppress(NotFound):
        store.remove("old")


def _with_copy(store: Store, place: Place, world: World) -> None:
    store.copy("old", "kept")


def _prune(store: Store, place: Place, world: World) -> None:
    store.prune(grace=0)


def _littered(store: Store, place: Place, world: World) -> None:
    for index in range(5):
        store.blobs.write(b"more" * (index + 1))
    digest = store.blobs.write(b"to be put aside")
    corrupt(store.blobs.path(digest))
    verify(store)
    store.blobs.begin(digest_of(b"unfinished")).keep()
    (place.store / "stamps" / digest_of(b"nothing").file_name).write_text("[]")


def _upload(store: Store, place: Place, world: World) -> None:
    store.blobs.write(UPLOAD, digest_of(UPLOAD))
    store.expect(digest_of(UPLOAD))


def _open(store: Store, place: Place, world: World) -> None:
    pass


def _pull(store: Store, place: Place, world: World) -> None:
    world.pull(store, place)


def _pull_and_prune(store: Store, place: Place, world: World) -> None:
    world.pull(store, place, report=lambda step: store.prune(grace=0) and None)


def _pull_by_url(store: Store, place: Place, world: World) -> None:
    """A file of which nobody knows the hash beforehand; what prunes meanwhile must leave it alone."""

    def report(step: Progress) -> None:
        if step.completed:
            store.prune(grace=0)

    world.pull(store, place, f"{world.hub.endpoint}/org/tiny/resolve/main/tiny-Q8_0.gguf", report)


def _half(store: Store, place: Place, world: World) -> None:
    data = world.hub.repositories["org/tiny"].files["tiny-Q8_0.gguf"].data
    part = store.blobs.begin(digest_of(data))
    part.write(data[: len(data) // 2])
    part.keep()


def _twin(store: Store, place: Place, world: World) -> None:
    world.pull(store, place, "hf.co/org/twin:Q8_0")


def _already(store: Store, place: Place, world: World) -> None:
    world.pull(store, place)


def _gone_from_store(store: Store, place: Place, world: World) -> None:
    """Only the hub's cache has the files still."""
    world.pull(store, place)
    store.remove(PULLED)


def _repair(store: Store, place: Place, world: World) -> None:
    verify(store, repair=True, fetch=world.fetch(place, store))


def _broken(store: Store, place: Place, world: World) -> None:
    """A pulled model with bad blobs, a missing one, and a copy; the hub's cache is bad as well, being the same file."""
    world.pull(store, place)
    model = store.copy(PULLED, "copied")
    for kind in ("model", "template"):
        layer = next(each for each in model.manifest.layers if each.media_type.endswith(f".{kind}"))
        corrupt(store.blobs.path(layer.digest))
    store.blobs.path(next(each for each in model.manifest.layers if "projector" in each.media_type).digest).unlink()


SCENES = (
    Scene("open", _open),
    Scene("create", _create),
    Scene("create with a replaced tag", _create_over),
    Scene("create from a stored model", _create_from),
    Scene("create from an upload", _create_uploaded),
    Scene("adopt", _adopt),
    Scene("adopt by reference", _adopt_by_reference),
    Scene("copy", _copy),
    Scene("copy over a model", _copy_over),
    Scene("rm", _remove),
    Scene("rm with shared layers", _remove, _with_copy),
    Scene("prune", _prune, _littered),
    Scene("upload", _upload),
    Scene("pull", _pull, needs_hub=True),
    Scene("pull, resumed", _pull, _half, needs_hub=True),
    Scene("pull with shared layers", _pull, _twin, needs_hub=True),
    Scene("pull of what is there", _pull, _already, needs_hub=True),
    Scene("pull from the hub's cache", _pull, _gone_from_store, needs_hub=True),
    Scene("prune during a pull", _pull_and_prune, _half, needs_hub=True),
    Scene("prune during a pull by URL", _pull_by_url, needs_hub=True),
    Scene("verify --repair", _repair, _broken, needs_hub=True, hurt=True),
)


def scene(name: str) -> Scene:
    """One of them."""
    return next(each for each in SCENES if each.name == name)
