"""llama-server's endpoints over the fakes: what is asked of the model, and the shapes of answers."""

from typing import Any

import pytest

from runner.errors import InvalidRequest
from runner.inference.requests import Chat, Complete, Detokenize, Preview, Tokenize
from runner.protocol.commands import Constraint
from tests.api.fakes import TEXT
from tests.api.serving import Served

HI = [{"role": "user", "content": "Hi"}]
GAP = {"model": "demo", "input_prefix": "def f(", "input_suffix": "):\n"}


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"content": "Hé"}, Tokenize("demo", "Hé", special=True, bos=False)),
        ({"content": "x", "add_special": True, "parse_special": False}, Tokenize("demo", "x", special=False, bos=True)),
        ({"prompt": "x"}, Tokenize("demo", "x", special=True, bos=True)),
        ({"prompt": "x", "add_special_tokens": False}, Tokenize("demo", "x", special=True, bos=False)),
    ],
)
def test_texts_to_tokens(server: Served, body: dict[str, Any], asked: Tokenize) -> None:
    assert server.post("/tokenize", {"model": "demo", **body}).status == 200
    assert server.service.seen == [asked]


def test_each_client_finds_its_own_form(server: Served) -> None:
    plain = server.post("/tokenize", {"model": "demo", "content": "aé"}).json
    assert plain == {"tokens": [97, 195, 169]}
    pieces = server.post("/tokenize", {"model": "demo", "content": "aé", "with_pieces": True}).json
    # A part of a character is no text.
    assert pieces["tokens"] == [
        {"id": 97, "piece": "a"}, {"id": 195, "piece": [195]}, {"id": 169, "piece": [169]},
    ]  # fmt: skip
    counted = server.post("/tokenize", {"model": "demo", "prompt": "ab"}).json
    assert counted == {"count": 2, "max_model_len": 4096, "tokens": [97, 98]}
    named = server.post("/tokenize", {"model": "demo", "messages": HI, "return_token_strs": True}).json
    assert "".join(named["token_strs"]) == "user: Hi\n"
    # Of a model that isn't loaded, the length is the one that it was made with.
    server.models.stored["other:latest"] = server.models.stored["demo:latest"]
    assert server.post("/tokenize", {"model": "other", "prompt": "ab"}).json["max_model_len"] == 4096


def test_tokens_to_text_under_both_names(server: Served) -> None:
    assert server.post("/detokenize", {"model": "demo", "tokens": [72, 105]}).json == {"content": "Hi", "prompt": "Hi"}
    assert server.service.seen == [Detokenize("demo", (72, 105))]


def test_a_conversation_is_rendered(server: Served) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "reasoning_content": "Hm", "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
        {"role": "tool", "content": "2", "name": "f", "tool_call_id": "1"},
    ]  # fmt: skip
    body = {"model": "demo", "messages": messages, "tools": [tool], "chat_template_kwargs": {"enable_thinking": True}}
    assert server.post("/apply-template", body).json == {
        "prompt": "system: Be\nbrief.\nuser: Hi\nassistant: \ntool: 2\nf\n"
    }
    (asked,) = server.service.seen
    assert isinstance(asked, Preview)
    chat = asked.of
    assert isinstance(chat, Chat)
    assert chat.think is True
    assert chat.tools[0].parameters == {"type": "object", "properties": {}}
    assert chat.messages[2].thinking == "Hm"
    assert chat.messages[2].tool_calls[0].arguments == {"a": 1}
    assert (chat.messages[3].tool_name, chat.messages[3].tool_call_id) == ("f", "1")


def test_a_gap_and_everything_around_it(server: Served) -> None:
    body = {
        **GAP,
        "prompt": "a, ",
        "input_extra": [{"filename": "g.py", "text": "def g(): ..."}],
        "n_predict": 16,
        "top_k": 3,
        "stop": "\n",
        "logit_bias": [[5, 1.5], [6, False]],
        "grammar": 'root ::= "x"',
        "samplers": ["top_k", "infill"],
        "t_max_predict_ms": 500,
        "keep_alive": "5m",
    }
    assert server.post("/infill", body).status == 200
    (asked,) = server.service.seen
    assert asked == Complete(
        model="demo",
        prompt="\n\n--- snippet ---\n\ndef g(): ...\n\n--- snippet ---\n\ndef f(a, ",
        raw=True,
        suffix="):\n",
        options={"num_predict": 16, "top_k": 3, "stop": ["\n"], "logit_bias": {"5": 1.5, "6": -100.0}},
        keep_alive=300.0,
        truncate=True,
        constraint=Constraint("gbnf", 'root ::= "x"', "grammar"),
    )


def test_a_whole_infill(server: Served) -> None:
    reply = server.post("/infill", {**GAP, "n_predict": 16, "temperature": 0}).json
    assert reply["content"] == "".join(TEXT)
    assert (reply["stop"], reply["stop_type"], reply["stopping_word"]) == (True, "eos", "")
    assert (reply["tokens_predicted"], reply["tokens_evaluated"], reply["tokens_cached"]) == (len(TEXT), 7, 3)
    assert reply["generation_settings"] == {"n_predict": 16, "temperature": 0}
    assert (reply["has_new_line"], reply["truncated"]) == (True, False)
    assert (reply["timings"]["prompt_n"], reply["timings"]["predicted_ms"]) == (4, 1.5)
    cut = server.post("/infill", {**GAP, "model": "cut"}).json
    assert (cut["stop_type"], cut["truncated"]) == ("limit", True)


