"""How the tests of /v1/responses read what they get."""

import json
from typing import Any

from tests.api.serving import Reply, Served

PATH = "/v1/responses"
ASK: dict[str, Any] = {"model": "demo", "input": "Hi"}


def frames(reply: Reply) -> list[Any]:
    """The events of a stream, held to its rules: each named as its data says, numbered without a gap."""
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/event-stream"
    assert reply.body.endswith(b"\n\n")
    found = []
    for block in reply.body[:-2].split(b"\n\n"):
        if block.startswith(b":"):
            continue
        name, data = block.split(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def kinds(events: list[Any]) -> list[str]:
    """The events' types, those in a row counted once, without what they have in common."""
    types = [event["type"].removeprefix("response.") for event in events]
    return [each for place, each in enumerate(types) if place == 0 or types[place - 1] != each]


def stream(server: Served, **more: Any) -> list[Any]:
    return frames(server.post(PATH, {**ASK, **more, "stream": True}))


def answer(server: Served, **more: Any) -> Any:
    """A whole response."""
    reply = server.post(PATH, {**ASK, **more})
    assert reply.status == 200, reply.body
    return reply.json


def fault(server: Served, **more: Any) -> Any:
    """The error of a request that has to be refused before the service sees it."""
    before = len(server.service.seen)
    reply = server.post(PATH, {**ASK, **more})
    assert reply.status == 400, reply.body
    assert len(server.service.seen) == before
    return reply.json["error"]


def plain(value: Any) -> Any:
    """A value without ids and times, which differ each time."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    left = ("id", "item_id", "created_at", "completed_at", "sequence_number")
    return {name: plain(each) for name, each in value.items() if name not in left}
