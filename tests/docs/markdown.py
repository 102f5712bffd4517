"""A Markdown page as tests see it: its blocks of code, its links, and the anchors that GitHub gives its headings.

Knows nothing of what the blocks mean.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
_FOREIGN = re.compile(r"(?:https?|mailto|oci|ollama):")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code; `language` is `indented` for one without a fence, `line` its first line, from 1."""

    language: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Page:
    """One file of Markdown, read. `tags` are what stands in angle brackets and is no link: HTML, meant or not."""

    path: Path
    blocks: tuple[Block, ...]
    links: tuple[tuple[str, int], ...]
    anchors: frozenset[str]
    tags: tuple[str, ...]


def read(path: Path) -> Page:
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    inside = (child for token in tokens for child in token.children or ())
    tags = tuple(each.content for each in inside if each.type == "html_inline")
    return Page(path, tuple(_blocks(tokens)), tuple(_links(tokens)), frozenset(_anchors(tokens)), tags)


def pages() -> list[Path]:
    """Every page that a reader may be sent to."""
    top = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [*top, ROOT / "modelfiles" / "demo" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def is_foreign(link: str) -> bool:
    return _FOREIGN.match(link) is not None


def target(page: Path, link: str) -> tuple[Path, str]:
    """The file and the anchor that a link on a page means."""
    path, _, anchor = unquote(link).partition("#")
    return ((page.parent / path).resolve() if path else page), anchor


def _blocks(tokens: list[Token]) -> list[Block]:
    return [
        Block(token.info.split()[0] if token.info.strip() else token.type, token.content, (token.map or [0])[0] + 1)
        if token.type == "fence"
        else Block("indented", token.content, (token.map or [0])[0] + 1)
        for token in tokens
        if token.type in ("fence", "code_block")
    ]


def _links(tokens: list[Token]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for token in tokens:
        for child in token.children or ():
            link = child.attrGet("href") if child.type == "link_open" else child.attrGet("src")
            if link is not None:
                found.append((str(link), (token.map or [0])[0] + 1))
        if token.type == "html_block":
            found += [
                (each, (token.map or [0])[0] + 1) for each in re.findall(r'(?:href|src)="([^"]+)"', token.content)
            ]
    return found


def _anchors(tokens: list[Token]) -> list[str]:
    """As GitHub makes them: small letters, blanks to dashes, other signs left out, repeated ones numbered."""
    seen: Counter[str] = Counter()
    found = []
    for opening, inside in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        text = "".join(child.content for child in inside.children or () if child.type in ("text", "code_inline"))
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found
