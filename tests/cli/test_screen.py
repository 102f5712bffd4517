"""An answer on a screen: whatever pieces it comes in, the person sees what they would see of the whole."""

import io
import random
import sys
from collections.abc import Sequence
from itertools import islice

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.screen import live
from runner.cli.screen.blocks import Block, Blocks
from runner.cli.screen.markdown import Drawing
from runner.cli.screen.rows import BLANK, Row, Screen, lines, wrapped
from runner.cli.screen.thinking import Thought

ANSWER = """\
# Title

Some **bold** text with `code`, a [link](http://example.com) and <b>tags</b>.
A second line.

1. one
2. two
   - inner

   more of two

   ```sh
   ls

   cd
   ```

3. three

```python
def f(x):
    \"\"\"Words

    and words.\"\"\"
    return x
```
| a | b |
|---|---|
| 1 | 2 |

Heading
-------

> said

* * *

~~~
open to the end
"""


def cut(text: str, sizes: Sequence[int]) -> list[Block]:
    blocks, found, at = Blocks(), [], 0
    for size in sizes:
        found += blocks.feed(text[at : at + size])
        at += size
    return [*found, *blocks.feed(text[at:]), *blocks.end()]


def test_where_blocks_end() -> None:
    found = [(block.kind, block.source, block.gap) for block in cut(ANSWER, [])]
    assert found == [
        ("text", "# Title", False),
        ("text", ANSWER[9 : ANSWER.index("\n\n1.")], True),
        ("text", "1. one", True),
        ("text", "2. two\n   - inner\n\n   more of two\n\n   ```sh\n   ls\n\n   cd\n   ```", False),
        ("text", "3. three", True),
        ("fence", "```python", True),
        *(("code", line, False) for line in ("def f(x):", '    """Words', "", '    and words."""', "    return x")),
        ("end", "```", False),
        ("text", "| a | b |\n|---|---|\n| 1 | 2 |", True),
        ("text", "Heading\n-------", True),
        ("text", "> said", True),
        ("text", "* * *", True),
        ("fence", "~~~", True),
        ("code", "open to the end", False),
        ("end", "", False),
    ]


@given(st.lists(st.integers(1, 40), max_size=60))
def test_blocks_dont_depend_on_the_pieces(sizes: list[int]) -> None:
    assert cut(ANSWER, sizes) == cut(ANSWER, [])


@given(st.text(st.sampled_from("a `~#-*1.>|\n "), max_size=200))
def test_no_text_is_lost(text: str) -> None:
    kept = "".join(block.source for block in cut(text, []))
    assert sorted("".join(kept.split())) == sorted("".join(text.split()))


def test_an_endless_line_is_cut() -> None:
    blocks = Blocks()
    for _ in range(3_000):
        blocks.feed("word ")
        assert len(blocks.open.source) <= 4_010


def looks(screen: pyte.HistoryScreen) -> list[str]:
    rows = [*screen.history.top, *(screen.buffer[line] for line in range(screen.lines))]
    shown = ["".join(row[column].data for column in range(screen.columns)).rstrip() for row in rows]
    while shown and not shown[-1]:
        shown.pop()
    return shown


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (24, 7), (11, 3)])
def test_painting_in_pieces_shows_the_same(columns: int, lines: int) -> None:
    """Rows are finished and changed at random; above the open ones nothing is ever touched."""
    chance = random.Random(7)
    for _ in range(60):
        terminal = pyte.HistoryScreen(columns, lines, history=10_000)
        stream = pyte.Stream(terminal)
        screen = Screen(stream.feed)
        done: list[Row] = []
        for _ in range(20):
            finished = [row for _ in range(chance.randrange(3)) for row in wrapped(words(chance), columns)]
            still_open = wrapped(words(chance), columns, dim=chance.random() < 0.5)[: max(1, lines - 1)]
            screen.paint(finished, still_open, (columns, lines))
            done += finished
            seen = [plain(row) for row in (*done, *still_open)]
            while seen and not seen[-1]:
                seen.pop()
            assert looks(terminal) == seen


def words(chance: random.Random) -> str:
    return " ".join(chance.choice(("a", "word", "日本語", "x" * 30)) for _ in range(chance.randrange(12)))


