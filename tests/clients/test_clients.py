"""Other people's clients, unmodified, against a real daemon: what each step of their scripts gave, one test a step."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.asked import MISSING, MODEL, TOOL_NAME, Reference, Report

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
WIDTH = 256
"""Of the demo model, and so of its embeddings."""

UNKNOWN_MODEL = {
    ("python", "openai", "unknown_model"): ("NotFoundError", 404),
    ("python", "anthropic", "unknown_model"): ("NotFoundError", 404),
    ("python", "ollama", "unknown_model"): ("ResponseError", 404),
    ("python", "langchain_openai", "unknown_model"): ("OpenAIModelNotFoundError", 404),
    ("python", "langchain_ollama", "unknown_model"): ("ResponseError", 404),
    ("python", "litellm", "unknown_model"): ("NotFoundError", 404),
    ("python", "litellm", "openai_unknown_model"): ("NotFoundError", 404),
    ("python", "litellm", "anthropic_unknown_model"): ("NotFoundError", 404),
    ("python", "llama_index", "unknown_model"): ("ResponseError", 404),
    ("python", "chromadb", "unknown_model"): ("ResponseError", 404),
    ("node", "openai", "unknown_model"): ("NotFoundError", 404),
    ("node", "ollama", "unknown_model"): ("ResponseError", 404),
    ("node", "anthropic", "unknown_model"): ("NotFoundError", 404),
}
"""The exception that each client makes of an unknown model, and the status that it carries."""


def scripts() -> Iterator[tuple[str, str]]:
    for folder, ending in (("python", ".py"), ("node", ".mjs")):
        for path in sorted((HERE / folder).glob(f"*{ending}")):
            if path.stem != "drive":
                yield folder, path.stem


def steps(language: str, client: str) -> list[str]:
    """What a script does: its public functions."""
    if language == "node":
        text = (HERE / "node" / f"{client}.mjs").read_text(encoding="utf-8")
        return re.findall(r"^export async function (\w+)", text, re.MULTILINE)
    tree = ast.parse((HERE / "python" / f"{client}.py").read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


def stopped(reason: str | None) -> bool:
    return reason in ("stop", "end_turn", None)


def plain(gave: Any, reference: Reference) -> None:
    assert gave["text"] == reference.text
    assert stopped(gave["reason"])
    assert gave["tokens"] == [reference.prompt_tokens, reference.tokens]


def streamed(gave: Any, reference: Reference) -> None:
    assert "".join(gave["pieces"]) == reference.text
    assert stopped(gave["reason"])
    assert gave.get("tokens") in (None, [reference.prompt_tokens, reference.tokens])


def models(gave: Any, reference: Reference) -> None:
    assert f"{MODEL}:latest" in gave


def same_text(gave: Any, reference: Reference) -> None:
    assert gave["text"] == reference.text


def same_pieces(gave: Any, reference: Reference) -> None:
    assert "".join(gave["pieces"]) == reference.text


def embeddings(gave: Any, reference: Reference) -> None:
    assert [len(vector) for vector in gave] == [WIDTH, WIDTH]
    assert gave[0] != gave[1]
    for vector in gave:
        assert math.sqrt(sum(value * value for value in vector)) == pytest.approx(1, abs=1e-3)


def structured(gave: Any, reference: Reference) -> None:
    assert gave.keys() == {"name", "age"}
    assert isinstance(gave["name"], str)
    assert isinstance(gave["age"], int)


def thinking(gave: Any, reference: Reference) -> None:
    assert gave["thought"].strip()
    assert gave["text"].strip()
    assert "think>" not in gave["thought"] + gave["text"]


def tools(gave: Any, reference: Reference) -> None:
    (call,) = gave["calls"]
    assert call["name"] == TOOL_NAME
    assert call["arguments"].keys() == {"city"}
    assert call.get("id", "set")
    assert gave.get("reason") in (None, "tool_calls", "tool_use")
    assert gave.get("deltas", 1) > 0


def said_more(gave: Any, reference: Reference) -> None:
    assert gave["text"].strip()


def completions(gave: Any, reference: Reference) -> None:
    assert 0 < len(gave["tokens"]) <= 12
    assert "".join(gave["tokens"]) == gave["text"]


def infill(gave: Any, reference: Reference) -> None:
    assert gave["text"]
    assert "<|" not in gave["text"]
    assert gave["reason"] in ("stop", "length")


def shown(gave: Any, reference: Reference) -> None:
    assert "completion" in gave["capabilities"]
    assert gave["architecture"] == "llama"


def count_tokens(gave: Any, reference: Reference) -> None:
    assert gave == {"counted": reference.prompt_tokens, "used": reference.prompt_tokens}


def events(gave: Any, reference: Reference) -> None:
    kinds = [kind for kind in gave if kind != "ping"]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


def responses(gave: Any, reference: Reference) -> None:
    assert gave["text"].strip()
    assert gave["status"] == "completed"
    assert gave["id"]


def streamed_responses(gave: Any, reference: Reference) -> None:
    assert "".join(gave["pieces"]) == reference.text
    assert gave["reason"] == "response.completed"


def response_chain(gave: Any, reference: Reference) -> None:
    assert gave["text"].strip()
    assert gave["more_tokens"]


def running(gave: Any, reference: Reference) -> None:
    assert gave["context"] >= 1024
    assert gave["expires"]


def copied_and_deleted(gave: Any, reference: Reference) -> None:
    assert "copied-by-python:latest" in gave["listed"]
    assert "copied-by-python:latest" not in gave["after"]


def created(gave: Any, reference: Reference) -> None:
    assert gave["last"] == "success"
    assert "Be brief." in gave["modelfile"]


def model_info(gave: Any, reference: Reference) -> None:
    assert gave == {"tools": True, "context": 4096}


def unknown_model_on_init(gave: Any, reference: Reference) -> None:
    assert MISSING in gave["said"]


def collection(gave: Any, reference: Reference) -> None:
    assert gave == ["first"]


def aborted(gave: Any, reference: Reference) -> None:
    assert gave == {"type": "AbortError"}


CHECKS: dict[str, Callable[[Any, Reference], None]] = {
    check.__name__: check
    for check in (
        models, plain, streamed, embeddings, structured, thinking, tools, completions, infill, shown, count_tokens,
        events, responses, streamed_responses, response_chain, running, copied_and_deleted, created, model_info,
        unknown_model_on_init, collection, aborted,
    )
} | {
    "generated": same_pieces, "completed": same_text, "structured_type": structured, "streamed_tools": tools,
    "named_tool": tools, "response_tools": tools, "tool_result": said_more, "tool_function": said_more,
    "tool_runner": said_more,
}  # fmt: skip


def check_of(step: str) -> Callable[[Any, Reference], None]:
    """The check of a step; a prefix says by which way it went (litellm knows three)."""
    return CHECKS[step] if step in CHECKS else CHECKS[step.partition("_")[2]]


@pytest.mark.parametrize(
    ("language", "client", "step"),
    [(*script, step) for script in scripts() for step in steps(*script)],
)
def test_a_step(report: Report, reference: Reference, language: str, client: str, step: str) -> None:
    outcome = report(language, client)[step]
    assert "raised" not in outcome, f"{outcome['raised']}: {outcome['said']}\n{outcome['at']}"
    gave = outcome["gave"]
    if (language, client, step) in UNKNOWN_MODEL:
        assert (gave["type"], gave["status"]) == UNKNOWN_MODEL[language, client, step]
        assert MISSING in gave["said"]
    else:
        check_of(step)(gave, reference)
