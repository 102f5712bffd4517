"""The documentation as a site: `sphinx-build -W docs FOLDER`. The pages are plain Markdown and read as well without it.

The navigation is index.md's own lists, so there is no second one to keep; a page that isn't in it is a warning.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

project = "Runner"
author = "the Runner project"
extensions = ["myst_parser"]
html_theme = "furo"  # brings its own style, and no fonts or scripts of others
html_title = "Runner"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_permalinks_icon = "#"
myst_heading_anchors = 4  # those that GitHub makes too
# Answers that were shortened with … are no JSON any more, and are shown all the same.
suppress_warnings = ["misc.highlighting_failure"]

DOCS = Path(__file__).parent
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_ENTRY = re.compile(r"^- \[([^\]]+)\]\(([\w/.-]+)\.md\)", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(?:#[\w-]+)?\)")


def setup(app: Sphinx) -> None:
    """Called by Sphinx before it reads a page."""
    app.connect("source-read", _prepare)


def _prepare(app: Sphinx, name: str, source: list[str]) -> None:
    page = (DOCS / name).parent
    text = _LINK.sub(lambda found: _kept(page, found), source[0])
    source[0] = text + _navigation(text) if name == "index" else text


def _kept(page: Path, link: re.Match[str]) -> str:
    """A link out of docs/ becomes its words: what isn't in the site can't be linked to."""
    inside = (page / link[2]).resolve().is_relative_to(DOCS)
    return link[0] if inside else link[1]


def _navigation(index: str) -> str:
    """The trees that Sphinx wants, from the lists below index.md's headings."""
    pieces = _SECTION.split(index)[1:]
    trees = []
    for caption, entries in zip(pieces[::2], pieces[1::2], strict=True):
        pages = "\n".join(f"{title} <{page}>" for title, page in _ENTRY.findall(entries))
        trees.append(f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n")
    return "".join(trees)
