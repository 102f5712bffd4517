"""What clients send that can't be installed here, replayed against a real daemon; their own strictness is the check.

Written from what is documented of each client (transcripts/*.json): requests as it sends them, and the shape of the
answer that it can read.
"""

from __future__ import annotations

import http.client
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from modelfiles.embedded import demo_gguf, demo_modelfile
from tests.benchmarks.daemon import Daemon
from tests.clients.conftest import watched
from tests.clients.shapes import differences

pytestmark = pytest.mark.clients

FOLDER = Path(__file__).parent / "transcripts"
EXCHANGES = [
    pytest.param(exchange, id=f"{path.stem}-{exchange['what'].replace(' ', '_')}")
    for path in sorted(FOLDER.glob("*.json"))
    for exchange in json.loads(path.read_text(encoding="utf-8"))["exchanges"]
]


LENGTH = b"llama.context_length" + struct.pack("<I", 4)  # a key of the GGUF's header and its type


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """With a demo model whose header says that it was made for 32,768 tokens, as models are that these clients are used
    with: they ask for so many, and more than a model was made for is refused."""
    running, connections = watched(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("watch"))
    data, path = demo_gguf().read_bytes(), tmp_path_factory.mktemp("model") / "demo.gguf"
    at = data.index(LENGTH) + len(LENGTH)
    path.write_bytes(data[:at] + struct.pack("<I", 32_768) + data[at + 4 :])
    modelfile = demo_modelfile()
    with running:
        text = re.sub("^FROM .*", f"FROM {path}\nPARAMETER num_ctx 32768", modelfile, count=1, flags=re.MULTILINE)
        asked = {"model": "demo", "modelfile": text, "stream": False}
        assert running.post("/api/create", asked) == {"status": "success"}
        yield running
    assert set(connections.read_text(encoding="utf-8").split()) == {"127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str
    body: str


def exchanged(daemon: Daemon, exchange: dict[str, Any]) -> Answer:
    address = urlsplit(daemon.url)
    connection = http.client.HTTPConnection(
        str(address.hostname), address.port, timeout=exchange["expect"].get("seconds", 120)
    )
    body = json.dumps(exchange["body"]) if "body" in exchange else None
    try:
        connection.request(exchange["method"], exchange["path"], body, exchange.get("headers", {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers.get_content_type(), response.read().decode())
    finally:
        connection.close()


def loads(daemon: Daemon) -> float:
    """How many times a model has been loaded since the daemon started."""
    answer = exchanged(daemon, {"method": "GET", "path": "/metrics", "expect": {}})
    counted = [line for line in answer.body.splitlines() if line.startswith("runner_model_load_seconds_count")]
    return sum(float(line.rpartition(" ")[2]) for line in counted)


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_an_exchange(daemon: Daemon, exchange: dict[str, Any]) -> None:
    expect = exchange["expect"]
    if "loads" in expect:  # nothing to wait for: the model stays loaded for longer than this test runs
        daemon.post("/api/generate", {"model": exchange["body"]["model"], "keep_alive": "10m"})
        before = loads(daemon)
    answer = exchanged(daemon, exchange)
    statuses = expect["status"] if isinstance(expect["status"], list) else [expect["status"]]
    assert answer.status in statuses, answer.body
    FRAMINGS[expect["framing"]](answer, expect)
    if "loads" in expect:
        assert loads(daemon) - before == expect["loads"]


def nothing(answer: Answer, expect: dict[str, Any]) -> None:
    assert answer.body == ""


def anything(answer: Answer, expect: dict[str, Any]) -> None:
    """The status said it all."""


def whole(answer: Answer, expect: dict[str, Any]) -> None:
    assert answer.content_type == "application/json"
    body = json.loads(answer.body)
    assert list(differences(body, expect["shape"])) == []
    for field, wanted in expect.get("holds", {}).items():
        assert set(wanted) <= set(body[field])
    if "first_key" in expect:
        field, part, key = expect["first_key"]
        assert next(name for name in body[field] if part in name) == key
    if "count" in expect:
        field, number = expect["count"]
        assert len(body[field]) == number
    for index, length in enumerate(expect.get("likelihoods", ())):
        likelihoods(body["choices"][index], index, length)


def likelihoods(choice: dict[str, Any], index: int, length: int) -> None:
    """As lm-eval sums them: of the prompt's tokens all but the first, which nothing came before."""
    logprobs = choice["logprobs"]
    assert choice["index"] == index
    assert len(logprobs["token_logprobs"]) == len(logprobs["top_logprobs"]) == len(logprobs["tokens"]) == length + 1
    assert logprobs["token_logprobs"][0] is None
    for own, best in list(zip(logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True))[1:]:
        assert own <= max(best.values()) + 1e-6 <= 1e-6


def lines(answer: Answer, expect: dict[str, Any]) -> None:
    """NDJSON as its strictest readers take it: no blank line, and each line the same kind of object."""
    assert answer.content_type == "application/x-ndjson"
    assert answer.body.endswith("\n")
    objects = [json.loads(line) for line in answer.body.removesuffix("\n").split("\n")]
    for each in objects:
        assert list(differences(each, expect["each"])) == []
    assert [each["done"] for each in objects] == [False] * (len(objects) - 1) + [True]
    assert list(differences(objects[-1], expect["last"])) == []


def events(body: str) -> list[tuple[str, str]]:
    """Server-sent events as (event, data), comments left out. Each has to be whole, and one line of data."""
    assert body.endswith("\n\n")
    found = []
    for block in body.removesuffix("\n\n").split("\n\n"):
        fields = [line.partition(": ")[::2] for line in block.split("\n") if not line.startswith(":")]
        if fields:
            named = dict(fields)
            assert len(named) == len(fields), block
            assert named.keys() <= {"event", "data", "id"}, block
            found.append((named.get("event", ""), named["data"]))
    return found


def openai(answer: Answer, expect: dict[str, Any]) -> None:
    assert answer.content_type == "text/event-stream"
    found = events(answer.body)
    assert found[-1] == ("", "[DONE]")
    chunks = [json.loads(data) for _, data in found[:-1]]
    for chunk in chunks:
        assert list(differences(chunk, expect["each"])) == []
    assert list(differences(chunks[-1], expect["last"])) == []
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert len(reasons) == 1


def anthropic(answer: Answer, expect: dict[str, Any]) -> None:
    assert answer.content_type == "text/event-stream"
    found = [(event, json.loads(data)) for event, data in events(answer.body)]
    assert [event for event, _ in found] == [data["type"] for _, data in found]
    told = [data for event, data in found if event != "ping"]
    assert list(differences(told[0], expect["first"])) == []
    assert [data["type"] for data in told[-2:]] == ["message_delta", "message_stop"]
    assert told[-2]["delta"]["stop_reason"] in ("end_turn", "tool_use", "max_tokens")
    assert told[-2]["usage"]["output_tokens"] > 0
    is_open: int | None = None  # blocks follow one another, counted from 0, and a delta belongs to the open one
    count = 0
    for data in told[1:-2]:
        if data["type"] == "content_block_start":
            assert is_open is None
            assert data["index"] == count
            is_open, count = count, count + 1
        else:
            assert data["index"] == is_open
            if data["type"] == "content_block_stop":
                is_open = None
    assert is_open is None
    assert count > 0


def responses(answer: Answer, expect: dict[str, Any]) -> None:
    """As Codex and Copilot's command line read it: whole items as they end, and a last event with the usage."""
    assert answer.content_type == "text/event-stream"
    found = [(event, json.loads(data)) for event, data in events(answer.body)]
    assert [event for event, _ in found] == [data["type"] for _, data in found]
    assert [data["sequence_number"] for _, data in found] == list(range(len(found)))
    assert found[0][0] == "response.created"
    event, last = found[-1]
    assert event == "response.completed"
    shape = {"id": "<text>", "status": "completed", "output": [{"type": "<text>"}]}
    usage = {"input_tokens": "<integer>", "output_tokens": "<integer>", "total_tokens": "<integer>"}
    assert list(differences(last["response"], shape | {"usage": usage})) == []
    added = [data["output_index"] for event, data in found if event == "response.output_item.added"]
    items = [data["item"] for event, data in found if event == "response.output_item.done"]
    assert added == list(range(len(items)))
    assert items == last["response"]["output"]
    deltas = "".join(data["delta"] for event, data in found if event == "response.output_text.delta")
    texts = [part["text"] for item in items if item["type"] == "message" for part in item["content"]]
    assert deltas == "".join(texts)


FRAMINGS = {
    "none": nothing,
    "any": anything,
    "json": whole,
    "ndjson": lines,
    "openai": openai,
    "anthropic": anthropic,
    "responses": responses,
}
