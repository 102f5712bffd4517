"""Copying in words: "Repeat: …" and its kin, the bridge from bare sequences to tool arguments.

Every answer stands in the question. Knows nothing of Runner.
"""

from __future__ import annotations

import json
import random
from typing import Any

from modelfiles.demo.train import words
from modelfiles.demo.train.dialogue import Dialogue, Turn
from modelfiles.demo.train.tools import STRINGS


def _value(rng: random.Random) -> str:
    return str(rng.choice(STRINGS)(rng))


def _fields(rng: random.Random, most: int) -> dict[str, Any]:
    count = rng.randint(1, most)
    return {words.noun(rng): (words.integer(rng) if rng.random() < 0.3 else _value(rng)) for _ in range(count)}


def _repeat(rng: random.Random) -> tuple[str, str]:
    text = " ".join(_value(rng) for _ in range(rng.randint(1, 5)))
    return rng.choice(("Repeat: ", "Say: ", "Repeat after me: ", "Echo ", "Copy: ", "Say ", "Repeat ", "Write: ")) + text, text


def _listed(rng: random.Random) -> tuple[str, str]:
    values = [_value(rng) for _ in range(rng.randint(1, 5))]
    return rng.choice(("JSON list of: ", "As a JSON list: ", "List: ")) + ", ".join(values), json.dumps(values, ensure_ascii=False)


def _object(rng: random.Random) -> tuple[str, str]:
    fields = _fields(rng, 4)
    told = ", ".join(f"{key} {value}" for key, value in fields.items())
    return rng.choice(("JSON object of: ", "As JSON: ", "JSON: ")) + told, json.dumps(fields, ensure_ascii=False)


def _looked_up(rng: random.Random) -> tuple[str, str]:
    fields = _fields(rng, 6)
    key = rng.choice(list(fields))
    told = rng.choice((json.dumps(fields, ensure_ascii=False), ", ".join(f"{k}: {v}" for k, v in fields.items())))
    return f"{told}\n{rng.choice(('What is the', 'Tell me the', 'The'))} {key}?", f"The {key} is {fields[key]}."


def spoken(rng: random.Random) -> Dialogue:
    """One exercise."""
    asked, answer = rng.choice((_repeat, _listed, _object, _looked_up))(rng)
    return Dialogue((Turn("user", asked), Turn("assistant", answer)), "spoken copy")
