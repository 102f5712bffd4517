"""What a model can do, found by looking at its header and its template's text; neither is ever run.

A bounded scan for words, so a stranger's template costs nothing and does nothing. Knows no request and no
engine: whether an ability works is shown by using it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from modelfiles.template import is_go_template
from registry.gguf.architectures import ENCODERS
from registry.gguf.facts import Facts
from registry.manifest import CAPABILITIES

SCAN_LIMIT = 256 << 10
"""Characters of a template that are looked at; the header's check allows no longer ones."""

_JINJA = {"{{": "}}", "{%": "%}", "{#": "#}"}
_GO = {"{{": "}}"}
_OPENING = re.compile(r"\{[{%#]")
_TOOLS = re.compile(r"\btools\b")
_THINKING_WORD = re.compile(r"\b(?:enable_thinking|thinking|reasoning_content|reasoning_effort|think)\b")
# Marks that reasoning is framed with, across families.
_THINKING_MARKS = (
    "<think>", "</think>", "<|channel|>analysis", "[THINK]", "<|START_THINKING|>", "<seed:think>",
    "<|think|>", "<thinking>", "<reasoning>", "/no_think", "/think",
)  # fmt: skip


def abilities(facts: Facts, template: str | None = None, projector: Facts | None = None) -> tuple[str, ...]:
    """The capabilities of a model, in the order of CAPABILITIES.

    `template` is a Modelfile's TEMPLATE, which takes the place of the header's; `projector` the facts of its
    vision projector.
    """
    found: set[str] = set()
    if facts.pooling == "rank":
        found.add("rerank")
    elif facts.pooling not in ("", "none") or facts.architecture in ENCODERS or not facts.causal:
        found.add("embedding")
    else:
        found.add("completion")
    if "completion" in found:
        if template is None:
            found |= _of_jinja(facts.chat_template) | _of_jinja(facts.chat_templates.get("tool_use", ""))
        else:
            found |= _of_go(template) if is_go_template(template) else _of_jinja(template)
        if facts.infill:
            found.add("insert")
    if projector is not None and (projector.vision or not projector.audio):
        found.add("vision")
    return tuple(each for each in CAPABILITIES if each in found)


def _of_jinja(template: str) -> set[str]:
    found = set()
    code, text = _split(template[:SCAN_LIMIT], _JINJA)
    if _TOOLS.search(code):
        found.add("tools")
    if _THINKING_WORD.search(code) or any(mark in code or mark in text for mark in _THINKING_MARKS):
        found.add("thinking")
    return found


def _of_go(template: str) -> set[str]:
    code, _ = _split(template[:SCAN_LIMIT], _GO)
    words = {"tools": ".Tools", "thinking": ".Think", "insert": ".Suffix"}
    return {ability for ability, word in words.items() if word in code}


def _split(template: str, tags: Mapping[str, str]) -> tuple[str, str]:
    """A template's code and its text, comments left out. Goes over it once, whatever is in it."""
    code: list[str] = []
    text: list[str] = []
    at = 0
    while opening := _OPENING.search(template, at):
        text.append(template[at : opening.start()])
        closing = tags.get(opening[0])
        if closing is None:
            text.append(opening[0])
            at = opening.end()
            continue
        end = template.find(closing, opening.end())
        if end < 0:  # what follows is never closed: no template engine takes it
            return " ".join(code), "".join(text)
        if opening[0] != "{#":
            code.append(template[opening.end() : end])
        at = end + len(closing)
    text.append(template[at:])
    return " ".join(code), "".join(text)
