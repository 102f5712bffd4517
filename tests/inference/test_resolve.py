"""What a request comes to: the model, its capabilities, its options, in that order of weight."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registry.store import Store
from runner.config import ModelSettings
from runner.conversation import Message, ToolChoice, ToolSpec
from runner.errors import InvalidRequest, LoadFailed, UnknownModel, Unsupported
from runner.inference.defaults import Defaults
from runner.inference.requests import Chat, Complete, Embed, Rerank
from runner.inference.resolve import Resolver
from runner.protocol import image_file
from runner.protocol.commands import ChatPrompt, Constraint, Generate, InfillPrompt, Rank
from runner.protocol.commands import Embed as EmbedCommand
from runner.scheduler.ticket import Want
from tests import tiny_gguf
from tests.engine.vision_models import png
from tests.inference.conftest import THINKING_CHAT, TOOLS_CHAT, Make
from tests.tiny_gguf import FLOAT32, STRING, UINT32, Tensor, Typed, array

HI = (Message("user", "hi"),)


def work(want: Want) -> Generate:
    assert isinstance(want.work, Generate)
    return want.work


def num_ctx(want: Want) -> int:
    return want.load.options.num_ctx


class TestOrder:
    def test_request_over_modelfile_over_author_over_table(self, resolver: Resolver, make: Make) -> None:
        author = {"general__sampling__top_k": 11, "general__sampling__temp": Typed(FLOAT32, 0.5)}
        make("m", "PARAMETER temperature 0.25\nPARAMETER top_p 0.5\n", **author)
        sampling = work(resolver.chat(Chat("m", HI, options={"top_p": 0.75}))).sampling
        assert (sampling.top_p, sampling.temperature, sampling.top_k, sampling.min_p) == (0.75, 0.25, 11, 0.0)

    def test_stop_strings_of_the_request_replace_the_modelfiles(self, resolver: Resolver, make: Make) -> None:
        make("m", 'PARAMETER stop "a"\nPARAMETER stop "b"\n')
        assert work(resolver.chat(Chat("m", HI))).sampling.stop == ("a", "b")
        assert work(resolver.chat(Chat("m", HI, options={"stop": ["c"]}))).sampling.stop == ("c",)

    def test_settings_weigh_less_than_the_modelfile_and_more_than_the_author(self, store: Store, make: Make) -> None:
        author = {"general__sampling__top_k": 11, "general__sampling__temp": Typed(FLOAT32, 0.5)}
        make("m", "PARAMETER temperature 0.25\n", **author)
        make("other", "PARAMETER temperature 0.25\n", **author)
        own = ModelSettings({"min_p": 0.3}, keep_alive=60.0)
        settings = {"temperature": 1.5, "top_k": 7, "min_p": 0.2, "num_ctx": 100}
        resolver = Resolver(store, defaults=Defaults(3000, 0, settings, {"M:latest": own}))
        want = resolver.chat(Chat("m", HI, options={"num_ctx": 200}))
        sampling = work(want).sampling
        assert (sampling.temperature, sampling.top_k, sampling.min_p) == (0.25, 7, 0.3)
        assert num_ctx(want) == 200
        assert want.keep_alive == 60.0
        assert resolver.chat(Chat("m", HI, keep_alive=5.0)).keep_alive == 5.0
        pinned = Resolver(store, defaults=Defaults(models={"m": ModelSettings(pin=True)}))
        assert pinned.chat(Chat("m", HI)).keep_alive == float("inf")
        want = resolver.chat(Chat("other", HI))
        assert (work(want).sampling.min_p, num_ctx(want), want.keep_alive) == (0.2, 100, None)
        assert want.named == frozenset(), "what is configured is no reason to load a model anew"


class TestContextLength:
    def test_the_models_own_up_to_8192(self, resolver: Resolver, make: Make) -> None:
        make("short")
        make("long", llama__context_length=Typed(UINT32, 131072))
        assert num_ctx(resolver.chat(Chat("short", HI))) == 512
        assert num_ctx(resolver.chat(Chat("long", HI))) == 8192

    def test_request_over_modelfile_over_setting(self, store: Store, make: Make) -> None:
        resolver = Resolver(store, context_length=3000, num_parallel=0)
        make("plain", llama__context_length=Typed(UINT32, 131072))
        make("own", "PARAMETER num_ctx 2000\n", llama__context_length=Typed(UINT32, 131072))
        assert num_ctx(resolver.chat(Chat("plain", HI))) == 3000
        assert num_ctx(resolver.chat(Chat("own", HI))) == 2000
        want = resolver.chat(Chat("own", HI, options={"num_ctx": 20000}))
        assert num_ctx(want) == work(want).context_length == 20000
        assert want.named == {"num_ctx"}

    def test_never_beyond_what_the_model_was_made_for(self, resolver: Resolver, make: Make) -> None:
        make("m", "PARAMETER num_ctx 4096\n")
        assert num_ctx(resolver.chat(Chat("m", HI))) == 512
        assert resolver.chat(Chat("m", HI)).words == (
            "context 512: the 4096 of its Modelfile are more than the model was made for",
        )
        with pytest.raises(InvalidRequest, match="num_ctx 99999 is beyond the 512 tokens") as refused:
            resolver.chat(Chat("m", HI, options={"num_ctx": 99999}))
        assert refused.value.field == "options.num_ctx"

    def test_one_that_nobody_named_may_be_longer(self, resolver: Resolver, make: Make) -> None:
        make("m", llama__context_length=Typed(UINT32, 131072))
        want = resolver.chat(Chat("m", HI))
        assert (want.automatic, work(want).context_length) == (True, None)
        shorter = msgspec.structs.replace(want.load, options=msgspec.structs.replace(want.load.options, num_ctx=512))
        assert not want.is_served_by(want.digest, shorter)  # whoever loaded it may have asked for little
        longer = msgspec.structs.replace(want.load, options=msgspec.structs.replace(want.load.options, num_ctx=65536))
        assert want.is_served_by(want.digest, longer)
        asked = resolver.chat(Chat("m", HI, options={"num_ctx": 1024}))
        assert (asked.automatic, work(asked).context_length) == (False, 1024)
        assert not asked.is_served_by(asked.digest, shorter)


class TestNames:
    def test_unknown_with_near_ones(self, resolver: Resolver, make: Make) -> None:
        make("qwen3")
        with pytest.raises(UnknownModel, match='model "qwen4" not found, try pulling it first') as caught:
            resolver.chat(Chat("qwen4", HI))
        assert caught.value.near == ("qwen3:latest",)

    def test_no_name_at_all(self, resolver: Resolver) -> None:
        with pytest.raises(InvalidRequest) as caught:
            resolver.chat(Chat("a b", HI))
        assert caught.value.field == "model"

    def test_spellings_of_one_name_share_a_worker(self, resolver: Resolver, make: Make) -> None:
        make("Model")
        names = ("Model", "model:latest", "library/MODEL")
        assert {resolver.chat(Chat(name, HI)).model for name in names} == {"Model:latest"}

    def test_a_broken_model_says_what_is_broken(self, resolver: Resolver, make: Make) -> None:
        stored = make("m")
        os.remove(stored.weights[0])
        with pytest.raises(LoadFailed, match="missing"):
            resolver.chat(Chat("m", HI))

    def test_changed_weights_never_reach_native_code(self, resolver: Resolver, make: Make) -> None:
        stored = make("m")
        path = stored.weights[0]
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        os.chmod(path, 0o600)
        path.write_bytes(data)
        with pytest.raises(LoadFailed, match="other bytes"):
            resolver.chat(Chat("m", HI))


class TestCapabilities:
    def test_an_embedding_model_only_embeds(self, resolver: Resolver, make: Make) -> None:
        make("bert", architecture="bert", template=None, bert__pooling_type=Typed(UINT32, 1))
        with pytest.raises(Unsupported, match='"bert" does not support chat'):
            resolver.chat(Chat("bert", HI))
        with pytest.raises(Unsupported, match='"bert" does not support generate'):
            resolver.complete(Complete("bert", "hi"))
        want = resolver.embed(Embed("bert", ("hi",)))
        assert want.load.embedding
        assert isinstance(want.work, EmbedCommand)

    def test_a_decoder_embeds_too(self, resolver: Resolver, make: Make) -> None:
        make("m")
        assert not resolver.embed(Embed("m", ("hi",))).load.embedding

    def test_a_ranking_model_does_not(self, resolver: Resolver, make: Make) -> None:
        head = [Tensor("token_embd.weight", (64, 4)), Tensor("cls.output.weight", (64, 1))]
        make("rank", architecture="bert", template=None, tensors=head, bert__pooling_type=Typed(UINT32, 4))
        with pytest.raises(Unsupported, match="does not support embedding; it ranks documents"):
            resolver.embed(Embed("rank", ("hi",)))
        with pytest.raises(Unsupported, match="does not support chat; it ranks documents, and takes only /v1/rerank"):
            resolver.chat(Chat("rank", HI))
        want = resolver.rerank(Rerank("rank", "q", ("one", "two")))
        assert want.load.embedding
        assert want.work == Rank(0, "q", ("one", "two"))

    def test_only_a_ranking_model_ranks(self, resolver: Resolver, make: Make) -> None:
        make("m")
        make("bert", architecture="bert", template=None, bert__pooling_type=Typed(UINT32, 1))
        for name in ("m", "bert"):
            with pytest.raises(Unsupported, match=f'"{name}" does not support rerank: it is no model') as caught:
                resolver.rerank(Rerank(name, "q", ("d",)))
            assert caught.value.field == "model"

    def test_thinking(self, resolver: Resolver, make: Make) -> None:
        make("plain")
        make("thinker", template=THINKING_CHAT)
        for think in (True, "high"):
            with pytest.raises(Unsupported, match='"plain" does not support thinking; thinker:latest can') as caught:
                resolver.chat(Chat("plain", HI, think=think))  # type: ignore[arg-type]
            assert caught.value.field == "think"
        resolver.chat(Chat("plain", HI, think=False))
        prompt = work(resolver.chat(Chat("thinker", HI, think="low"))).prompt
        assert isinstance(prompt, ChatPrompt)
        assert prompt.think == "low"

    def test_images(self, resolver: Resolver, make: Make) -> None:
        make("blind")
        seen = (Message("user", "what is this?", images=(b"png",)),)
        with pytest.raises(Unsupported, match='"blind" does not support vision') as caught:
            resolver.chat(Chat("blind", seen))
        assert caught.value.field == "messages"
        with pytest.raises(Unsupported) as caught:
            resolver.complete(Complete("blind", "what?", images=(b"png",)))
        assert caught.value.field == "images"

    def test_images_are_looked_at_before_the_model_is(self, resolver: Resolver, make: Make, tmp_path: Path) -> None:
        (tmp_path / "mmproj.gguf").write_bytes(tiny_gguf.projector())
        made = make("seeing", "FROM ./mmproj.gguf")
        want = resolver.chat(Chat("seeing", (*HI, Message("user", "and this?", images=(png(1), png(2))))))
        assert want.load.projector == str(made.projector)
        assert want.footprint.projector == len(tiny_gguf.projector())
        assert want.footprint.weights + want.footprint.projector == made.size
        prompt = work(want).prompt
        assert isinstance(prompt, ChatPrompt)
        assert prompt.image_fields == tuple(f"messages[{len(HI)}].images[{index}]" for index in range(2))
        shown = work(resolver.complete(Complete("seeing", "what?", images=(png(1),)))).prompt
        assert isinstance(shown, ChatPrompt)
        assert shown.image_fields == ("images[0]",)
        for wrong, field in [
            (Complete("seeing", "what?", images=(png(1), b"no")), "images[1]"),
            (Complete("seeing", "what?", images=(png(1),), raw=True), "images"),
            (Complete("seeing", "what?", images=(png(1),), suffix="."), "images"),
            (Complete("seeing", "what?", images=(png(1),) * (image_file.MOST + 1)), "images"),
        ]:
            with pytest.raises(InvalidRequest) as caught:
                resolver.complete(wrong)
            assert caught.value.field == field

    def test_tools(self, resolver: Resolver, make: Make) -> None:
        make("m")
        with pytest.raises(Unsupported) as caught:
            resolver.chat(Chat("m", HI, tools=(ToolSpec("f"),)))
        assert caught.value.field == "tools"

    @pytest.mark.parametrize(
        ("choice", "more", "words"),
        [
            (ToolChoice("required"), {"tools": ()}, "there are no tools"),
            (ToolChoice("required", "g"), {}, '"g", which is none of the tools'),
            (ToolChoice("required"), {"constraint": Constraint("json")}, "keep to a form and be a call"),
        ],
    )
    def test_a_call_that_cannot_be_demanded(
        self, resolver: Resolver, make: Make, choice: ToolChoice, more: dict[str, Any], words: str
    ) -> None:
        make("m", template=TOOLS_CHAT)
        with pytest.raises(InvalidRequest, match=words) as caught:
            resolver.chat(Chat("m", HI, **{"tools": (ToolSpec("f"),), "tool_choice": choice, **more}))
        assert caught.value.field == "tool_choice"

    def test_tools_go_along_but_not_when_none_may_be_called(self, resolver: Resolver, make: Make) -> None:
        make("m", template=TOOLS_CHAT)
        make("without")
        for choice, model, there in ((ToolChoice(), "m", True), (ToolChoice("none"), "without", False)):
            work = resolver.chat(Chat(model, HI, tools=(ToolSpec("f"),), tool_choice=choice)).work
            assert isinstance(work, Generate)
            assert isinstance(work.prompt, ChatPrompt)
            assert bool(work.prompt.tools) == there

    def test_infill(self, resolver: Resolver, make: Make) -> None:
        make("m")
        with pytest.raises(Unsupported, match="does not support insert; no model that is stored can"):
            resolver.complete(Complete("m", "a", suffix="b"))
        ids = {f"tokenizer__ggml__fim_{part}_token_id": Typed(UINT32, 1) for part in ("pre", "suf", "mid")}
        make("coder", **ids)
        resolver.complete(Complete("coder", "a", suffix="b"))


def usual(want: Want) -> str | None:
    """The model's template, as the request takes it along."""
    prompt = work(want).prompt
    assert isinstance(prompt, ChatPrompt | InfillPrompt)
    return prompt.usual


