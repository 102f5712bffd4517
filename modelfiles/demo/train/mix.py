"""Which examples a stage reads and in which shares.

Examples are drawn fresh for the whole of training; a question of the held-out lists never comes through. Knows
nothing of tokens.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from modelfiles.demo.train import elsewhere, extraction, infill, questions, spoken, tools
from modelfiles.demo.train.dialogue import Dialogue, Plain, Turn, pieces
from modelfiles.demo.train.facts import FACTS

Example = Dialogue | Plain
Maker = Callable[[random.Random], Example]

FAMILIES = (
    "spoken copy", "question", "off-topic", "small talk", "tool call", "tool answer", "tools unused", "extraction",
    "infill", "turns", "prose",
)  # fmt: skip
HELD_OUT = Path(__file__).with_name("heldout")


def normalised(text: str) -> str:
    """Letters and digits only, in lower case: what makes two questions the same."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


@cache
def held_out() -> frozenset[str]:
    """Every held-out question and request, normalised."""
    found: set[str] = set()
    for path in sorted(HELD_OUT.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            texts = [row.get("question"), row.get("prompt"), *(m["content"] for m in row.get("messages", ()))]
            found |= {normalised(text) for text in texts if text}
    return frozenset(found)


def conversation(rng: random.Random, most: int = 6) -> Dialogue:
    """Several exchanges in a row, under one system message."""
    turns: list[Turn] = []
    makers: tuple[Callable[[random.Random], Dialogue], ...] = (
        questions.question, questions.question, elsewhere.off_topic, elsewhere.small_talk, extraction.extraction, spoken.spoken,
    )  # fmt: skip
    for _ in range(rng.randint(2, most)):
        part = rng.choice(makers)(rng)
        if part.family == "extraction" and part.system:
            continue
        turns += [Turn(t.role, t.text) for t in part.turns]
    if not turns:
        return questions.question(rng)
    return Dialogue(tuple(turns), "turns", questions.system(rng))


def prose(rng: random.Random) -> Plain:
    """Facts or Python outside the chat format, for completion without a template."""
    if rng.random() < 0.4:
        return Plain(((infill.snippet(rng) + "<|endoftext|>", 1.0),), "prose")
    told = [fact.answer for fact in rng.sample(FACTS, rng.randint(1, 4))]
    return Plain(((" ".join(told) + "<|endoftext|>", 1.0),), "prose")


SHARES: dict[str, tuple[tuple[Maker, float], ...]] = {
    "mix": (
        (questions.question, 10.0), (elsewhere.off_topic, 3.0), (elsewhere.small_talk, 1.0), (tools.tool_use, 1.5),
        (extraction.extraction, 1.8), (infill.infill, 0.8), (conversation, 0.25), (spoken.spoken, 1.5), (prose, 0.1),
    ),
    "skills": (
        (questions.question, 6.0), (elsewhere.off_topic, 2.0), (elsewhere.small_talk, 1.0), (tools.tool_use, 2.2),
        (extraction.extraction, 3.0), (infill.infill, 1.5), (conversation, 0.3), (spoken.spoken, 1.5), (prose, 0.15),
    ),
    "long": (
        (questions.question, 5.0), (elsewhere.off_topic, 2.0), (elsewhere.small_talk, 0.8), (tools.tool_use, 1.2),
        (extraction.extraction, 1.8), (infill.infill, 0.8), (lambda rng: conversation(rng, 30), 0.8), (prose, 0.4),
    ),
}  # fmt: skip
"""How often each kind is drawn. Tool examples are six times as long as questions, so a third of all tokens is theirs."""


def examples(shares: tuple[tuple[Maker, float], ...], rng: random.Random) -> Iterator[Example]:
    """Draws without end; the held-out questions are passed over."""
    makers, weights = [maker for maker, _ in shares], [weight for _, weight in shares]
    secret = held_out()
    while True:
        example = rng.choices(makers, weights)[0](rng)
        asked = [t.text for t in example.turns if t.role == "user"] if isinstance(example, Dialogue) else []
        if not any(normalised(text) in secret for text in asked):
            yield example


def parts(example: Example) -> list[tuple[str, float]]:
    """The example's text in pieces with their weights."""
    return list(example.parts) if isinstance(example, Plain) else pieces(example)
