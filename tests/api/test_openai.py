"""The dialect of OpenAI's clients."""

import base64
import re
import struct
from typing import Any

import pytest

from runner.conversation import Message, ToolCall
from runner.inference.requests import Chat, Complete, Embed
from tests.api.fakes import ECHO, TEXT, THOUGHT
from tests.api.serving import Served

HI = [{"role": "user", "content": "Hi"}]
CHAT = {"model": "demo", "messages": HI}
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": len(TEXT),
    "total_tokens": 7 + len(TEXT),
    "prompt_tokens_details": {"cached_tokens": 3},
}
TIMED = {
    "cache_n": 3,
    "prompt_n": 4,
    "prompt_ms": 2.0,
    "prompt_per_token_ms": 0.5,
    "prompt_per_second": 2000.0,
    "predicted_n": len(TEXT),
    "predicted_ms": 1.5,
    "predicted_per_token_ms": 1.5 / len(TEXT),
    "predicted_per_second": 1e3 * len(TEXT) / 1.5,
    "queue_ms": 0.01,
    "load_ms": 1.0,
}


def signed(value: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The value without what differs each time: a fresh id and a time in seconds."""
    assert re.fullmatch(prefix + "-[0-9a-f]{32}", value.pop("id"))
    assert isinstance(value.pop("created"), int)
    assert value.pop("system_fingerprint").startswith("fp_runner_")
    return value


def test_a_chat_at_once(server: Served) -> None:
    reply = server.post("/v1/chat/completions", CHAT)
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert signed(reply.json, "chatcmpl") == {
        "object": "chat.completion",
        "model": "demo",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "".join(TEXT), "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
        "timings": TIMED,
    }


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "model": "demo", "choices": [choice]}


def test_a_chat_streams_when_asked(server: Served) -> None:
    reply = server.post("/v1/chat/completions", {**CHAT, "stream": True})
    assert reply.headers["X-Accel-Buffering"] == "no"
    assert reply.headers["Cache-Control"] == "no-store"
    events = reply.events
    assert events.pop() == "[DONE]"
    assert len({event["id"] for event in events}) == 1
    assert [signed(event, "chatcmpl") for event in events] == [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": text}) for text in TEXT),
        {**chunk({}, "stop"), "timings": TIMED},
    ]


def test_usage_comes_last_and_only_when_asked(server: Served) -> None:
    events = server.post(
        "/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    ).events
    assert events[-1] == "[DONE]"
    assert events[-2]["choices"] == []
    assert events[-2]["usage"] == USAGE
    assert all(event["usage"] is None for event in events[:-2])
    events = server.post("/v1/chat/completions", {**CHAT, "stream": True}).events
    assert all("usage" not in event for event in events[:-1])


def test_usage_on_the_way_for_who_wants_it(server: Served) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    events = server.post("/v1/chat/completions", {**CHAT, "stream": True, "stream_options": options}).events[:-1]
    assert [event["usage"]["completion_tokens"] for event in events] == [
        1, *range(1, len(TEXT) + 1), len(TEXT), len(TEXT),
    ]  # fmt: skip
    assert events[-2]["usage"] == events[-1]["usage"] == USAGE
    body = {"model": "demo", "prompt": ["a", "b"], "stream": True, "stream_options": options}
    events = server.post("/v1/completions", body).events[:-1]
    assert events[0]["usage"]["prompt_tokens"] in (7, 14)
    counts = [event["usage"]["completion_tokens"] for event in events]
    assert counts == sorted(counts)
    assert (
        events[-2]["usage"]
        == events[-1]["usage"]
        == {
            "prompt_tokens": 14,
            "completion_tokens": 2 * len(TEXT),
            "total_tokens": 14 + 2 * len(TEXT),
            "prompt_tokens_details": {"cached_tokens": 6},
        }
    )
    only = {"continuous_usage_stats": True}
    events = server.post("/v1/chat/completions", {**CHAT, "stream": True, "stream_options": only}).events[:-1]
    assert all("usage" not in event for event in events)


def test_ids_never_come_again(server: Served) -> None:
    assert len({server.post("/v1/chat/completions", CHAT).json["id"] for _ in range(5)}) == 5


def test_thoughts_come_apart_under_both_names(server: Served) -> None:
    body = {**CHAT, "reasoning_effort": "low"}
    message = server.post("/v1/chat/completions", body).json["choices"][0]["message"]
    thought = "".join(THOUGHT)
    assert (message["content"], message["reasoning_content"], message["reasoning"]) == ("".join(TEXT), thought, thought)
    deltas = [
        event["choices"][0]["delta"]
        for event in server.post("/v1/chat/completions", {**body, "stream": True}).events[:-1]
    ]
    assert deltas[1] == {"reasoning_content": THOUGHT[0], "reasoning": THOUGHT[0]}
    assert "".join(delta.get("reasoning", "") for delta in deltas) == thought
    assert "".join(delta.get("content", "") for delta in deltas) == "".join(TEXT)


def test_the_context_ran_out(server: Served) -> None:
    reply = server.post("/v1/chat/completions", {**CHAT, "model": "cut"})
    assert reply.json["choices"][0]["finish_reason"] == "length"


def test_a_chat_as_the_service_sees_it(server: Served) -> None:
    reply = server.post(
        "/v1/chat/completions",
        {
            "model": "demo",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                        {"type": "text", "text": "is it?"},
                    ],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning_content": "hm",
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
            ],
            "max_tokens": 5,
            "max_completion_tokens": 9,
            "temperature": 1,
            "top_p": 0.5,
            "seed": 42,
            "stop": "END",
            "frequency_penalty": 0.1,
            "presence_penalty": -0.1,
            "top_k": 3,
            "min_p": 0.05,
            "repetition_penalty": 1.2,
            "num_ctx": 2048,
            "ignore_eos": True,
            "min_tokens": 2,
            "keep_alive": "10m",
            "reasoning_effort": "none",
            "n": 1,
            "tools": [],
            "tool_choice": "auto",
            "response_format": {"type": "text"},
            "logprobs": False,
            "logit_bias": {"5": -100},
            "user": "me",
            "unheard_of": 1,
        },
    )
    assert reply.status == 200, reply.body
    assert server.service.seen == [
        Chat(
            "demo",
            (
                Message("system", "Be brief."),
                Message("user", "What\nis it?", images=(b"\x89PNG\r\n\x1a\n",)),
                Message("assistant", "", thinking="hm", tool_calls=(ToolCall("look", {"at": 1}, "c1"),)),
                Message("tool", "a cat", tool_name="look", tool_call_id="c1"),
            ),
            think=False,
            options={
                "num_predict": 9,
                "temperature": 1.0,
                "top_p": 0.5,
                "seed": 42,
                "stop": ["END"],
                "frequency_penalty": 0.1,
                "presence_penalty": -0.1,
                "top_k": 3,
                "min_p": 0.05,
                "repeat_penalty": 1.2,
                "num_ctx": 2048,
                "ignore_eos": True,
                "min_tokens": 2,
                "logit_bias": {"5": -100.0},
            },
            keep_alive=600.0,
            truncate=False,
        )
    ]


def test_what_is_not_given_is_not_made_up(server: Served) -> None:
    server.post("/v1/chat/completions", {**CHAT, "temperature": None, "stop": None, "max_tokens": None})
    assert server.service.seen == [Chat("demo", (Message("user", "Hi"),))]


@pytest.mark.parametrize(
    ("body", "think"),
    [
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "medium"}, "medium"),
        ({"reasoning": {"effort": "high"}}, "high"),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {"enable_thinking": False}, "reasoning_effort": "high"}, False),
        ({}, None),
    ],
)
def test_ways_to_ask_for_thinking(server: Served, body: dict[str, Any], think: object) -> None:
    assert server.post("/v1/chat/completions", {**CHAT, **body}).status == 200
    (seen,) = server.service.seen
    assert isinstance(seen, Chat)
    assert seen.think == think


def test_a_completion(server: Served) -> None:
    reply = server.post("/v1/completions", {"model": "demo", "prompt": "def f(", "suffix": "return 1", "max_tokens": 4})
    assert signed(reply.json, "cmpl") == {
        "object": "text_completion",
        "model": "demo",
        "choices": [{"index": 0, "text": "".join(TEXT), "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
        "timings": TIMED,
    }
    assert server.service.seen == [
        Complete("demo", "def f(", raw=True, suffix="return 1", options={"num_predict": 4}),
    ]


def test_a_completion_streams(server: Served) -> None:
    body = {"model": "demo", "prompt": "x", "stream": True, "stream_options": {"include_usage": True}}
    events = server.post("/v1/completions", body).events
    assert events.pop() == "[DONE]"
    assert signed(events.pop(), "cmpl") == {
        "object": "text_completion",
        "model": "demo",
        "choices": [],
        "usage": USAGE,
        "timings": TIMED,
    }
    assert signed(events[0], "cmpl") == {
        "object": "text_completion",
        "model": "demo",
        "choices": [{"index": 0, "text": TEXT[0], "logprobs": None, "finish_reason": None}],
        "usage": None,
    }
    assert "".join(event["choices"][0]["text"] for event in events) == "".join(TEXT)
    assert events[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("prompt", "seen"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2, 3], [(1, 2, 3)]),
        ([[1, 2], [3]], [(1, 2), (3,)]),
    ],
)
def test_prompts_of_every_form(server: Served, prompt: object, seen: list[object]) -> None:
    reply = server.post("/v1/completions", {"model": "demo", "prompt": prompt}).json
    assert sorted(str(each.prompt) for each in server.service.seen if isinstance(each, Complete)) == sorted(
        str(each) for each in seen
    )
    assert [choice["index"] for choice in reply["choices"]] == list(range(len(seen)))
    assert {choice["text"] for choice in reply["choices"]} == {"".join(TEXT)}
    assert reply["usage"]["prompt_tokens"] == 7 * len(seen)
    streamed = server.post("/v1/completions", {"model": "demo", "prompt": prompt, "stream": True}).events[:-1]
    for index in range(len(seen)):
        mine = [event["choices"][0] for event in streamed if event["choices"][0]["index"] == index]
        assert "".join(choice["text"] for choice in mine) == "".join(TEXT)
        assert [choice["finish_reason"] for choice in mine] == [None] * len(TEXT) + ["stop"]


def test_one_prompt_that_fails_ends_the_others(server: Served) -> None:
    reply = server.post("/v1/completions", {"model": "late", "prompt": ["a", "b", "c"]})
    assert reply.status == 500
    assert reply.json["error"]["code"] == "worker_crashed"
    assert len(server.service.seen) == 3
    assert server.service.under_way == 0


# -- several choices


def test_choices_at_once(server: Served) -> None:
    reply = server.post("/v1/chat/completions", {**CHAT, "n": 3}).json
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2]
    assert [choice["finish_reason"] for choice in reply["choices"]] == ["stop", "length", "stop"]
    assert {choice["message"]["content"] for choice in reply["choices"]} == {"".join(TEXT)}
    assert reply["usage"] == USAGE  # the prompt counts once
    (seen,) = server.service.seen
    assert isinstance(seen, Chat)
    assert seen.choices == 3


def test_choices_stream_each_under_its_index(server: Served) -> None:
    body = {**CHAT, "n": 2, "stream": True, "stream_options": {"include_usage": True}}
    events = server.post("/v1/chat/completions", body).events
    assert (events.pop(), events.pop()["usage"]) == ("[DONE]", USAGE)
    for index, finish in enumerate(("stop", "length")):
        choices = [event["choices"][0] for event in events if event["choices"][0]["index"] == index]
        assert choices[0]["delta"] == {"role": "assistant", "content": ""}
        assert [choice["delta"].get("content") for choice in choices[1:-1]] == list(TEXT)
        assert [choice["finish_reason"] for choice in choices] == [None] * (len(TEXT) + 1) + [finish]
        assert choices[-1]["delta"] == {}


def test_choices_of_several_prompts_are_numbered_through(server: Served) -> None:
    body = {"model": "demo", "prompt": ["a", "b"], "n": 2}
    reply = server.post("/v1/completions", body).json
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2, 3]
    assert [choice["finish_reason"] for choice in reply["choices"]] == ["stop", "length"] * 2
    assert reply["usage"]["prompt_tokens"] == 14
    events = server.post("/v1/completions", {**body, "stream": True}).events[:-1]
    for index in range(4):
        mine = [event["choices"][0] for event in events if event["choices"][0]["index"] == index]
        assert "".join(choice["text"] for choice in mine) == "".join(TEXT)
        assert [choice["finish_reason"] for choice in mine if choice["finish_reason"]] == [
            ["stop", "length"][index % 2]
        ]


def test_the_best_of_as_many_as_are_given_are_all(server: Served) -> None:
    assert (
        len(server.post("/v1/completions", {"model": "demo", "prompt": "a", "n": 2, "best_of": 2}).json["choices"]) == 2
    )
    assert server.post("/v1/completions", {"model": "demo", "prompt": "a", "best_of": 1}).status == 200


def test_a_failure_ends_all_choices(server: Served) -> None:
    assert server.post("/v1/chat/completions", {**CHAT, "model": "late", "n": 3}).status == 500
    events = server.post("/v1/chat/completions", {**CHAT, "model": "late", "n": 3, "stream": True}).events
    assert events[-1]["error"]["code"] == "worker_crashed"
    assert not [event for event in events[:-1] if event["choices"][0]["finish_reason"]]


# -- log-probabilities


def content(text: str, *, top: int) -> list[dict[str, Any]]:
    """The fake service's tokens: the first two bytes, which may be a part of a character, and the rest."""
    data = text.encode()
    others = [
        {"token": f"<{place}>", "logprob": -0.5 * place, "bytes": list(b"<%d>" % place)} for place in range(1, top + 1)
    ]
    return [
        {"token": written(token), "logprob": -0.25, "bytes": list(token), "top_logprobs": others}
        for token in ((data[:2], data[2:]) if len(data) > 2 else (data,))
    ]


def written(token: bytes, prefix: str = "") -> str:
    try:
        return token.decode()
    except UnicodeDecodeError:
        return prefix + "".join(f"\\x{byte:02x}" for byte in token)


@pytest.mark.parametrize("top", [None, 0, 2])
def test_log_probabilities_of_a_chat(server: Served, top: int | None) -> None:
    body = {**CHAT, "logprobs": True, "top_logprobs": top, "reasoning_effort": "low"}
    choice = server.post("/v1/chat/completions", body).json["choices"][0]
    expected = [each for text in TEXT for each in content(text, top=top or 0)]
    assert choice["logprobs"] == {"content": expected, "refusal": None}  # neither the thought's nor the end's
    assert bytes(byte for each in expected for byte in each["bytes"]).decode() == choice["message"]["content"]
    (seen,) = server.service.seen
    assert isinstance(seen, Chat)
    assert seen.logprobs == (top or 0)
    events = server.post("/v1/chat/completions", {**body, "stream": True}).events[:-1]
    found = [event["choices"][0]["logprobs"] for event in events]
    assert [each["content"] for each in found if each] == [content(text, top=top or 0) for text in TEXT]
    assert found[-1] is None  # the chunk with the reason for the end
    assert found[: len(THOUGHT) + 1] == [None] * (len(THOUGHT) + 1)


def test_log_probabilities_of_each_choice(server: Served) -> None:
    choices = server.post("/v1/chat/completions", {**CHAT, "logprobs": True, "n": 2}).json["choices"]
    assert choices[0]["logprobs"] == choices[1]["logprobs"]
    assert len(choices[0]["logprobs"]["content"]) > len(TEXT)


@pytest.mark.parametrize("body", [{"logprobs": False}, {"logprobs": None, "top_logprobs": 0}, {}])
def test_nobody_gets_log_probabilities_unasked(server: Served, body: dict[str, Any]) -> None:
    assert server.post("/v1/chat/completions", {**CHAT, **body}).json["choices"][0]["logprobs"] is None
    assert server.service.seen == [Chat("demo", (Message("user", "Hi"),))]
    body.pop("top_logprobs", None)
    assert (
        server.post("/v1/completions", {"model": "demo", "prompt": "x", **body}).json["choices"][0]["logprobs"] is None
    )


def test_log_probabilities_of_a_completion(server: Served) -> None:
    body = {"model": "demo", "prompt": "x", "logprobs": 2}
    choice = server.post("/v1/completions", body).json["choices"][0]
    logprobs = choice["logprobs"]
    expected = [each for text in TEXT for each in content(text, top=2)]
    tokens = [written(bytes(each["bytes"]), "bytes:") for each in expected]
    assert logprobs["tokens"] == [*tokens, "<|im_end|>"]
    assert logprobs["token_logprobs"] == [-0.25] * len(tokens) + [-0.125]
    assert logprobs["top_logprobs"][0] == {tokens[0]: -0.25, "<1>": -0.5, "<2>": -1.0}
    assert logprobs["top_logprobs"][-1] == {"<|im_end|>": -0.125}
    assert logprobs["text_offset"][-1] == len(choice["text"])
    assert {len(values) for values in logprobs.values()} == {len(tokens) + 1}
    events = server.post("/v1/completions", {**body, "stream": True}).events[:-1]
    streamed = [event["choices"][0]["logprobs"] for event in events]
    for name, values in logprobs.items():
        assert [value for each in streamed if each for value in each[name]] == values


def test_a_completion_without_alternatives(server: Served) -> None:
    logprobs = server.post("/v1/completions", {"model": "demo", "prompt": "x", "logprobs": 0}).json["choices"][0][
        "logprobs"
    ]
    assert logprobs["top_logprobs"] is None
    assert len(logprobs["token_logprobs"]) == len(logprobs["tokens"]) == len(logprobs["text_offset"])


@pytest.mark.parametrize("longest", [0, 1])
def test_an_evaluation(server: Served, longest: int) -> None:
    """What lm-eval sends, and what it reads: a score for each token of the prompt but the first, and one more."""
    body = {"model": "demo", "prompt": [[5, 6], [7, 8]], "echo": True, "logprobs": 1, "max_tokens": longest}
    reply = server.post("/v1/completions", {**body, "temperature": 0, "seed": 1234}).json
    for choice in reply["choices"]:
        assert choice["text"] == ECHO + "".join(TEXT)
        logprobs = choice["logprobs"]
        assert (logprobs["tokens"][0], logprobs["token_logprobs"][0]) == ("On", None)
        assert (logprobs["top_logprobs"][0], logprobs["text_offset"][:3]) == (None, [0, 2, 4])
        context = 1
        assert sum(logprobs["token_logprobs"][context:-1]) < 0
        for score, top in zip(
            logprobs["token_logprobs"][context:-1], logprobs["top_logprobs"][context:-1], strict=True
        ):
            assert score == max(top.values())
    options = {"num_predict": longest, "temperature": 0.0, "seed": 1234}
    assert sorted(server.service.seen, key=lambda each: str(each)) == [
        Complete("demo", prompt, raw=True, options=options, logprobs=1, echo=True) for prompt in ((5, 6), (7, 8))
    ]


def test_embeddings_as_numbers_and_as_base64(server: Served) -> None:
    body = {"model": "embedder", "input": ["a", "b"]}
    assert server.post("/v1/embeddings", body).json == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.0, 0.125, 0.25, 0.375]},
            {"object": "embedding", "index": 1, "embedding": [1.0, 1.125, 1.25, 1.375]},
        ],
        "model": "embedder",
        "usage": {"prompt_tokens": 10, "total_tokens": 10},
    }
    packed = server.post("/v1/embeddings", {**body, "encoding_format": "base64", "dimensions": 2}).json["data"]
    assert [struct.unpack("<2f", base64.b64decode(each["embedding"])) for each in packed] == [(0, 0.125), (1, 1.125)]


