"""The official clients of both dialects, unmodified: what they send is taken, and what they get they understand."""

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest

from runner.inference.requests import Chat
from tests.api.fakes import CALLS, ECHO, HAVE, TEXT, THOUGHT
from tests.api.serving import Served

WHOLE = "".join(TEXT)
HI = [{"role": "user", "content": "Hi"}]
WHERE = {"place": "Zürich 👋\u2028", "days": 2}
TOOL: Any = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
def ai(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=2) as client:
        yield client


@pytest.fixture
def native(server: Served) -> Iterator[ollama.Client]:
    with ollama.Client(host=server.url) as client:
        yield client


class TestOpenAI:
    """openai for Python."""

    def test_a_chat(self, ai: openai.OpenAI) -> None:
        answer = ai.chat.completions.create(model="demo", messages=HI, temperature=0, max_tokens=5, seed=1)
        assert answer.choices[0].message.content == WHOLE
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        assert answer.usage.prompt_tokens_details.cached_tokens == 3

    def test_a_chat_as_a_stream(self, ai: openai.OpenAI) -> None:
        stream = ai.chat.completions.create(
            model="demo", messages=HI, stream=True, stream_options={"include_usage": True}, reasoning_effort="low"
        )
        text, thought, usage, reasons = "", "", None, []
        for chunk in stream:
            usage = chunk.usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                thought += getattr(choice.delta, "reasoning_content", None) or ""
                reasons.append(choice.finish_reason)
        assert (text, thought) == (WHOLE, "".join(THOUGHT))
        assert usage is not None
        assert usage.total_tokens == 7 + len(TEXT)
        assert [reason for reason in reasons if reason] == ["stop"]

    def test_the_streaming_helper(self, ai: openai.OpenAI) -> None:
        with ai.chat.completions.stream(model="demo", messages=HI) as stream:
            stream.until_done()
            assert stream.get_final_completion().choices[0].message.content == WHOLE

    def test_completions(self, ai: openai.OpenAI) -> None:
        assert ai.completions.create(model="demo", prompt="x").choices[0].text == WHOLE
        pieces = ai.completions.create(model="demo", prompt=["x", "y"], stream=True)
        texts = ["", ""]
        for piece in pieces:
            texts[piece.choices[0].index] += piece.choices[0].text
        assert texts == [WHOLE, WHOLE]

    def test_choices(self, ai: openai.OpenAI) -> None:
        answer = ai.chat.completions.create(model="demo", messages=HI, n=3)
        assert [(choice.index, choice.message.content) for choice in answer.choices] == [(n, WHOLE) for n in range(3)]
        texts, reasons = ["", "", ""], ["", "", ""]
        for chunk in ai.chat.completions.create(model="demo", messages=HI, n=3, stream=True):
            (choice,) = chunk.choices
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] += choice.finish_reason or ""
        assert (texts, reasons) == ([WHOLE] * 3, ["stop", "length", "stop"])

    def test_log_probabilities(self, ai: openai.OpenAI) -> None:
        (choice,) = ai.chat.completions.create(model="demo", messages=HI, logprobs=True, top_logprobs=2).choices
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        data = b"".join(bytes(each.bytes or ()) for each in choice.logprobs.content)
        assert data.decode() == choice.message.content
        assert {len(each.top_logprobs) for each in choice.logprobs.content} == {2}
        with ai.chat.completions.stream(model="demo", messages=HI, logprobs=True) as stream:
            stream.until_done()
            (final,) = stream.get_final_completion().choices
        assert final.logprobs is not None
        assert final.logprobs.content is not None
        assert [each.token for each in final.logprobs.content] == [each.token for each in choice.logprobs.content]

    def test_an_echo_with_log_probabilities(self, ai: openai.OpenAI) -> None:
        asked = {"model": "demo", "prompt": [[1, 2]], "max_tokens": 1, "logprobs": 1, "echo": True, "temperature": 0}
        (choice,) = ai.completions.create(**asked).choices  # type: ignore[call-overload]
        assert choice.text == ECHO + WHOLE
        assert choice.logprobs is not None
        assert choice.logprobs.token_logprobs[0] is None
        assert choice.logprobs.text_offset[:3] == [0, 2, 4]

    def test_tool_calls(self, ai: openai.OpenAI) -> None:
        """One round: the calls, as the client understands them, go back with what came of them."""
        message = ai.chat.completions.create(model="callonly", messages=HI, tools=[TOOL]).choices[0].message
        assert message.content is None
        made = [call for call in message.tool_calls or () if call.type == "function"]
        assert [(call.function.name, json.loads(call.function.arguments)) for call in made] == [
            ("look_up", WHERE),
            ("now", {}),
        ]
        results: Any = [{"role": "tool", "tool_call_id": call.id, "content": "sun"} for call in made]
        asked: Any = [*HI, message, *results]
        assert (
            ai.chat.completions.create(model="demo", messages=asked, tools=[TOOL]).choices[0].message.content == WHOLE
        )

    def test_tool_calls_as_a_stream(self, ai: openai.OpenAI) -> None:
        with ai.chat.completions.stream(model="caller", messages=HI, tools=[TOOL], tool_choice="required") as stream:
            kinds = [event.type for event in stream]
            (choice,) = stream.get_final_completion().choices
        assert kinds.count("tool_calls.function.arguments.done") == 2
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content == WHOLE
        assert [(call.id, json.loads(call.function.arguments)) for call in choice.message.tool_calls or ()] == [
            (CALLS[0].id, WHERE),
            (CALLS[3].id, {}),
        ]

    @pytest.mark.parametrize("form", [None, "float", "base64"])
    def test_embeddings(self, ai: openai.OpenAI, form: str | None) -> None:
        extra = {"encoding_format": form} if form else {}
        answer = ai.embeddings.create(model="embedder", input=["a", "b"], **extra)  # type: ignore[arg-type]
        if form != "base64":
            assert [each.embedding for each in answer.data] == [[0.0, 0.125, 0.25, 0.375], [1.0, 1.125, 1.25, 1.375]]
        assert answer.usage.prompt_tokens == 10

    def test_models(self, ai: openai.OpenAI) -> None:
        assert [model.id for model in ai.models.list()] == ["demo:latest", "embedder:latest", "hf.co/org/repo:Q4_K_M"]
        assert ai.models.retrieve("demo").owned_by == "library"

    def test_extra_fields(self, ai: openai.OpenAI, server: Served) -> None:
        ai.chat.completions.create(model="demo", messages=HI, extra_body={"top_k": 5, "keep_alive": -1})
        (seen,) = server.service.seen
        assert seen.options == {"top_k": 5}
        assert seen.keep_alive == float("inf")

    @pytest.mark.parametrize(
        ("model", "error", "tries"),
        [
            ("missing", openai.NotFoundError, 1),
            ("overflow", openai.BadRequestError, 1),
            ("huge", openai.InternalServerError, 1),
            ("broken", openai.InternalServerError, 1),
            ("crash", openai.InternalServerError, 3),
        ],
    )
    def test_failures_are_tried_again_only_where_that_may_help(
        self, ai: openai.OpenAI, server: Served, model: str, error: type[openai.APIStatusError], tries: int
    ) -> None:
        with pytest.raises(error) as caught:
            ai.chat.completions.create(model=model, messages=HI)
        assert len(server.service.seen) == tries
        assert caught.value.request_id == caught.value.response.headers["x-request-id"]

    def test_the_code_that_programs_switch_on(self, ai: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            ai.chat.completions.create(model="overflow", messages=HI)
        assert caught.value.code == "context_length_exceeded"

    def test_a_failure_in_mid_stream(self, ai: openai.OpenAI) -> None:
        stream = iter(ai.chat.completions.create(model="late", messages=HI, stream=True))
        assert [next(stream).choices[0].delta.content for _ in range(3)] == ["", *TEXT[:2]]
        with pytest.raises(openai.APIError, match="signal 9"):
            next(stream)

    def test_a_wrong_key(self) -> None:
        with (
            Served(api_key="sk-right") as server,
            openai.OpenAI(base_url=f"{server.url}/v1", api_key="sk-wrong") as wrong,
            openai.OpenAI(base_url=f"{server.url}/v1", api_key="sk-right") as right,
        ):
            with pytest.raises(openai.AuthenticationError) as caught:
                wrong.models.list()
            assert caught.value.code == "invalid_api_key"
            assert right.models.list().data

    def test_leaving_a_stream(self, ai: openai.OpenAI, server: Served) -> None:
        stream = ai.chat.completions.create(model="hangs", messages=HI, stream=True)
        next(iter(stream))
        stream.close()
        assert server.service.ended.wait(20)


class TestOllama:
    """ollama for Python."""

    def test_a_chat(self, native: ollama.Client) -> None:
        answer = native.chat("demo", HI, think=True)
        assert answer.message.content == WHOLE
        assert answer.message.thinking == "".join(THOUGHT)
        assert answer.done_reason == "stop"
        assert answer.eval_duration == 1_500_000

    def test_a_chat_as_a_stream(self, native: ollama.Client) -> None:
        parts = list(native.chat("demo", HI, stream=True, options={"temperature": 0}, keep_alive="5m"))
        assert "".join(part.message.content or "" for part in parts) == WHOLE
        assert [part.done for part in parts] == [False] * len(TEXT) + [True]

    def test_tool_calls(self, native: ollama.Client, server: Served) -> None:
        """One round, streamed: the message goes back as the client made it, with what came of its calls."""

        def look_up(place: str, days: int) -> str:
            """Tell the weather.

            Args:
              place: where
              days: how many
            """
            return f"sun in {place} for {days} days"

        calls = [
            call
            for part in native.chat("caller", HI, tools=[look_up], stream=True)
            for call in part.message.tool_calls or ()
        ]
        assert [(call.function.name, call.function.arguments) for call in calls] == [("look_up", WHERE), ("now", {})]
        answer = native.chat("callonly", HI, tools=[look_up])
        assert answer.done_reason == "stop"
        assert answer.message.tool_calls == calls
        result = {"role": "tool", "tool_name": "look_up", "content": look_up(**calls[0].function.arguments)}
        assert native.chat("demo", [*HI, answer.message, result], tools=[look_up]).message.content == WHOLE
        seen = server.service.seen[-1]
        assert isinstance(seen, Chat)
        assert seen.tools[0].parameters["required"] == ["place", "days"]
        assert seen.messages[1].tool_calls[0].arguments == WHERE
        assert seen.messages[2].tool_name == "look_up"

    def test_generate_goes_on(self, native: ollama.Client, server: Served) -> None:
        first = native.generate("demo", "I am Ann.")
        assert native.generate("demo", "Who am I?", context=first.context).response == WHOLE
        seen = server.service.seen[-1]
        assert isinstance(seen, Chat)
        assert [message.content for message in seen.messages] == ["I am Ann.", WHOLE, "Who am I?"]

    def test_generate(self, native: ollama.Client, server: Served) -> None:
        assert native.generate("demo", "Hi", suffix="", images=[b"\x89PNG"]).response == WHOLE
        assert "".join(part.response for part in native.generate("demo", "Hi", stream=True)) == WHOLE
        (first, _) = server.service.seen
        assert first.images == (b"\x89PNG",)  # type: ignore[union-attr]

    def test_log_probabilities(self, native: ollama.Client) -> None:
        whole = native.generate("demo", "Hi", logprobs=True, top_logprobs=2).logprobs
        assert whole is not None
        assert {len(each.top_logprobs or ()) for each in whole} == {2}
        streamed = [
            each for part in native.chat("demo", HI, logprobs=True, stream=True) for each in part.logprobs or ()
        ]
        assert [(each.token, each.logprob) for each in streamed] == [(each.token, each.logprob) for each in whole]

    def test_load_and_unload(self, native: ollama.Client, server: Served) -> None:
        assert native.generate("demo", keep_alive=-1).done_reason == "load"
        assert native.generate("demo", keep_alive=0).done_reason == "unload"
        assert (len(server.service.loaded), server.service.unloaded) == (1, ["demo:latest"])

    def test_embed(self, native: ollama.Client) -> None:
        assert native.embed("embedder", ["a", "b"]).embeddings[1][0] == 1.0
        assert native.embeddings("embedder", "a").embedding == [0.0, 0.125, 0.25, 0.375]

    def test_list_and_show(self, native: ollama.Client) -> None:
        assert native.list().models[0].model == "demo:latest"
        shown = native.show("demo")
        assert shown.modelinfo is not None
        assert shown.modelinfo["llama.context_length"] == 4096
        assert shown.capabilities == ["completion", "thinking"]
        assert shown.details is not None
        assert shown.details.quantization_level == "Q8_0"

    def test_ps(self, native: ollama.Client) -> None:
        pinned, soon, *waiting = native.ps().models
        assert {each.name for each in waiting} == {"pirate:latest", "big:latest", "bad:latest"}
        assert pinned.expires_at is not None
        assert soon.expires_at is not None
        assert pinned.expires_at > soon.expires_at
        assert soon.context_length == 4096

    def test_copy_and_delete(self, native: ollama.Client) -> None:
        assert native.copy("demo", "mine").status == "success"
        assert native.delete("mine").status == "success"
        with pytest.raises(ollama.ResponseError, match="model 'mine' not found") as caught:
            native.delete("mine")
        assert caught.value.status_code == 404

    def test_pull(self, native: ollama.Client) -> None:
        steps = list(native.pull("x", stream=True))
        assert [step.completed for step in steps] == [None, 0, 50, 100, None]
        assert steps[-1].status == "success"
        assert native.pull("x").status == "success"
        with pytest.raises(ollama.ResponseError, match=r"huggingface\.co was lost"):
            list(native.pull("halfway", stream=True))

    def test_create_from_an_upload(self, native: ollama.Client, server: Served, tmp_path: Path) -> None:
        file = tmp_path / "m.gguf"
        file.write_bytes(HAVE + b" and more")
        digest = native.create_blob(file)
        assert digest == "sha256:" + sha256(HAVE + b" and more").hexdigest()
        steps = native.create("mine", files={"m.gguf": digest}, parameters={"temperature": 0.1}, stream=True)
        assert [step.status for step in steps] == ["writing manifest", "success"]
        ((_, modelfile, _, _),) = server.jobs.created
        assert modelfile.parameters == {"temperature": 0.1}

    def test_create_from_a_model(self, native: ollama.Client, server: Served) -> None:
        assert native.create("mine", from_="demo", system="Be brief.", license="MIT").status == "success"
        ((_, modelfile, _, _),) = server.jobs.created
        assert (modelfile.source, modelfile.system, modelfile.licenses) == ("demo", "Be brief.", ("MIT",))

    def test_failures(self, native: ollama.Client) -> None:
        with pytest.raises(ollama.ResponseError, match="not found, try pulling it first") as caught:
            native.chat("missing", HI)
        assert caught.value.status_code == 404
        with pytest.raises(ollama.ResponseError, match="signal 9"):
            list(native.chat("late", HI, stream=True))
        with pytest.raises(ollama.ResponseError, match=r"tools\[0\]\.function\.name must be"):
            native.chat("demo", HI, tools=[lambda: None])


def test_clients_that_ask_for_a_version_and_a_shape(server: Served) -> None:
    """Requests of clients that can't be installed here, as they are known to send them."""
    with httpx.Client(base_url=server.url) as http:
        assert tuple(map(int, http.get("/api/version").json()["version"].split("."))) >= (0, 13, 4)
        assert http.get("/health").is_success
        info = http.post("/api/show", json={"name": "demo", "model": "demo"}).json()
        assert {"general.architecture", "general.basename", "llama.context_length"} <= info["model_info"].keys()
        assert all(len(line.split(None, 1)) == 2 for line in info["parameters"].splitlines())
        aider = {"model": "demo", "messages": HI, "options": {"num_ctx": 9871}, "stream": True}
        index = {"model": "demo", "messages": HI, "format": "", "tools": None, "keep_alive": "5m", "think": None}
        guide = {
            "model": "demo", "prompt": "x", "stream": True, "ignore_eos": True, "stop": None, "max_tokens": 3,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }  # fmt: skip
        assert http.post("/api/chat", json=aider).is_success
        assert http.post("/api/chat", json=index).is_success
        assert "data: [DONE]\n" in http.post("/v1/completions", json=guide).text
