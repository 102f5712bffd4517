"""Every command of README, quickstart and some others is typed, every Python block run, and quoted outputs compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfiles.embedded import demo_gguf
from tests.docs.markdown import ROOT, Block, read
from tests.docs.typist import Typist, matches
from tests.hub import Hub, running
from tests.minilm import minilm

PAGES = (
    "README.md",
    "docs/quickstart.md",
    "docs/modelfile.md",
    "docs/api/ollama.md",
    "docs/api/openai.md",
    "docs/api/llamacpp.md",
)


@pytest.fixture(scope="module")
def hub(request: pytest.FixtureRequest) -> Iterator[Hub]:
    """Hugging Face, with the models that the pages pull: their names, and other weights where any will do."""
    assert request.config.cache is not None
    hub = Hub()
    weights = bytearray(demo_gguf().read_bytes())
    weights[-1] ^= 1  # a file that no store has yet
    hub.add("Qwen/Qwen3-4B-GGUF", {"Qwen3-4B-Q4_K_M.gguf": bytes(weights)})
    embedding = minilm(request.config.cache.mkdir("minilm")).read_bytes()
    hub.add("second-state/All-MiniLM-L6-v2-Embedding-GGUF", {"all-MiniLM-L6-v2-ggml-model-f16.gguf": embedding})
    with running(hub):
        yield hub


@pytest.fixture
def typist(hub: Hub, tmp_path: Path) -> Iterator[Typist]:
    person = Typist(tmp_path / "person", {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf")})
    yield person
    person.leave()


@pytest.mark.parametrize("page", PAGES)
def test_what_the_page_says_to_type_works(page: str, typist: Typist) -> None:
    blocks = read(ROOT / page).blocks
    assert any(block.language in ("sh", "python") for block in blocks)
    if page.startswith("docs/api/"):
        typist.work_through(Block("sh", "runner list", 0))  # a daemon is there: clients of the API start none
    for block in blocks:
        typist.work_through(block)
    if (ROOT / "runner" / "page").is_dir():
        assert "text/html" in typist.visits(), "the address that is to be opened in a browser has a page"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: str) -> None:
    """So that no command escapes the test above for want of a mark."""
    kinds = {"sh", "python", "output", "text", "yaml", "console", "indented"}
    assert {block.language for block in read(ROOT / page).blocks} <= kinds
    commands = re.compile(r"^(?:\$ )?(?:runner|curl|pip|\./installer/dev) ", re.MULTILINE)
    hidden = [block for block in read(ROOT / page).blocks if block.language == "text" and commands.search(block.text)]
    assert hidden == []


def test_an_output_is_compared() -> None:
    assert matches("a…c\n…\nend\n", "abc\nmore\nlines\nend\n")
    assert matches("installer/dev: making .venv\nhello\n", "hello")
    assert not matches("a…c\n", "abd\n")
    assert not matches("one\n", "one\ntwo\n")
