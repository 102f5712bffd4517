"""Greedy answers are the same whatever was computed before: on every class of memory, and wherever the prefix was.

The first answer of a worker of its own is the cold one. Random weights would show any state that isn't the right one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfiles.embedded import demo_gguf
from runner.llama import library
from runner.llama.model import Model
from runner.protocol.commands import Generate, PrefixStore, TokenPrompt
from runner.protocol.events import Done, Logprob, Started
from runner.protocol.options import LoadOptions, SampleOptions
from tests.engine.random_models import write
from tests.engine.worker_process import Answer, WorkerProcess, agree

CUTTABLE, EXACT = ("llama", "qwen2"), ("gemma2", "mamba", "jamba")
SYSTEM = tuple(range(300, 500))
ONE, TWO, THREE = ((*SYSTEM, *range(first, first + 40)) for first in (600, 700, 800))
OTHERS = [tuple(range(first, first + 240)) for first in (1000, 1300, 1600, 1900)]
SAID = 24


class Asked(WorkerProcess):
    """A worker that is asked one prompt after the other, or several together."""

    last = 0

    def generate(self, *prompts: tuple[int, ...], said: int = SAID) -> list[Answer]:
        options = SampleOptions(num_predict=said, ignore_eos=True, temperature=0.0)
        asked = []
        for prompt in prompts:
            self.last += 1
            asked.append(Generate(self.last, TokenPrompt(prompt), options, logprobs=2))
        answers = self.ask(*asked)
        for answer in answers.values():
            assert isinstance(answer.end, Done), answer.end
        return list(answers.values())

    def cached(self, prompt: tuple[int, ...]) -> tuple[int, list[Logprob]]:
        """How many tokens were found computed, and what was said."""
        (answer,) = self.generate(prompt)
        assert isinstance(answer.started, Started)
        assert isinstance(answer.end, Done)
        assert answer.end.usage.cached_tokens == answer.started.cached_tokens
        return answer.started.cached_tokens, answer.scores[0]


@pytest.fixture(scope="module", params=[*CUTTABLE, *EXACT])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp(request.param) / f"{request.param}.gguf", request.param)


@pytest.fixture(scope="module")
def cold(model: Path) -> dict[tuple[int, ...], list[Logprob]]:
    """What is said to each prompt when nothing was computed before. No two of them begin alike for long."""
    said: dict[tuple[int, ...], list[Logprob]] = {}
    for prompts in ([ONE, *OTHERS], [TWO], [THREE]):
        worker = Asked(model, num_ctx=512, num_parallel=8)
        for prompt in prompts:
            cached, said[prompt] = worker.cached(prompt)
            assert cached == 0
        assert worker.close() == 0
    assert all(len({score.token for score in scores}) > 5 for scores in said.values())
    return said


@pytest.fixture(scope="module")
def spelled() -> dict[bytes, int]:
    """The demo's tokens by what they are spelled like."""
    model = Model([str(demo_gguf())], LoadOptions(num_ctx=64, num_parallel=1), library.start())
    found = {model.spelling(token): token for token in range(model.n_vocab)}
    model.close()
    return found


@pytest.fixture
def store(tmp_path: Path) -> PrefixStore:
    return PrefixStore(64 << 20, 256 << 20, str(tmp_path / "prefixes"), "model")


@pytest.fixture
def workers(model: Path) -> Iterator[list[Asked]]:
    """Started by the tests; each has to end well."""
    started: list[Asked] = []
    yield started
    for worker in started:
        assert worker.close() == 0


def is_exact(model: Path) -> bool:
    return model.stem in EXACT


def test_the_same_prompt_again(model: Path, cold: dict[tuple[int, ...], list[Logprob]], workers: list[Asked]) -> None:
    worker = Asked(model, num_ctx=512, num_parallel=4)
    workers.append(worker)
    assert worker.cached(ONE)[0] == 0
    for _ in range(2):
        cached, said = worker.cached(ONE)
        assert cached == len(ONE) - 1
        assert agree(cold[ONE], said)


