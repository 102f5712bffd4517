"""ollama for Python."""

import json
import sys

import ollama

ADDRESS, ASKED = sys.argv[1], json.loads(sys.argv[2])
MODEL = ASKED["model"]
client = ollama.Client(host=ADDRESS)


def _said(text):
    return [{"role": "user", "content": text}]


def _tools():
    return [{"type": "function", "function": ASKED["tool"]}]


def models():
    return [model.model for model in client.list().models]


def plain():
    answer = client.chat(MODEL, _said(ASKED["question"]))
    return {
        "text": answer.message.content,
        "reason": answer.done_reason,
        "tokens": [answer.prompt_eval_count, answer.eval_count],
    }


def streamed():
    parts = list(client.chat(MODEL, _said(ASKED["question"]), stream=True))
    return {
        "pieces": [part.message.content or "" for part in parts],
        "reason": parts[-1].done_reason,
        "tokens": [parts[-1].prompt_eval_count, parts[-1].eval_count],
    }


def generated():
    parts = list(client.generate(MODEL, ASKED["question"], stream=True, keep_alive="5m"))
    return {"pieces": [part.response for part in parts], "reason": parts[-1].done_reason}


def unknown_model():
    try:
        client.chat(ASKED["missing"], _said("Hi"))
    except ollama.ResponseError as error:
        return {"type": type(error).__name__, "status": error.status_code, "said": error.error}


def infill():
    answer = client.generate(
        MODEL, "def add(a, b):\n    return ", suffix="\n\nprint(add(1, 2))\n", options={"num_predict": 24}
    )
    return {"text": answer.response, "reason": answer.done_reason}


def embeddings():
    return [list(each) for each in client.embed(MODEL, ASKED["texts"]).embeddings]


def structured():
    answer = client.chat(MODEL, _said(ASKED["form_question"]), format=ASKED["form"], options={"num_predict": 100})
    return json.loads(answer.message.content)


def thinking():
    answer = client.chat(MODEL, _said(ASKED["question"]), think=True)
    return {"thought": answer.message.thinking, "text": answer.message.content}


def tools():
    answer = client.chat(MODEL, _said(ASKED["tool_question"]), tools=_tools())
    return {"calls": _calls(answer.message)}


def streamed_tools():
    calls = []
    for part in client.chat(MODEL, _said(ASKED["tool_question"]), tools=_tools(), stream=True):
        calls += _calls(part.message)
    return {"calls": calls}


def tool_function():
    def get_weather(city: str) -> str:
        """Get the weather for a city

        Args:
            city: the city
        """
        return f"rain in {city}"

    messages = _said(ASKED["tool_question"])
    answer = client.chat(MODEL, messages, tools=[get_weather])
    (call,) = answer.message.tool_calls
    result = {"role": "tool", "tool_name": call.function.name, "content": get_weather(**call.function.arguments)}
    after = client.chat(MODEL, [*messages, answer.message, result], tools=[get_weather])
    return {"text": after.message.content}


def shown():
    answer = client.show(MODEL)
    return {"capabilities": answer.capabilities, "architecture": answer.modelinfo["general.architecture"]}


def running():
    (model,) = (each for each in client.ps().models if each.model.startswith(MODEL))
    return {"context": model.context_length, "expires": model.expires_at.isoformat()}


def copied_and_deleted():
    client.copy(MODEL, "copied-by-python")
    listed = [model.model for model in client.list().models]
    client.delete("copied-by-python")
    return {"listed": listed, "after": [model.model for model in client.list().models]}


def created():
    steps = [step.status for step in client.create("made-by-python", from_=MODEL, system="Be brief.", stream=True)]
    system = client.show("made-by-python").modelfile
    client.delete("made-by-python")
    return {"last": steps[-1], "modelfile": system}


def _calls(message):
    return [
        {"name": call.function.name, "arguments": dict(call.function.arguments)} for call in message.tool_calls or ()
    ]
