"""Which models share a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.stored import StoredModel
from runner.config import ModelSettings
from runner.conversation import Message
from runner.inference.defaults import Defaults
from runner.inference.requests import Chat, Embed
from runner.inference.resolve import Resolver
from runner.protocol.sandbox import Sandbox
from tests import tiny_gguf
from tests.inference.conftest import Make

HI = (Message("user", "hi"),)


@pytest.fixture
def shared(make: Make, tmp_path: Path) -> StoredModel:
    """A model, and an adapter that fits it as a file."""
    (tmp_path / "lora.gguf").write_bytes(tiny_gguf.adapter())
    return make("m")


def key_of(resolver: Resolver, name: str, **options: object) -> str:
    return resolver.chat(Chat(name, HI, options=options)).key


def test_modelfiles_that_only_say_other_things_share_one(resolver: Resolver, make: Make, shared: StoredModel) -> None:
    wants = [resolver.chat(Chat("m", HI))]
    for number, lines in enumerate(
        (
            "SYSTEM Be brief.",
            'TEMPLATE "{{ .Prompt }}"',
            "PARAMETER temperature 0\nPARAMETER stop x",
            "PARAMETER num_ctx 128",
            "ADAPTER ./lora.gguf",
            "MESSAGE user hi\nLICENSE mine",
        )
    ):
        shared_from(make, f"m{number}", lines)
        wants.append(resolver.chat(Chat(f"m{number}", HI)))
    assert len({want.key for want in wants}) == 1
    first = wants[0]
    for want in wants[1:]:
        assert want.digest != first.digest
        assert want.is_served_by(first.digest, first.load)
        assert want.load.prefixes == first.load.prefixes
    short = wants[4]
    assert not first.is_served_by(short.digest, short.load)  # it was loaded with a shorter context


def test_those_that_ask_for_another_load_do_not(resolver: Resolver, make: Make, shared: StoredModel) -> None:
    make("small")
    kinds = {
        "other weights": key_of(resolver, "small"),
        "none": key_of(resolver, "m"),
        "embeddings too": resolver.embed(Embed("m", ("hi",))).key,
    }
    assert kinds["embeddings too"] == kinds["none"]
    for lines in ("PARAMETER num_batch 64", "PARAMETER num_gpu 0", "DRAFT small", "PARAMETER draft_model small"):
        shared_from(make, "changed", lines)
        kinds[lines] = key_of(resolver, "changed")
    assert len(set(kinds.values())) == len(kinds) - 1


def test_what_a_request_asks_for_is_no_worker_of_its_own(resolver: Resolver, make: Make, shared: StoredModel) -> None:
    # It is the scheduler that loads the model anew, if it has to.
    assert key_of(resolver, "m", num_batch=64) == key_of(resolver, "m")


def test_what_the_settings_say_of_the_load_tells_workers_apart(
    resolver: Resolver, make: Make, shared: StoredModel
) -> None:
    shared_from(make, "other", "SYSTEM Be brief.")
    assert key_of(resolver, "other") == key_of(resolver, "m")
    entries = {"other": ModelSettings(options={"num_batch": 64, "temperature": 0.5, "num_ctx": 128})}
    resolver.defaults = Defaults(num_parallel=2, models=entries)
    wanted, first = resolver.chat(Chat("other", HI)), resolver.chat(Chat("m", HI))
    assert wanted.load.options.num_batch == 64
    assert wanted.key != first.key
    without_batch = {"other": ModelSettings(options={"temperature": 0.5, "num_ctx": 128})}
    resolver.defaults = Defaults(num_parallel=2, models=without_batch)
    assert key_of(resolver, "other") == key_of(resolver, "m") == first.key
    changed = [Defaults(num_parallel=3), Defaults(num_parallel=2, sandbox=Sandbox("strict"))]
    keys = {first.key}
    for resolver.defaults in changed:
        assert key_of(resolver, "other") == key_of(resolver, "m")
        keys.add(key_of(resolver, "m"))
    assert len(keys) == 3


def test_what_says_the_same_as_the_default_is_no_other_load(
    resolver: Resolver, make: Make, shared: StoredModel
) -> None:
    shared_from(make, "told", "PARAMETER num_batch 512")
    assert key_of(resolver, "told") == key_of(resolver, "m")


def shared_from(make: Make, name: str, lines: str) -> StoredModel:
    """A model of the weights of `m`, by another Modelfile."""
    return make(name, lines, base="m")
