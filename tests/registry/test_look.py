"""Looking before pulling, against a hub on loopback: what is told, and what it costs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.digests import digest_of
from registry.errors import Denied, NotFound, UnknownTag, Unreachable, UnsupportedModel
from registry.look import Look, LookSettings, look
from registry.progress import Progress
from registry.pull import PullSettings, pull
from registry.store import Store
from tests import tiny_gguf
from tests.hub import COMMIT, File, Hub
from tests.registry.trees import contents
from tests.tiny_gguf import FLOAT32, STRING, Tensor, Typed, array

TEMPLATE = "{% if tools %}{{ tools }}{% endif %}{{ messages }}<think>"
VOCABULARY = 151_936


def large(architecture: str = "llama", weights: int = 64 << 20, tokens: int = VOCABULARY, **extra: object) -> bytes:
    """A model whose header has megabytes, as those with large vocabularies have."""
    words = [f"t{index}" + "x" * (index % 4) for index in range(tokens)]
    merges = [f"ab{index % 1000} cd{index % 777}" for index in range(tokens)]
    return tiny_gguf.model(
        architecture,
        vocabulary=words,
        extra={"tokenizer.ggml.merges": array(STRING, merges), **extra},
        tensors=[Tensor("token_embd.weight", (64, weights // 256))],
    ).build()


@pytest.fixture
def at(settings: PullSettings) -> LookSettings:
    """Look at that hub, from a machine with room for everything."""
    return LookSettings(reach=settings.reach, memory=10**12)


def seen(store: Store, name: str, at: LookSettings, **changed: Any) -> Look:
    return look(store, name, settings=replace(at, **changed))


def test_a_look_tells_what_a_pull_would_bring(
    store: Store, hub: Hub, at: LookSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.disk, "free", lambda path: 10**12)  # other programs write as well
    small = tiny_gguf.model(
        extra={"tokenizer.chat_template": TEMPLATE, "general.sampling.temp": Typed(FLOAT32, 0.5)}
    ).build()
    shards = tiny_gguf.shards(3)
    files: dict[str, bytes | File] = {"tiny-Q4_K_M.gguf": small, "mmproj-F16.gguf": tiny_gguf.projector()}
    files |= {f"Q8_0/tiny-Q8_0-{index:05}-of-00003.gguf": data for index, data in enumerate(shards, 1)}
    hub.add("org/tiny", files, card={"license": "apache-2.0"})
    before = contents(store.root)
    found = seen(store, "hf.co/org/tiny", at)
    assert (found.name, found.revision, found.licence) == ("hf.co/org/tiny:latest", COMMIT, "apache-2.0")
    assert found.why.startswith("the usual quantization, and it fits into ")
    assert (found.architecture, found.supported, found.problem) == ("llama", True, "")
    assert (found.parameters, found.context_length, found.chat_template) == (64 * 4 + 64, 512, True)
    assert found.capabilities == ("completion", "tools", "thinking", "vision")
    assert found.sampling == {"temperature": 0.5}
    assert {(each.tag, each.files, each.chosen) for each in found.builds} == {("Q4_K_M", 1, True), ("Q8_0", 3, False)}
    assert [each.size for each in found.builds] == sorted(each.size for each in found.builds)
    assert {each.fit.verdict for each in found.builds if each.fit} == {"yes"}
    assert [(each.title, each.role, each.place) for each in found.files] == [
        ("tiny-Q4_K_M.gguf", "weights", "missing"),
        ("mmproj-F16.gguf", "projector", "missing"),
    ]
    assert found.size == found.fetch == len(small) + len(tiny_gguf.projector())
    assert found.free == 10**12
    assert contents(store.root) == before, "looking changes nothing"
    split = seen(store, "hf.co/org/tiny:Q8_0", at)
    assert (split.why, split.parameters, len(split.files)) == ("", 3 * 64 * 4, 4)


def test_what_is_here_already_is_told_and_not_read_again(
    store: Store, hub: Hub, at: LookSettings, settings: PullSettings
) -> None:
    data, other = large(weights=1 << 20), large(weights=2 << 20, **{"general.version": "2"})
    hub.add("org/tiny", {"tiny-Q4_K_M.gguf": data, "tiny-Q8_0.gguf": File(other, cuts=[1_000_000] + [0] * 9)})
    pull(store, "hf.co/org/tiny:Q4_K_M", settings=settings)
    with pytest.raises(Unreachable):
        pull(store, "hf.co/org/tiny:Q8_0", settings=settings)
    before = hub.sent
    found = seen(store, "hf.co/org/tiny:Q4_K_M", at)
    assert hub.sent == before
    assert (found.stored, found.fetch, found.read, found.files[0].place) == (True, 0, 0, "stored")
    assert [(each.tag, each.stored) for each in found.builds] == [("Q4_K_M", True), ("Q8_0", False)]
    hub.repositories["org/tiny"].files["tiny-Q8_0.gguf"].cuts.clear()
    half = seen(store, "hf.co/org/tiny:Q8_0", at)
    assert (half.stored, half.files[0].place) == (False, "partial")
    assert 0 < half.fetch < len(other)
    assert half.supported


def test_a_header_of_150_thousand_tokens_costs_two_ranges(store: Store, hub: Hub, at: LookSettings) -> None:
    data = large()
    hub.add("org/big", {"big-Q8_0.gguf": data})
    found = seen(store, "hf.co/org/big:Q8_0", at)
    assert found.supported
    assert next(each.range for each in hub.downloads()) == "bytes=0-262143"
    assert len(hub.downloads()) == 2
    assert hub.sent == found.read
    header = len(data) - (64 << 20)
    assert header < found.read < 10_000_000


def test_an_unknown_architecture_costs_its_first_bytes(store: Store, hub: Hub, at: LookSettings) -> None:
    hub.add("org/new", {"new-Q8_0.gguf": large("quux9")})
    found = seen(store, "hf.co/org/new:Q8_0", at)
    assert (found.architecture, found.supported) == ("quux9", False)
    assert "architecture 'quux9' isn't known to llama-cpp-python" in found.problem
    assert hub.sent <= 262_144
    assert found.fetch > 64 << 20


def test_a_pull_refuses_it_before_ten_megabytes(store: Store, hub: Hub, settings: PullSettings) -> None:
    hub.add("org/new", {"new-Q8_0.gguf": large("quux9")})
    with pytest.raises(UnsupportedModel, match="quux9"):
        pull(store, "hf.co/org/new:Q8_0", settings=settings)
    assert hub.sent < 10_000_000
    assert store.list() == ()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"<html>" * 100, "not a GGUF file"),
        (b"GGUF" + bytes([9, 0, 0, 0]) + bytes(64), "version 9"),
        (tiny_gguf.model(extra={"llama.block_count": None}).build(), "block_count is missing"),
        (large(weights=1 << 20)[: 3 << 20], "more than the file has room for"),
    ],
    ids=["no gguf", "other version", "key missing", "cut short"],
)
def test_a_file_that_is_wrong_is_a_problem_and_no_error(
    store: Store, hub: Hub, at: LookSettings, data: bytes, problem: str
) -> None:
    hub.add("org/bad", {"bad-Q8_0.gguf": data})
    found = seen(store, "hf.co/org/bad:Q8_0", at)
    assert problem in found.problem
    assert not found.supported


def test_fitting_counts_the_cache(store: Store, hub: Hub, at: LookSettings) -> None:
    extra = {"llama.context_length": 131_072, "llama.attention.key_length": 65_536}
    weights = {"Q4_K_M": 1 << 20, "Q8_0": 3 << 20}
    hub.add(
        "org/tiny",
        {
            f"tiny-{label}.gguf": tiny_gguf.model(extra=extra, tensors=[Tensor("t", (size // 4,))]).build()
            for label, size in weights.items()
        },
    )
    per_token = 2 * 2 * (65_536 + 32) * 2  # layers, heads, keys and values, bytes
    process = 256 << 20

    def verdicts(memory: int) -> list[str]:
        found = seen(store, "hf.co/org/tiny:Q4_K_M", at, memory=memory, context=8192)
        return [each.fit.verdict if each.fit else "" for each in found.builds]

    whole, short = process + 8192 * per_token, process + 2048 * per_token
    assert verdicts(2 * whole) == ["yes", "yes"]
    assert verdicts(whole + (2 << 20)) == ["tight", "tight"]
    assert verdicts(short + (2 << 20)) == ["tight", "no"]
    assert verdicts(short) == ["no", "no"]
    found = seen(store, "hf.co/org/tiny:Q4_K_M", at, memory=short + (2 << 20))
    fits = [each.fit for each in found.builds if each.fit]
    assert fits[0].why.startswith("only with less context: 8192 tokens take ")
    assert fits[1].why.startswith("needs ")
    assert fits[1].needs - fits[0].needs == found.builds[1].size - found.builds[0].size


def test_without_a_tag_the_choice_is_told(store: Store, hub: Hub, settings: PullSettings) -> None:
    files = {"tiny-Q4_K_M.gguf": tiny_gguf.model(extra={"general.version": "4"}).build()}
    files["tiny-Q8_0.gguf"] = tiny_gguf.model(tensors=[Tensor("t", (1 << 20,))]).build()
    hub.add("org/tiny", files)
    told: list[Progress] = []
    pull(store, "hf.co/org/tiny", progress=told.append, settings=replace(settings, memory=10**9))
    size = len(files["tiny-Q4_K_M.gguf"]) / 1000
    assert f"chose Q4_K_M ({size:.1f} KB): the usual quantization, and it fits into 1.0 GB of memory" in [
        each.status for each in told
    ]
    told.clear()
    pull(store, "hf.co/org/tiny:Q8_0", progress=told.append, settings=settings)
    assert not any(each.status.startswith("chose") for each in told)


def test_a_name_without_a_tag_keeps_to_its_build(
    store: Store, hub: Hub, at: LookSettings, settings: PullSettings
) -> None:
    """Memory comes and goes; what `latest` means must not."""
    sizes = {"Q2_K": 1, "Q4_K_M": 2, "Q8_0": 4}
    files = {
        f"tiny-{label}.gguf": tiny_gguf.model(tensors=[Tensor("t", (size << 18,))]).build()
        for label, size in sizes.items()
    }
    hub.add("org/tiny", dict(files))
    poor, rich = 2 << 20, 1 << 30
    told: list[Progress] = []
    first = pull(store, "hf.co/org/tiny", settings=replace(settings, memory=poor))
    assert first.config.quantization == "Q2_K"
    again = pull(store, "hf.co/org/tiny", progress=told.append, settings=replace(settings, memory=rich))
    assert again == first
    assert any(each.status.endswith(": the same as was pulled before") for each in told)
    assert [each.tag for each in seen(store, "hf.co/org/tiny", at, memory=rich).builds if each.chosen] == ["Q2_K"]
    assert pull(store, "hf.co/org/tiny:Q8_0", settings=settings).config.quantization == "Q8_0"
    del hub.repositories["org/tiny"].files["tiny-Q2_K.gguf"]
    moved = pull(store, "hf.co/org/tiny", settings=replace(settings, memory=rich))
    assert moved.config.quantization == "Q4_K_M"


def test_errors_are_those_of_a_pull(store: Store, hub: Hub, at: LookSettings) -> None:
    hub.add("org/tiny", {"tiny-Q8_0.gguf": tiny_gguf.model().build()})
    hub.add("org/gated", {"tiny-Q8_0.gguf": tiny_gguf.model().build()}, gated=True)
    with pytest.raises(UnknownTag, match=r"Q8_0 \("):
        seen(store, "hf.co/org/tiny:Q2_K", at)
    with pytest.raises(Denied, match="accept its terms"):
        seen(store, "hf.co/org/gated:Q8_0", at)
    with pytest.raises(NotFound):
        seen(store, "hf.co/org/nothing", at)


def test_trouble_and_servers_without_ranges(store: Store, hub: Hub, at: LookSettings) -> None:
    hub.add("org/big", {"big-Q8_0.gguf": File(large(weights=8 << 20), ranges=False, statuses=[503])})
    assert seen(store, "hf.co/org/big:Q8_0", at).supported


def test_the_embedded_model(store: Store, hub: Hub, at: LookSettings) -> None:
    found = seen(store, "demo", at)
    assert (found.name, found.stored, found.fetch, found.supported) == ("demo:latest", True, 0, True)
    assert found.files[0].place == "stored"
    assert hub.requests == []


def test_the_hubs_cache_counts_as_here(store: Store, hub: Hub, at: LookSettings) -> None:
    data = tiny_gguf.model().build()
    hub.add("org/tiny", {"tiny-Q8_0.gguf": data})
    assert at.reach.hub_cache is not None
    blob = Path(at.reach.hub_cache, "models--org--tiny", "blobs", digest_of(data).hex)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(data)
    found = seen(store, "hf.co/org/tiny:Q8_0", at)
    assert (found.files[0].place, found.fetch, hub.downloads()) == ("cached", 0, [])
