"""litellm, by its three ways to a local server: ollama_chat, openai and anthropic."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it fetches its price list from the network on import

import litellm  # it reads the setting above on import

ADDRESS, ASKED = sys.argv[1], json.loads(sys.argv[2])
native = {"model": f"ollama_chat/{ASKED['model']}", "api_base": ADDRESS}
through_openai = {"model": f"openai/{ASKED['model']}", "api_base": f"{ADDRESS}/v1", "api_key": "unused"}
through_anthropic = {"model": f"anthropic/{ASKED['model']}", "api_base": ADDRESS, "api_key": "unused"}


def _said(text):
    return [{"role": "user", "content": text}]


def plain():
    return _plain(native)


def openai_plain():
    return _plain(through_openai)


def anthropic_plain():
    return _plain(through_anthropic)


def streamed():
    return _streamed(native)


def openai_streamed():
    return _streamed(through_openai)


def anthropic_streamed():
    return _streamed(through_anthropic)


def unknown_model():
    return _unknown(native | {"model": f"ollama_chat/{ASKED['missing']}"})


def openai_unknown_model():
    return _unknown(through_openai | {"model": f"openai/{ASKED['missing']}"})


def anthropic_unknown_model():
    return _unknown(through_anthropic | {"model": f"anthropic/{ASKED['missing']}"})


def embeddings():
    answer = litellm.embedding(model=f"ollama/{ASKED['model']}", api_base=ADDRESS, input=ASKED["texts"])
    return [each["embedding"] for each in answer.data]


def openai_embeddings():
    answer = litellm.embedding(**through_openai, input=ASKED["texts"], encoding_format="float")
    return [each["embedding"] for each in answer.data]


def structured():
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": ASKED["form"]}}
    answer = litellm.completion(**native, messages=_said(ASKED["form_question"]), response_format=form)
    return json.loads(answer.choices[0].message.content)


def model_info():
    info = litellm.get_model_info(native["model"], api_base=ADDRESS)
    return {"tools": info.get("supports_function_calling"), "context": info.get("max_tokens")}


def tools():
    return _tools(native)


def openai_tools():
    return _tools(through_openai)


def anthropic_tools():
    return _tools(through_anthropic)


def openai_streamed_tools():
    asked = {**through_openai, "tools": [_tool()], "tool_choice": "required"}
    chunks = list(litellm.completion(**asked, messages=_said(ASKED["tool_question"]), stream=True))
    return {"calls": _calls(litellm.stream_chunk_builder(chunks).choices[0].message)}


def _plain(there):
    answer = litellm.completion(**there, messages=_said(ASKED["question"]))
    used = answer.usage
    return {
        "text": answer.choices[0].message.content,
        "reason": answer.choices[0].finish_reason,
        "tokens": [used.prompt_tokens, used.completion_tokens],
    }


def _streamed(there):
    chunks = list(litellm.completion(**there, messages=_said(ASKED["question"]), stream=True))
    return {
        "pieces": [chunk.choices[0].delta.content or "" for chunk in chunks],
        "reason": chunks[-1].choices[0].finish_reason,
    }


def _unknown(there):
    try:
        litellm.completion(**there, messages=_said("Hi"))
    except litellm.exceptions.NotFoundError as error:
        return {"type": type(error).__name__, "status": error.status_code, "said": str(error)}


def _tools(there):
    answer = litellm.completion(**there, messages=_said(ASKED["tool_question"]), tools=[_tool()])
    return {"calls": _calls(answer.choices[0].message), "reason": answer.choices[0].finish_reason}


def _tool():
    return {"type": "function", "function": ASKED["tool"]}


def _calls(message):
    return [
        {"name": call.function.name, "arguments": json.loads(call.function.arguments)}
        for call in message.tool_calls or ()
    ]
