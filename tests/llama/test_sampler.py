"""Samplers on logits made up for the purpose. The real vocabulary is only there because llama.cpp wants one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import llama_cpp.llama_cpp as lib
import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfiles.embedded import demo_gguf
from runner.engine.crew import Crew
from runner.llama import library
from runner.llama.model import Model
from runner.llama.sampler import Sampler
from runner.protocol.options import LoadOptions, SampleOptions

Row = npt.NDArray[np.float32]
PLAIN = SampleOptions(temperature=1.0, top_k=0, top_p=1.0, seed=1)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    made = Model([str(demo_gguf())], LoadOptions(num_ctx=64, num_parallel=1), library.start())
    yield made
    made.close()


@pytest.fixture
def samplers(model: Model) -> Iterator[Any]:
    """Make samplers that are closed after the test."""
    made: list[Sampler] = []

    def make(base: SampleOptions = PLAIN, **options: object) -> Sampler:
        made.append(Sampler(model, msgspec.structs.replace(base, **options)))
        return made[-1]

    yield make
    for sampler in made:
        sampler.close()


def row(model: Model, likely: dict[int, float], rest: float = -30.0) -> Row:
    """Logits of the whole vocabulary: these, and one for all others."""
    logits = np.full(model.n_vocab, rest, np.float32)
    logits[list(likely)] = list(likely.values())
    return logits


def drawn(sampler: Sampler, logits: Row, times: int = 200) -> set[int]:
    return {sampler.sample(logits.copy()) for _ in range(times)}


LADDER = {100: 4.0, 200: 3.0, 300: 2.0, 400: 1.0, 500: 0.0}  # probabilities .64 .23 .09 .03 .01


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": 0.0, "logit_bias": {7: 0.0}}])
def test_the_likeliest_and_of_equals_the_first(samplers: Any, model: Model, options: dict[str, Any]) -> None:
    sampler = samplers(**options)
    assert sampler.is_greedy == ("logit_bias" not in options)
    assert sampler.sample(row(model, {900: 1.0, 40: 5.0, 41: 5.0, 39: 4.999})) == 40


def test_lots_fall_where_the_probabilities_say(samplers: Any, model: Model) -> None:
    sampler, logits = samplers(), row(model, LADDER)
    counts = dict.fromkeys(LADDER, 0)
    for _ in range(4000):
        counts[sampler.sample(logits)] += 1
    weights = np.exp(list(LADDER.values()))
    assert [count / 4000 for count in counts.values()] == pytest.approx((weights / weights.sum()).tolist(), abs=0.03)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, set(LADDER)),
        ({"top_k": 2}, {100, 200}),
        ({"top_p": 0.8}, {100, 200}),
        ({"min_p": 0.1}, {100, 200, 300}),
        ({"top_n_sigma": 0.5}, {100}),
        ({"typical_p": 0.2}, {200}),
        ({"temperature": 0.01}, {100}),
        ({"xtc_probability": 1.0, "xtc_threshold": 0.05}, {300, 400, 500}),
        ({"xtc_probability": 1.0, "xtc_threshold": 0.2, "top_k": 3}, {200, 300}),
        ({"logit_bias": {100: -100.0, 600: 60.0}}, {600}),
        ({"logit_bias": {100: -100.0}}, {200, 300, 400, 500}),
        ({"mirostat": 2, "mirostat_tau": 0.01}, {100}),
        ({"mirostat": 1, "mirostat_tau": 0.01}, {100}),
    ],
)
def test_what_each_sampler_leaves(samplers: Any, model: Model, options: dict[str, Any], left: set[int]) -> None:
    logits = row(model, LADDER, rest=0.0 if "top_n_sigma" in options else -30.0)
    found = drawn(samplers(**options), logits, 1500)
    if options.get("mirostat"):  # it steers, so that the first lots are not yet where it wants to be
        found = drawn(samplers(**options), logits, 1)
    assert found == left


def test_samplers_work_in_llama_cpps_order(samplers: Any, model: Model) -> None:
    """Typical sampling comes before top-p: the other way round, the likeliest would be left alone."""
    sampler = samplers(top_k=3, top_p=0.5, temperature=5.0, logit_bias={500: 3.5})
    assert drawn(sampler, row(model, LADDER)) == {100}
    assert drawn(samplers(top_k=3, logit_bias={500: 3.5}), row(model, LADDER), 1000) == {100, 200, 500}


@pytest.mark.parametrize(
    ("options", "banned"),
    [
        ({"repeat_penalty": 100.0}, {100}),
        ({"presence_penalty": 50.0}, {100}),
        ({"frequency_penalty": 50.0}, {100}),
        ({"repeat_penalty": 100.0, "repeat_last_n": 2}, set()),
        ({"repeat_penalty": 100.0, "repeat_last_n": 0}, set()),
        ({"repeat_penalty": 100.0, "repeat_last_n": -1}, {100}),
    ],
)
def test_penalties_know_what_they_are_fed(
    samplers: Any, model: Model, options: dict[str, Any], banned: set[int]
) -> None:
    sampler = samplers(temperature=0.0, **options)
    sampler.feed([100, 7, 8])
    assert sampler.sample(row(model, LADDER)) == (200 if banned else 100)


def test_penalties_know_what_was_chosen(samplers: Any, model: Model) -> None:
    sampler = samplers(temperature=0.0, presence_penalty=50.0)
    assert [sampler.sample(row(model, LADDER)) for _ in range(5)] == [100, 200, 300, 400, 500]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(100, 105), max_size=90),
    st.sampled_from(
        [{"repeat_last_n": 5, "frequency_penalty": 0.7}, {"repeat_last_n": -1, "frequency_penalty": 0.3},
         {"dry_multiplier": 1.0, "dry_penalty_last_n": 8}, {"dry_multiplier": 1.0, "repeat_penalty": 1.5}]
    ),
)  # fmt: skip
def test_only_the_latest_tokens_matter(model: Model, fed: list[int], options: dict[str, Any]) -> None:
    """Feeding the few that a sampler looks at is the same as feeding all."""
    logits = row(model, {token: 3.0 + token % 3 for token in range(100, 106)})
    chosen = []
    for whole in (False, True):
        sampler = Sampler(model, msgspec.structs.replace(PLAIN, temperature=0.0, **options))
        if whole:
            for token in fed:
                lib.llama_sampler_accept(sampler._chain, token)
        else:
            sampler.feed(fed)
        chosen.append([sampler.sample(logits.copy()) for _ in range(10)])
        sampler.close()
    assert chosen[0] == chosen[1]


def test_dry_forbids_to_go_on_with_a_repetition(samplers: Any, model: Model) -> None:
    logits = row(model, {100: 9.0, 200: 5.0})
    fed = [1000, 1001, 1002, 100, 1000, 1001, 1002]
    plain, dry, other = (samplers(temperature=0.0, dry_multiplier=m) for m in (0.0, 5.0, 5.0))
    for sampler in (plain, dry):
        sampler.feed(fed)
    other.feed(fed[:4])
    assert (plain.sample(logits), dry.sample(logits), other.sample(logits)) == (100, 200, 100)


def test_dry_samplers_share_no_state(samplers: Any, model: Model) -> None:
    """They are cloned from one that has seen the vocabulary, and has seen nothing else."""
    logits = row(model, {100: 9.0, 200: 5.0})
    first = samplers(temperature=0.0, dry_multiplier=5.0)
    first.feed([1000, 1001, 1002, 100, 1000, 1001, 1002])
    second = samplers(temperature=0.0, dry_multiplier=5.0)
    assert first.sample(logits) == 200
    assert second.sample(logits) == 100


@pytest.mark.parametrize(
    ("options", "ends"), [({"min_tokens": 3}, [False] * 3 + [True]), ({"ignore_eos": True}, [False] * 4)]
)
@pytest.mark.parametrize("temperature", [0.0, 0.2])
def test_the_end_waits(
    samplers: Any, model: Model, options: dict[str, Any], ends: list[bool], temperature: float
) -> None:
    sampler = samplers(temperature=temperature, **options)
    likely = dict.fromkeys(model.end_tokens, 20.0) | {100: 1.0}
    assert [sampler.sample(row(model, likely)) in model.end_tokens for _ in ends] == ends


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1, 2**63 - 1])
def test_a_seed_of_any_size_is_kept_to(samplers: Any, model: Model, seed: int) -> None:
    logits = row(model, dict.fromkeys(range(100, 200), 1.0))
    one, other = ([sampler.sample(logits) for _ in range(20)] for sampler in (samplers(seed=seed), samplers(seed=seed)))
    assert one == other


def test_without_a_seed_no_two_draw_alike(samplers: Any, model: Model) -> None:
    logits = row(model, dict.fromkeys(range(100, 200), 1.0))
    assert len({tuple(samplers(seed=-1).sample(logits) for _ in range(1)) for _ in range(50)}) > 1
    sequences = {tuple(sampler.sample(logits) for _ in range(12)) for sampler in [samplers(seed=-1) for _ in range(8)]}
    assert len(sequences) == 8


def test_several_threads_choose_what_one_does(model: Model) -> None:
    """Rows and samplers of all kinds, each row on whatever thread comes to it."""
    generator = np.random.default_rng(3)
    kinds: list[dict[str, Any]] = [
        {}, {"top_k": 40, "top_p": 0.9}, {"xtc_probability": 0.5}, {"temperature": 0.0}, {"typical_p": 0.6},
        {"repeat_penalty": 1.3}, {"dry_multiplier": 0.8}, {"mirostat": 1}, {"mirostat": 2}, {"top_n_sigma": 1.0},
    ]  # fmt: skip
    steps = [generator.normal(0, 3, (len(kinds) * 3, model.n_vocab)).astype(np.float32) for _ in range(12)]
    assert sampled(model, kinds, steps, Crew(1)) == sampled(model, kinds, steps, Crew(4, worthwhile=1))


def sampled(model: Model, kinds: list[dict[str, Any]], steps: list[Row], crew: Crew) -> list[list[int]]:
    """What each sampler chooses in each step: three of every kind, with seeds of their own."""
    made = [Sampler(model, msgspec.structs.replace(PLAIN, seed=seed, **kind)) for seed in range(3) for kind in kinds]
    tokens = [
        crew.each(lambda pair: pair[0].sample(pair[1].copy()), list(zip(made, step, strict=True)), values=10**9)
        for step in steps
    ]
    crew.close()
    for sampler in made:
        sampler.close()
    return tokens
