"""Facts: what a header says, typed; the exact cost of the KV cache; and what the engine would abort on."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelfiles.embedded import demo_gguf
from registry.abilities import abilities
from registry.errors import BadGGUF, UnsupportedModel
from registry.gguf.architectures import ARCHITECTURES, CACHELESS, DEFAULT_INTERVAL, DEFAULT_WINDOW, HYBRID, SLIDING
from registry.gguf.cache import CacheLayer
from registry.gguf.check import check
from registry.gguf.facts import Facts, facts
from registry.gguf.reader import Header, read_header
from tests import tiny_gguf
from tests.tiny_gguf import FLOAT32, INT32, STRING, UINT16, Gguf, Tensor, Typed, array, model

Read = Callable[[bytes | Gguf], Header]


@pytest.fixture
def header(tmp_path: Path) -> Read:
    """Reads the header of a file made of some bytes."""

    def read(data: bytes | Gguf) -> Header:
        path = tmp_path / "file.gguf"
        path.write_bytes(data if isinstance(data, bytes) else data.build())
        return read_header(path)

    return read


def shown(header: Read, architecture: str = "llama", **extra: object) -> Facts:
    keys = {key.replace("__", "."): value for key, value in extra.items()}
    keys = {f"{architecture}{key[1:]}" if key.startswith("_.") else key: value for key, value in keys.items()}
    return facts(header(model(architecture, extra=keys)))


def test_the_demo_model() -> None:
    found = check(read_header(demo_gguf()))
    assert (found.architecture, found.kind, found.quantization) == ("llama", "model", "Q8_0")
    assert found.parameter_count == sum(each.count for each in read_header(demo_gguf()).tensors)
    assert found.context_length >= 1024
    assert found.vocabulary > 1000
    assert found.infill
    assert found.causal
    assert not found.recurrent
    assert "<|im_start|>" in found.chat_template
    layer = CacheLayer(found.heads_kv[0] * found.key_length, found.heads_kv[0] * found.value_length, 0)
    assert found.cache.layers == (layer,) * found.block_count
    assert found.kv_bytes_per_token() == found.block_count * 2 * (layer.keys + layer.values)
    assert set(abilities(found)) == {"completion", "tools", "thinking", "insert"}


def test_identity_sampling_and_templates(header: Read) -> None:
    found = facts(
        header(
            model(
                extra={
                    "general.size_label": "0.1M",
                    "general.sampling.temp": Typed(FLOAT32, 0.5),
                    "general.sampling.top_k": Typed(INT32, 20),
                    "tokenizer.chat_template": "{{ messages }}",
                    "tokenizer.chat_template.tool_use": "{{ tools }}",
                }
            )
        )
    )
    assert (found.name, found.size_label) == ("tiny", "0.1M")
    assert found.sampling == {"temp": 0.5, "top_k": 20}
    assert found.chat_template == "{{ messages }}"
    assert found.chat_templates == {"tool_use": "{{ tools }}"}
    assert (found.tokenizer, found.tokenizer_pre, found.vocabulary) == ("gpt2", "qwen2", 4)


def test_without_a_file_type_the_largest_share_names_the_quantization(header: Read) -> None:
    assert facts(header(model(extra={"general.file_type": None}))).quantization == "Q8_0"
    assert facts(header(model(extra={"general.file_type": 1024 + 7}))).quantization == "Q8_0"
    assert facts(header(model(extra={"general.file_type": 15}))).quantization == "Q4_K_M"


def test_grouped_heads_and_explicit_lengths(header: Read) -> None:
    found = shown(
        header,
        **{"_.attention.head_count": 8, "_.attention.head_count_kv": 2, "_.attention.key_length": 96,
           "_.attention.value_length": 128},
    )  # fmt: skip
    assert found.heads_kv == (2, 2)
    assert found.cache.layers == (CacheLayer(192, 256, 0),) * 2
    assert found.kv_bytes_per_token() == 2 * 2 * (192 + 256)
    # Q8_0 packs 32 values into 34 bytes.
    assert found.kv_bytes_per_token("q8_0", "f16") == 2 * (192 // 32 * 34 + 2 * 256)
    assert found.cache.bytes_for(100) == 100 * found.kv_bytes_per_token()


def test_heads_can_differ_by_layer(header: Read) -> None:
    found = shown(header, **{"_.attention.head_count_kv": array(INT32, [2, 0])})
    assert found.heads_kv == (2, 0)
    assert found.cache.layers == (CacheLayer(64, 64, 0),)


@pytest.mark.parametrize(
    ("architecture", "extra", "windows"),
    [
        ("gemma2", {".attention.sliding_window": 128}, [128, 0, 128, 0, 128, 0]),
        ("gemma2", {}, [4096, 0] * 3),
        ("gemma3", {".attention.sliding_window": 64}, [64] * 5 + [0]),
        ("gemma3", {}, [0] * 6),
        ("gemma3", {".attention.sliding_window": 64, ".attention.sliding_window_pattern": 3}, [64, 64, 0] * 2),
        ("gpt-oss", {".attention.sliding_window": 128}, [128, 0] * 3),
        ("cohere2moe", {".attention.sliding_window": 8}, [0, 8, 8, 8, 0, 8]),
        (
            "gemma4",
            {".attention.sliding_window": 8, ".attention.sliding_window_pattern": array(7, [1, 1, 0, 1, 1, 0])},
            [8, 8, 0] * 2,
        ),
        # Phi-3 says a window, and the engine ignores it.
        ("phi3", {".attention.sliding_window": 128}, [0] * 6),
        ("llama", {".attention.sliding_window": 128}, [0] * 6),
    ],
)
def test_windows_follow_the_engine(
    header: Read, architecture: str, extra: dict[str, object], windows: list[int]
) -> None:
    keys = {architecture + key: value for key, value in extra.items()}
    found = facts(header(model(architecture, layers=6, extra=keys)))
    assert [each.window for each in found.cache.layers] == windows


def test_a_window_caps_what_a_long_sequence_costs(header: Read) -> None:
    found = facts(header(model("gpt-oss", layers=2, extra={"gpt-oss.attention.sliding_window": 128})))
    per_layer = found.kv_bytes_per_token() // 2
    assert found.cache.bytes_for(10_000, batch=128) == (256 + 10_000) * per_layer
    assert found.cache.bytes_for(100) == 100 * found.kv_bytes_per_token()


def test_latent_attention_keeps_keys_only(header: Read) -> None:
    found = shown(
        header,
        "deepseek2",
        **{"_.attention.head_count": 16, "_.attention.head_count_kv": 1, "_.attention.key_length": 576,
           "_.attention.value_length": 512, "_.attention.key_length_mla": 192, "_.attention.value_length_mla": 128},
    )  # fmt: skip
    assert found.cache.layers == (CacheLayer(576, 0, 0),) * 2


def test_recurrent_models_hold_a_state_and_no_cache(header: Read) -> None:
    keys = {"_.ssm.conv_kernel": 4, "_.ssm.inner_size": 128, "_.ssm.state_size": 16, "_.ssm.group_count": 0}
    found = shown(header, "mamba", **keys)
    assert found.recurrent
    assert found.cache.layers == ()
    assert found.kv_bytes_per_token() == 0
    assert found.cache.state_bytes == 4 * 2 * (3 * 128 + 16 * 128)
    assert found.cache.bytes_for(10) == found.cache.bytes_for(10_000)


def test_hybrids_cache_only_where_they_attend(header: Read) -> None:
    keys = {"ssm.conv_kernel": 4, "ssm.inner_size": 64, "ssm.state_size": 8, "ssm.group_count": 1}
    found = facts(
        header(model("qwen3next", layers=8, extra={f"qwen3next.{key}": value for key, value in keys.items()}))
    )
    assert found.hybrid
    assert len(found.cache.layers) == 2
    assert found.cache.state == 6 * (3 * (64 + 2 * 8) + 8 * 64)
    granite = facts(
        header(model("granitehybrid", extra={"granitehybrid.attention.head_count_kv": array(INT32, [0, 2])}))
    )
    assert len(granite.cache.layers) == 1


def test_layers_that_only_draft_or_share_cost_nothing(header: Read) -> None:
    assert len(shown(header, "glm4moe", **{"_.nextn_predict_layers": 1}).cache.layers) == 1
    assert len(facts(header(model("gemma3n", layers=30))).cache.layers) == 20
    shared = {"gemma4.attention.sliding_window": 8, "gemma4.attention.shared_kv_layers": 2}
    assert len(facts(header(model("gemma4", layers=6, extra=shared))).cache.layers) == 4


def test_embedding_and_ranking_models(header: Read) -> None:
    bert = shown(header, "bert", **{"_.pooling_type": 2, "_.attention.causal": False})
    assert (bert.pooling, bert.causal, bert.cache.layers) == ("cls", False, ())
    assert abilities(bert) == ("embedding",)
    assert abilities(shown(header, "qwen3", **{"_.pooling_type": 3})) == ("embedding",)
    assert abilities(shown(header, "bert", **{"_.pooling_type": 4})) == ("rerank",)
    assert abilities(shown(header, "qwen3", **{"_.pooling_type": 0})) == ("completion",)


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{{ messages }}", ()),
        ("{% if tools %}x{% endif %}", ("tools",)),
        ("You have no tools.", ()),
        ("{# tools and <think> #}{{ messages }}", ()),
        ("{{ content.split('</think>')[-1] }}", ("thinking",)),
        ("{% if enable_thinking is defined %}x{% endif %}", ("thinking",)),
        ("{%- set ns.reasoning_content = x %}{{ tools | tojson }}", ("tools", "thinking")),
        ("{{ '<|channel|>analysis' }}", ("thinking",)),
        ("literally {{ '<think>' }}", ("thinking",)),
        ("<think> {{ messages }}", ("thinking",)),
    ],
)
def test_abilities_are_read_from_a_template(header: Read, template: str, found: tuple[str, ...]) -> None:
    facts_ = facts(header(model(extra={"tokenizer.chat_template": template})))
    assert abilities(facts_) == ("completion", *found)


@pytest.mark.parametrize("noise", ["{{", "{%", "{#", "{{ tools", "{#}", "{%}}", "{{}}", "tools ", "}}", "{"])
def test_a_hostile_template_is_scanned_in_one_go(header: Read, noise: str) -> None:
    template = noise * (256 * 1024 // len(noise))
    found = facts(header(model(extra={"tokenizer.chat_template": template})))
    started = time.perf_counter()
    abilities(found)
    abilities(found, template)
    assert time.perf_counter() - started < 1.0  # a scan that goes back takes minutes


def test_a_modelfiles_template_takes_the_headers_place(header: Read) -> None:
    found = facts(header(model(extra={"tokenizer.chat_template": "{{ tools }}"})))
    assert abilities(found, "{{ .Prompt }}") == ("completion",)
    assert abilities(found, "{% if enable_thinking %}{{ tools }}{% endif %}") == ("completion", "tools", "thinking")
    assert abilities(found, "{{ .Tools }}{{ .Thinking }}{{ .Suffix }}") == ("completion", "tools", "thinking", "insert")


def test_what_tells_a_family_is_read_where_no_template_is(header: Read) -> None:
    tokens = ["a", "<|im_start|>", "<|im_end|>", "[INST"]
    ends: dict[str, object] = {"tokenizer.ggml.eos_token_id": 0, "tokenizer.ggml.eot_token_id": 2}
    found = facts(header(model(vocabulary=tokens, extra=ends)))
    assert found.marks == {"<|im_start|>", "<|im_end|>"}
    assert set(found.ends) == {"a", "<|im_end|>"}
    templated = facts(header(model(vocabulary=tokens, extra=ends | {"tokenizer.chat_template": "x"})))
    assert (templated.marks, templated.ends) == (frozenset(), ())
    assert facts(header(model(vocabulary=tokens, extra={"tokenizer.ggml.eos_token_id": 99}))).ends == ()


def test_infill_by_keys_or_by_known_tokens(header: Read) -> None:
    tokens = ["a", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
    assert facts(header(model(vocabulary=tokens))).infill
    assert not facts(header(model(vocabulary=tokens[:3]))).infill
    keys = {f"tokenizer.ggml.fim_{part}_token_id": 1 for part in ("pre", "suf", "mid")}
    assert facts(header(model(extra=keys))).infill
    old = {f"tokenizer.ggml.{part}_token_id": 1 for part in ("prefix", "suffix", "middle")}
    assert facts(header(model(extra=old))).infill


def test_a_projector_gives_sight(header: Read) -> None:
    seen = facts(header(tiny_gguf.projector()))
    assert (seen.kind, seen.vision) == ("mmproj", True)
    assert "vision" in abilities(facts(header(model())), projector=seen)
    heard = facts(header(tiny_gguf.projector({"clip.has_vision_encoder": False, "clip.has_audio_encoder": True})))
    assert "vision" not in abilities(facts(header(model())), projector=heard)


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "no architecture": ({"general.architecture": None}, "general.architecture is missing"),
    "architecture as a number": ({"general.architecture": 5}, "general.architecture must be a string, not uint32"),
    "no layers": ({"llama.block_count": 0}, "must be at least 1"),
    "layers as text": ({"llama.block_count": "2"}, "must be a whole number, not string"),
    "too many layers": ({"llama.block_count": 513}, "512 are allowed"),
    "layers missing": ({"llama.block_count": None}, "llama.block_count is missing"),
    "context missing": ({"llama.context_length": None}, "llama.context_length is missing"),
    "a huge context": ({"llama.context_length": Typed(10, 2**63)}, "from 0 to"),
    "width missing": ({"llama.embedding_length": None}, "llama.embedding_length is missing"),
    "heads for other layers": ({"llama.attention.head_count_kv": array(INT32, [1, 2, 3])}, "or 2 of them"),
    "a negative head count": ({"llama.attention.head_count_kv": array(INT32, [1, -2])}, "from 0 to"),
    "drafting more layers than there are": ({"llama.nextn_predict_layers": 3}, "more than its 2 layers"),
    "too many experts": ({"llama.expert_count": 2000, "llama.expert_used_count": 2}, "1024 allowed"),
    "more experts used than there are": ({"llama.expert_count": 2, "llama.expert_used_count": 4}, "of 2 experts"),
    "no expert used": ({"llama.expert_count": 8}, "expert_used_count is 0"),
    "no tokenizer": ({"tokenizer.ggml.model": None}, "tokenizer.ggml.model is missing"),
    "tokens that aren't texts": ({"tokenizer.ggml.tokens": array(INT32, [1])}, "must hold texts"),
    "types of other tokens": ({"tokenizer.ggml.token_type": array(INT32, [1])}, "must hold 4 numbers"),
    "scores of other tokens": ({"tokenizer.ggml.scores": array(FLOAT32, [0.0])}, "must hold 4 numbers"),
    "scores as texts": ({"tokenizer.ggml.scores": array(STRING, ["a"] * 4)}, "must hold 4 numbers"),
    "a long token": ({"tokenizer.ggml.tokens": array(STRING, ["a" * 70_000, "b", "c", "d"])}, "65536 are allowed"),
    "a huge template": ({"tokenizer.chat_template": "x" * (256 * 1024 + 1)}, "262144 are allowed"),
    "a huge named template": ({"tokenizer.chat_template.a": "x" * (256 * 1024 + 1)}, "chat template 'a'"),
    "a template that is none": ({"tokenizer.chat_template": 1}, "must be a string"),
    "causal as a number": ({"llama.attention.causal": 1}, "must be a bool"),
    "a shard alone": ({"split.no": Typed(UINT16, 0), "split.count": Typed(UINT16, 3)}, "one of 3 shards"),
    "a shard number that is none": ({"split.count": "3"}, "split.count must be a whole number"),
}  # fmt: skip


@pytest.mark.parametrize(("extra", "complaint"), REFUSED.values(), ids=REFUSED.keys())
def test_what_the_engine_would_stumble_over_is_refused(header: Read, extra: dict[str, object], complaint: str) -> None:
    with pytest.raises(BadGGUF) as caught:
        check(header(model(extra=extra)))
    assert complaint in str(caught.value)


@pytest.mark.parametrize("token", ["<0x-1>", "<0x>", "<0xZZ>", "0A", "<0x0a>", "<0x0A>\n", ""])
def test_byte_tokens_must_look_like_bytes(header: Read, token: str) -> None:
    made = model(vocabulary=["<0x00>", token, "a"], extra={"tokenizer.ggml.token_type": array(INT32, [6, 6, 1])})
    with pytest.raises(BadGGUF, match="token 1 is marked as a byte"):
        check(header(made))
    check(header(model(vocabulary=["<0x00>", "<0x0A>"], extra={"tokenizer.ggml.token_type": array(INT32, [6, 6])})))


def test_a_vocabulary_alone_is_no_model(header: Read) -> None:
    with pytest.raises(BadGGUF, match="no tensors"):
        check(header(model(tensors=[])))


def test_a_model_that_ranks_has_a_head(header: Read) -> None:
    rank = {"bert.pooling_type": 4}
    with pytest.raises(BadGGUF, match="no head to rank with"):
        check(header(model("bert", extra=rank)))
    for name in ("cls.weight", "cls.output.weight"):
        tensors = [Tensor("token_embd.weight", (64, 4)), Tensor(name, (64, 1))]
        assert check(header(model("bert", extra=rank, tensors=tensors))).pooling == "rank"


def test_architectures_are_those_of_the_engine(header: Read) -> None:
    with pytest.raises(UnsupportedModel, match="'flying-carpet' isn't known to llama-cpp-python"):
        check(header(model("flying-carpet")))
    assert check(header(model("flying-carpet")), allowed={"flying-carpet"}).architecture == "flying-carpet"
    with pytest.raises(UnsupportedModel, match="type 'imatrix'"):
        check(header(model(extra={"general.type": "imatrix"})))


def test_the_tables_speak_of_known_architectures() -> None:
    for table in (SLIDING, HYBRID, CACHELESS, DEFAULT_INTERVAL, DEFAULT_WINDOW):
        assert set(table) <= ARCHITECTURES


@pytest.mark.parametrize(
    ("extra", "complaint"),
    [
        ({"clip.vision.patch_size": 0}, "must not be 0"),
        ({"clip.vision.image_size": 2**30, "clip.vision.patch_size": 1}, "too many patches"),
    ],
)
def test_projectors_that_overflow_are_refused(header: Read, extra: dict[str, object], complaint: str) -> None:
    with pytest.raises(BadGGUF, match=complaint):
        check(header(tiny_gguf.projector(extra)))


def test_shards_are_counted_together(tmp_path: Path) -> None:
    headers = []
    for index, data in enumerate(tiny_gguf.shards(3)):
        path = tmp_path / f"{index}.gguf"
        path.write_bytes(data)
        headers.append(read_header(path))
    found = check(headers[0], headers[1:])
    assert found.split_count == 3
    assert found.parameter_count == 3 * 64 * 4
    assert found.weights == 3 * 8 * 34
    for wrong, complaint in (
        (headers[:2], "2 are at hand"),
        ([headers[0], headers[2], headers[1]], "shard 2 of 3 is wanted here, and this is number 3"),
        ([headers[0], headers[1], headers[1]], "shard 3 of 3 is wanted"),
    ):
        with pytest.raises(BadGGUF, match=complaint):
            check(wrong[0], wrong[1:])


def test_shards_must_add_up(tmp_path: Path) -> None:
    first, second = (tmp_path / "1.gguf", tmp_path / "2.gguf")
    made = tiny_gguf.shards(2)
    first.write_bytes(made[0])
    split = {"split.no": Typed(UINT16, 1), "split.count": Typed(UINT16, 2)}
    second.write_bytes(Gguf(dict(split), [Tensor("a", (4,)), Tensor("b", (4,))]).build())
    with pytest.raises(BadGGUF, match="have 3 tensors together, and should have 2"):
        check(read_header(first), [read_header(second)])


def test_there_are_not_more_byte_tokens_than_bytes(tmp_path: Path) -> None:
    tokens = [f"<0x{index % 256:02X}>" for index in range(5000)]
    extra = {"tokenizer.ggml.token_type": tiny_gguf.array(tiny_gguf.INT32, [6] * len(tokens))}
    path = tmp_path / "file.gguf"
    path.write_bytes(tiny_gguf.model(vocabulary=tokens, extra=extra).build())
    with pytest.raises(BadGGUF, match="5000 tokens are marked as bytes"):
        check(read_header(path))
