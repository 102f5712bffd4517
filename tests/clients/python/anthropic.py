"""anthropic for Python."""

import json
import sys

import anthropic

ADDRESS, ASKED = sys.argv[1], json.loads(sys.argv[2])
MODEL = ASKED["model"]
client = anthropic.Anthropic(base_url=ADDRESS, api_key="unused")


def _said(text):
    return [{"role": "user", "content": text}]


def _tools():
    tool = ASKED["tool"]
    return [{"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}]


def models():
    return [model.id for model in client.models.list()]


def plain():
    answer = client.messages.create(model=MODEL, max_tokens=200, messages=_said(ASKED["question"]))
    (block,) = answer.content
    return {
        "text": block.text,
        "reason": answer.stop_reason,
        "tokens": _used(answer),
    }


def streamed():
    with client.messages.stream(model=MODEL, max_tokens=200, messages=_said(ASKED["question"])) as stream:
        pieces = list(stream.text_stream)
        answer = stream.get_final_message()
    return {
        "pieces": pieces,
        "reason": answer.stop_reason,
        "tokens": _used(answer),
    }


def events():
    stream = client.messages.create(
        model=MODEL, max_tokens=200, system=[{"type": "text", "text": "You are Runner."}],
        messages=_said([{"type": "text", "text": ASKED["question"]}]), stream=True,
    )  # fmt: skip
    return [event.type for event in stream]


def unknown_model():
    try:
        client.messages.create(model=ASKED["missing"], max_tokens=20, messages=_said("Hi"))
    except anthropic.APIStatusError as error:
        return {"type": type(error).__name__, "status": error.status_code, "said": str(error), "body": error.body}


def count_tokens():
    counted = client.messages.count_tokens(model=MODEL, messages=_said(ASKED["question"]))
    answer = client.messages.create(model=MODEL, max_tokens=1, messages=_said(ASKED["question"]))
    return {"counted": counted.input_tokens, "used": _used(answer)[0]}


def thinking():
    answer = client.messages.create(
        model=MODEL, max_tokens=1500, thinking={"type": "enabled", "budget_tokens": 1024},
        messages=_said(ASKED["question"]),
    )  # fmt: skip
    blocks = {block.type: block for block in answer.content}
    return {"thought": blocks["thinking"].thinking, "text": blocks["text"].text}


def tools():
    answer = client.messages.create(model=MODEL, max_tokens=200, messages=_said(ASKED["tool_question"]), tools=_tools())
    return {"calls": _calls(answer), "reason": answer.stop_reason}


def streamed_tools():
    asked = {"model": MODEL, "max_tokens": 200, "messages": _said(ASKED["tool_question"]), "tools": _tools()}
    with client.messages.stream(**asked, tool_choice={"type": "any"}) as stream:
        deltas = sum(event.type == "input_json" for event in stream)
        answer = stream.get_final_message()
    return {"calls": _calls(answer), "reason": answer.stop_reason, "deltas": deltas}


def named_tool():
    choice = {"type": "tool", "name": ASKED["tool"]["name"]}
    answer = client.messages.create(
        model=MODEL, max_tokens=200, messages=_said(ASKED["question"]), tools=_tools(), tool_choice=choice
    )
    return {"calls": _calls(answer)}


def tool_result():
    messages = _said(ASKED["tool_question"])
    asked = {"model": MODEL, "max_tokens": 200, "tools": _tools()}
    answer = client.messages.create(**asked, messages=messages, tool_choice={"type": "any"})
    (call,) = (block for block in answer.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": '{"weather": "rain, 7 degrees"}'}
    messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    after = client.messages.create(**asked, messages=messages)
    return {"text": "".join(block.text for block in after.content if block.type == "text")}


def _used(answer):
    # What was read from the cache is not among the input tokens.
    return [answer.usage.input_tokens + answer.usage.cache_read_input_tokens, answer.usage.output_tokens]


def _calls(answer):
    return [
        {"name": block.name, "arguments": block.input, "id": block.id}
        for block in answer.content
        if block.type == "tool_use"
    ]
