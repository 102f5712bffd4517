"""Search: the catalog without a network, and the hub beside it, told apart."""

import socket
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modelfiles import catalog
from modelfiles.catalog import read
from registry.origins import Reach
from registry.pull import PullSettings
from registry.search import Found, search
from registry.store import Store
from tests import tiny_gguf
from tests.hub import Hub
from tests.registry.models import make

CATALOG = """
- name: tiny
  kind: chat
  summary: A small model
  licence: MIT
  parameters: 0.5B to 8B
  context: 2048
  latest: 8b
  aliases: [wee]
  builds:
    0.5b: {repo: org/Half-GGUF, files: {Q8_0: 0.5}}
    8b: {repo: org/Eight-GGUF, files: {Q4_K_M: 5, Q8_0: 9}, also: [8b-chat]}
- name: tiny-coder
  kind: code
  summary: Writes code
  licence: MIT
  parameters: 1B
  context: 2048
  latest: 1b
  builds:
    1b: {repo: org/Coder-GGUF, files: {Q8_0: 1.1}}
- name: other
  kind: embedding
  summary: Not so tiny
  licence: MIT
  parameters: 1B
  context: 2048
  latest: 1b
  builds:
    1b: {repo: org/Other-GGUF, files: {Q8_0: 1.1}}
"""


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "entries", lambda: read("tiny.yaml", CATALOG))


def names(found: Found) -> list[str]:
    return [each.entry.name for each in found.catalog]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tiny", ["tiny", "tiny-coder", "other"]),
        ("WEE", ["tiny"]),
        ("coder", ["tiny-coder"]),
        ("embedding", ["other"]),
        ("code writes", ["tiny-coder"]),
        ("org/coder-gguf", ["tiny-coder"]),
        ("tinny", ["tiny"]),
        ("tiny nothing", []),
        ("", ["other", "tiny", "tiny-coder"]),
    ],
)
def test_words_are_looked_for_everywhere_and_names_go_first(store: Store, text: str, expected: list[str]) -> None:
    assert names(search(store, text, hub=False)) == expected


def test_each_file_has_one_tag_and_says_whether_it_fits(store: Store, tmp_path: Path) -> None:
    make(store, "wee:8b-chat-q8_0", tmp_path)
    (found, *_) = search(store, "tiny", hub=False, memory=8 * 10**9).catalog
    rows = [
        (each.tag, each.latest, each.quantization, each.stored, each.fit and each.fit.verdict) for each in found.tags
    ]
    assert rows == [
        ("0.5b", False, "Q8_0", False, "yes"),
        ("8b", True, "Q4_K_M", False, "yes"),
        ("8b-q8_0", False, "Q8_0", True, "no"),
    ]
    assert search(store, "tiny", hub=False).catalog[0].tags[0].fit is None


def test_the_hubs_part_stands_apart(store: Store, hub: Hub, settings: PullSettings, tmp_path: Path) -> None:
    gguf = {"architecture": "llama", "total": 8_030_261_248, "context_length": 131_072}
    file = {"tiny-Q8_0.gguf": tiny_gguf.model().build()}
    hub.add("org/Tiny-GGUF", file, card={"license": "other", "license_name": "odd"}, gguf=gguf)
    hub.add("org/Tiny-New-GGUF", file, gated=True, gguf={"architecture": "quux9"}, card={"license": "mit"})
    hub.add("org/Tiny", {"model.safetensors": b"x"})
    hub.add("org/Large-GGUF", file)
    make(store, "hf.co/org/tiny-gguf:Q8_0", tmp_path)
    found = search(store, "tiny", reach=settings.reach)
    assert names(found) == ["tiny", "tiny-coder", "other"]
    assert found.note == ""
    new, old = found.hub
    assert (new.model.repository, new.model.gated, new.supported, new.stored) == (
        "org/Tiny-New-GGUF",
        True,
        False,
        False,
    )
    assert (old.model.repository, old.model.gated, old.supported, old.stored) == ("org/Tiny-GGUF", False, True, True)
    assert (old.model.parameters, old.model.context_length, old.model.licence) == (8_030_261_248, 131_072, "odd")
    assert old.model.modified == datetime(2026, 5, 17, 8, 30, tzinfo=UTC)
    assert old.model.downloads < new.model.downloads, "the most downloaded comes first"
    (only,) = search(store, "tiny", reach=settings.reach, limit=1).hub
    assert only == new


def test_without_the_hub_the_catalog_still_answers(store: Store, hub: Hub, settings: PullSettings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = Reach(hf_endpoint=f"http://127.0.0.1:{closed.getsockname()[1]}", timeout=2.0)
        found = search(store, "coder", reach=nobody)
    assert (names(found), found.hub) == (["tiny-coder"], ())
    assert found.note.startswith("searching Hugging Face: ")
    hub.repositories.clear()
    elsewhere = search(store, "coder", reach=replace(settings.reach, registries=("ghcr.io",)))
    assert "isn't among the hosts" in elsewhere.note
    assert hub.requests == []


def test_an_answer_that_makes_no_sense_is_a_note(store: Store, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/Coder", {"m-Q8_0.gguf": b"x"}, gguf={"total": "many"})
    found = search(store, "coder", reach=settings.reach)
    assert names(found) == ["tiny-coder"]
    assert "makes no sense" in found.note
