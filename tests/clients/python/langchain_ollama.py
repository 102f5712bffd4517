"""langchain-ollama."""

import json
import sys

import ollama
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM

ADDRESS, ASKED = sys.argv[1], json.loads(sys.argv[2])
there = {"base_url": ADDRESS, "model": ASKED["model"]}
# It asks for the list and looks for the name in it before anything else.
chat = ChatOllama(validate_model_on_init=True, **there)


def plain():
    answer = chat.invoke(ASKED["question"])
    used = answer.usage_metadata
    return {
        "text": answer.content,
        "reason": answer.response_metadata["done_reason"],
        "tokens": [used["input_tokens"], used["output_tokens"]],
    }


def streamed():
    chunks = list(chat.stream(ASKED["question"]))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    used = whole.usage_metadata
    return {
        "pieces": [chunk.content for chunk in chunks],
        "reason": whole.response_metadata["done_reason"],
        "tokens": [used["input_tokens"], used["output_tokens"]],
    }


def generated():
    return {"pieces": list(OllamaLLM(**there).stream(ASKED["question"]))}


def unknown_model():
    try:
        ChatOllama(base_url=ADDRESS, model=ASKED["missing"]).invoke("Hi")
    except ollama.ResponseError as error:
        return {"type": type(error).__name__, "status": error.status_code, "said": error.error}


def unknown_model_on_init():
    try:
        ChatOllama(base_url=ADDRESS, model=ASKED["missing"], validate_model_on_init=True)
    except ValueError as error:
        return {"said": str(error)}


def embeddings():
    return OllamaEmbeddings(**there).embed_documents(ASKED["texts"])


def structured():
    form = {"title": "person", "description": "A person", **ASKED["form"]}
    return chat.with_structured_output(form, method="json_schema").invoke(ASKED["form_question"])


def thinking():
    answer = ChatOllama(reasoning=True, **there).invoke(ASKED["question"])
    return {"thought": answer.additional_kwargs["reasoning_content"], "text": answer.content}


def tools():
    answer = chat.bind_tools([_tool()]).invoke(ASKED["tool_question"])
    return {"calls": _calls(answer)}


def streamed_tools():
    calls = []
    for chunk in chat.bind_tools([_tool()]).stream(ASKED["tool_question"]):
        calls += _calls(chunk)
    return {"calls": calls}


def _tool():
    return {"type": "function", "function": ASKED["tool"]}


def _calls(answer):
    return [{"name": call["name"], "arguments": call["args"]} for call in answer.tool_calls]