class TestTemplates:
    GO = 'TEMPLATE "{{ .Prompt }}"\n'

    def test_jinja_in_the_modelfile_replaces_the_ggufs(self, resolver: Resolver, make: Make) -> None:
        make("m", 'TEMPLATE """{% for m in messages %}{{ m.content }}{% endfor %}"""\n')
        assert usual(resolver.chat(Chat("m", HI))) == "{% for m in messages %}{{ m.content }}{% endfor %}"

    def test_ollamas_does_too(self, resolver: Resolver, make: Make) -> None:
        make("m", self.GO)
        make("bare", self.GO, template=None)
        for name in ("m", "bare"):
            assert usual(resolver.chat(Chat(name, HI))) == "{{ .Prompt }}"

    def test_the_ggufs_own_stays_where_it_is(self, resolver: Resolver, make: Make) -> None:
        make("m")
        assert usual(resolver.chat(Chat("m", HI))) is None

    def test_a_known_familys_is_sent_along(self, resolver: Resolver, make: Make) -> None:
        marks = array(STRING, ["<|im_start|>", "<|im_end|>", "a", "b"])
        make("m", template=None, tokenizer__ggml__tokens=marks, tokenizer__ggml__eos_token_id=Typed(UINT32, 1))
        assert "<|im_start|>" in (usual(resolver.chat(Chat("m", HI))) or "")

    def test_a_go_template_fills_gaps(self, resolver: Resolver, make: Make) -> None:
        make("m", 'TEMPLATE "{{ .Prompt }}_{{ .Suffix }}"\n')
        assert usual(resolver.complete(Complete("m", "a", suffix="b"))) == "{{ .Prompt }}_{{ .Suffix }}"
        make("other")
        resolver.complete(Complete("other", "a", suffix="b", template="{{ .Suffix }}"))

    def test_none_at_all_is_left_to_the_worker(self, resolver: Resolver, make: Make) -> None:
        make("base", template=None)
        assert usual(resolver.complete(Complete("base", "hi"))) is None


