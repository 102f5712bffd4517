"""Responses that are kept: going on from them, looking at them, and forgetting them."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.api.openai.responses.store import Kept, Record, ResponseStore
from runner.conversation import Message, ToolCall
from runner.inference.requests import Chat
from tests.api.fakes import CALLS, TEXT, THOUGHT
from tests.api.responding import PATH, answer, fault, stream
from tests.api.serving import Served

WHOLE, THOUGHTS = "".join(TEXT), "".join(THOUGHT)


def last(server: Served) -> tuple[Message, ...]:
    """The conversation that the service was last asked about."""
    request = server.service.seen[-1]
    assert isinstance(request, Chat)
    return request.messages


def test_going_on(server: Served) -> None:
    first = answer(server, instructions="Only now", reasoning={"effort": "low"})
    second = stream(server, input="And?", previous_response_id=first["id"])[-1]["response"]
    turns = (Message("user", "Hi"), Message("assistant", WHOLE, thinking=THOUGHTS), Message("user", "And?"))
    assert last(server) == turns
    assert second["previous_response_id"] == first["id"]
    answer(server, input="Then?", previous_response_id=second["id"], store=False)
    assert last(server) == (*turns, Message("assistant", WHOLE), Message("user", "Then?"))
    # Each is a branch of its own.
    answer(server, input="Or?", previous_response_id=first["id"])
    assert last(server) == (*turns[:2], Message("user", "Or?"))


def test_going_on_after_a_call(server: Served) -> None:
    first = answer(server, model="callonly", tools=[{"type": "function", "name": "look_up"}])
    output = {"type": "function_call_output", "call_id": "call_0a1b2c3d4", "output": "rain"}
    answer(server, input=[output], previous_response_id=first["id"])
    _, calls, result = last(server)
    assert calls.tool_calls[0] == ToolCall("look_up", {"place": "Zürich 👋\u2028", "days": 2}, CALLS[0].id)
    assert result == Message("tool", "rain", tool_name="look_up", tool_call_id="call_0a1b2c3d4")


def test_a_call_that_was_cut_is_not_made_again(server: Served) -> None:
    cut = answer(server, model="callcut", tools=[{"type": "function", "name": "look_up"}])
    assert cut["output"][0]["status"] == "incomplete"
    answer(server, input="Again", previous_response_id=cut["id"])
    assert last(server) == (Message("user", "Hi"), Message("user", "Again"))


def test_an_item_by_its_id(server: Served) -> None:
    (item,) = answer(server)["output"]
    for reference in ({"type": "item_reference", "id": item["id"]}, {"id": item["id"]}):
        answer(server, input=[reference, {"role": "user", "content": "And?"}])
        assert last(server) == (Message("assistant", WHOLE), Message("user", "And?"))


def test_what_is_kept_can_be_seen_and_forgotten(server: Served) -> None:
    made = answer(server, input=[{"role": "user", "content": str(place)} for place in range(5)])
    path = f"{PATH}/{made['id']}"
    assert server.get(path).json == made
    listed = server.get(f"{path}/input_items").json
    assert (listed["object"], listed["has_more"]) == ("list", False)
    assert [item["content"][0]["text"] for item in listed["data"]] == ["4", "3", "2", "1", "0"]
    assert all(item.keys() == {"type", "id", "status", "role", "content"} for item in listed["data"])
    assert (listed["first_id"], listed["last_id"]) == (listed["data"][0]["id"], listed["data"][-1]["id"])
    page = server.get(f"{path}/input_items?order=asc&limit=2&after={listed['data'][-1]['id']}").json
    assert [item["content"][0]["text"] for item in page["data"]] == ["1", "2"]
    assert page["has_more"] is True
    for query, field in (
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("limit=0000000019999", "limit"),
        ("order=up", "order"),
        ("after=x", "after"),
    ):
        reply = server.get(f"{path}/input_items?{query}")
        assert (reply.status, reply.json["error"]["param"]) == (400, field)
    assert server.get(f"{path}?stream=true").status == 400
    assert server.post(f"{path}/cancel", {}).status == 400
    assert server.ask("DELETE", path).json == {"id": made["id"], "object": "response", "deleted": True}
    for reply in (
        server.get(path), server.ask("DELETE", path), server.get(f"{path}/input_items"),
        server.post(f"{path}/cancel", {}),
    ):  # fmt: skip
        assert reply.status == 404
        assert made["id"] in reply.json["error"]["message"]
    assert (len(server.responses), server.responses.bytes) == (0, 0)


def test_what_nobody_keeps(server: Served) -> None:
    refused = answer(server, store=False)
    assert refused["store"] is False
    for unknown in (refused["id"], "resp_x"):
        error = fault(server, previous_response_id=unknown)
        assert (error["code"], error["param"]) == ("previous_response_not_found", "previous_response_id")
        assert unknown in error["message"]
    with Served(stored_responses=0) as off:
        assert answer(off)["store"] is False
        assert len(off.responses) == 0


def test_the_longest_unused_is_forgotten_first() -> None:
    with Served(stored_responses=2) as server:
        first, second = (answer(server)["id"] for _ in range(2))
        answer(server, previous_response_id=first)
        assert server.get(f"{PATH}/{first}").status == 200
        assert server.get(f"{PATH}/{second}").status == 404
    with Served(stored_responses_size="16kb") as server:
        assert server.get(f"{PATH}/{answer(server, input='x' * 20_000)['id']}").status == 404
        assert (len(server.responses), server.responses.bytes) == (0, 0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.integers(0, 8), st.one_of(st.none(), st.integers(0, 8)), st.integers(0, 40)),
        st.tuples(st.just("drop"), st.integers(0, 8), st.none(), st.just(0)),
    ),
    max_size=40,
)


@given(most=st.integers(0, 5), most_bytes=st.integers(0, 200), steps=STEPS)
def test_bounds_hold_and_every_byte_is_counted_once(most: int, most_bytes: int, steps: list[Any]) -> None:
    store = ResponseStore(most, most_bytes)
    held: dict[str, Record] = {}
    for kind, name, previous, size in steps:
        if kind == "drop":
            store.drop(str(name))
            held.pop(str(name), None)
            continue
        before = store.find(str(previous))
        asked = (*(before.conversation if before else ()), Kept(f"i{name}", b"a" * size))
        record = Record(b"r" * size, asked, (Kept(f"o{name}", b"o" * size),))
        store.keep(str(name), record)
        held[str(name)] = record
        held = {each: kept for each, kept in held.items() if store.find(each) is kept}
        assert len(store) == len(held) <= most
        items = {id(item): len(item.json) for kept in held.values() for item in kept.conversation}
        assert store.bytes == sum(items.values()) + sum(len(kept.response) for kept in held.values()) <= most_bytes
