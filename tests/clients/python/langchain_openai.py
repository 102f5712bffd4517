"""langchain-openai."""

import json
import sys

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

ADDRESS, ASKED = sys.argv[1], json.loads(sys.argv[2])
there = {"base_url": f"{ADDRESS}/v1", "api_key": "unused"}
chat = ChatOpenAI(model=ASKED["model"], stream_usage=True, **there)


def plain():
    answer = chat.invoke(ASKED["question"])
    used = answer.usage_metadata
    return {
        "text": answer.content,
        "reason": answer.response_metadata["finish_reason"],
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
        "reason": whole.response_metadata["finish_reason"],
        "tokens": [used["input_tokens"], used["output_tokens"]],
    }


def unknown_model():
    try:
        ChatOpenAI(model=ASKED["missing"], **there).invoke("Hi")
    except openai.APIStatusError as error:
        return {"type": type(error).__name__, "status": error.status_code, "said": str(error)}


def embeddings():
    # Without the check for length: that one would fetch a tokenizer of OpenAI's from the network.
    embedder = OpenAIEmbeddings(model=ASKED["model"], check_embedding_ctx_length=False, **there)
    return embedder.embed_documents(ASKED["texts"])


def structured():
    form = {"title": "person", "description": "A person", **ASKED["form"]}
    return chat.with_structured_output(form, method="json_schema").invoke(ASKED["form_question"])


def tools():
    answer = chat.bind_tools([_tool()]).invoke(ASKED["tool_question"])
    return {"calls": _calls(answer), "reason": answer.response_metadata["finish_reason"]}


def streamed_tools():
    chunks = list(chat.bind_tools([_tool()], tool_choice="required").stream(ASKED["tool_question"]))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return {"calls": _calls(whole), "deltas": sum(bool(chunk.tool_call_chunks) for chunk in chunks)}


def responses():
    answer = ChatOpenAI(model=ASKED["model"], use_responses_api=True, **there).invoke(ASKED["question"])
    return {"text": answer.text, "status": answer.response_metadata["status"], "id": answer.id}


def _tool():
    return {"type": "function", "function": ASKED["tool"]}


def _calls(answer):
    return [{"name": call["name"], "arguments": call["args"]} for call in answer.tool_calls]
