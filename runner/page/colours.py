"""The colours of highlighted code, light and dark, as the style sheet that the page loads.

`python -m runner.page.colours > runner/page/static/code.css` writes it anew; a test holds the file to this table, and
the colours to a contrast that everybody can read. The daemon never imports this.
"""

from __future__ import annotations

from collections.abc import Mapping

from pygments.token import STANDARD_TYPES, Comment, Generic, Keyword, Literal, Name, Operator, String, _TokenType

BACKGROUND = ("#f6f7f9", "#14171c")
"""Behind code: light, dark. `page.css` has the same."""
_PAIRS: Mapping[_TokenType, tuple[str, str]] = {
    Comment: ("#5f6b7a", "#8b97a8"),
    Keyword: ("#7a2aa8", "#c9a2f2"),
    Operator.Word: ("#7a2aa8", "#c9a2f2"),
    Name.Builtin: ("#0b5f8a", "#7cc4ee"),
    Name.Function: ("#0b5f8a", "#7cc4ee"),
    Name.Class: ("#8a4b08", "#f0bf80"),
    Name.Exception: ("#8a4b08", "#f0bf80"),
    Name.Decorator: ("#8a4b08", "#f0bf80"),
    Name.Tag: ("#7a2aa8", "#c9a2f2"),
    Name.Attribute: ("#0b5f8a", "#7cc4ee"),
    Name.Variable: ("#a02a3c", "#f2a0aa"),
    Name.Constant: ("#a02a3c", "#f2a0aa"),
    String: ("#1d6b3a", "#93d6a6"),
    Literal.Number: ("#a33b0b", "#f3b08c"),
    Generic.Inserted: ("#1d6b3a", "#93d6a6"),
    Generic.Deleted: ("#a02a3c", "#f2a0aa"),
    Generic.Heading: ("#0b5f8a", "#7cc4ee"),
    Generic.Subheading: ("#0b5f8a", "#7cc4ee"),
    Generic.Prompt: ("#5f6b7a", "#8b97a8"),
    Generic.Output: ("#4a5564", "#a9b4c2"),
}
_HEAD = "/* Made by `python -m runner.page.colours`: change the table there. */\n"


def sheet() -> str:
    """The whole style sheet."""
    groups: dict[tuple[str, str], list[str]] = {}
    for kind, name in STANDARD_TYPES.items():
        pair = _pair(kind)
        if pair is not None and name:
            groups.setdefault(pair, []).append(name)
    rules = (
        f"{', '.join(f'.code .{name}' for name in sorted(names))} {{ color: light-dark({light}, {dark}); }}\n"
        for (light, dark), names in groups.items()
    )
    return _HEAD + "".join(rules) + ".code .gs { font-weight: 600; }\n.code .ge, .code .c1 { font-style: italic; }\n"


def contrast(one: str, other: str) -> float:
    """Between two colours such as `#ffffff`, as WCAG counts it: 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _pair(kind: _TokenType) -> tuple[str, str] | None:
    while kind not in _PAIRS:
        if kind.parent is None:
            return None
        kind = kind.parent
    return _PAIRS[kind]


if __name__ == "__main__":
    print(sheet(), end="")
