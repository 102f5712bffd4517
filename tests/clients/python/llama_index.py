"""llama-index-llms-ollama."""

import json
import sys

import ollama
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.ollama import Ollama
from pydantic import BaseModel

ADDRESS, ASKED = sys.argv[1], json.loads(sys.argv[2])
# It always sends a temperature (0.75 by default) and num_ctx.
there = {"base_url": ADDRESS, "temperature": 0.0, "context_window": 2048}
llm = Ollama(model=ASKED["model"], **there)


class Person(BaseModel):
    name: str
    age: int


def plain():
    answer = llm.chat(_said(ASKED["question"]))
    return {
        "text": answer.message.content,
        "reason": answer.raw["done_reason"],
        "tokens": [answer.raw["prompt_eval_count"], answer.raw["eval_count"]],
    }


def streamed():
    parts = list(llm.stream_chat(_said(ASKED["question"])))
    return {"pieces": [part.delta or "" for part in parts], "reason": parts[-1].raw["done_reason"]}


def completed():
    return {"text": llm.complete(ASKED["question"]).text}


def unknown_model():
    try:
        Ollama(model=ASKED["missing"], **there).chat(_said("Hi"))
    except ollama.ResponseError as error:
        return {"type": type(error).__name__, "status": error.status_code, "said": error.error}


def structured():
    person = llm.as_structured_llm(Person).chat(_said(ASKED["form_question"]))
    return json.loads(person.message.content)


def tools():
    def get_weather(city: str) -> str:
        """Get the weather for a city."""
        return f"rain in {city}"

    answer = llm.chat_with_tools([FunctionTool.from_defaults(get_weather)], user_msg=ASKED["tool_question"])
    calls = llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False)
    return {"calls": [{"name": call.tool_name, "arguments": call.tool_kwargs} for call in calls]}


def thinking():
    answer = Ollama(model=ASKED["model"], thinking=True, **there).chat(_said(ASKED["question"]))
    blocks = {block.block_type: block for block in answer.message.blocks}
    return {"thought": blocks["thinking"].content, "text": answer.message.content}


def _said(text):
    return [ChatMessage(role="user", content=text)]
