"""Markdown as HTML: nothing but our own elements, whatever is written; the same in pieces; in bounded time."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.page.highlight import LANGUAGES, highlighted
from runner.page.markdown import rendered

ELEMENTS = frozenset(
    "a blockquote br button code div em h3 h4 h5 h6 hr li ol p pre s span strong table tbody td th thead tr ul".split()
)
ATTRIBUTES = frozenset("aria-label class href rel role start tabindex target title type".split())
PIECES = (
    "# Title\n",
    "words\n",
    "more *words*",
    " ",
    "\n",
    "\n\n",
    "- item\n",
    "  - inner\n",
    "1. one\n",
    "* * *\n",
    "---\n",
    "> said\n",
    "```py\nx = 1\n```\n",
    "```",
    "~~~\n",
    "    code\n",
    "a | b\n",
    "--|--\n",
    "1 | 2\n",
    "#",
    "===\n",
    "\\",
    "**bold",
    "`",
    "[x](http://a)",
    "![y](http://b)",
    "<b>",
    "- [ ] task\n",
    "\t",
    "\r\n",
    "\r",
    "2) two\n",
    "+",
    "é😀",
    "<!-- ",
    "&amp;",
    "\u2028",
    "\x00",
    "[",
    "](",
    "_",
    "~~",
    "http://c.d\n",
)
texts = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


class Checked(HTMLParser):
    """Every element and attribute of a text; raises AssertionError for one that isn't ours."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS, tag
        given = dict(attrs)
        assert given.keys() <= ATTRIBUTES, (tag, attrs)
        if "href" in given:
            assert tag == "a"
            assert str(given["href"]).lower().startswith(("http://", "https://", "mailto:")), given
            assert given["rel"] == "noopener noreferrer"
            assert given["target"] == "_blank"

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def html(text: str) -> str:
    made = rendered(text, final=True)
    assert (made.settled, made.rest) == (len(text.encode("utf-16-le")) // 2, "")
    return made.html


@given(texts)
def test_only_our_own_elements_come_out(text: str) -> None:
    Checked(html(text))


@given(st.text(alphabet="<>\"'&;:/()[]!`*_~|-#=\\ \nabjscriptonhref", max_size=200))
def test_only_our_own_elements_come_out_of_noise(text: str) -> None:
    Checked(html(text))


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java&#115;cript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](vbscript:x)",
        "[x](/api/delete)",
        "[x](//evil.example)",
        "[x](file:///etc/passwd)",
        "<javascript:alert(1)>",
        "![x](javascript:alert(1))",
        "[x]: javascript:alert(1)\n\n[x]",
        '[x](http://a "t\\" onclick=\\"alert(1)")',
        '```"><script>\nx\n```',
        '```py" onclick="x\n<b>\n```',
    ],
)
def test_what_would_run_is_text(text: str) -> None:
    made = html(text)
    Checked(made)
    assert "href" not in made or 'href="http://a"' in made


def test_the_usual_things() -> None:
    made = html(
        "# A\n\n[l](https://x.y/?a=1&b=2) **b** ~~s~~\n\n- [ ] open\n- [x] shut\n\n"
        "|a|b|\n|-:|:-:|\n|1|2|\n\n```py\nx = 'a'\n```"
    )
    assert "<h3>A</h3>" in made
    assert 'href="https://x.y/?a=1&amp;b=2"' in made
    assert "<strong>b</strong> <s>s</s>" in made
    assert '<span role="img" aria-label="to do">' in made
    assert '<span role="img" aria-label="done">' in made
    assert '<td class="right">1</td>' in made
    assert '<th class="center">b</th>' in made
    assert "style" not in made
    assert '<span class="s1">' in made
    assert made.count('class="copy"') == 1


def test_a_picture_is_a_link() -> None:
    made = html("![a <b>](https://x.y/z.png)")
    assert "<img" not in made
    assert '<a class="image" href="https://x.y/z.png"' in made
    assert "a &lt;b&gt;</a>" in made


@given(texts, st.data())
def test_in_pieces_it_is_the_same_as_whole(text: str, data: st.DataObject) -> None:
    """As the page does it: only what follows the settled part is sent again."""
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    shown, settled = "", 0
    for end in [*cuts, len(text)]:
        rest = text[:end].encode("utf-16-le")[2 * settled :].decode("utf-16-le")
        part = rendered(rest, final=False)
        shown += part.html
        settled += part.settled
        last = part.rest
    assert shown + last == html(text)


def test_a_growing_answer_settles() -> None:
    text = "One.\n\nTwo.\n\n```py\nx = 1\n"
    part = rendered(text, final=False)
    assert text[: part.settled] == "One.\n\nTwo.\n\n"
    assert part.html == "<p>One.</p>\n<p>Two.</p>\n"
    assert "x" in part.rest


HOSTILE = {
    "brackets": "[",
    "pictures": "![",
    "links": "[a](",
    "stars": "*a **a ",
    "marks": "_a __",
    "ticks": "`a``",
    "quotes": "> ",
    "lists": "- ",
    "mixed": "> - ",
    "entities": "&#",
    "tables": "|",
    "strikes": "~~a",
    "angles": "<",
    "nests": "1. > * ",
    "fences": "```\n",
    "lines": "a\n",
    "definitions": "[a]: <b>\n",
    "escapes": "\\",
    "tags": "<a ",
    "mail": "a@",
    "cells": "|-|\n",
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_given_up_in_time(unit: str) -> None:
    """The bound is far above what it should take, and far below what a pattern without one takes."""
    text = (unit * 250_000)[:250_000]
    began = time.monotonic()
    made = rendered(text, final=True, patience=0.5)
    assert time.monotonic() - began < 10
    Checked(made.html)


def test_what_takes_too_long_is_shown_as_it_was_written() -> None:
    made = rendered("*a* <b>", final=True, patience=-1.0)
    assert made.plain
    assert made.html == '<p class="plain">*a* &lt;b&gt;</p>\n'
    growing = rendered("*a*\n\nb\n", final=False, patience=-1.0)
    assert (growing.settled, growing.html) == (0, "")


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_code_keeps_its_words(language: str) -> None:
    code = 'def f(x):\n    return "<&>" // 2 # é\n\tif x { y = \'\\\\\' }\n<p class="a">&amp;</p>\n'
    checked = Checked("<p>" + highlighted(code, language, time.monotonic() + 60) + "</p>")
    assert "".join(checked.words) == code


def test_long_code_has_no_colours() -> None:
    later = time.monotonic() + 60
    assert "<span" in highlighted("x = 1\n", "python", later)
    assert "<span" not in highlighted("x = 1\n" * 10_000, "python", later)
    assert "<span" not in highlighted("x = 1;" * 1_000, "python", later)
    assert "<span" not in highlighted("x = 1\n", "brainfuck", later)
    assert highlighted("x = '1'\n", "python", time.monotonic() - 1) == "x = &#x27;1&#x27;\n"
