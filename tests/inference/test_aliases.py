"""Names that stand for models: which one is meant, and that a model's own name always comes first."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import NotFound
from registry.store import Store
from runner.conversation import Message
from runner.errors import InvalidRequest, UnknownModel
from runner.inference.aliases import Aliases, known_as
from runner.inference.models import Models
from runner.inference.requests import Chat
from runner.inference.resolve import Resolver
from tests.inference.conftest import Make

HI = (Message("user", "hi"),)
TABLE = {"claude-*": "large", "claude-haiku-*": "small", "claude-haiku-4": "tiny", "GPT-4": "large", "*mini*": "small"}


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("claude-sonnet-4-5-20250929", "large"),
        ("claude-opus-4[1m]", "large"),
        ("claude-", "large"),
        ("claude", None),
        ("my-claude-x", None),
        ("claude-haiku-5", "small"),
        ("claude-haiku-4", "tiny"),
        ("Claude-Haiku-4:latest", "tiny"),
        ("gpt-4", "large"),
        ("gpt-4o", None),
        ("o4-mini", "small"),
        ("xmini", "small"),
        ("mint-mi-ni", None),
    ],
)
def test_the_name_itself_then_the_pattern_that_says_most(asked: str, meant: str | None) -> None:
    assert Aliases(TABLE).meant(asked) == meant


def test_the_order_of_the_table_decides_nothing() -> None:
    assert Aliases(dict(reversed(TABLE.items()))).meant("claude-haiku-5") == "small"


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_patterns_are_what_they_look_like(pattern: str, name: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name)
    assert (Aliases({pattern: "m"}).meant(name) == "m") == (expected is not None)


def test_a_pattern_takes_no_long_time_over_a_name_that_nearly_fits() -> None:
    assert Aliases({"*a" * 500 + "*b": "m"}).meant("a" * 1_000_000) is None


def test_requests_reach_the_model_that_is_meant(store: Store, make: Make) -> None:
    make("large")
    make("claude-real")
    resolver = Resolver(store, context_length=0, num_parallel=1, aliases=Aliases(TABLE | {"no name!": "large"}))
    assert resolver.chat(Chat("claude-3", HI)).model == "large:latest"
    assert resolver.chat(Chat("no name!", HI)).model == "large:latest"
    assert resolver.load("GPT-4", {}, None).model == "large:latest"
    assert resolver.chat(Chat("claude-real", HI)).model == "claude-real:latest"
    with pytest.raises(UnknownModel, match='model "small" not found, try pulling it first'):
        resolver.chat(Chat("claude-haiku-5", HI))
    with pytest.raises(UnknownModel, match='model "gpt-5" not found'):
        resolver.chat(Chat("gpt-5", HI))
    with pytest.raises(InvalidRequest):
        resolver.chat(Chat("no other name!", HI))


async def test_models_are_looked_at_by_them_and_changed_by_their_own_names_only(store: Store, make: Make) -> None:
    make("large")
    make("gpt-4")
    unloaded: list[str] = []

    async def unload(name: str) -> bool:
        unloaded.append(name)
        return True

    with ThreadPoolExecutor(1) as threads:
        models = Models(store, threads, unload, aliases=Aliases(TABLE | {"best": "large", "gone": "nothing"}))
        assert str((await models.show("claude-3")).name) == "large:latest"
        assert (await models.header("best")).tensors
        assert [(name, str(model.name)) for name, model in await models.aliases()] == [("best", "large:latest")]
        with pytest.raises(NotFound):
            await models.remove("best")
        with pytest.raises(NotFound):
            await models.copy("best", "worse")
    assert {str(model.name) for model in store.list()} == {"large:latest", "gpt-4:latest"}


def test_a_model_is_listed_by_the_name_that_led_to_it(store: Store, make: Make) -> None:
    model = make("large")
    assert known_as("LARGE", model) == known_as("large:latest", model) == "large:latest"
    assert known_as("claude-3", model) == "claude-3"
    assert known_as("no name!", model) == "no name!"
