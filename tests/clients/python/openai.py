"""openai for Python."""

import json
import sys

import openai
from pydantic import BaseModel

ADDRESS, ASKED = sys.argv[1], json.loads(sys.argv[2])
MODEL = ASKED["model"]
client = openai.OpenAI(base_url=f"{ADDRESS}/v1", api_key="unused")


class Person(BaseModel):
    name: str
    age: int


def _said(text):
    return [{"role": "user", "content": text}]


def _tools():
    return [{"type": "function", "function": ASKED["tool"]}]


def models():
    return [model.id for model in client.models.list()]


def plain():
    answer = client.chat.completions.create(model=MODEL, messages=_said(ASKED["question"]))
    (choice,) = answer.choices
    return {
        "text": choice.message.content,
        "reason": choice.finish_reason,
        "tokens": [answer.usage.prompt_tokens, answer.usage.completion_tokens],
    }


def streamed():
    options = {"include_usage": True}
    stream = client.chat.completions.create(
        model=MODEL, messages=_said(ASKED["question"]), stream=True, stream_options=options
    )
    pieces, reasons, usage = [], [], None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            reasons.append(choice.finish_reason)
    return {"pieces": pieces, "reason": reasons[-1], "tokens": [usage.prompt_tokens, usage.completion_tokens]}


def unknown_model():
    try:
        client.chat.completions.create(model=ASKED["missing"], messages=_said("Hi"))
    except openai.APIStatusError as error:
        return {"type": type(error).__name__, "status": error.status_code, "code": error.code, "said": str(error)}


def completions():
    answer = client.completions.create(model=MODEL, prompt="def add(a, b):\n", max_tokens=12, logprobs=2)
    (choice,) = answer.choices
    return {"text": choice.text, "tokens": choice.logprobs.tokens}


def infill():
    answer = client.completions.create(
        model=MODEL, prompt="def add(a, b):\n    return ", suffix="\n\nprint(add(1, 2))\n", max_tokens=24
    )
    return {"text": answer.choices[0].text, "reason": answer.choices[0].finish_reason}


def embeddings():
    answer = client.embeddings.create(model=MODEL, input=ASKED["texts"])
    return [each.embedding for each in answer.data]


def structured():
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": ASKED["form"], "strict": True}}
    answer = client.chat.completions.create(
        model=MODEL, messages=_said(ASKED["form_question"]), response_format=form, max_tokens=100
    )
    return json.loads(answer.choices[0].message.content)


def structured_type():
    answer = client.chat.completions.parse(
        model=MODEL, messages=_said(ASKED["form_question"]), response_format=Person, max_tokens=100
    )
    return answer.choices[0].message.parsed.model_dump()


def thinking():
    answer = client.chat.completions.create(
        model=MODEL, messages=_said(ASKED["question"]), reasoning_effort="low", max_completion_tokens=400
    )
    message = answer.choices[0].message
    return {"thought": message.reasoning_content, "text": message.content}


def tools():
    answer = client.chat.completions.create(model=MODEL, messages=_said(ASKED["tool_question"]), tools=_tools())
    (choice,) = answer.choices
    return {"calls": _calls(choice.message.tool_calls), "reason": choice.finish_reason}


def streamed_tools():
    asked = {"model": MODEL, "messages": _said(ASKED["tool_question"]), "tools": _tools()}
    with client.chat.completions.stream(**asked, tool_choice="required") as stream:
        deltas = sum(event.type == "tool_calls.function.arguments.delta" for event in stream)
        (choice,) = stream.get_final_completion().choices
    return {"calls": _calls(choice.message.tool_calls), "reason": choice.finish_reason, "deltas": deltas}


def named_tool():
    answer = client.chat.completions.create(
        model=MODEL,
        messages=_said(ASKED["question"]),
        tools=_tools(),
        tool_choice={"type": "function", "function": {"name": ASKED["tool"]["name"]}},
        max_tokens=100,
    )
    return {"calls": _calls(answer.choices[0].message.tool_calls)}


def tool_result():
    messages = _said(ASKED["tool_question"])
    answer = client.chat.completions.create(model=MODEL, messages=messages, tools=_tools(), tool_choice="required")
    message = answer.choices[0].message
    (call,) = message.tool_calls
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": '{"weather": "rain, 7 degrees"}'}]
    after = client.chat.completions.create(model=MODEL, messages=messages, tools=_tools())
    return {"text": after.choices[0].message.content}


def responses():
    answer = client.responses.create(
        model=MODEL, input=ASKED["question"], instructions="You are Runner.", max_output_tokens=200
    )
    return {"text": answer.output_text, "status": answer.status, "id": answer.id}


def streamed_responses():
    pieces, last = [], None
    for event in client.responses.create(model=MODEL, input=ASKED["question"], stream=True):
        if event.type == "response.output_text.delta":
            pieces.append(event.delta)
        last = event
    return {"pieces": pieces, "reason": last.type, "text": last.response.output_text}


def response_tools():
    tool = {"type": "function", **ASKED["tool"], "strict": False}
    answer = client.responses.create(
        model=MODEL, input=ASKED["tool_question"], tools=[tool], tool_choice="required", store=False
    )
    calls = [item for item in answer.output if item.type == "function_call"]
    return {"calls": [{"name": call.name, "arguments": json.loads(call.arguments)} for call in calls]}


def response_chain():
    first = client.responses.create(model=MODEL, input=ASKED["question"])
    second = client.responses.create(model=MODEL, input="And how do I list models?", previous_response_id=first.id)
    return {"text": second.output_text, "more_tokens": second.usage.input_tokens > first.usage.input_tokens}


def _calls(calls):
    return [
        {"name": call.function.name, "arguments": json.loads(call.function.arguments), "id": call.id}
        for call in calls or ()
    ]
