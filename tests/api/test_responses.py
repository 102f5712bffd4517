"""/v1/responses: the answer, whole and streamed, and its failures."""

import re
import socket
from collections.abc import AsyncIterator

import pytest

from runner.api.streams import Patience
from runner.errors import LoadFailed
from runner.inference.requests import AnswerPart, CallPart, Chat, Complete
from tests.api import fakes, serving
from tests.api.fakes import CALLS, TEXT, THOUGHT, FakeService
from tests.api.responding import ASK, PATH, answer, frames, kinds, plain, stream
from tests.api.serving import Served

WHOLE, THOUGHTS = "".join(TEXT), "".join(THOUGHT)
PART = {"type": "output_text", "text": WHOLE, "annotations": [], "logprobs": []}
MESSAGE = {"type": "message", "status": "completed", "role": "assistant", "content": [PART]}
TOOLS = [
    {"type": "function", "name": "look_up", "description": "d", "parameters": {"type": "object"}, "strict": True},
    {"type": "function", "name": "now"},
]
CALL, CUT = ("".join(part.arguments for part in CALLS[:most]) for most in (3, 2))
TEXT_EVENTS = [
    "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
    "output_item.done",
]  # fmt: skip
CALL_EVENTS = [
    "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
]  # fmt: skip


def test_an_answer_at_once(server: Served) -> None:
    found = answer(server, metadata={"a": "b"}, temperature=0.5, instructions="Be brief", max_output_tokens=9)
    assert re.fullmatch(r"resp_[0-9a-f]{32}", found["id"])
    assert re.fullmatch(r"msg_[0-9a-f]{32}", found["output"][0]["id"])
    assert isinstance(found["created_at"], int)
    assert found["completed_at"] >= found["created_at"]
    assert found.pop("timings")["prompt_ms"] == 2.0
    assert plain(found) == {
        "object": "response",
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": "Be brief",
        "max_output_tokens": 9,
        "max_tool_calls": None,
        "model": "demo",
        "output": [MESSAGE],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 0.5,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": None,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 7,
            "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
            "output_tokens": len(TEXT),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 7 + len(TEXT),
        },
        "user": None,
        "metadata": {"a": "b"},
    }


def test_a_stream_says_all_in_its_order(server: Served) -> None:
    events = stream(server)
    assert kinds(events) == ["created", "in_progress", *TEXT_EVENTS, "completed"]
    assert [event["delta"] for event in events if event["type"].endswith(".delta")] == list(TEXT)
    opened, last = events[0]["response"], events[-1]["response"]
    assert (opened["status"], opened["output"], opened["usage"]) == ("in_progress", [], None)
    assert opened["id"] == events[1]["response"]["id"] == last["id"]
    assert {event["item_id"] for event in events if "item_id" in event} == {last["output"][0]["id"]}
    assert events[2]["item"] == {"type": "message", "id": last["output"][0]["id"], "status": "in_progress",
                                 "role": "assistant", "content": []}  # fmt: skip
    assert plain(events[-2]["item"]) == MESSAGE
    assert last["usage"]["total_tokens"] == 7 + len(TEXT)


@pytest.mark.parametrize("model", ["demo", "caller", "callonly", "callcut", "cut"])
@pytest.mark.parametrize("summary", [None, "auto"])
def test_a_stream_says_what_is_said_at_once(server: Served, model: str, summary: str | None) -> None:
    """And its items are those of the response at the end."""
    more = {"model": model, "tools": TOOLS, "reasoning": {"effort": "low", "summary": summary}}
    events = stream(server, **more)
    assert plain(events[-1]["response"]) == plain(answer(server, **more))
    done = [event["item"] for event in events if event["type"].endswith("output_item.done")]
    added = [event["item"] for event in events if event["type"].endswith("output_item.added")]
    assert done == events[-1]["response"]["output"]
    assert [(each["id"], each["type"]) for each in added] == [(each["id"], each["type"]) for each in done]
    places = [event["output_index"] for event in events if event["type"].endswith("output_item.done")]
    assert places == list(range(len(done)))