def test_the_next_turn(model: Path, workers: list[Asked], spelled: dict[bytes, int]) -> None:
    worker, fresh = (Asked(model, num_ctx=512, num_parallel=4) for _ in range(2))
    workers += [worker, fresh]
    (answer,) = worker.generate(ONE)
    spoken = [spelled[score.token] for score in answer.scores[0]]
    turn = (*ONE, *spoken[:-1], *range(900, 930))
    cached, said = worker.cached(turn)
    assert cached == len(ONE) + len(spoken) - 1
    assert agree(fresh.cached(turn)[1], said)


def test_a_shared_beginning(model: Path, cold: dict[tuple[int, ...], list[Logprob]], workers: list[Asked]) -> None:
    """Where states can't be cut, the second request leaves one where it parts from the first, and the third uses it."""
    worker = Asked(model, num_ctx=512, num_parallel=8)
    workers.append(worker)
    worker.cached(ONE)
    cached, said = worker.cached(TWO)
    assert cached == (0 if is_exact(model) else len(SYSTEM))
    assert agree(cold[TWO], said)
    cached, said = worker.cached(THREE)
    assert cached == len(SYSTEM)
    assert agree(cold[THREE], said)
    cached, said = worker.cached(ONE)
    assert cached == len(ONE) - 1
    assert agree(cold[ONE], said)


def test_together(model: Path, cold: dict[tuple[int, ...], list[Logprob]], workers: list[Asked]) -> None:
    """What requests that come together have in common is computed once."""
    worker = Asked(model, num_ctx=512, num_parallel=8)
    workers.append(worker)
    answers = worker.generate(ONE, TWO, THREE)
    for prompt, answer in zip((ONE, TWO, THREE), answers, strict=True):
        assert agree(cold[prompt], answer.scores[0])
    assert [answer.started.cached_tokens for answer in answers if answer.started] == [0, len(SYSTEM), len(SYSTEM)]


def test_from_ram(
    model: Path, cold: dict[tuple[int, ...], list[Logprob]], workers: list[Asked], store: PrefixStore
) -> None:
    """Two ids and cells for two: what others need is saved and comes back."""
    worker = Asked(model, num_ctx=320, num_parallel=2, cells=640, prefixes=PrefixStore(ram=store.ram))
    workers.append(worker)
    worker.cached(ONE)
    for other in OTHERS:
        assert worker.cached(other)[0] == 0
    cached, said = worker.cached(ONE)
    assert cached == len(ONE) - 1
    assert agree(cold[ONE], said)
    for other in OTHERS:
        cached, said = worker.cached(other)
        assert cached == len(other) - 1
        assert agree(cold[other], said)


@pytest.mark.parametrize("ram", [0, 64 << 20])
def test_from_a_file(
    model: Path, cold: dict[tuple[int, ...], list[Logprob]], workers: list[Asked], store: PrefixStore, ram: int
) -> None:
    """Another worker, another number of sequences and cells."""
    store = PrefixStore(ram, store.disk, store.root, store.model)
    first = Asked(model, num_ctx=320, num_parallel=2, cells=640, prefixes=store)
    for prompt in (ONE, *OTHERS):
        first.cached(prompt)
    assert first.close() == 0
    second = Asked(model, num_ctx=512, num_parallel=8, prefixes=store)
    workers.append(second)
    for prompt in (ONE, *OTHERS):
        cached, said = second.cached(prompt)
        assert cached == len(prompt) - 1
        assert agree(cold[prompt], said)


def test_after_a_preemption(model: Path, workers: list[Asked], store: PrefixStore) -> None:
    """Three answers of 120 tokens don't fit 1,024 cells. Who has to wait goes on with a saved state."""
    narrow = Asked(model, num_ctx=512, num_parallel=4, cells=1024, prefixes=store)
    roomy = Asked(model, num_ctx=512, num_parallel=4)
    workers += [narrow, roomy]
    prompts = (ONE, *OTHERS[:2])
    for prompt, answer in zip(prompts, narrow.generate(*prompts, said=120), strict=True):
        (alone,) = roomy.generate(prompt, said=120)
        assert len(answer.scores[0]) == 120
        assert agree(alone.scores[0], answer.scores[0])
    narrow.cached(ONE)
    assert narrow.stats[-1].preemptions > 0
    assert narrow.stats[-1].reused_ram > 0