def plain(row: Row) -> str:
    return row.text.removeprefix("\x1b[2m").removesuffix("\x1b[0m")


def test_a_row_that_only_grows_is_only_appended_to() -> None:
    written = io.StringIO()
    screen = Screen(written.write)
    for text in ("Type", "Type runner", "Type runner pull."):
        screen.paint([], wrapped(text, 80), (80, 24))
    screen.paint(wrapped("Type runner pull.", 80), [], (80, 24))
    assert written.getvalue() == "Type runner pull.\r\n"


def test_a_narrower_window_breaks_the_open_rows_and_they_are_painted_over() -> None:
    written = io.StringIO()
    screen = Screen(written.write)
    screen.paint([], [Row("x" * 70, 70), Row("y" * 10, 10)], (80, 24))
    written.truncate(0)
    screen.paint([], [Row("z", 1)], (30, 24))
    assert "\x1b[3A" in written.getvalue()  # the first takes three lines now


def shown(rows: Sequence[Row]) -> list[str]:
    terminal = pyte.Screen(60, 40)
    Screen(pyte.Stream(terminal).feed).paint(rows, [], (60, 40))
    return [line.rstrip() for line in terminal.display]


def test_strangers_control_nothing() -> None:
    drawing = Drawing()
    bad = "a &#x1b;[31m &#13; &#x9b;1m [x](http://x/\x1b]8;;) &Tab; end"
    [row] = drawing.text(bad, 100)
    assert "\x1b[31m" not in row.text
    assert "\x1b]" not in row.text
    assert "\r" not in row.text
    assert "\x9b" not in row.text


def test_html_and_references_are_text() -> None:
    rows = Drawing().text("<div>\nhi <b>x</b>\n</div>\n[1]: http://example.com", 60)
    assert [row.text.rstrip() for row in rows] == ["<div>", "hi <b>x</b>", "</div>", "[1]: http://example.com"]


def test_code_keeps_its_lines_and_its_colours() -> None:
    drawing = Drawing()
    drawing.fence("```python", 60)
    first = drawing.code(['x = """'], 60)
    inside = drawing.code(["return"], 60)
    drawing.code(['"""'], 60)
    word = drawing.code(["return"], 60)
    assert shown([*first, *inside, *word])[:3] == ['x = """', "return", "return"]
    assert inside != word  # within a text it is no keyword


def test_a_long_line_of_code_is_one_line_for_whoever_copies_it() -> None:
    drawing = Drawing()
    drawing.fence("```", 60)
    rows = drawing.code(["x " * 50], 60)
    assert [row.soft for row in rows] == [True, False]
    assert shown(rows)[:2] == [("x " * 30).rstrip(), ("x " * 20).rstrip()]


@given(st.text(max_size=80))
def test_anything_can_be_drawn(text: str) -> None:
    from runner.cli.output import printable

    for row in Drawing().text(printable(text), 20):
        assert row.cells <= 20 or "\t" in text or row.text


def test_a_folded_thought_is_one_line() -> None:
    thought = Thought("fold", " (Ctrl-T shows it)")
    assert thought.feed("one\ntwo", 3, 80) == []
    assert [row.text for row in thought.open(80)] == ["\x1b[2mThinking... 0 s, 3 tokens\x1b[0m"]
    summary, blank = thought.end(80)
    assert "Thought for 0.0 s, 3 tokens (Ctrl-T shows it)" in summary.text
    assert blank == BLANK
    hidden = Thought("hide", "")
    assert (hidden.feed("one", 1, 80), hidden.is_open, hidden.end(80)) == ([], False, [])


def test_a_wide_character_where_one_cell_is_all_there_is() -> None:
    assert list(islice(lines("a漢字 b", 1), 10)) == ["a", "漢", "字", "b"]


def test_a_piece_that_comes_while_the_screen_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece is made printable while the painter takes what came before it."""
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    screen = live.Live()
    screen.end()  # its painter rests; this thread paints in its stead
    paint = screen._paint

    def slowly(text: str) -> str:
        paint()
        return text

    monkeypatch.setattr(live, "printable", slowly)
    screen.answer("first ")
    screen.answer("second")
    paint(last=True)
    assert "first second" in shown.getvalue()
