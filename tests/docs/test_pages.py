"""The pages as a whole: links lead somewhere, generated ones are fresh, and the site builds without a warning."""

from __future__ import annotations

import html
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, is_foreign, pages, read, target
from tests.docs.pictures import SESSION

DOCS = ROOT / "docs"
GENERATED = {
    "cli.md": "runner.cli.reference",
    "fields.md": "runner.api.reference",
    "parameters.md": "modelfiles.reference",
    "settings.md": "runner.config.reference",
}


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")
    made = importlib.import_module(GENERATED[name]).page()
    assert written == made, f"python -m {GENERATED[name]} > docs/{name}"


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    lost = []
    for link, line in read(path).links:
        if is_foreign(link):
            continue
        file, anchor = target(path, link)
        if not file.exists():
            lost.append(f"line {line}: {link}: there is no such file")
        elif anchor and anchor not in read(file).anchors:
            lost.append(f"line {line}: {link}: there is no such heading")
    assert not lost, "\n".join(lost)


def test_no_words_are_taken_for_tags() -> None:
    """`<NAME>` outside of backticks would vanish."""
    meant = {"<sup>", "</sup>", "<br>", "<kbd>", "</kbd>"}
    lost = {str(path.relative_to(ROOT)): found for path in pages() if (found := set(read(path).tags) - meant)}
    assert lost == {}


def test_no_page_links_to_the_network_but_in_words() -> None:
    """Pictures and scripts come from the repository, so the pages are whole without a network."""
    loaded = re.compile(r"!\[[^\]]*\]\(https?:|<(?:img|script|link|iframe)[^>]+(?:src|href)=\"https?:")
    assert [path.name for path in pages() if loaded.search(path.read_text(encoding="utf-8"))] == []


def test_every_picture_is_shown_and_small() -> None:
    shown = "\n".join(path.read_text(encoding="utf-8") for path in pages())
    pictures = [path for path in (DOCS / "images").iterdir() if path.suffix in (".png", ".svg")]
    assert [path.name for path in pictures if f"images/{path.name})" not in shown] == []
    assert [path.name for path in pictures if path.stat().st_size > 150_000] == []


def test_the_terminal_in_the_readme_is_the_one_that_its_script_draws() -> None:
    text = (DOCS / "images" / "terminal.txt").read_text(encoding="utf-8")
    shown = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    assert shown == [command for command, _ in SESSION], "python -m tests.docs.pictures"
    for typed in (each for _, lines in SESSION for each in lines):
        assert typed in text
    picture = (DOCS / "images" / "terminal.svg").read_text(encoding="utf-8")
    assert "url(http" not in picture, "a picture loads no fonts"
    drawn = html.unescape(re.sub(r"<[^>]+>", "", picture)).replace("\xa0", " ")
    assert [command for command, _ in SESSION if command not in drawn] == []


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "--keep-going", "-d", tmp_path / "trees", DOCS, site],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    foreign = re.compile(
        r"<(?:img|script|iframe)[^>]+src=\"https?:|<link[^>]+href=\"https?:|url\(['\"]?https?:|@import"
    )
    loading = [
        str(path.relative_to(site))
        for path in (*site.rglob("*.html"), *site.rglob("*.css"))
        if foreign.search(path.read_text(encoding="utf-8"))
    ]
    assert loading == []
