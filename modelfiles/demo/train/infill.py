"""Fill-in-the-middle: Python functions with a piece cut out.

Two in three are small functions from patterns with random names, the rest is the standard library's own source.
"""

from __future__ import annotations

import ast
import keyword
import random
import re
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from modelfiles.demo.train import words
from modelfiles.demo.train.dialogue import Plain

SKIPPED = ("test", "tests", "idlelib", "encodings", "site-packages", "lib2to3", "pydoc_data", "turtledemo", "ensurepip")
PREFIX_WEIGHT = 0.25
"""The text before the gap is learnt too, lightly: it is the only plain Python that the model reads."""

# {f} function, {a} {b} {c} names, {s} a plural, {t} its singular, {C} a class, {n} a number, {w} a word
SNIPPETS = (
    "def {f}({a}, {b}):\n    return {a} (+|-|*|/|//|%|==|<|>|and|or) {b}\n",
    "def {f}({a}, {b}, {c}):\n    return {a} (+|-|*) {b} (+|-|*) {c}\n",
    "def {f}({a}, {b}):\n    {c} = {a} (+|-|*|/) {b}\n    return {c}\n",
    "def {f}({a}):\n    return {a} (+|-|*|/|**|%) {n}\n",
    "def {f}({a}):\n    return {a} % {n} (==|!=) 0\n",
    "def is_{f}({a}):\n    return {a} (==|!=|>|<|>=|<=|% 2 ==) {n}\n",
    "def {f}({a}):\n    print({a})\n", "def {f}({a}, {b}):\n    print({a}, {b})\n", 'def {f}({a}):\n    print("{w}", {a})\n',
    "def {f}({a}, {b}):\n    if {a} (>|<) {b}:\n        return {a}\n    return {b}\n",
    "def {f}({s}):\n    {c} = 0\n    for {t} in {s}:\n        {c} += {t}\n    return {c}\n",
    "def {f}({s}):\n    {c} = 1\n    for {t} in {s}:\n        {c} *= {t}\n    return {c}\n",
    "def {f}({s}):\n    {c} = 0\n    for {t} in {s}:\n        if {t} (>|<|==|!=) {n}:\n            {c} += 1\n    return {c}\n",
    "def {f}({s}):\n    {c} = {s}[0]\n    for {t} in {s}:\n        if {t} (>|<) {c}:\n            {c} = {t}\n    return {c}\n",
    "def {f}({s}):\n    {c} = []\n    for {t} in {s}:\n        {c}.append({t})\n    return {c}\n",
    "def {f}({s}):\n    {c} = []\n    for {t} in {s}:\n        if {t} (>|<|==|!=) {n}:\n            {c}.append({t})\n    return {c}\n",
    "def {f}({s}):\n    return [{t} (+|-|*) {n} for {t} in {s}]\n", "def {f}({s}):\n    return [{t} for {t} in {s} if {t} (>|<|!=|==) {n}]\n",
    "def {f}({s}):\n    return (sum|len|max|min|sorted|list|set)({s})\n", "def {f}({s}):\n    return sum({s}) / len({s})\n",
    "def {f}({s}):\n    if not {s}:\n        return (None|0|[])\n    return {s}[(0|-1)]\n", "def {f}({s}):\n    return {s}[::-1]\n",
    "def {f}({a}):\n    if {a} (<|>|==) {n}:\n        return (True|{n}|None)\n    return (False|{a})\n",
    "def {f}({a}):\n    if {a} is None:\n        raise ValueError(\"{w}\")\n    return {a}\n",
    "def {f}({a}):\n    try:\n        return int({a})\n    except ValueError:\n        return (None|0|{n})\n",
    "try:\n    {a} = (int|float)({b})\nexcept ValueError:\n    {a} = (0|None)\n", "try:\n    {a} = {b}[{c}]\nexcept KeyError:\n    {a} = (0|None)\n",
    "def {f}({a}):\n    while {a} > 0:\n        print({a})\n        {a} -= 1\n",
    "def {f}({a}):\n    with open({a}) as (f|file|handle):\n        return f.read()\n", "with open({a}) as f:\n    {b} = f.(read|readlines)()\nprint({b})\n",
    "with open({a}, \"w\") as f:\n    f.write({b})\n", "import json\n\ndef {f}({a}):\n    return json.(loads|dumps)({a})\n",
    "import os\n\ndef {f}({a}):\n    return os.path.(join|isfile|isdir|basename|exists|getsize)({a})\n", "import os\n\nfor {t} in os.listdir({a}):\n    print({t})\n",
    "import math\n\ndef {f}({a}):\n    return math.(sqrt|floor|ceil|sin|cos|log)({a})\n", "import re\n\ndef {f}({a}):\n    return re.(match|search|findall)({b}, {a})\n",
    "class {C}:\n    def __init__(self, {a}, {b}):\n        self.{a} = {a}\n        self.{b} = {b}\n",
    "class {C}:\n    def __init__(self, {a}):\n        self.{a} = {a}\n\n    def {f}(self):\n        return self.{a}\n",
    "class {C}:\n    def __init__(self, {a}, {b}):\n        self.{a} = {a}\n        self.{b} = {b}\n\n    def {f}(self):\n        return self.{a} (+|-|*) self.{b}\n",
    "class {C}:\n    def __init__(self):\n        self.{s} = []\n\n    def {f}(self, {t}):\n        self.{s}.append({t})\n",
    "{s} = []\nfor {t} in range({n}):\n    {s}.append({t})\nprint({s})\n", "{s} = []\nfor {t} in {a}:\n    {s}.append({t}.{b})\n", "for {t} in {s}:\n    print({t}.{a})\n",
    "{s} = {}\nfor {a}, {b} in {c}.items():\n    {s}[{a}] = {b}\n", "def {f}({a}):\n    return {a}.(upper|lower|strip|split|title)()\n",
    "def {f}({a}, {b}):\n    {a}, {b} = {b}, {a}\n    return {a}, {b}\n", "def {f}({a}):\n    if {a} <= 1:\n        return 1\n    return {a} * {f}({a} - 1)\n",
    "def main():\n    {a} = {f}()\n    print({a})\n\nif __name__ == \"__main__\":\n    main()\n", "def {f}({a}={n}):\n    return {a}\n", "{a} = {n}\n{b} = {a} (+|-|*) {n}\nprint({b})\n",
)  # fmt: skip

