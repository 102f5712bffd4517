"""Blocks of Markdown as rows of a terminal, by rich; code by Pygments. Imported on use: both take a while.

The text is a stranger's: HTML is shown as it is written, links become text, and no control character gets through.
Colours are the terminal's own sixteen, so that they can be read on dark and on light.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.cells import cell_len, chop_cells
from rich.color import ColorSystem
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.segment import Segment
from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from runner.cli.output import printable
from runner.cli.screen.rows import BLANK, Row

_THEME = Theme(
    {
        "markdown.code": "cyan",
        "markdown.code_block": "none",
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.h4": "bold italic",
        "markdown.block_quote": "dim",
        "markdown.item.bullet": "bold",
        "markdown.item.number": "bold",
        "markdown.link": "none",
        "markdown.link_url": "underline",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
    }
)
_CODE_THEME = "ansi_dark"
_SYSTEMS = {"standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR}
_DIM = Style(dim=True)
_CONTEXT = 80  # finished lines of code that are read again for the colours of the next one
_NARROWEST = 8  # columns; below that there is no drawing


class _Title(Heading):
    """Every heading at the left."""

    LEVEL_ALIGN: ClassVar = {}


class _Code(CodeBlock):
    """Code within a list or a quote: without a ground of its own."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(code, self.lexer_name, theme=_CODE_THEME, word_wrap=True, background_color="default")


class _Answer(Markdown):
    """Markdown as models write it: a line break is meant, HTML is text."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Title,
        "fence": _Code,
        "code_block": _Code,
    }
    _parser: ClassVar = (
        MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable("reference")
    )

    def __init__(self, source: str) -> None:
        super().__init__("", hyperlinks=False)
        self.markup = source
        self.parsed = self._parser.parse(source)
        for token in self.parsed:
            _break_lines(token.children or ())


def _break_lines(tokens: Iterable[Token]) -> None:
    for token in tokens:
        if token.type == "softbreak":
            token.type = "hardbreak"
        _break_lines(token.children or ())


class Drawing:
    """Draws what `Blocks` tells, in its order; remembers the code block it is in."""

    def __init__(self) -> None:
        self._console = Console(file=StringIO(), force_terminal=True, theme=_THEME, highlight=False, emoji=False)
        seen = Console(file=sys.stdout, force_terminal=True).color_system  # what the user's terminal can show
        self._colours = _SYSTEMS.get(seen or "standard", ColorSystem.STANDARD)
        self._language = ""
        self._context: list[str] = []

    def text(self, source: str, width: int) -> list[Row]:
        """Markdown that is no code block."""
        options = self._console.options.update(width=max(width, _NARROWEST), height=None)
        lines = self._console.render_lines(_Answer(source), options, pad=False)
        rows = [self._row(line) for line in lines]
        while rows and not rows[-1].cells:
            rows.pop()
        while rows and not rows[0].cells:
            rows.pop(0)
        return rows

    def fence(self, line: str, width: int) -> list[Row]:
        """The line that opens a code block."""
        self._language = line.strip().lstrip("`~").strip().split(" ")[0].strip("{.}").lower()
        self._context = []
        return self._folded(Text(line.strip(), _DIM), width)

    def close(self, line: str, width: int) -> list[Row]:
        """The line that closes it."""
        self._language, self._context = "", []
        return self._folded(Text(line, _DIM), width) if line else []

    def code(self, lines: Sequence[str], width: int) -> list[Row]:
        """Lines of the code block that are finished."""
        rows = [row for line in self._coloured(lines) for row in self._folded(line, width)]
        self._context = [*self._context, *lines][-_CONTEXT:]
        return rows

    def open_code(self, line: str, width: int) -> list[Row]:
        """The line of the code block that is being written."""
        return self._folded(self._coloured([line])[0], width) if line else []

    def _coloured(self, lines: Sequence[str]) -> list[Text]:
        """Every line with the colours it has behind those that went before."""
        plain = [line.expandtabs(4) for line in lines]
        if not self._language:
            return [Text(line) for line in plain]
        code = "\n".join((*self._context, *plain))
        shown = Syntax("", self._language, theme=_CODE_THEME, background_color="default").highlight(code)
        found = list(shown.split("\n", allow_blank=True))[len(self._context) :][: len(lines)]
        if [line.plain for line in found] != plain:  # a lexer that changed the text
            return [Text(line) for line in plain]
        return found

    def _folded(self, line: Text, width: int) -> list[Row]:
        """A line as rows that the terminal itself joins again, so that code can be copied as it is."""
        if cell_len(line.plain) <= width:
            return [self._row(line.render(self._console))]
        ends, at = [], 0
        for part in chop_cells(line.plain, width)[:-1]:
            at += len(part)
            ends.append(at)
        *full, last = [part.render(self._console) for part in line.divide(ends)]
        soft = [self._row(part, trim=False) for part in full]
        return [*(Row(part.text, max(part.cells, width), soft=True) for part in soft), self._row(last)]

    def _row(self, segments: Iterable[Segment], trim: bool = True) -> Row:
        """Without the blanks at its end, which a narrower window would break into rows of their own."""
        parts = [(printable(each.text).replace("\n", ""), each.style) for each in segments if not each.control]
        while trim and parts and not parts[-1][0].rstrip() and not _is_drawn(parts[-1][1]):
            parts.pop()
        if not parts:
            return BLANK
        if trim and not _is_drawn(parts[-1][1]):
            parts[-1] = (parts[-1][0].rstrip(), parts[-1][1])
        text = "".join(style.render(part, color_system=self._colours) if style else part for part, style in parts)
        return Row(text, sum(cell_len(part) for part, _ in parts))


def _is_drawn(style: Style | None) -> bool:
    """True where even a blank can be seen."""
    return style is not None and bool(
        style.reverse or style.underline or (style.bgcolor and not style.bgcolor.is_default)
    )
