"""`runner pull` from a loopback hub that speaks Hugging Face's API, through the daemon and the real hub client."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfiles.embedded import demo_gguf
from tests import tiny_gguf
from tests.end_to_end.terminal import Terminal
from tests.hub import File, Hub, running

MODEL = "hf.co/tiny/parrot-GGUF:Q8_0"


def weights(number: int) -> bytes:
    """The demo's file with one weight changed: bytes that no store has yet."""
    data = bytearray(demo_gguf().read_bytes())
    data[-1 - number] ^= 1
    return bytes(data)


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    zeros = bytes(demo_gguf().stat().st_size)
    hub.add(
        "tiny/parrot-GGUF",
        {
            "README.md": b"# Parrot\n",
            "parrot-Q8_0.gguf": File(weights(0), cuts=[1_000_000]),
            "parrot-Q4_K_M.gguf": File(weights(1), served=zeros),
            "params": json.dumps({"temperature": 0}).encode(),
        },
    )
    with running(hub):
        yield hub


@pytest.fixture
def runner(tmp_path: Path, hub: Hub) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    terminal.environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf")}
    yield terminal
    terminal("shutdown")


def test_pull_survives_a_cut_and_the_file_takes_its_space_once(runner: Terminal, hub: Hub, tmp_path: Path) -> None:
    pulled = runner("pull", MODEL)
    assert pulled.returncode == 0, pulled.stderr
    ranges = [each.range for each in hub.downloads() if "parrot-Q8_0.gguf" in each.path]
    assert ranges == [None, "bytes=1000000-"]
    assert "parrot" in runner("list").stdout
    cached = [path for path in (tmp_path / "hf").rglob("*") if path.is_file() and not path.is_symlink()]
    largest = max(cached, key=lambda path: path.stat().st_size)
    blobs = tmp_path / "data" / "models" / "blobs"
    assert os.stat(largest).st_ino in {blob.stat().st_ino for blob in blobs.iterdir()}
    answer = runner("run", MODEL, "How do I pull a model?")
    assert "runner pull" in answer.stdout, answer.stderr


def test_a_pull_may_be_slowed_and_named(runner: Terminal) -> None:
    pulled = runner("pull", MODEL, "--as", "polly", "--limit-rate", "50MB")
    assert pulled.returncode == 0, pulled.stderr
    listed = runner("list").stdout
    assert "polly:latest" in listed
    assert "parrot" not in listed


def test_wrong_bytes_are_quarantined_and_said_so(runner: Terminal, tmp_path: Path) -> None:
    pulled = runner("pull", "hf.co/tiny/parrot-GGUF:Q4_K_M")
    assert pulled.returncode == 1
    error = pulled.stderr.splitlines()[-1]
    assert error.startswith("Error: ")
    assert "parrot-Q4_K_M.gguf" in error
    assert "parrot" not in runner("list").stdout


def test_an_unknown_quantization_lists_what_there_is(runner: Terminal) -> None:
    pulled = runner("pull", "hf.co/tiny/parrot-GGUF:Q2_K")
    assert pulled.returncode == 1
    assert "Q8_0" in pulled.stderr
    assert "Q4_K_M" in pulled.stderr


def test_an_unknown_repository_is_not_found(runner: Terminal) -> None:
    pulled = runner("pull", "hf.co/nobody/nothing")
    assert pulled.returncode == 1
    assert "not found" in pulled.stderr


def test_a_dry_run_looks_and_a_search_finds(runner: Terminal, hub: Hub) -> None:
    hub.add("tiny/odd-GGUF", {"odd-Q8_0.gguf": tiny_gguf.model("quux9").build()})
    looked = runner("pull", "--dry-run", "hf.co/tiny/parrot-GGUF")
    assert looked.returncode == 1, "the smaller file, which is chosen, is no GGUF"
    looked = runner("pull", "--dry-run", MODEL)
    assert looked.returncode == 0, looked.stderr
    assert "    >  Q8_0 " in looked.stdout
    assert "parrot" not in runner("list").stdout
    refused = runner("pull", "--dry-run", "hf.co/tiny/odd-GGUF")
    assert refused.returncode == 1
    assert "architecture 'quux9' isn't known" in refused.stderr
    found = runner("search", "parrot")
    assert found.returncode == 0
    assert "hf.co/tiny/parrot-GGUF" in found.stdout
    listed = json.loads(runner("search", "qwen3", "--catalog", "--json").stdout)
    assert listed["catalog"][0]["name"] == "qwen3"
    assert {each["fits"]["verdict"] for each in listed["catalog"][0]["tags"]} <= {"yes", "tight", "no"}


def test_without_a_tag_the_choice_is_printed(runner: Terminal, hub: Hub) -> None:
    del hub.repositories["tiny/parrot-GGUF"].files["parrot-Q4_K_M.gguf"]
    pulled = runner("pull", "hf.co/tiny/parrot-GGUF")
    assert pulled.returncode == 0, pulled.stderr
    assert "chose Q8_0 (" in pulled.stderr
    assert "it is the only build there" in pulled.stderr