def test_a_thought_is_an_item_of_its_own(server: Served) -> None:
    events = stream(server, reasoning={"effort": "low"})
    thought = [event for event in events if event.get("output_index") == 0]
    assert kinds(thought) == [
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done",
        "output_item.done",
    ]  # fmt: skip
    assert "".join(event["delta"] for event in thought if "delta" in event) == THOUGHTS
    response = events[-1]["response"]
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    assert plain(response["output"][0]) == {
        "type": "reasoning",
        "status": "completed",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": THOUGHTS}],
    }
    assert response["usage"]["output_tokens_details"] == {"reasoning_tokens": len(THOUGHT)}


def test_a_thought_stands_in_for_its_summary(server: Served) -> None:
    events = stream(server, reasoning={"effort": "low", "summary": "auto"}, include=["reasoning.encrypted_content"])
    thought = [event for event in events if event.get("output_index") == 0]
    assert kinds(thought) == [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
    ]  # fmt: skip
    assert plain(events[-1]["response"]["output"][0]) == {
        "type": "reasoning",
        "status": "completed",
        "summary": [{"type": "summary_text", "text": THOUGHTS}],
        "encrypted_content": f"runner:{THOUGHTS}",
    }


def test_calls_are_items_whose_arguments_stream(server: Served) -> None:
    events = stream(server, model="caller", tools=TOOLS)
    assert kinds(events) == ["created", "in_progress", *TEXT_EVENTS, *CALL_EVENTS, *CALL_EVENTS, "completed"]
    response = events[-1]["response"]
    assert response["status"] == "completed"
    assert plain(response["output"]) == [
        MESSAGE,
        {"type": "function_call", "status": "completed", "call_id": "call_0a1b2c3d4", "name": "look_up",
         "arguments": CALL},
        {"type": "function_call", "status": "completed", "call_id": "call_5e6f7a8b9", "name": "now",
         "arguments": "{}"},
    ]  # fmt: skip
    assert [event["delta"] for event in events if event["type"].endswith("arguments.delta")] == [
        part.arguments for part in CALLS if part.arguments
    ]
    assert response["tools"] == TOOLS


def test_a_custom_tool_gets_its_text_unwrapped(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = (CallPart(0, "call_1", "patch", '{"input": "*** Be'), CallPart(0, arguments='gin\\n"}', complete=True))
    monkeypatch.setattr(fakes, "CALLS", wrapped)
    events = stream(server, model="callonly", tools=[{"type": "custom", "name": "patch"}])
    assert kinds(events)[2:-1] == [
        "output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done",
    ]  # fmt: skip
    assert plain(events[-1]["response"]["output"]) == [
        {"type": "custom_tool_call", "status": "completed", "call_id": "call_1", "name": "patch",
         "input": "*** Begin\n"}
    ]  # fmt: skip


def test_a_call_goes_by_the_clients_names(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes, "CALLS", (CallPart(0, "", "mcp__files__list", "{}", complete=True),))
    tools = [{"type": "namespace", "name": "mcp__files__", "tools": [{"type": "function", "name": "list"}]}]
    (call,) = answer(server, model="callonly", tools=tools)["output"]
    assert (call["namespace"], call["name"]) == ("mcp__files__", "list")
    assert re.fullmatch(r"call_[0-9a-f]{32}", call["call_id"])


def test_an_answer_that_is_cut(server: Served) -> None:
    events = stream(server, model="callcut", tools=TOOLS)
    assert kinds(events)[-1] == "incomplete"
    response = events[-1]["response"]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["completed_at"] is None
    assert [item["status"] for item in response["output"]] == ["incomplete"]
    assert response["output"][0]["arguments"] == CUT


def test_log_probabilities_of_the_text_alone(server: Served) -> None:
    events = stream(server, reasoning={"effort": "low"}, top_logprobs=1, include=["message.output_text.logprobs"])
    (part,) = events[-1]["response"]["output"][1]["content"]
    assert b"".join(bytes(each["bytes"]) for each in part["logprobs"]).decode() == WHOLE
    assert {len(each["top_logprobs"]) for each in part["logprobs"]} == {1}
    deltas = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    assert [each for delta in deltas for each in delta] == part["logprobs"]


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [("missing", 404, "model_not_found"), ("overflow", 400, "context_length_exceeded"), ("busy", 503, "server_busy")],
)
@pytest.mark.parametrize("streams", [False, True])
def test_a_failure_before_the_first_event(server: Served, model: str, status: int, code: str, streams: bool) -> None:
    reply = server.post(PATH, {**ASK, "model": model, "stream": streams})
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert server.service.under_way == 0
    assert len(server.responses) == 0