def test_only_what_is_asked_for_comes(server: Served) -> None:
    fields = ["content", "timings/prompt_n", "truncated", "timings/nothing", "content/nothing", "nothing"]
    reply = server.post("/infill", {**GAP, "response_fields": fields}).json
    assert reply == {"content": "".join(TEXT), "timings/prompt_n": 4, "truncated": False}


def test_a_streamed_infill_ends_with_stop(server: Served) -> None:
    events = server.post("/infill", {**GAP, "stream": True}).events
    assert [event["content"] for event in events] == [*TEXT, ""]
    assert [event["stop"] for event in events] == [False] * len(TEXT) + [True]
    assert [event["tokens_predicted"] for event in events[:3]] == [1, 2, 3]
    assert events[-1]["has_new_line"] is True
    assert events[-1]["timings"]["predicted_n"] == len(TEXT)


def test_without_a_name_the_only_loaded_model_is_meant(server: Served) -> None:
    body = {"content": "x"}
    reply = server.post("/tokenize", body)
    assert reply.status == 400
    assert reply.json["error"]["param"] == "model"
    assert "several models are loaded: demo:latest, embedder:latest" in reply.json["error"]["message"]
    both = server.service.residents()
    server.service.residents = lambda: both[:1]  # type: ignore[method-assign]
    assert server.post("/tokenize", body).status == 200
    assert server.service.seen == [Tokenize("demo:latest", "x", special=True)]
    server.service.residents = tuple  # type: ignore[assignment]
    assert "no model is loaded" in server.post("/tokenize", body).json["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "field", "words"),
    [
        ("/tokenize", {}, "content", "content is required"),
        ("/tokenize", {"content": "x", "prompt": "y"}, "prompt", "exclude each other"),
        ("/tokenize", {"content": ["x", 1]}, "content", "must be a string"),
        ("/tokenize", {"content": "x" * (2**21 + 1)}, "content", "at most"),
        ("/tokenize", {"messages": []}, "messages", "at least one message"),
        ("/tokenize", {"messages": HI, "tools": [{}]}, "tools[0].function", "is required"),
        ("/tokenize", {"messages": HI, "tools": [{"type": "x", "function": {"name": "f"}}]},
         "tools[0].type", "must be function"),
        ("/detokenize", {}, "tokens", "is required"),
        ("/detokenize", {"tokens": [1, -1]}, "tokens[1]", "no token id"),
        ("/detokenize", {"tokens": [2**31]}, "tokens[0]", "no token id"),
        ("/detokenize", {"tokens": [1.5]}, "tokens[0]", "a whole number"),
        ("/detokenize", {"tokens": [0] * (2**19 + 1)}, "tokens", "at most"),
        ("/apply-template", {}, "messages", "at least one"),
        ("/apply-template", {"messages": [{"role": "robot"}]}, "messages[0].role", "must be one of"),
        ("/apply-template", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
         "messages[0].content[0].type", "not supported here"),
        ("/apply-template", {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
         "messages[0].content[0].text", "is required"),
        ("/apply-template", {"messages": [{"role": "assistant", "tool_calls": [
            {"function": {"name": "f", "arguments": "[]"}}]}]},
         "messages[0].tool_calls[0].function.arguments", "JSON object"),
        ("/apply-template", {"messages": HI, "chat_template_kwargs": {"tokenize": True}},
         "chat_template_kwargs.tokenize", "enable_thinking is"),
        ("/apply-template", {"messages": HI, "chat_template_kwargs": {"enable_thinking": 1}},
         "chat_template_kwargs.enable_thinking", "true or false"),
        ("/apply-template", {"messages": HI, "add_generation_prompt": False}, "add_generation_prompt", "not supported"),
        ("/apply-template", {"messages": HI, "continue_final_message": True}, "continue_final_message", "assistant"),
        ("/infill", {"input_suffix": "x"}, "input_prefix", "is required"),
        ("/infill", {"input_prefix": "x"}, "input_suffix", "is required"),
        ("/infill", {**GAP, "input_extra": [{"filename": "x"}]}, "input_extra[0].text", "is required"),
        ("/infill", {**GAP, "logit_bias": [5]}, "logit_bias[0]", "a token id and a number"),
        ("/infill", {**GAP, "grammar": "x", "json_schema": {}}, "json_schema", "can't both"),
        ("/infill", {**GAP, "n_probs": 3}, "n_probs", "not supported yet"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(server: Served, path: str, body: dict[str, Any], field: str, words: str) -> None:
    reply = server.post(path, {"model": "demo", **body})
    assert reply.status == 400
    assert reply.json["error"]["param"] == field
    assert words in reply.json["error"]["message"]
    assert server.service.seen == []


def test_options_go_by_the_dialects_own_names(server: Served) -> None:
    server.service.FAILURES["named"] = InvalidRequest("option num_predict must be less", field="options.num_predict")
    try:
        assert server.post("/infill", {**GAP, "model": "named"}).json["error"]["param"] == "n_predict"
    finally:
        del server.service.FAILURES["named"]


def test_a_prompt_that_is_too_long_tells_both_numbers(server: Served) -> None:
    error = server.post("/infill", {**GAP, "model": "overflow"}).json["error"]
    assert (error["type"], error["n_prompt_tokens"], error["n_ctx"]) == ("exceed_context_size_error", 9000, 4096)
