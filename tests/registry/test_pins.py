"""Pulls held to what was written down: the same model elsewhere, whatever became of the source, or an error that says
what differs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from registry.digests import Digest, digest_of
from registry.errors import NotAsLocked, NotFound
from registry.manifest import REVISION, WEIGHTS
from registry.pull import PullSettings, pull
from registry.resolve import Pin, Wanted
from registry.store import Store
from registry.stored import StoredModel
from tests import tiny_gguf
from tests.hub import COMMIT, File, Hub
from tests.registry.trees import contents
from tests.tiny_gguf import Tensor


def model(seed: str, floats: int = 64) -> bytes:
    return tiny_gguf.model(extra={"general.version": seed}, tensors=[Tensor("t", (floats,))]).build()


def pin_of(stored: StoredModel) -> Pin:
    files = [(each.title, each.digest) for each in stored.manifest.layers if each.media_type in WEIGHTS]
    return Pin(stored.manifest.annotations[REVISION], tuple(files), stored.digest)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Store]:
    """Another machine's store, empty."""
    with Store.open(tmp_path / "elsewhere") as opened:
        yield opened


def test_a_pinned_pull_is_the_same_model_after_the_source_moved_on(
    store: Store, elsewhere: Store, hub: Hub, settings: PullSettings
) -> None:
    texts = {"template": b"{{ .Prompt }}", "params": b'{"stop": ["x"], "temperature": 0.5}', "system": b"Hi"}
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model("one"), "mmproj-F16.gguf": tiny_gguf.projector(), **texts})
    first = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    hub.change("org/tiny", {"tiny-Q8_0.gguf": model("two")})
    wanted = Wanted(reference="hf.co/org/tiny:Q8_0", pin=pin_of(first))
    again = pull(elsewhere, wanted, settings=replace(settings, reach=replace(settings.reach, hub_cache=None)))
    assert (again.digest, again.manifest) == (first.digest, first.manifest)
    assert pull(store, "hf.co/org/tiny:Q8_0", settings=settings).digest != first.digest
    assert pull(store, wanted, settings=settings).digest == first.digest, "back again"


def test_a_pin_decides_where_a_machine_would_choose_otherwise(
    store: Store, elsewhere: Store, hub: Hub, settings: PullSettings
) -> None:
    small, large = model("small"), model("large", 4096)
    hub.add("org/tiny", {"tiny-Q2_K.gguf": small, "tiny-Q4_K_M.gguf": large})
    first = pull(store, "hf.co/org/tiny", settings=replace(settings, memory=len(small)))
    assert first.config.quantization == "Q2_K"
    assert pull(elsewhere, "hf.co/org/tiny", settings=settings).config.quantization == "Q4_K_M"
    again = pull(elsewhere, Wanted(reference="hf.co/org/tiny", pin=pin_of(first)), settings=settings)
    assert again.digest == first.digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pin: replace(pin, digests=(("tiny-Q8_0.gguf", digest_of(b"x")),)), str(digest_of(b"x"))),
        (lambda pin: replace(pin, digests=(*pin.digests, ("more.gguf", digest_of(b"x")))), "more.gguf isn't there"),
        (lambda pin: replace(pin, digests=(("other.gguf", pin.digests[0][1]),)), "tiny-Q8_0.gguf isn't in the lock"),
        (lambda pin: replace(pin, model=digest_of(b"x")), f"the lock says {digest_of(b'x')}"),
    ],
)
def test_what_differs_is_said_and_nothing_changes(
    store: Store, hub: Hub, settings: PullSettings, change: Callable[[Pin], Pin], said: str
) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model("one")})
    first = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    before = contents(store.root / "manifests")
    with pytest.raises(NotAsLocked) as caught:
        pull(store, Wanted(reference="hf.co/org/tiny:Q8_0", name="new", pin=change(pin_of(first))), settings=settings)
    assert said in str(caught.value)
    assert contents(store.root / "manifests") == before


def test_a_revision_that_is_gone_is_named(store: Store, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model("one")})
    with pytest.raises(NotFound, match=r"hf\.co/org/tiny:Q8_0.*revision abcdef.*runner pull hf.*runner lock"):
        pull(store, Wanted(reference="hf.co/org/tiny:Q8_0", pin=Pin("abcdef")), settings=settings)
    assert pull(store, Wanted(reference="hf.co/org/tiny:Q8_0", pin=Pin(COMMIT)), settings=settings)


def test_a_file_whose_digest_nobody_tells_is_checked_when_it_is_here(
    store: Store, hub: Hub, settings: PullSettings
) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": File(model("one"), lfs=False)})
    first = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    pin = pin_of(first)
    assert pull(store, Wanted(reference="hf.co/org/tiny:Q8_0", pin=pin), settings=settings).digest == first.digest
    wrong = replace(pin, digests=((pin.digests[0][0], Digest("0" * 64)),))
    with pytest.raises(NotAsLocked, match="the lock says sha256:000"):
        pull(store, Wanted(reference="hf.co/org/tiny:Q8_0", pin=wrong), settings=settings)
