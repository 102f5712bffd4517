"""Choices on models whose state cannot be cut at any token: recurrent (mamba) and with a sliding window (gemma 2).

Their weights are random, so what they say means nothing; but forking them must not change it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from modelfiles.embedded import demo_gguf
from runner.protocol.commands import Generate, TokenPrompt
from runner.protocol.events import Done, Logprob
from runner.protocol.options import SampleOptions
from tests.engine.worker_process import Answer, WorkerProcess

WIDTH, INNER, STATE, RANK, LAYERS, WINDOW = 64, 128, 16, 4, 2, 32
NEAR_TIE = 0.05  # of log-probability
PROMPT = TokenPrompt(tuple(range(300, 380)))  # longer than the window


def write(path: Path, architecture: str) -> Path:
    """A model of this architecture with the demo model's vocabulary, small, deterministic."""
    random = np.random.default_rng(5)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_layer_norm_rms_eps(1e-5)
    if architecture == "mamba":
        writer.add_feed_forward_length(0)
        writer.add_head_count(0)
        writer.add_ssm_conv_kernel(4)
        writer.add_ssm_inner_size(INNER)
        writer.add_ssm_state_size(STATE)
        writer.add_ssm_time_step_rank(RANK)
    else:
        writer.add_feed_forward_length(INNER)
        writer.add_head_count(2)
        writer.add_head_count_kv(1)
        writer.add_key_length(32)
        writer.add_value_length(32)
        writer.add_sliding_window(WINDOW)
        writer.add_attn_logit_softcapping(50.0)
        writer.add_final_logit_softcapping(30.0)
    tokens = copy_vocabulary(writer)
    for name, shape in [
        ("token_embd.weight", (tokens, WIDTH)),
        ("output_norm.weight", (WIDTH,)),
        *blocks(architecture),
    ]:
        if name.endswith("norm.weight"):
            # Gemma's output is the embedding: so small and normalised that what was read last doesn't drown the rest.
            values = np.full(shape, {"output_norm.weight": 20.0}.get(name, 3.0) if architecture == "gemma2" else 1.0)
        elif name == "token_embd.weight" and architecture == "gemma2":
            values = random.normal(0.0, 0.02, shape)
        elif name.endswith("ssm_a"):
            values = -np.abs(random.normal(1.0, 0.3, shape))
        else:
            values = random.normal(0.0, 0.3, shape)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def blocks(architecture: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes (rows first) of the layers' tensors."""
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", (WIDTH,)
        if architecture == "mamba":
            yield f"{block}.ssm_in.weight", (2 * INNER, WIDTH)
            yield f"{block}.ssm_conv1d.weight", (INNER, 4)
            yield f"{block}.ssm_conv1d.bias", (INNER,)
            yield f"{block}.ssm_x.weight", (RANK + 2 * STATE, INNER)
            yield f"{block}.ssm_dt.weight", (INNER, RANK)
            yield f"{block}.ssm_dt.bias", (INNER,)
            yield f"{block}.ssm_a", (INNER, STATE)
            yield f"{block}.ssm_d", (INNER,)
            yield f"{block}.ssm_out.weight", (WIDTH, INNER)
            continue
        for name, rows in (("q", 64), ("k", 32), ("v", 32)):
            yield f"{block}.attn_{name}.weight", (rows, WIDTH)
        yield f"{block}.attn_output.weight", (WIDTH, 64)
        for name in ("post_attention_norm", "ffn_norm", "post_ffw_norm"):
            yield f"{block}.{name}.weight", (WIDTH,)
        for name, shape in (("gate", (INNER, WIDTH)), ("up", (INNER, WIDTH)), ("down", (WIDTH, INNER))):
            yield f"{block}.ffn_{name}.weight", shape


def copy_vocabulary(writer: gguf.GGUFWriter) -> int:
    """Copy every tokenizer key of the demo model; the number of tokens."""
    tokens = 0
    for key, field in gguf.GGUFReader(demo_gguf()).fields.items():
        if not key.startswith("tokenizer.") or key == "tokenizer.chat_template":
            continue
        kind = field.types[0]
        value = field.contents()
        writer.add_key_value(key, value, kind, field.types[-1] if kind is gguf.GGUFValueType.ARRAY else None)
        if key == "tokenizer.ggml.tokens":
            tokens = len(value)
    return tokens


@pytest.fixture(scope="module", params=["mamba", "gemma2"])
def worker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    path = write(tmp_path_factory.mktemp("model") / "model.gguf", request.param)
    process = WorkerProcess(path, num_ctx=256, num_parallel=4)
    yield process
    assert process.close() == 0


def ask(worker: WorkerProcess, request: int, choices: int, **options: object) -> Answer:
    sampling = SampleOptions(num_predict=40, ignore_eos=True, **({"temperature": 0.0} | options))  # type: ignore[arg-type]
    answer = worker.ask(Generate(request, PROMPT, sampling, choices=choices, logprobs=2))[request]
    assert isinstance(answer.end, Done), answer.end
    return answer


def agree(one: list[Logprob], other: list[Logprob]) -> bool:
    """Whether two greedy answers are the same up to the first near tie, after which anything goes."""
    for mine, theirs in zip(one, other, strict=True):
        if mine.token != theirs.token:
            return mine.top[0].logprob - mine.top[1].logprob < NEAR_TIE
    return True


def test_forks_go_on_from_the_same_state(worker: WorkerProcess) -> None:
    alone = ask(worker, 1, 1).scores[0]
    together = ask(worker, 2, 3)
    assert len({score.token for score in alone}) > 5
    for choice in range(3):
        assert agree(together.scores[choice], alone)
    assert agree(ask(worker, 3, 1).scores[0], alone)


def test_forks_that_differ_do_not_disturb_each_other(worker: WorkerProcess) -> None:
    """Each is scored as it is alone, as long as it draws alike."""
    drawn = {"temperature": 1.0, "top_k": 2}
    together = ask(worker, 4, 4, seed=3, **drawn)
    assert len(set(together.texts.values())) > 1
    for choice in range(4):
        alone = ask(worker, 5 + choice, 1, seed=3 + choice, **drawn)
        for mine, theirs in zip(together.scores[choice], alone.scores[0], strict=True):
            if mine.token != theirs.token:
                break
            assert mine.logprob == pytest.approx(theirs.logprob, abs=NEAR_TIE)


def test_nothing_is_drafted_where_it_could_not_be_taken_back(worker: WorkerProcess) -> None:
    alone, asked = ask(worker, 20, 1), ask(worker, 21, 1, prompt_lookup_num_tokens=8)
    assert agree(asked.scores[0], alone.scores[0])
    assert isinstance(asked.end, Done)
    assert asked.end.usage.drafted_tokens == 0
