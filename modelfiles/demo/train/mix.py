"""Which examples a stage reads and in which shares; also trains the tokenizer on the same mix.

`python -m modelfiles.demo.train.mix FOLDER` writes FOLDER/tokenizer.json. Examples are drawn fresh for the whole
of training; a question of the held-out lists never comes through.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from modelfiles.demo.train import copying, elsewhere, extraction, infill, questions, spoken, tools
from modelfiles.demo.train.batches import Batch, Encoded, pack
from modelfiles.demo.train.dialogue import Dialogue, Plain, Turn, pieces
from modelfiles.demo.train.facts import FACTS
from modelfiles.demo.train.stages import Stage

Example = Dialogue | Plain
Maker = Callable[[random.Random], Example]

FAMILIES = (
    "repeat", "recall", "spoken copy", "question", "off-topic", "small talk", "tool call", "tool answer", "tools unused", "extraction",
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
    "copying": (
        (spoken.spoken, 4.0), (extraction.extraction, 3.0), (tools.tool_use, 3.0), (questions.question, 2.0), (elsewhere.off_topic, 0.7),
        (infill.infill, 1.5),
    ),
    "mix": (
        (questions.question, 5.0), (elsewhere.off_topic, 1.8), (elsewhere.small_talk, 0.7), (tools.tool_use, 4.0),
        (extraction.extraction, 3.5), (infill.infill, 1.8), (conversation, 0.5), (spoken.spoken, 2.0), (prose, 0.1),
    ),
    "long": (
        (questions.question, 3.5), (elsewhere.off_topic, 2.0), (elsewhere.small_talk, 0.6), (tools.tool_use, 3.5),
        (extraction.extraction, 2.5), (infill.infill, 1.5), (lambda rng: conversation(rng, 24), 0.7), (prose, 0.4),
    ),
}  # fmt: skip


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


def batches(stage: Stage, folder: Path, seed: int) -> Iterator[Batch]:
    """The stage's batches; the same seed gives the same batches."""
    rng = random.Random(seed)
    from modelfiles.demo.train.tokenizer import load

    tokenizer = load(folder)

    def encoded() -> Iterator[Encoded]:
        bare = copying.sequences(rng, 4096, 90)
        for example in examples(SHARES[stage.name], rng):
            if stage.name == "copying" and rng.random() < 0.25:
                yield next(bare)
            ids: list[int] = []
            weights: list[float] = []
            for text, weight in parts(example):
                piece = tokenizer.encode(text, add_special_tokens=False).ids
                ids += piece
                weights += [weight] * len(piece)
            yield Encoded(ids, weights, FAMILIES.index(example.family))

    return pack(encoded(), stage.rows, stage.length, stage.together)


def main() -> None:
    """Train the tokenizer."""
    parser = argparse.ArgumentParser(description="Train the demo model's tokenizer.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    from modelfiles.demo.train.tokenizer import train

    rng = random.Random(20)
    drawn = examples(SHARES["mix"], rng)
    chosen = [next(drawn) for _ in range(40_000)]
    texts = [text for example in chosen for text, _ in parts(example)]
    said = [text for example in chosen for text, weight in parts(example) if weight == 1.0 or not isinstance(example, Plain)]
    train(texts, said).save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    main()
