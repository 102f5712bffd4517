"""What stored models are against their sources, and what texts mean in a store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelfiles.parse import parse
from registry.create import create
from registry.errors import BadName
from registry.manifest import BASE, RECIPE
from registry.pull import PullSettings, pull
from registry.standing import Standing, compare, known
from registry.store import Store
from registry.stored import StoredModel
from registry.transfer.http import Http
from tests import tiny_gguf
from tests.hub import COMMIT, File, Hub
from tests.registry.models import gguf_file, make
from tests.tiny_gguf import Tensor


def model(seed: str, floats: int = 64) -> bytes:
    return tiny_gguf.model(extra={"general.version": seed}, tensors=[Tensor("t", (floats,))]).build()


Look = Callable[..., Standing]


@pytest.fixture
def look(store: Store, settings: PullSettings) -> Look:
    def at(stored: StoredModel, **more: Any) -> Standing:
        with Http(timeout=5.0) as http:
            return compare(store, stored, http, settings.reach, **more)

    return at


def test_new_content_is_outdated_and_new_commits_are_not(
    store: Store, hub: Hub, settings: PullSettings, look: Look
) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model("one"), "system": b"Hi"})
    stored = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    assert (look(stored).state, look(stored).latest) == ("current", COMMIT)
    moved = hub.change("org/tiny", {"sub/tiny-q8_0.gguf": model("one"), "system": b"Hi", "README.md": b"new"})
    assert (look(stored).state, look(stored).latest) == ("current", moved), "another path is no other content"
    hub.change("org/tiny", {"tiny-Q8_0.gguf": model("one"), "system": b"Hello"})
    assert (look(stored).state, look(stored).size) == ("outdated", 0)
    hub.change("org/tiny", {"tiny-Q8_0.gguf": model("two"), "system": b"Hi"})
    found = look(stored)
    assert (found.state, found.size, [each.title for each in found.files]) == (
        "outdated",
        len(model("two")),
        ["tiny-Q8_0.gguf"],
    )
    hub.change("org/tiny", {"tiny-Q8_0.gguf": File(model("one"), lfs=False), "system": b"Hi"})
    assert look(stored).state == "current", "git's own hash tells as well"


def test_a_model_is_compared_with_the_build_that_it_is(
    store: Store, hub: Hub, settings: PullSettings, look: Look
) -> None:
    """Untagged, and with more memory than when it was pulled: a larger build is no update."""
    small, large = model("small"), model("large", 4096)
    hub.add("org/tiny", {"tiny-Q2_K.gguf": small, "tiny-Q4_K_M.gguf": large})
    stored = pull(store, "hf.co/org/tiny", settings=PullSettings(reach=settings.reach, memory=len(small)))
    hub.change("org/tiny", {"tiny-Q2_K.gguf": small, "tiny-Q4_K_M.gguf": model("newer", 4096)})
    assert look(stored).state == "current"
    hub.change("org/tiny", {"renamed-Q2_K.gguf": model("newer"), "renamed-Q4_K_M.gguf": large})
    assert [each.title for each in look(stored).files] == ["renamed-Q2_K.gguf"], "by its quantization, then"


def test_what_cannot_be_compared_is_told_apart(
    store: Store, hub: Hub, settings: PullSettings, look: Look, tmp_path: Path
) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model("one")})
    stored = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    hub.change("org/tiny", {"tiny-Q2_K.gguf": model("one")})
    gone = look(stored)
    assert (gone.state, "Q2_K" in gone.problem) == ("gone", True)
    hub.repositories["org/tiny"].gated = True
    hub.change("org/tiny", {"tiny-Q8_0.gguf": model("one"), "system": File(b"x", lfs=False)})
    denied = look(stored)
    assert (denied.state, "HF_TOKEN" in denied.problem) == ("unreachable", True)
    assert look(make(store, "mine", tmp_path)).state == "local"


def test_a_source_that_breaks_its_reader_is_no_error(
    store: Store, hub: Hub, settings: PullSettings, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": model("one")})
    stored = pull(store, "hf.co/org/tiny:Q8_0", settings=settings)

    def broken(*args: object) -> None:
        raise OverflowError("date value out of range")

    monkeypatch.setattr("registry.sources.huggingface.HuggingFace.look", broken)
    found = look(stored)
    assert (found.state, "OverflowError" in found.problem) == ("unreachable", True)


def test_what_texts_mean(store: Store, tmp_path: Path) -> None:
    made = make(store, "Mine:v1", tmp_path)
    assert known(store, "mine:V1").stored == made
    assert (str(known(store, "mine:v1").name), known(store, "mine:v1").reference) == ("Mine:v1", "")
    there = known(store, "https://huggingface.co/org/repo")
    assert (str(there.name), there.reference, there.stored) == ("hf.co/org/repo:latest", "hf.co/org/repo:latest", None)
    assert known(store, "demo").reference == "demo:latest"
    with pytest.raises(BadName):
        known(store, "a b")
    blob = store.blobs.path(made.manifest.layers[0].digest)
    blob.unlink()
    broken = known(store, "Mine:v1")
    assert broken.stored is None
    assert "is missing" in broken.problem


def test_a_created_model_remembers_its_recipe_and_base(store: Store, tmp_path: Path) -> None:
    base = make(store, "base", tmp_path)
    text = "FROM base\nSYSTEM hi\n"
    made = create(store, "mine", parse(text))
    spaced = create(store, "other", parse(f"# a comment\n\n{text}"))
    assert made.manifest.annotations == spaced.manifest.annotations
    assert made.manifest.annotations[BASE] == str(base.digest)
    assert (
        create(store, "third", parse("FROM base\nSYSTEM ho\n")).manifest.annotations[RECIPE]
        != (made.manifest.annotations[RECIPE])
    )
    gguf_file(tmp_path, "a.gguf")
    assert BASE not in create(store, "local", parse("FROM ./a.gguf\n"), base=tmp_path).manifest.annotations