def test_the_footprint_is_the_headers(resolver: Resolver, make: Make) -> None:
    stored = make("m")
    footprint = resolver.chat(Chat("m", HI)).footprint
    assert footprint.weights == stored.size
    assert footprint.kv == 2 * 2 * 64 * 2  # keys and values, layers, width, bytes
    assert footprint.vocabulary == 4
    assert footprint.width == 64


def test_what_the_want_carries(resolver: Resolver, make: Make) -> None:
    stored = make("m", 'SYSTEM "be kind"\nMESSAGE user q\nMESSAGE assistant a\n')
    want = resolver.chat(Chat("m", HI, keep_alive=7.0, truncate=True, options={"num_gpu": 0, "logit_bias": {"1": 2}}))
    assert (want.model, want.digest, want.keep_alive) == ("m:latest", str(stored.digest), 7.0)
    assert want.load.weights == tuple(str(path) for path in stored.weights)
    assert want.load.options.num_gpu == 0
    assert want.load.options.num_parallel == 2
    assert want.named == {"num_gpu"}
    assert work(want).truncate
    assert work(want).sampling.logit_bias == {1: 2.0}
    prompt = work(want).prompt
    assert isinstance(prompt, ChatPrompt)
    assert [message.content for message in prompt.messages] == ["be kind", "q", "a", "hi"]