COMMON = "x y z n i j k value item data result total text name path line count key index size width height left right start end first second user list1 number word price score".split()


def _name(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.45:
        return rng.choice(COMMON)
    base = _safe(words.noun(rng, 0.15))
    return base if draw < 0.85 else f"{base}_{words.noun(rng, 0.1)}"


def _safe(name: str) -> str:
    """The name, or the name with an underscore where Python keeps it for itself."""
    return name + "_" if keyword.iskeyword(name) else name


def snippet(rng: random.Random) -> str:
    """A small piece of Python with random names."""
    # brackets of the grammar and of Python look alike: only those with a bar are choices
    pattern = rng.choice(SNIPPETS)
    text = re.sub(r"\(([^()\n]*\|[^()\n]*)\)", lambda m: rng.choice(m.group(1).split("|")), pattern)
    single = _safe(words.noun(rng, 0.15))
    slots = {
        "{f}": f"{words.verb(rng, 0.1)}_{words.noun(rng, 0.1)}" if rng.random() < 0.5 else _safe(words.verb(rng, 0.15)),
        "{a}": _name(rng), "{b}": _name(rng), "{c}": rng.choice(("result", "total", "count", "best", _name(rng))), "{s}": single + "s", "{t}": single,
        "{C}": words.noun(rng).capitalize(), "{w}": words.phrase(rng), "{n}": str(rng.choice((0, 1, 2, 3, 10, words.integer(rng)))),
    }  # fmt: skip
    if slots["{a}"] == slots["{b}"]:
        slots["{b}"] += "2"
    for slot, value in slots.items():
        text = text.replace(slot, value)
    return text


@cache
def library(longest: int = 700) -> tuple[str, ...]:
    """Functions of the standard library, each of 60 to `longest` characters, in a fixed order."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, None] = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if any(part in SKIPPED for part in parts) or parts[-1].startswith(("_sysconfigdata", "test_")):
            continue
        try:
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
        except (SyntaxError, UnicodeDecodeError):
            continue
        lines = source.splitlines(keepends=True)
        found |= dict.fromkeys(text for text in _functions(tree, lines) if 60 <= len(text) <= longest and text.isascii())
    return tuple(found)


def _functions(tree: ast.AST, lines: list[str]) -> Iterator[str]:
    """The source of every function, its own indentation taken off."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
            body = lines[node.lineno - 1 : node.end_lineno]
            indent = node.col_offset
            yield "".join(line[indent:] if line[:indent].isspace() or indent == 0 else line for line in body)


def gap(rng: random.Random, source: str) -> tuple[int, int]:
    """Where to cut: the rest of a line, a whole line, a few lines, or a few words."""
    starts = [m.start() for m in re.finditer(r"\S+", source)]
    words_ = list(re.finditer(r"\w+|[^\w\s]+", source))
    shape = rng.random()
    if shape < 0.45:  # from somewhere in a line to its end
        begin = rng.choice(starts[1:] or starts)
        end = source.find("\n", begin)
        return begin, end if end >= 0 else len(source)
    if shape < 0.7:  # whole lines, after the indentation of the first
        ends = [m.end() for m in re.finditer(r"[^\n]+", source)]
        first = rng.randrange(max(1, len(ends) - 1))
        last = min(len(ends) - 1, first + rng.choice((0, 1, 1, 1, 2)))
        begin = source.rfind("\n", 0, ends[first]) + 1
        begin += len(source[begin:]) - len(source[begin:].lstrip(" "))
        return begin, ends[last]
    first = rng.randrange(len(words_))
    last = min(len(words_) - 1, first + rng.randint(0, 6))
    return words_[first].start(), words_[last].end()


def infill(rng: random.Random) -> Plain:
    """One function with a gap, in the order prefix, suffix, middle."""
    source = snippet(rng) if rng.random() < 0.65 else rng.choice(library())
    begin, end = gap(rng, source)
    parts = (
        ("<|fim_prefix|>", 0.0), (source[:begin], PREFIX_WEIGHT), (f"<|fim_suffix|>{source[end:]}<|fim_middle|>", 0.0),
        (source[begin:end] + "<|endoftext|>", 1.0),
    )  # fmt: skip
    return Plain(parts, "infill")
