"""Prompts of a wanted length: random words, and how many of them a server counts as how many tokens.

The same seed gives the same text; no two requests of a run share more than a chance word, so that a prefix cache
has nothing to reuse but what `shared_prefix` gives it on purpose.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from runner.bench.shape import CHAT, Workload

# Short and common: most vocabularies have each as one token, so a count of words is nearly a count of tokens.
_WORDS = """
able air area arm art back ball bank base bed bell best bird black blood blue board boat body bone book box boy bread
bridge build burn bus busy buy cake call camp card care case cat cell chair child city class clean clear clock cloud
club coal coast coat cold cook cool copy corn cost court cover cow crew cross crowd cup dance dark date day deal deep
desk dirt dog door draw dream dress drink drive dry dust earth east edge egg end face fact fair farm field fire fish
flag floor food foot forest free fruit game garden gate girl glass goal gold grass green ground hall hand hat head heart
""".split()

# What is assumed of a server that counts no tokens.
GUESS = 1.3


@dataclass(frozen=True, slots=True)
class Fit:
    """How a server counts: `overhead` tokens of a template, and `per_word` for each word."""

    overhead: float
    per_word: float

    def words(self, tokens: int) -> int:
        """Words that make a prompt of about so many tokens, template included."""
        return max(1, round((tokens - self.overhead) / self.per_word))

    def bare_words(self, tokens: int) -> int:
        """Words that make about so many tokens within a prompt."""
        return max(1, round(tokens / self.per_word))


def fitted(few: tuple[int, int], many: tuple[int, int]) -> Fit:
    """The line through two measurements, each words and the tokens that the server counted for them.

    A server whose counts make no sense (fewer tokens for more words) is taken to count as most do.
    """
    words = many[0] - few[0]
    per_word = (many[1] - few[1]) / words if words > 0 else 0.0
    if per_word < 0.1:  # no tokenizer packs ten random words into one token
        return Fit(0.0, GUESS)
    return Fit(max(0.0, few[1] - per_word * few[0]), per_word)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one request says, and how many tokens it asks for. `prefix` is empty unless the run shares one."""

    prefix: str
    text: str
    output: int


def each_word(rng: random.Random, times: int) -> tuple[int, str]:
    """Every word so many times, in any order, and their count.

    A server that is asked to count this has counted the average word exactly, and not some sample of words.
    """
    words = _WORDS * times
    rng.shuffle(words)
    return len(words), " ".join(words)


def random_words(rng: random.Random, count: int) -> str:
    """So many words, parted by blanks."""
    return " ".join(rng.choices(_WORDS, k=count))


class Writer:
    """Writes the prompts of one run for one server. Two servers that count alike are given the same text."""

    def __init__(self, workload: Workload, fit: Fit, seed: str) -> None:
        self._workload = workload
        self._fit = fit
        self._seed = seed
        self._prefix = ""
        if workload.shared_prefix:
            rng = random.Random(f"{seed}/prefix")
            self._prefix = random_words(rng, fit.bare_words(workload.shared_prefix))

    def prompt(self, turn: str, index: int) -> Prompt:
        """The prompt of request `index` of a turn; another turn asks something else."""
        rng = random.Random(f"{self._seed}/{turn}/{index}")
        tokens = self._workload.input.draw(rng)
        output = self._workload.output.draw(rng)
        return Prompt(self._prefix, random_words(rng, self._fit.words(tokens)), output)


def content(prompt: Prompt, endpoint: str) -> dict[str, object]:
    """The part of a request's body that carries the prompt."""
    if endpoint == CHAT:
        system = [{"role": "system", "content": prompt.prefix}] if prompt.prefix else []
        return {"messages": [*system, {"role": "user", "content": prompt.text}]}
    return {"prompt": f"{prompt.prefix} {prompt.text}" if prompt.prefix else prompt.text}