@pytest.mark.parametrize(
    ("model", "code", "said"),
    [("late", "worker_crashed", "".join(TEXT[:2])), ("latebug", "internal_error", "".join(TEXT[:2]))],
)
def test_a_failure_in_the_middle(server: Served, model: str, code: str, said: str) -> None:
    events = stream(server, model=model)
    assert kinds(events) == ["created", "in_progress", *TEXT_EVENTS[:3], "failed"]
    response = events[-1]["response"]
    assert (response["status"], response["error"]["code"], response["store"]) == ("failed", code, False)
    assert "secret" not in response["error"]["message"]
    assert response["usage"] is None
    (item,) = response["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", said)
    assert server.get(f"{PATH}/{response['id']}").status == 404


def test_a_failure_within_a_call(server: Served) -> None:
    events = stream(server, model="calllate", tools=TOOLS)
    assert kinds(events)[-1] == "failed"
    assert plain(events[-1]["response"]["output"]) == [
        {"type": "function_call", "status": "incomplete", "call_id": "call_0a1b2c3d4", "name": "look_up",
         "arguments": CUT}
    ]  # fmt: skip


def begin(connection: socket.socket, model: str) -> None:
    """Ask for a stream, on a connection that ends with it."""
    body = b'{"model": "%s", "input": "x", "stream": true}' % model.encode()
    head = b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(head % len(body) + body)


def read(connection: socket.socket, event: bytes = b"", times: int = 1) -> bytes:
    """What comes until an event has come so many times, or else until the end."""
    got = b""
    while not event or got.count(b"event: " + event) < times:
        more = connection.recv(65536)
        if not more:
            assert not event, got
            return got
        got += more
    return got


def test_a_long_load_is_told_in_events() -> None:
    """Codex counts no comments: only an event keeps it waiting."""
    with Served(patience=Patience(hold=0.05, beat=0.05)) as server, server.connect() as connection:
        begin(connection, "loads")
        got = read(connection, b"response.in_progress", 3)
        assert b" 200 OK" in got
        assert b"response.output_item.added" not in got
        server.service.release.set()
        got += read(connection)
    assert got.count(b"event: response.created") == 1
    assert got.count(b"event: response.completed") == 1
    numbers = [int(each) for each in re.findall(rb'"sequence_number":(\d+)', got)]
    assert numbers == list(range(len(numbers)))


def test_a_failure_after_a_long_load_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(FakeService):
        async def _say(self, request: Chat | Complete) -> AsyncIterator[AnswerPart]:
            raise LoadFailed("llama.cpp cannot load slow")
            yield

    monkeypatch.setattr(serving, "FakeService", Slow)
    with Served(patience=Patience(hold=0.05, beat=0.05)) as server, server.connect() as connection:
        begin(connection, "loads")
        got = read(connection, b"response.in_progress")
        server.service.release.set()
        got += read(connection)
    assert got.count(b"event: response.failed") == 1
    assert b"load_failed" in got
    assert b"event: response.completed" not in got


def test_who_leaves_stops_the_work(server: Served) -> None:
    with server.connect() as connection:
        begin(connection, "endless")
        read(connection, b"response.output_text.delta")
    assert server.service.ended.wait(20)
    assert len(server.responses) == 0


def test_an_answer_without_text_has_a_message(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes, "TEXT", ())
    events = frames(server.post(PATH, {**ASK, "stream": True}))
    assert kinds(events) == ["created", "in_progress", *(each for each in TEXT_EVENTS if "delta" not in each),
                             "completed"]  # fmt: skip
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == ""
