"""Markdown as HTML that a page may take in as it is: no raw HTML, no address but http, https and mailto, no styles.

`rendered` says how far a text that still grows is settled, so whoever streams sends only the rest again. Knows no HTTP.
Loads markdown-it and Pygments when it is imported: import it on use.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from runner.page.highlight import TooSlow, highlighted

_NEWLINE = re.compile(r"\r\n?|\n")
_LINK = re.compile(r"(?:https?://|mailto:)[^\x00-\x20]", re.IGNORECASE)
_TASK = re.compile(r"\[([ xX])\]\s")
_LANGUAGE = re.compile(r"[A-Za-z0-9_+#.-]{1,30}")
_DEADLINE = "deadline"  # in a rendering's environment: the time by `time.monotonic` at which it is given up
_PATIENCE = 1.0  # seconds that a text may take; an ordinary answer takes a few hundredths


@dataclass(frozen=True, slots=True)
class Rendered:
    """`settled` UTF-16 units of the text can't come out differently whatever follows: `html` is their HTML, and `rest`
    that of what comes after them. `plain`: it took too long, and is shown as it was written."""

    settled: int
    html: str
    rest: str
    plain: bool = False


def rendered(text: str, *, final: bool, patience: float = _PATIENCE) -> Rendered:
    """A text, or its beginning. With `final` nothing follows, and all of it stands in `html`.

    Takes at most about `patience` seconds, whatever the text. Definitions of links count within one call only.
    """
    env: dict[str, Any] = {_DEADLINE: time.monotonic() + patience}
    try:
        tokens = _MARKDOWN.parse(text, env)
        if final:
            return Rendered(_units(text), _html(tokens, env), "")
        first, at = _border(tokens, text)
        return Rendered(_units(text[:at]), _html(tokens[:first], env), _html(tokens[first:], env))
    except (TooSlow, RecursionError):
        plain = f'<p class="plain">{escape(text)}</p>\n'
        return Rendered(_units(text), plain, "", True) if final else Rendered(0, "", plain, True)


def _html(tokens: Sequence[Token], env: MutableMapping[str, Any]) -> str:
    return str(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, env))


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _border(tokens: Sequence[Token], text: str) -> tuple[int, int]:
    """The last block of which a whole line stands there: its first token, and where in the text it begins.

    A line that isn't complete may still turn out to belong to the block before it, so it doesn't end that one.
    """
    ends = [found.end() for found in _NEWLINE.finditer(text)]
    if text.endswith("\r"):
        ends.pop()  # a line feed may follow
    starts = [0, *ends]
    for index in range(len(tokens) - 1, -1, -1):
        token = tokens[index]
        if token.level == 0 and token.nesting >= 0 and token.map is not None and token.map[0] < len(ends):
            return index, starts[token.map[0]]
    return 0, 0


def _in_time(env: Mapping[str, Any]) -> None:
    if time.monotonic() > env[_DEADLINE]:
        raise TooSlow


def _block_in_time(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    _in_time(state.env)
    return False


def _inline_in_time(state: StateInline, silent: bool) -> bool:
    _in_time(state.env)
    return False


def _tasks(state: StateCore) -> None:
    """`[ ]` and `[x]` at the beginning of a list's item, as signs with a name."""
    for opener, paragraph, inline in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if (opener.type, paragraph.type, inline.type) != ("list_item_open", "paragraph_open", "inline"):
            continue
        first = next(iter(inline.children or ()), None)
        found = _TASK.match(first.content) if first is not None and first.type == "text" else None
        if first is not None and found is not None:
            opener.attrJoin("class", "task")
            first.content = first.content[found.end() :]
            inline.children = [Token("task", "", 0, info=found[1].strip().lower()), *(inline.children or ())]


_Rule = Callable[[RendererHTML, Sequence[Token], int, Any, MutableMapping[str, Any]], str]


def _heading(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """Two levels below what is written: the page and its view have the first two."""
    token = tokens[at]
    level = min(int(token.tag[1]) + 2, 6)
    return f"<h{level}>" if token.nesting == 1 else f"</h{level}>\n"


def _link(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    href, title = tokens[at].attrGet("href"), tokens[at].attrGet("title")
    named = f' title="{escape(str(title))}"' if title else ""
    return f'<a href="{escape(str(href))}"{named} target="_blank" rel="noopener noreferrer">'


def _image(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """A link to it: a picture that is fetched tells its server who reads what."""
    token = tokens[at]
    words = escape(self.renderInlineAsText(token.children, options, env) or "image")
    source = escape(str(token.attrGet("src")))
    return f'<a class="image" href="{source}" target="_blank" rel="noopener noreferrer">{words}</a>'


def _cell(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """A cell whose side is a class: the page takes no styles from a text."""
    token = tokens[at]
    side = str(token.attrGet("style") or "").removeprefix("text-align:")
    return f'<{token.tag} class="{side}">' if side in ("left", "right", "center") else f"<{token.tag}>"


def _table(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return '<div class="table" tabindex="0" role="region" aria-label="Table"><table>\n'


def _table_end(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return "</table></div>\n"


def _task(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    done = tokens[at].info == "x"
    return f'<span role="img" aria-label="{"done" if done else "to do"}">{"☑" if done else "☐"}</span> '


def _code(self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """A block of code with its language and a button; the button's work is the page's."""
    token = tokens[at]
    word = token.info.strip().partition(" ")[0]
    language = word if _LANGUAGE.fullmatch(word) else ""
    inner = highlighted(token.content, language, env[_DEADLINE])
    name = escape(language or "text")
    return (
        f'<div class="code"><div class="code-head"><span>{name}</span>'
        f'<button type="button" class="copy" aria-label="Copy code">Copy</button></div>'
        f'<pre tabindex="0" role="region" aria-label="Code, {name}"><code>{inner}</code></pre></div>\n'
    )


_RULES: Mapping[str, _Rule] = {
    "heading_open": _heading,
    "heading_close": _heading,
    "link_open": _link,
    "image": _image,
    "th_open": _cell,
    "td_open": _cell,
    "table_open": _table,
    "table_close": _table_end,
    "task": _task,
    "fence": _code,
    "code_block": _code,
}


def _made() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])
    made.validateLink = lambda url: _LINK.match(url) is not None  # type: ignore[method-assign]
    made.block.ruler.before("table", "in_time", _block_in_time, {"alt": ["paragraph", "blockquote", "list"]})
    made.inline.ruler.before("text", "in_time", _inline_in_time)
    made.core.ruler.push("tasks", _tasks)
    for name, rule in _RULES.items():
        made.add_render_rule(name, rule)
    return made


_MARKDOWN = _made()
