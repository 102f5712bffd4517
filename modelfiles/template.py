"""Which language a TEMPLATE is written in: Ollama's (Go's) or Jinja. Found by looking; nothing is run."""

from __future__ import annotations

import re

# What only Go's template language writes inside its braces: fields from a dot, and statements without Jinja's {% %}.
_GO = re.compile(r"\{\{-?\s*(?:/\*|\$|\.[A-Za-z]|(?:if|else|end|range|with|define|template|block|break|continue)\b)")
_GO_CALL = re.compile(r"\{\{-?\s*(?:json|currentDate|yesterdayDate|printf?|len|index)\s+[.$\"`]")


def is_go_template(template: str) -> bool:
    """Whether a TEMPLATE is in Ollama's (Go's) language rather than in Jinja."""
    return "{%" not in template and bool(_GO.search(template) or _GO_CALL.search(template))
