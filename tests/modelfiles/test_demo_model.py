"""The committed demo model: small, with the promised header, and a template that renders as it was trained."""

import json
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from modelfiles.embedded import demo_gguf, demo_modelfile
from modelfiles.parse import parse
from registry.abilities import abilities
from registry.gguf.check import check
from registry.gguf.facts import Facts
from registry.gguf.reader import read_header

WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


@pytest.fixture(scope="module")
def facts() -> Facts:
    return check(read_header(demo_gguf()))


def render(template: str, messages: list[dict[str, Any]], **given: Any) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(template).render(messages=messages, add_generation_prompt=True, **given)


def test_at_most_eight_megabytes() -> None:
    assert demo_gguf().stat().st_size <= 8_000_000


def test_header_says_what_the_design_promises(facts: Facts) -> None:
    assert facts.architecture == "llama"
    assert facts.context_length >= 4096
    assert facts.vocabulary == 4096
    assert facts.quantization == "Q8_0"
    assert facts.tokenizer_pre == "qwen2"
    assert facts.infill
    assert set(abilities(facts)) >= {"completion", "tools", "thinking", "insert"}


def test_its_description_has_its_figures_and_says_what_it_is() -> None:
    description = read_header(demo_gguf()).metadata["general.description"]
    assert isinstance(description, str)
    assert "demo" in description
    assert "nothing else" in description
    assert "Held-out:" in description


def test_modelfile_is_greedy_and_leaves_the_context_to_settings() -> None:
    modelfile = parse(demo_modelfile())
    assert modelfile.parameters["temperature"] == 0
    assert modelfile.parameters["repeat_penalty"] == 1
    assert "num_ctx" not in modelfile.parameters


def test_plain_chat(facts: Facts) -> None:
    said = render(facts.chat_template, [{"role": "user", "content": "Hi"}])
    assert said == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("given", [{"enable_thinking": False}, {"tools": None}, {"tools": []}])
def test_nothing_offered_nothing_said(facts: Facts, given: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    assert render(facts.chat_template, messages, **given) == render(facts.chat_template, messages)


def test_thinking_is_asked_for_on_the_last_line_of_the_system_message(facts: Facts) -> None:
    said = render(facts.chat_template, [{"role": "user", "content": "Hi"}], enable_thinking=True)
    assert said.startswith("<|im_start|>system\n/think<|im_end|>\n")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    said = render(facts.chat_template, messages, enable_thinking=True)
    assert said.startswith("<|im_start|>system\nBe brief.\n/think<|im_end|>\n")


def test_tools_one_a_line(facts: Facts) -> None:
    said = render(facts.chat_template, [{"role": "user", "content": "Hi"}], tools=[WEATHER, WEATHER])
    line = json.dumps(WEATHER)
    assert said.startswith(f"<|im_start|>system\n# Tools\n<tools>\n{line}\n{line}\n</tools><|im_end|>\n")


@pytest.mark.parametrize("arguments", [{"city": "Riga"}, '{"city": "Riga"}'])
def test_a_call_and_its_result(facts: Facts, arguments: object) -> None:
    call = {"function": {"name": "get_weather", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "rain"},
    ]
    said = render(facts.chat_template, messages, tools=[WEATHER])
    assert '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Riga"}}\n</tool_call><|im_end|>' in said
    assert said.endswith("<tool_response>\nrain\n</tool_response><|im_end|>\n<|im_start|>assistant\n")


def test_earlier_thoughts_are_left_out(facts: Facts) -> None:
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "<think>\na greeting\n</think>\n\nHello!"},
        {"role": "user", "content": "Bye"},
    ]
    said = render(facts.chat_template, messages)
    assert "a greeting" not in said
    assert "<|im_start|>assistant\nHello!<|im_end|>" in said


def test_content_in_parts(facts: Facts) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    assert "user\nHello<|im_end|>" in render(facts.chat_template, [{"role": "user", "content": parts}])
