"""The byte-level BPE tokenizer: how it is trained, and the ids of its special tokens.

One idea beyond the usual: a word has the same tokens wherever it stands. Blanks and punctuation are kept
out of the merges of words, so that ` Berlin` in a sentence and `"Berlin"` in JSON share `Berlin`, and copying
is copying of ids. Only the words that the model itself says most often get a token with the blank in front.
The result splits text as llama.cpp's `qwen2` pre-tokenizer does and is an ordinary BPE.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from modelfiles.demo.train import mix
from modelfiles.demo.train.dialogue import Dialogue

SIZE = 4096
LONGEST = 24
BLANKED = 420
"""How many words get a second token with a blank in front."""

SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>",
    "<think>", "</think>", "<tools>", "</tools>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
)  # fmt: skip
CONTROL = SPECIAL[:7]
"""Never printed; the rest of `SPECIAL` comes out as text."""

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
APART = r"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""`QWEN2` with letters always alone: what merges are learnt on."""


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    parts = [pre_tokenizers.Split(Regex(pattern), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    return pre_tokenizers.Sequence(parts)


def train(texts: Iterable[str], spoken: Iterable[str]) -> Tokenizer:
    """Learn merges from `texts`, then add the blank to the commonest words of `spoken`."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = _split(APART)
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE - BLANKED - len(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=LONGEST, show_progress=False,
    )  # fmt: skip
    learner.train_from_iterator(texts, trainer)
    learnt = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) for pair in learnt["merges"]]
    known = set(learnt["vocab"])
    counts = Counter(word for text in spoken for word in _words(text) if word in known)
    added = [word for word, _ in counts.most_common() if "Ġ" + word not in known][:BLANKED]
    merges += [("Ġ", word) for word in added]
    order = sorted(learnt["vocab"], key=learnt["vocab"].__getitem__) + ["Ġ" + word for word in added]
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *order])}
    return _assemble(vocabulary, merges)


def _words(text: str) -> list[str]:
    """Words with a blank in front of them."""
    return [part for part in text.split(" ")[1:] for part in [part.rstrip(".,:;?!`\"')")] if part.isalpha() and part.isascii()]


def _assemble(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = _split(QWEN2)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def load(folder: Path) -> Tokenizer:
    """The tokenizer that `python -m modelfiles.demo.train.tokenizer FOLDER` has written."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def main() -> None:
    """Learn from the mix and write FOLDER/tokenizer.json."""
    parser = argparse.ArgumentParser(description="Train the demo model's tokenizer.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    drawn = mix.examples(mix.SHARES["mix"], random.Random(20))
    chosen = list(itertools.islice(drawn, 40_000))
    texts = [text for example in chosen for text, _ in mix.parts(example)]
    said = [text for example in chosen for text, weight in mix.parts(example) if weight == 1.0 or isinstance(example, Dialogue)]
    train(texts, said).save(str(folder / "tokenizer.json"))


if __name__ == "__main__":
    main()