def test_embeddings_of_every_form(server: Served) -> None:
    for given in ("a", ["a", "b"], [1, 2], [[1, 2], [3]]):
        assert server.post("/v1/embeddings", {"model": "embedder", "input": given}).status == 200
    assert server.service.seen == [
        Embed("embedder", ("a",), truncate=False),
        Embed("embedder", ("a", "b"), truncate=False),
        Embed("embedder", ((1, 2),), truncate=False),
        Embed("embedder", ((1, 2), (3,)), truncate=False),
    ]


def test_models(server: Served) -> None:
    listed = server.get("/v1/models").json
    assert listed["object"] == "list"
    assert listed["data"][0] == {
        "id": "demo:latest",
        "object": "model",
        "created": 1787307072,
        "owned_by": "library",
        "type": "model",
        "display_name": "demo:latest",
        "created_at": "2026-08-21T10:11:12+00:00",
    }
    assert server.get("/v1/models/demo").json == listed["data"][0]
    assert server.get("/v1/models/hf.co/org/repo:Q4_K_M").json["owned_by"] == "org"
    missing = server.get("/v1/models/nothing")
    assert missing.status == 404
    assert missing.json["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("path", "body", "field", "words"),
    [
        ("chat/completions", {"messages": HI}, "model", "model is required"),
        ("chat/completions", {"model": "demo"}, "messages", "messages must hold at least one message"),
        ("chat/completions", {**CHAT, "messages": []}, "messages", "messages must hold at least one message"),
        ("chat/completions", {**CHAT, "max_tokens": 0}, "max_tokens", "max_tokens must be at least 1"),
        (
            "chat/completions",
            {**CHAT, "max_completion_tokens": -1},
            "max_completion_tokens",
            "max_completion_tokens must be at least 1",
        ),
        ("chat/completions", {**CHAT, "reasoning_effort": "wild"}, "reasoning_effort", "must be true, false, low"),
        (
            "chat/completions",
            {**CHAT, "chat_template_kwargs": {"tokenize": True}},
            "chat_template_kwargs.tokenize",
            "enable_thinking, thinking, reasoning_effort",
        ),
        ("chat/completions", {**CHAT, "keep_alive": "soon"}, "keep_alive", "keep_alive takes seconds"),
        ("chat/completions", {**CHAT, "messages": [{"role": "robot"}]}, "messages[0].role", "must be one of system"),
        (
            "chat/completions",
            {**CHAT, "messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0]",
            "'input_audio' is not supported",
        ),
        (
            "chat/completions",
            {
                **CHAT,
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x/y.png"}}]}
                ],
            },
            "messages[0].content[0].image_url",
            "must be a data: URI",
        ),
        (
            "chat/completions",
            {
                **CHAT,
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": "data:image/png;base64,***"}]}
                ],
            },
            "messages[0].content[0].image_url",
            "is not base64",
        ),
        (
            "chat/completions",
            {**CHAT, "messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
            "is required",
        ),
        (
            "chat/completions",
            {
                **CHAT,
                "messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "["}}]}],
            },
            "messages[0].tool_calls[0].function.arguments",
            "must be a JSON object",
        ),
        ("chat/completions", {**CHAT, "n": 0}, "n", "n must be between 1 and 8"),
        ("chat/completions", {**CHAT, "n": 9}, "n", "n must be between 1 and 8"),
        ("completions", {"model": "demo", "prompt": "x", "n": 2**63 - 1}, "n", "n must be between 1 and 8"),
        ("chat/completions", {**CHAT, "logprobs": True, "top_logprobs": 21}, "top_logprobs", "between 0 and 20"),
        ("chat/completions", {**CHAT, "logprobs": True, "top_logprobs": -1}, "top_logprobs", "between 0 and 20"),
        ("chat/completions", {**CHAT, "top_logprobs": 3}, "top_logprobs", "needs logprobs to be true"),
        ("completions", {"model": "demo", "prompt": "x", "logprobs": 21}, "logprobs", "between 0 and 20"),
        ("completions", {"model": "demo", "prompt": "x", "logprobs": -1}, "logprobs", "between 0 and 20"),
        (
            "completions",
            {"model": "demo", "prompt": "x", "logprobs": True},
            "logprobs",
            "a number of tokens from 0 to 20",
        ),
        ("completions", {"model": "demo", "prompt": "x", "echo": True, "suffix": "y"}, "echo", "beside a suffix"),
        ("completions", {"model": "demo", "prompt": "x", "max_tokens": 0}, "max_tokens", "must be at least 1"),
        ("completions", {"model": "demo", "prompt": "x", "echo": True, "max_tokens": -1}, "max_tokens", "at least 0"),
        ("completions", {"model": "demo", "prompt": "x", "n": 2, "best_of": 3}, "best_of", "best_of is not supported"),
        ("completions", {"model": "demo"}, "prompt", "prompt is required"),
        ("completions", {"model": "demo", "prompt": []}, "prompt", "prompt is required"),
        ("completions", {"model": "demo", "prompt": {}}, "prompt", "must be a string, a list of strings"),
        ("completions", {"model": "demo", "prompt": ["a", 1]}, "prompt", "must be a string, a list of strings"),
        ("completions", {"model": "demo", "prompt": [True]}, "prompt", "must be a string, a list of strings"),
        ("completions", {"model": "demo", "prompt": [-1]}, "prompt", "must be a string, a list of strings"),
        ("completions", {"model": "demo", "prompt": [2**31]}, "prompt", "must be a string, a list of strings"),
        ("completions", {"model": "demo", "prompt": [[]]}, "prompt", "must be a string, a list of strings"),
        ("completions", {"model": "demo", "prompt": ["a"] * 257}, "prompt", "at most 256 prompts"),
        ("embeddings", {"model": "e"}, "input", "input is required"),
        ("embeddings", {"model": "e", "input": "a", "dimensions": 0}, "dimensions", "dimensions must be at least 1"),
        (
            "embeddings",
            {"model": "e", "input": "a", "encoding_format": "hex"},
            "encoding_format",
            "must be float or base64",
        ),
    ],
)
def test_refusals_name_the_field(server: Served, path: str, body: dict[str, Any], field: str, words: str) -> None:
    reply = server.post(f"/v1/{path}", body)
    assert reply.status == 400
    error = reply.json["error"]
    assert error["param"] == field
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"
    assert server.service.seen == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_what_was_drafted_is_told_where_something_was(server: Served, path: str) -> None:
    asked = {"messages": HI} if "chat" in path else {"prompt": "Hi"}
    drafted = server.post(path, {"model": "drafts", **asked}).json["usage"]
    assert drafted["completion_tokens_details"] == {"accepted_prediction_tokens": 6, "rejected_prediction_tokens": 3}
    assert "completion_tokens_details" not in server.post(path, {"model": "demo", **asked}).json["usage"]


def test_how_much_is_drafted_can_be_said(server: Served) -> None:
    asked = {**CHAT, "draft_num_predict": 3, "prompt_lookup_num_tokens": 5}
    server.post("/v1/chat/completions", asked)
    seen = server.service.seen[-1]
    assert isinstance(seen, Chat)
    assert (seen.options["draft_num_predict"], seen.options["prompt_lookup_num_tokens"]) == (3, 5)


@pytest.mark.parametrize("content", ["as before", [{"type": "text", "text": "as before"}]])
def test_a_prediction_goes_along(server: Served, content: object) -> None:
    assert server.post("/v1/chat/completions", {**CHAT, "prediction": {"type": "content", "content": content}}).json
    seen = server.service.seen[-1]
    assert isinstance(seen, Chat)
    assert seen.prediction == "as before"


@pytest.mark.parametrize(
    ("prediction", "field"),
    [
        ({"type": "other", "content": "a"}, "prediction.type"),
        ({"content": "a"}, "prediction.type"),
        ("text", "prediction"),
        ({"type": "content", "content": 5}, "prediction.content"),
        ({"type": "content", "content": [{"type": "odd"}]}, "prediction.content[0]"),
    ],
)
def test_a_prediction_that_is_none_is_refused(server: Served, prediction: object, field: str) -> None:
    reply = server.post("/v1/chat/completions", {**CHAT, "prediction": prediction})
    assert reply.status == 400
    assert field in reply.json["error"]["message"] + str(reply.json["error"]["param"])
    assert server.service.seen == []
