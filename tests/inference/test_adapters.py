"""Which adapters a request is computed with: the model's, its own, or the one in `model:adapter`."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry.errors import NotFound
from registry.manifest import ADAPTER
from registry.references import Reference
from registry.store import Store
from registry.stored import StoredModel
from runner.conversation import Message
from runner.errors import InvalidRequest, LoadFailed, UnknownModel
from runner.inference.adapters import Worn
from runner.inference.models import Models
from runner.inference.requests import MOST_LORAS, Chat, Complete, Embed, Lora
from runner.inference.resolve import Resolver
from runner.protocol.commands import Adapter, Adapters, Generate
from runner.protocol.commands import Embed as EmbedCommand
from tests import tiny_gguf
from tests.inference.conftest import Make

HI = (Message("user", "hi"),)


@pytest.fixture
def models(make: Make, tmp_path: Path) -> dict[str, StoredModel]:
    """`m`, two models with adapters on it, one with both, and one of other weights with an adapter of its own."""
    for number, (name, width) in enumerate((("sql", 64), ("law", 64), ("wide", 128))):
        (tmp_path / f"{name}.gguf").write_bytes(tiny_gguf.adapter(width=width) + b"\0" * 32 * number)
    wide = [tiny_gguf.Tensor("token_embd.weight", (128, 4)), tiny_gguf.Tensor("output_norm.weight", (128,))]
    made = {"m": make("m")}
    made["sql"] = make("sql", "ADAPTER ./sql.gguf", base="m")
    made["law"] = make("law", "ADAPTER ./law.gguf", base="m")
    made["both"] = make("both", "ADAPTER ./sql.gguf\nADAPTER ./law.gguf", base="m")
    (tmp_path / "lora-wide.gguf").write_bytes((tmp_path / "wide.gguf").read_bytes())
    made["wide"] = make("wide", "ADAPTER ./lora-wide.gguf", tensors=wide)
    return made


def adapters_of(resolver: Resolver, name: str, *loras: Lora) -> Adapters:
    work = resolver.chat(Chat(name, HI, lora=loras or None)).work
    assert isinstance(work, Generate)
    return work.adapters


def as_stored(model: StoredModel, scale: float = 1.0) -> Adapters:
    return tuple(Adapter(str(path), scale) for path in sorted(model.adapters))


def test_those_of_the_modelfile(resolver: Resolver, models: dict[str, StoredModel]) -> None:
    assert adapters_of(resolver, "m") == ()
    assert adapters_of(resolver, "sql") == as_stored(models["sql"])
    assert adapters_of(resolver, "both") == as_stored(models["both"])
    embed = resolver.embed(Embed("sql", ("hi",))).work
    assert isinstance(embed, EmbedCommand)
    assert embed.adapters == as_stored(models["sql"])


def test_one_that_lies_elsewhere_is_taken_in_before_a_worker_sees_it(
    resolver: Resolver, models: dict[str, StoredModel], store: Store, tmp_path: Path
) -> None:
    (layer,) = models["sql"].manifest.of(ADAPTER)
    theirs = tmp_path / "sql.gguf"
    models["sql"].adapters[0].unlink()  # as a Runner before this one had it
    store.blobs.references.put(layer.digest, Reference.to(theirs, theirs.stat(), "yours"))
    assert store.show("sql").adapters == (theirs,)
    assert adapters_of(resolver, "m", Lora("sql")) == as_stored(models["sql"])
    assert models["sql"].adapters[0].exists()
    assert adapters_of(resolver, "m:sql") == as_stored(models["sql"])


def test_a_request_names_others_instead(resolver: Resolver, models: dict[str, StoredModel]) -> None:
    assert adapters_of(resolver, "m", Lora("sql", scale=0.5)) == as_stored(models["sql"], 0.5)
    assert adapters_of(resolver, "sql", Lora("law")) == as_stored(models["law"])
    assert adapters_of(resolver, "m", Lora("law"), Lora("sql")) == as_stored(models["both"])
    assert adapters_of(resolver, "m", Lora("sql", scale=0.0)) == ()
    (named,) = resolver.complete(Complete("sql", "hi", raw=True, lora=(Lora(id=0, scale=2.0),))).work.adapters  # type: ignore[union-attr]
    assert named == Adapter(str(models["sql"].adapters[0]), 2.0)
    bare = resolver.chat(Chat("sql", HI, lora=())).work
    assert isinstance(bare, Generate)
    assert bare.adapters == ()


def test_model_and_adapter_in_one_name(resolver: Resolver, make: Make, models: dict[str, StoredModel]) -> None:
    for name in ("m:sql", "m:latest:sql", "m:sql:latest", "law:sql"):
        want = resolver.chat(Chat(name, HI))
        assert isinstance(want.work, Generate)
        assert want.work.adapters == as_stored(models["sql"]), name
        assert want.key == resolver.chat(Chat("m", HI)).key
    make("m:sql", "SYSTEM A tag goes before an adapter.", base="law")
    assert adapters_of(resolver, "m:sql") == as_stored(models["law"])
    for name in ("m:none", "none:sql", "m:m"):  # no such adapter, no such model, a model without one
        with pytest.raises(UnknownModel):
            resolver.chat(Chat(name, HI))


def test_their_bytes_are_counted(resolver: Resolver, models: dict[str, StoredModel]) -> None:
    sizes = {name: models[name].adapters[0].stat().st_size for name in ("sql", "law")}
    plain = resolver.chat(Chat("m", HI)).footprint.weights
    tuned = resolver.chat(Chat("m:sql", HI)).footprint
    assert (tuned.weights, tuned.adapters) == (plain + sizes["sql"], sizes["sql"])
    replaced = resolver.chat(Chat("sql", HI, lora=(Lora("law"),))).footprint.weights
    assert replaced == models["sql"].size - sizes["sql"] + sizes["law"]


@pytest.mark.parametrize(
    ("loras", "field", "words"),
    [
        ([Lora("sql", scale=math.nan)], "lora[0].scale", "number"),
        ([Lora("sql"), Lora("law", scale=17.0)], "lora[1].scale", "-16 to 16"),
        ([Lora("m")], "lora[0].name", "has no adapter"),
        ([Lora("bothh")], "lora[0].name", "did you mean "),
        ([Lora("a b")], "lora[0].name", "invalid model name"),
        ([Lora("wide")], "lora[0].name", "does not go with"),
        ([Lora("sql"), Lora("sql", scale=0.5)], "lora[1]", "already"),
        ([Lora("both"), Lora("sql")], "lora[1]", "already"),
        ([Lora(id=0)], "lora[0].id", "it has no adapter"),
        ([Lora("sql")] * (MOST_LORAS + 1), "lora", "a request may have 8"),
    ],
)
def test_what_cannot_be_is_named(
    resolver: Resolver, models: dict[str, StoredModel], loras: list[Lora], field: str, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        adapters_of(resolver, "m", *loras)
    assert caught.value.field == field


def test_an_adapter_of_other_weights_is_no_part_of_a_name(resolver: Resolver, models: dict[str, StoredModel]) -> None:
    with pytest.raises(InvalidRequest, match=r'"wide" does not go with "m:latest".*64 by 1') as caught:
        resolver.chat(Chat("m:wide", HI))
    assert caught.value.field == "model"


def test_a_changed_adapter_never_reaches_native_code(resolver: Resolver, models: dict[str, StoredModel]) -> None:
    path = models["sql"].adapters[0]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(LoadFailed, match="other bytes"):
        adapters_of(resolver, "m", Lora("sql"))


async def test_which_adapters_a_name_means_is_told(
    store: Store, models: dict[str, StoredModel], resolver: Resolver
) -> None:
    async def unload(_: str) -> bool:
        return False

    with ThreadPoolExecutor(1) as threads:
        told = Models(store, threads, unload)
        assert await told.worn("m") == (models["m"], ())
        assert (await told.worn("sql"))[1] == (Worn("sql:latest", 1.0),)
        both = (await told.worn("both"))[1]
        assert sorted(each.name for each in both) == ["law:latest", "sql:latest"]
        model, worn = await told.worn("law:sql")  # the adapter of the one in place of the other's own
        assert (model.name, model.adapters) == (models["law"].name, models["sql"].adapters)
        assert worn == (Worn("sql:latest", 1.0),)
        with pytest.raises(NotFound):
            await told.worn("m:nobody")
    assert resolver.account("m:sql", {}).adapters == (Worn("sql:latest", 1.0),)
    assert resolver.account("m", {}).adapters == ()
