"""Getting to know a server over real HTTP."""

import pytest

from runner.bench.client import Accepts
from runner.bench.clock import WallClock
from runner.bench.meet import Met, Unusable, meet
from runner.bench.shape import Target, Workload
from tests.bench.fake_openai import TEMPLATE, FakeOpenAI


async def met(model: str | None, fake: FakeOpenAI | None = None, **workload: object) -> Met:
    async with (fake or FakeOpenAI()).listening() as url:
        target = Target("fake", url, model)
        return await meet(target, Workload(**workload), "seed", WallClock())  # type: ignore[arg-type]


async def test_how_it_counts() -> None:
    found = await met("steady")
    assert found.counts
    assert found.accepts == Accepts()
    assert (found.fit.overhead, found.fit.per_word) == (TEMPLATE, 1.0)
    assert (await met("steady", endpoint="completions")).fit.overhead == 0


async def test_one_that_names_no_counts() -> None:
    found = await met("uncounted")
    assert not found.counts
    assert found.fit.words(130) == 100


async def test_a_strict_server_is_given_only_what_it_takes() -> None:
    fake = FakeOpenAI()
    found = await met("strict", fake)
    assert found.accepts == Accepts(ignore_eos=False, max_field="max_completion_tokens", temperature=False)
    assert len(fake.served) == 5, "four steps down, and the longer prompt"


async def test_ignore_eos_is_not_tried_when_it_isnt_wanted() -> None:
    fake = FakeOpenAI()
    await met("steady", fake, ignore_eos=False)
    assert all("ignore_eos" not in served.body for served in fake.served)


async def test_the_only_model_needs_no_name() -> None:
    assert (await met(None)).target.model == "steady"


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        (None, 404, "it has one, two"),
        ("none", 404, 'fake answers 404: model "none" not found'),
        ("locked", 401, "a key is needed"),
        ("babbling", None, "not json"),
    ],
)
async def test_what_cannot_be_measured(model: str | None, status: int | None, words: str) -> None:
    with pytest.raises(Unusable, match=words) as unusable:
        await met(model, FakeOpenAI(models=["one", "two"]))
    assert unusable.value.status == status


async def test_nobody_there() -> None:
    async with FakeOpenAI().listening() as url:
        pass
    for model in (None, "steady"):
        with pytest.raises(Unusable) as unusable:
            await meet(Target("fake", url, model), Workload(), "seed", WallClock())
        assert unusable.value.status is None
