"""A few steps of the demo model's training, where torch is installed; Runner itself doesn't need it."""

import itertools
import random
import re
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is only needed to train the demo model")
pytest.importorskip("tokenizers", reason="tokenizers is only needed to train the demo model")

import torch

from modelfiles.demo.train import copying, export, feed, head_start, mix, tokenizer, train
from modelfiles.demo.train.batches import Batch, Encoded, pack
from modelfiles.demo.train.model import Llama, Shape
from modelfiles.demo.train.optimizer import Optimizer
from modelfiles.demo.train.stages import STAGES, Stage
from registry.gguf.check import check
from registry.gguf.reader import read_header


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer learnt from little text."""
    out = tmp_path_factory.mktemp("demo")
    drawn = itertools.islice(mix.examples(mix.SHARES["mix"], random.Random(1)), 6000)
    texts = [text for example in drawn for text, _ in mix.parts(example)]
    tokenizer.train(texts, texts).save(str(out / "tokenizer.json"))
    return out


def accuracy(model: Llama, batch: Batch) -> float:
    ledger = train.Ledger()
    with torch.no_grad():
        train.loss_of(model, model, batch, ledger)
    right, count = sum(row[1] for row in ledger.sums.values()), sum(row[2] for row in ledger.sums.values())
    return right / count


def test_a_fresh_model_can_copy_what_it_has_never_seen() -> None:
    batch = next(pack(copying.sequences(random.Random(2), 4096, 48), rows=8, length=96, together=False))
    plain = Llama(Shape())
    assert accuracy(plain, batch) < 0.1
    head_start.place(plain)
    assert accuracy(plain, batch) > 0.6


def test_loss_falls_and_a_checkpoint_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    stage = Stage("mix", minutes=10, rows=2, length=256, peak=0.5)
    model = Llama(Shape())
    head_start.place(model)
    optimizer = Optimizer(model)
    batch = next(feed.batches(stage, folder, seed=3))
    losses = []
    for _ in range(6):
        loss = train.loss_of(model, model, batch, train.Ledger())
        loss.backward()  # type: ignore[no-untyped-call]
        assert train.average(model, 12.0, world=1) == 12.0
        optimizer.step(0.3)
        model.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.5
    train.save(tmp_path / "mix.pt", model, optimizer, stage, elapsed=34.0, step=6)
    again = Llama(Shape())
    assert train.resume(again, Optimizer(again), tmp_path / "mix.pt", None) == (34.0, 6)
    assert torch.equal(again.token_embd.weight, model.token_embd.weight)
    out = tmp_path / "demo.gguf"
    export.export([tmp_path / "mix.pt"], folder, out)
    assert check(read_header(out)).context_length == 4096


def test_a_word_has_the_same_tokens_wherever_it_stands(folder: Path) -> None:
    made = tokenizer.load(folder)
    alone = made.encode("Zagreb").tokens
    for text in (" Zagreb", '"Zagreb"', '{"city": "Zagreb"}', "(Zagreb)", "in_Zagreb"):
        tokens = made.encode(text).tokens
        at = next(i for i in range(len(tokens)) if tokens[i : i + len(alone)] == alone)
        assert made.decode(tokens and made.encode(text).ids) == text
        assert at >= 1


def test_specials_come_first_and_text_survives(folder: Path) -> None:
    made = tokenizer.load(folder)
    assert [made.token_to_id(t) for t in tokenizer.SPECIAL] == list(range(len(tokenizer.SPECIAL)))
    for text in ("Grüße, 世界! 🙂", "def f(x):\n\treturn x\r\n", "  a   b\n\n c"):
        assert made.decode(made.encode(text).ids, skip_special_tokens=False) == text


def test_examples_of_a_row_see_each_other_only_when_packed_together() -> None:
    source = [Encoded([20, 21, 22], [0.0, 1.0, 1.0], 0)]
    apart = next(pack(itertools.cycle(source), rows=1, length=8, together=False))
    joined = next(pack(itertools.cycle(source), rows=1, length=8, together=True))
    assert apart.segments.tolist() == [[1, 1, 1, 2, 2, 2, 3, 3, 3]]
    assert joined.segments.tolist() == [[1] * 9]
    assert apart.weights.tolist() == [[0, 1, 1] * 3]


def test_every_stage_warms_up_holds_and_falls() -> None:
    for stage in STAGES.values():
        assert stage.rate(0.0) < stage.rate(0.1) == pytest.approx(stage.peak)
        assert stage.rate(1.0) == pytest.approx(stage.floor)
        assert re.fullmatch(r"[a-z]+", stage.name)
