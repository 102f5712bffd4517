"""The chat templates that llama.cpp ships: what each renders of a past call is read back as that call."""

from __future__ import annotations

import json
import tarfile
from functools import cache

import pytest

from runner.conversation import Message, ToolCall, ToolSpec
from runner.formats import CallFormat, calls_of, thinking_of
from runner.prompt import turns
from runner.prompt.jinja import Template
from tests.benchmarks import llama_cpp_source
from tests.reply.samples import read

TOOL = ToolSpec(
    "get_weather",
    "Weather of a city",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Which"},
            "days": {"type": "integer", "description": "How many"},
            "units": {"type": "array", "items": {"type": "string"}, "description": "In what"},
        },
        "required": ["city"],
    },
)
CALL = ToolCall("get_weather", {"city": 'Gent "x" <b>\nΩ', "days": 3, "units": ["a", "b"]}, "abcdefghi")
ASKS = Message("user", "Hi there?")

# Templates that offer tools and can't be read back, with the reason.
NOT_COVERED = {
    "Kimi-K2-Instruct": "changes lists while it renders, which the sandbox forbids as Hugging Face's does",
    "Kimi-K2-Thinking": "changes lists while it renders, which the sandbox forbids as Hugging Face's does",
    "Kimi-K3": "frames of its own, not known yet",
    "LFM2-8B-A1B": "renders no past calls",
    "LFM2.5-Instruct": "renders no past calls",
    "MiniMax-M3": "elements within elements, not known yet",
    "fireworks-ai-llama-3-firefunction-v2": "wants its tools under another name and written out",
    "ibm-granite-granite-3.3-2B-Instruct": "renders no past calls",
    "llama-cpp-deepseek-r1": "writes a generator as JSON, which only llama.cpp's own engine can",
    "muse-glimmer": "frames of its own, not known yet",
}
# What may stand around a call: the ends of turns and messages, most of them tokens that end an answer.
FRAMES = (
    "</think>", "<|END_OF_TURN_TOKEN|>", "<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "CHATBOT_TOKEN|>",
    "<|START_THINKING|>", "<|END_THINKING|>", "<|message_sep|>", "assistant<|role_sep|>", "<SPECIAL_12>",
    "<｜end▁of▁sentence｜>", "<｜Assistant｜>", "<|tool_response>", "<|eom_id|>", "<｜hy_eos:opensource｜>",
    "<|calls|>",
)  # fmt: skip


@cache
def templates() -> dict[str, str]:
    """All that llama.cpp ships, by name."""
    found = {}
    with tarfile.open(llama_cpp_source.archive()) as files:
        for member in files:
            folder, _, name = member.name.rpartition("/")
            if folder.endswith("vendor/llama.cpp/models/templates") and name.endswith(".jinja"):
                content = files.extractfile(member)
                assert content is not None
                found[name.removesuffix(".jinja")] = content.read().decode()
    return found


def rendered(template: Template, form: CallFormat, *messages: Message, speaks_next: bool = False) -> str:
    return template.render(
        {
            "messages": turns.told(messages, template, form),
            "tools": turns.tools([TOOL]),
            "add_generation_prompt": speaks_next,
            "bos_token": "<BOS>",
            "eos_token": "<EOS>",
        }
    )


def written(template: Template, form: CallFormat) -> str:
    """What the model must have written to make the call that the template renders."""
    prompt = rendered(template, form, ASKS, speaks_next=True)
    whole = rendered(template, form, ASKS, Message("assistant", tool_calls=(CALL,)))
    plain = rendered(template, form, ASKS, Message("assistant", "XYZZY"))
    start = next((at for at, (one, other) in enumerate(zip(prompt, whole, strict=False)) if one != other), len(prompt))
    # The two may have the beginning of a marker in common.
    markers = [whole.find(marker, max(0, start - 40)) for marker in (*form.section, form.opening) if marker]
    start = min([start, *(at for at in markers if at >= 0)])
    if whole[:start].endswith("<"):
        start -= 1
    if form.is_first_open and whole.startswith(form.opening, start):
        start += len(form.opening)
    text = whole[start:].removesuffix(plain[plain.rfind("XYZZY") + len("XYZZY") :])
    return text.partition("<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>")[0]


def test_past_calls_are_read_back() -> None:
    covered, failed = [], {}
    for name, text in templates().items():
        form = calls_of(text)
        if form is None or name in NOT_COVERED:
            continue
        template = Template(text)
        wrote = written(template, form)
        thinking = thinking_of(text)
        whole = read(form, wrote, tools=(TOOL,), thinking=thinking)
        around = whole.text
        for frame in FRAMES:
            around = around.replace(frame, "")
        calls = [(called, json.loads(arguments), complete) for called, arguments, complete in whole.calls]
        if calls == [(CALL.name, CALL.arguments, True)] and not around.strip():
            covered.append(name)
            assert read(form, *wrote, tools=(TOOL,), thinking=thinking) == whole
        else:
            failed[name] = (form.name, wrote, whole)
    assert not failed
    print(f"{len(covered)} templates are covered, {len(NOT_COVERED)} are not")
    assert len(covered) >= 54


@pytest.mark.parametrize("name", NOT_COVERED)
def test_those_that_are_not_covered_are_still_there(name: str) -> None:
    assert calls_of(templates()[name]) is not None
