"""Eleven kinds of corruption: verify finds each, only the models concerned are broken, and repair heals what it can."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.digests import Digest
from registry.disk import Disk
from registry.embedded import ensure_demo
from registry.errors import Corrupt
from registry.manifest import MODEL
from registry.names import Name
from registry.quarantine import quarantined
from registry.repair import Bad
from registry.store import Store
from registry.verify import verify
from tests.faults.scenes import PULLED, Place, World
from tests.faults.sweeping import right_names
from tests.registry.models import make

pytestmark = pytest.mark.faults

NAMES = {"pulled": PULLED, "demo": "demo", "created": "mine"}
ROWS: dict[str, dict[str, str]] = {}


@dataclass(frozen=True)
class Victim:
    """What is to be hurt: a blob's file and a manifest's; `other` is another model's blob."""

    blob: Path
    other: Path
    manifest: Path


def _zero(victim: Victim) -> None:
    victim.blob.write_bytes(b"\0" * victim.blob.stat().st_size)


def _flip(victim: Victim) -> None:
    data = bytearray(victim.blob.read_bytes())
    data[len(data) // 2] ^= 16
    victim.blob.write_bytes(data)


def _flip_unseen(victim: Victim) -> None:
    """As a medium does it: with the old dates."""
    status = victim.blob.stat()
    _flip(victim)
    os.utime(victim.blob, ns=(status.st_atime_ns, status.st_mtime_ns))


def _truncate(victim: Victim) -> None:
    os.truncate(victim.blob, victim.blob.stat().st_size // 2)


def _extend(victim: Victim) -> None:
    with victim.blob.open("ab") as file:
        file.write(b"more")


def _folder(victim: Victim) -> None:
    victim.blob.unlink()
    victim.blob.mkdir()
    (victim.blob / "inside").write_bytes(b"x")


def _symlink(victim: Victim) -> None:
    moved = victim.blob.parent.parent / "elsewhere"
    victim.blob.rename(moved)
    victim.blob.symlink_to(moved)


def _fifo(victim: Victim) -> None:
    victim.blob.unlink()
    os.mkfifo(victim.blob)


def _forbid(victim: Victim) -> None:
    victim.blob.chmod(0)


def _miss(victim: Victim) -> None:
    victim.blob.unlink()


def _swap(victim: Victim) -> None:
    mine, theirs = victim.blob.read_bytes(), victim.other.read_bytes()
    victim.blob.write_bytes(theirs)
    victim.other.chmod(0o644)
    victim.other.write_bytes(mine)


def _empty_manifest(victim: Victim) -> None:
    victim.manifest.write_bytes(b"")


def _half_manifest(victim: Victim) -> None:
    data = victim.manifest.read_bytes()
    victim.manifest.write_bytes(data[: 2 * len(data) // 3])


def _no_json(victim: Victim) -> None:
    victim.manifest.write_bytes(b"\xff\xfenot JSON")


def _double_keys(victim: Victim) -> None:
    victim.manifest.write_bytes(b'{"schemaVersion":2,' + victim.manifest.read_bytes()[1:])


def _lie(victim: Victim) -> None:
    value = json.loads(victim.manifest.read_bytes())
    value["layers"][0]["size"] += 1
    victim.manifest.write_text(json.dumps(value))


def _manifest_folder(victim: Victim) -> None:
    victim.manifest.unlink()
    victim.manifest.mkdir()


BLOBS: dict[str, Callable[[Victim], None]] = {
    "zeroed, same size": _zero,
    "one bit flipped": _flip,
    "one bit flipped, old dates": _flip_unseen,
    "truncated": _truncate,
    "extended": _extend,
    "a folder in its place": _folder,
    "a link in its place": _symlink,
    "a pipe in its place": _fifo,
    "mode 000": _forbid,
    "missing": _miss,
    "swapped with another": _swap,
}
MANIFESTS: dict[str, Callable[[Victim], None]] = {
    "manifest empty": _empty_manifest,
    "manifest cut": _half_manifest,
    "manifest not JSON": _no_json,
    "manifest with double keys": _double_keys,
    "manifest with a wrong size": _lie,
    "manifest a folder": _manifest_folder,
}
# Where nothing tells any more at which revision it was pulled, it isn't pulled at another.
SPEECHLESS = {"manifest empty", "manifest not JSON", "manifest a folder"}


@pytest.fixture
def place(tmp_path: Path, world: World) -> Place:
    """A store with a pulled model and its copy, the demo, and two that were made here."""
    place = Place(tmp_path)
    with Store.open(place.store) as store:
        world.pull(store, place)
        store.copy(PULLED, "copied")
        ensure_demo(store)
        make(store, "mine", place.files, "mine", "SYSTEM mine")
        make(store, "bystander", place.files, "bystander", "SYSTEM by")
    return place


def _hurt(store: Store, name: str, harm: Callable[[Victim], None]) -> tuple[Victim, Digest]:
    digest = store.show(name).manifest.of(MODEL)[0].digest
    victim = Victim(
        store.blobs.path(digest),
        store.blobs.path(store.show("bystander").manifest.of(MODEL)[0].digest),
        next(each.path for each in store.manifests() if each.name.key == Name.parse(name).key),
    )
    if harm is not _forbid:
        victim.blob.chmod(0o644)
    # As a bad medium would: what other programs have under names of their own is another file.
    data = victim.blob.read_bytes()
    victim.blob.unlink()
    victim.blob.write_bytes(data)
    store.blobs.stamp(digest)
    harm(victim)
    return victim, digest


@pytest.mark.parametrize("origin", NAMES)
@pytest.mark.parametrize("kind", [*BLOBS, *MANIFESTS])
def test_it_is_found_and_healed_where_it_can_be(place: Place, world: World, kind: str, origin: str) -> None:
    name = NAMES[origin]
    harm = (BLOBS | MANIFESTS)[kind]
    concerned = {str(Name.parse(name))}
    if kind in BLOBS and origin == "pulled":
        concerned.add("copied:latest")  # it has the same blobs
    if harm is _swap:
        concerned.add("bystander:latest")
    with Store.open(place.store) as store:
        everything = {str(each.name): each for each in store.list()}
        victim, digest = _hurt(store, name, harm)
    with Store.open(place.store) as store:
        found = verify(store)
        ROWS.setdefault(kind, {})[origin] = "found"
        _named(found.bad, kind, victim, digest, concerned)
        if harm is _forbid:
            # Nothing but its mode was wrong, and it was our own file.
            ROWS[kind][origin] = "found, put right"
            assert {str(each.name) for each in store.list()} == everything.keys()
            return
        assert not found.is_sound
        assert {str(each.name) for each in store.broken()} == concerned
        assert {str(each.name) for each in store.list()} == everything.keys() - concerned
        with pytest.raises(Corrupt):
            store.show(name)
        assert right_names(place.store) == []
        if kind in BLOBS and harm is not _miss:
            assert any(each.expected == str(digest) for each in quarantined(place.store / "quarantine", Disk()))
        again = verify(store, repair=True, fetch=world.fetch(place, store))
        # Bytes that only stood under each other's names are in quarantine, whole.
        healed = harm is _swap or (origin != "created" and not (kind in SPEECHLESS and origin == "pulled"))
        assert again.is_sound == healed, again.bad
        if healed:
            assert {each.outcome for each in again.bad} == {"repaired"}
            now = {str(each.name): each for each in store.list()}
            assert {key: each.digest for key, each in now.items()} == {
                key: each.digest for key, each in everything.items()
            }
            assert verify(store).bad == ()
        else:
            assert all("again" in each.advice and name in each.advice for each in again.bad), again.bad
        ROWS[kind][origin] += ", healed" if healed else ", told what to do"


def _named(bad: tuple[Bad, ...], kind: str, victim: Victim, digest: Digest, concerned: set[str]) -> None:
    if kind in MANIFESTS:
        [one] = bad
        assert (one.kind, one.path, set(one.models)) == ("manifest", victim.manifest, concerned)
        return
    one = next(each for each in bad if each.digest == digest)
    assert (one.kind, one.path) == ("blob", victim.blob)
    assert set(one.models) <= concerned
    assert set().union(*(each.models for each in bad)) == concerned
    assert len(bad) == (2 if "swapped" in kind else 1)


def test_the_matrix(tally: Callable[[str], None]) -> None:
    if len(ROWS) < len(BLOBS) + len(MANIFESTS):
        pytest.skip("the matrix is only known after the whole module")
    tally(f"{'corruption':32}" + "".join(f"{origin:28}" for origin in NAMES))
    for kind, row in ROWS.items():
        tally(f"{kind:32}" + "".join(f"{row[origin]:28}" for origin in NAMES))
    assert all(each.startswith("found") for row in ROWS.values() for each in row.values())
