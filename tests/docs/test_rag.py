"""docs/examples/rag.py as its page says to run it: real vectors, a real vector store, an answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.daemon import Daemon
from tests.docs.markdown import ROOT
from tests.minilm import minilm

EXAMPLE = ROOT / "docs" / "examples" / "rag.py"
PAGES = {
    "kitchen.md": "# Kitchen\n\n## Bread\n\nBread rises because of yeast.\n\n## Soup\n\nSoup is salted last.\n",
    "garden.md": "# Garden\n\n## Frost\n\nDahlias are dug up before the first frost and kept in a cellar.\n",
}


def test_it_finds_the_passage_and_answers(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    assert request.config.cache is not None
    folder = tmp_path / "pages"
    folder.mkdir()
    for name, text in PAGES.items():
        (folder / name).write_text(text, encoding="utf-8")
    with Daemon(tmp_path / "home") as daemon:
        daemon.create("all-minilm", minilm(request.config.cache.mkdir("minilm")))

        def ask(question: str) -> tuple[list[str], str]:
            done = subprocess.run(
                [sys.executable, EXAMPLE, folder, question, "--model", "demo", "--index", tmp_path / "rag.db"],
                env=daemon.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return done.stderr.splitlines(), done.stdout

        said, answer = ask("What should I do with my flowers before winter?")
        assert said[0] == "3 new passages", said
        assert said[1].endswith("garden.md: Frost")
        assert answer.strip(), "the demo model says something, whatever it is worth"
        said, _ = ask("Why does a loaf get bigger?")
        assert (said[0], said[1].split("  ")[1]) == ("0 new passages", "kitchen.md: Bread")

        (folder / "garden.md").unlink()
        (folder / "kitchen.md").write_text(
            "# Kitchen\n\n## Tea\n\nTea is steeped for three minutes.\n", encoding="utf-8"
        )
        said, _ = ask("How long does tea take?")
        assert said[0] == "1 new passages"
        assert [line.split("  ")[1] for line in said[1:]] == ["kitchen.md: Tea"], "what is gone isn't found"
