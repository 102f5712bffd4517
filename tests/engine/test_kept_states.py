"""Choices on models whose state cannot be cut at any token: recurrent (mamba) and with a sliding window (gemma 2).

Their weights are random, so what they say means nothing; but forking them must not change it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner.protocol.commands import Generate, TokenPrompt
from runner.protocol.events import Done
from runner.protocol.options import SampleOptions
from tests.engine.random_models import write
from tests.engine.worker_process import NEAR_TIE, Answer, WorkerProcess, agree

PROMPT = TokenPrompt(tuple(range(300, 380)))  # longer than the window


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
