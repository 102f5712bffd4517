"""The official openai client's Responses, unmodified."""

from collections.abc import Iterator

import openai
import pydantic
import pytest

from tests.api import fakes
from tests.api.fakes import CALLS, TEXT, THOUGHT
from tests.api.serving import Served

WHOLE = "".join(TEXT)


class Place(pydantic.BaseModel):
    """What the model is asked for."""

    place: str
    days: int


TOOLS = [openai.pydantic_function_tool(Place, name="look_up")]
TOOL = {
    "type": "function", "name": "look_up", "strict": True, "parameters": TOOLS[0]["function"]["parameters"],
}  # fmt: skip


@pytest.fixture
def ai(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_an_answer(ai: openai.OpenAI) -> None:
    answer = ai.responses.create(model="demo", input="Hi", instructions="Be brief", reasoning={"effort": "low"})
    assert answer.output_text == WHOLE
    assert answer.status == "completed"
    assert answer.usage is not None
    assert answer.usage.input_tokens_details.cached_tokens == 3
    assert answer.usage.output_tokens_details.reasoning_tokens == len(THOUGHT)
    thought = answer.output[0]
    assert thought.type == "reasoning"
    assert thought.content is not None
    assert thought.content[0].text == "".join(THOUGHT)


def test_a_stream(ai: openai.OpenAI) -> None:
    with ai.responses.stream(model="demo", input="Hi") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert "".join(deltas) == WHOLE == stream.get_final_response().output_text
    events = list(ai.responses.create(model="demo", input="Hi", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"


def test_tool_calls(ai: openai.OpenAI) -> None:
    with ai.responses.stream(model="callonly", input="Hi", tools=[TOOL]) as stream:  # type: ignore[list-item]
        snapshots = [event.snapshot for event in stream if event.type == "response.function_call_arguments.delta"]
        final = stream.get_final_response()
    assert snapshots[1] == "".join(part.arguments for part in CALLS[:3])
    call = final.output[0]
    assert call.type == "function_call"
    assert call.call_id == CALLS[0].id
    assert call.parsed_arguments == {"place": "Zürich 👋\u2028", "days": 2}
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    answer = ai.responses.create(model="demo", input=[result], previous_response_id=final.id)  # type: ignore[list-item]
    assert answer.output_text == WHOLE
    # Without anything kept, all of it is sent back as it came.
    again = [{"role": "user", "content": "Hi"}, *(item.to_dict() for item in final.output), result]
    assert ai.responses.create(model="demo", input=again, store=False).output_text == WHOLE  # type: ignore[arg-type]


def test_parsed_output(ai: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes, "TEXT", ('{"place": "Bern', '", "days": 1}'))
    answer = ai.responses.parse(model="demo", input="Hi", text_format=Place)
    assert answer.output_parsed == Place(place="Bern", days=1)
    assert answer.text is not None
    assert answer.text.format is not None
    assert answer.text.format.type == "json_schema"


def test_what_is_kept(ai: openai.OpenAI) -> None:
    made = ai.responses.create(model="demo", input=[{"role": "user", "content": str(place)} for place in range(30)])
    assert ai.responses.retrieve(made.id).output_text == WHOLE
    items = list(ai.responses.input_items.list(made.id, order="asc"))  # more than a page
    assert [item.content[0].text for item in items] == [str(place) for place in range(30)]  # type: ignore[union-attr]
    with pytest.raises(openai.BadRequestError):
        ai.responses.cancel(made.id)
    ai.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        ai.responses.retrieve(made.id)
    with pytest.raises(openai.BadRequestError) as caught:
        ai.responses.create(model="demo", input="Hi", previous_response_id=made.id)
    assert caught.value.code == "previous_response_not_found"


def test_failures(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="not found"):
        ai.responses.create(model="missing", input="Hi", stream=True)
    *_, last = ai.responses.create(model="late", input="Hi", stream=True)
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.code == "worker_crashed"
