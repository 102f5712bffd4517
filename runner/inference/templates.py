"""Which chat template a model uses, and why: decided here, once, from what the store and the header say.

The first that there is:
1. a Modelfile's TEMPLATE, Jinja or Go: whoever wrote one wants it, and Ollama obeys it as well;
2. the GGUF's own template (Jinja), or else its named one, `default`; beside it, for requests that offer tools, its
   `tool_use`;
3. the template of the family that the GGUF's vocabulary and name tell;
4. none: the model gets one user message as plain text.

A request may bring a template of its own, which goes before all of these. A TEMPLATE that fails is told, and nothing
else is used in its place. Pure: no template is run here, that is the worker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeAlias

from modelfiles.template import is_go_template
from registry.gguf.facts import Facts
from runner.inference.families import family_of

Source: TypeAlias = Literal["modelfile", "gguf", "family", "none"]
Language: TypeAlias = Literal["jinja", "go"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The template that won. `is_own` says that it is the one that the engine finds in the GGUF by itself; `for_tools`
    is the other one that the GGUF has for requests with tools."""

    source: Source
    why: str
    text: str | None = None
    language: Language | None = None
    is_own: bool = False
    for_tools: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of its text in hex digits; empty where there is none."""
        return sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest() if self.text else ""


def choose(modelfile: str | None, facts: Facts) -> Choice:
    """The template of a model with this TEMPLATE in its Modelfile, if any, and this header."""
    if modelfile and modelfile.strip():
        is_go = is_go_template(modelfile)
        named = "Go's, as in Ollama" if is_go else "Jinja"
        return Choice("modelfile", f"the Modelfile's TEMPLATE ({named})", modelfile, "go" if is_go else "jinja")
    named_ones = facts.chat_templates
    own = facts.chat_template or named_ones.get("default")
    if own:
        for_tools = named_ones.get("tool_use") if facts.chat_template else None
        why = "the GGUF's chat template (Jinja)"
        if for_tools:
            why += "; requests with tools use the one that it calls tool_use"
        return Choice("gguf", why, own, "jinja", is_own=bool(facts.chat_template), for_tools=for_tools)
    family = family_of(facts)
    if family is not None:
        why = f"neither Modelfile nor GGUF has one, and the GGUF looks like a model of the family {family.name}"
        return Choice("family", why, family.template, "jinja")
    return Choice("none", "neither Modelfile nor GGUF has one, and the GGUF looks like no known family's model")
