"""Phrases with choices: `expand(rng, "(pull|fetch) a (new|) model")` picks one of each. Knows no topic."""

from __future__ import annotations

import random
import re

_INNERMOST = re.compile(r"\(([^()]*)\)")


def expand(rng: random.Random, pattern: str) -> str:
    """One sentence of the pattern; brackets may nest, an empty choice leaves nothing, blanks are tidied."""
    while match := _INNERMOST.search(pattern):
        pattern = pattern[: match.start()] + rng.choice(match.group(1).split("|")) + pattern[match.end() :]
    return re.sub(r" +([,.?!:])", r"\1", re.sub(r"  +", " ", pattern)).strip()