def test_preloading(resolver: Resolver, make: Make) -> None:
    make("m")
    want = resolver.load("m", {"num_ctx": 100}, None)
    assert want.work is None
    assert num_ctx(want) == 100


class TestDraftModel:
    def test_the_modelfiles_goes_along_and_is_counted(self, resolver: Resolver, make: Make) -> None:
        small = make("small")
        stored = make("m", "DRAFT small\n")
        want = resolver.chat(Chat("m", HI))
        assert want.load.draft == tuple(str(path) for path in stored.draft) == tuple(map(str, small.weights))
        assert want.footprint.draft is not None
        assert want.footprint.weights + want.footprint.draft.weights == stored.size > small.size
        assert want.footprint.draft.kv == resolver.chat(Chat("small", HI)).footprint.kv

    def test_one_that_the_request_names_takes_its_place(self, resolver: Resolver, make: Make) -> None:
        other, stored = make("other"), make("m")
        assert resolver.chat(Chat("m", HI)).load.draft == ()
        want = resolver.chat(Chat("m", HI, options={"draft_model": "other"}))
        assert want.load.draft == tuple(map(str, other.weights))
        assert want.named == {"draft_model"}
        assert want.footprint.draft is not None
        assert want.footprint.weights == stored.size
        assert want.footprint.draft.weights == other.weights[0].stat().st_size

    def test_a_parameter_of_the_modelfile_names_one_too(self, resolver: Resolver, make: Make) -> None:
        other = make("other")
        make("m", "PARAMETER draft_model other\n")
        assert resolver.chat(Chat("m", HI)).load.draft == tuple(map(str, other.weights))

    @pytest.mark.parametrize("name", ["missing", "a b", "../x", "other:tag:tag"])
    def test_one_that_is_not_there_is_the_requests_mistake(self, resolver: Resolver, make: Make, name: str) -> None:
        make("m")
        with pytest.raises(InvalidRequest, match="draft_model") as refusal:
            resolver.chat(Chat("m", HI, options={"draft_model": name}))
        assert refusal.value.field == "options.draft_model"

    def test_asking_for_another_is_reason_enough_to_load_anew(self, resolver: Resolver, make: Make) -> None:
        make("other")
        make("m")
        plain, drafting = (resolver.chat(Chat("m", HI, options=o)) for o in ({}, {"draft_model": "other"}))
        assert not drafting.is_served_by(plain.digest, plain.load)
        assert drafting.is_served_by(drafting.digest, drafting.load)
        assert plain.is_served_by(drafting.digest, drafting.load)  # who named none is served by any


def test_an_account_tells_what_the_settings_say(store: Store, make: Make) -> None:
    make("m", "PARAMETER top_k 9")
    settings = Defaults(
        options={"temperature": 0.0, "num_batch": 64}, models={"m": ModelSettings(options={"num_gpu": 0, "top_k": 7})}
    )
    account = Resolver(store, defaults=settings).account("m", {"num_batch": 32})
    told = {each.name: (each.value, each.origin) for each in account.options}
    assert told["temperature"] == (0.0, "config")
    assert told["num_gpu"] == (0, "config")
    assert told["top_k"] == (9, "modelfile")
    assert told["num_batch"] == (32, "request")
    assert told["top_p"][1] == "default"
