"""What the source archive holds: all that its own README names, and what an image is built from."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of the archive, as they lie in the project."""
    folder = tmp_path_factory.mktemp("sdist")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    [path] = folder.glob("runner-*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_holds_the_files_at_the_top(names: set[str]) -> None:
    wanted = {path.name for path in ROOT.glob("*.md")} | {"LICENSE", "pyproject.toml", ".dockerignore"}
    assert {"CONTRIBUTING.md", "SECURITY.md"} <= wanted
    assert wanted - names == set()


def test_holds_what_the_readme_links_to(names: set[str]) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    assert {link for link in links if link not in names and (ROOT / link).is_file()} == set()
