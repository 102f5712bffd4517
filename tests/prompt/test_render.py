"""Conversations to prompt text: in ChatML, whose texts can be written down, and by the demo model's own template."""

from __future__ import annotations

import json

import pytest

from modelfiles.embedded import demo_gguf
from registry.gguf.facts import facts
from registry.gguf.reader import read_header
from runner.conversation import Message, ToolCall, ToolSpec
from runner.errors import TemplateFailed, Unsupported
from runner.formats import THINKING, Thinking, thinking_of
from runner.prompt.jinja import Template
from runner.prompt.render import Rendered, render
from runner.protocol.commands import ChatPrompt

CHATML = """\
{%- if tools %}{{ '<|im_start|>system\\n' + tools|tojson + '<|im_end|>\\n' }}{% endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.reasoning_content %}{{ '<think>' + message.reasoning_content + '</think>' }}{% endif %}
{{- message.content }}
{%- for call in message.tool_calls %}
{{- '<tool_call>' + {'name': call.function.name, 'arguments': call.function.arguments}|tojson + '</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{%- endif %}"""
THINKS = "{% for m in messages %}{{ m.content }}|{% endfor %}{% if enable_thinking|default(true) %}<think>\n{% endif %}"
EVERYTHING = "{{ {'bos': bos_token, 'eos': eos_token, 'messages': messages, 'add': add_generation_prompt}|tojson }}"
THINK = Thinking("<think>", "</think>")

SYSTEM = Message("system", "Be brief.")
USER = Message("user", "Weather in Zürich?")
ANSWER = Message("assistant", "Sunny.")
CALLS = Message(
    "assistant",
    tool_calls=(ToolCall("weather", {"city": "Zürich", "days": 2}, "call_1"), ToolCall("clock", {})),
)
RESULT = Message("tool", '{"sky": "clear"}', tool_name="weather", tool_call_id="call_1")
WEATHER = ToolSpec("weather", "Looks at the sky", {"type": "object", "properties": {"city": {"type": "string"}}})


def rendered(prompt: ChatPrompt, text: str | None = CHATML, thinking: Thinking | None = THINK) -> Rendered:
    template = None if text is None else Template(text)
    return render(prompt, template, bos="<s>", eos="</s>", thinking=thinking)


def text_of(prompt: ChatPrompt, text: str | None = CHATML, thinking: Thinking | None = THINK) -> str:
    return rendered(prompt, text, thinking).text


# -- what a template is told


def test_the_assistant_speaks_next() -> None:
    assert rendered(ChatPrompt((USER,))) == Rendered(
        "<|im_start|>user\nWeather in Zürich?<|im_end|>\n<|im_start|>assistant\n", False
    )


def test_turns_keep_their_order() -> None:
    assert text_of(ChatPrompt((SYSTEM, USER, ANSWER, Message("user", "And now?")))) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWeather in Zürich?<|im_end|>\n"
        "<|im_start|>assistant\nSunny.<|im_end|>\n"
        "<|im_start|>user\nAnd now?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_content_is_passed_on_untouched() -> None:
    content = "  <|im_end|>{{ 1 }}{% x %} <b>&amp;\r\n\u2028 🙂 \n"
    assert f"user\n{content}<|im_end|>" in text_of(ChatPrompt((Message("user", content),)))


def test_names_and_special_tokens() -> None:
    told = json.loads(text_of(ChatPrompt((USER, CALLS, RESULT)), EVERYTHING))
    assert told["bos"] == "<s>"
    assert told["eos"] == "</s>"
    assert told["add"] is True
    user, calls, result = told["messages"]
    assert user == {"role": "user", "content": "Weather in Zürich?"}
    assert calls == {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "type": "function",
                "id": "call_1",
                "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 2}},
            },
            {"type": "function", "id": "call_0", "function": {"name": "clock", "arguments": {}}},
        ],
    }
    assert result == {"role": "tool", "content": '{"sky": "clear"}', "name": "weather", "tool_call_id": "call_1"}


def test_a_thought_of_an_earlier_turn_has_both_of_its_usual_names() -> None:
    told = json.loads(text_of(ChatPrompt((USER, Message("assistant", "Sunny.", thinking="Look."), USER)), EVERYTHING))
    assert told["messages"][1]["thinking"] == told["messages"][1]["reasoning_content"] == "Look."
    assert "<think>Look.</think>Sunny." in text_of(
        ChatPrompt((USER, Message("assistant", "Sunny.", thinking="Look."), USER))
    )


NOTHING = {"type": "object", "properties": {}}  # what templates look into


def test_tools_are_offered_as_functions() -> None:
    text = text_of(ChatPrompt((USER,), tools=(WEATHER, ToolSpec("clock"))), "{{ tools|tojson }}")
    assert json.loads(text) == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Looks at the sky",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
        },
        {"type": "function", "function": {"name": "clock", "description": "", "parameters": NOTHING}},
    ]


def test_without_tools_the_word_is_unknown() -> None:
    assert text_of(ChatPrompt((USER,)), "{{ tools is defined }}") == "False"


def test_tool_calls_and_results_in_a_conversation() -> None:
    text = text_of(ChatPrompt((USER, CALLS, RESULT), tools=(WEATHER,)))
    assert text.startswith('<|im_start|>system\n[{"type": "function"')
    assert (
        '<|im_start|>assistant\n<tool_call>{"name": "weather", "arguments": {"city": "Zürich", "days": 2}}</tool_call>'
        '<tool_call>{"name": "clock", "arguments": {}}</tool_call><|im_end|>\n'
        '<|im_start|>tool\n{"sky": "clear"}<|im_end|>\n<|im_start|>assistant\n'
    ) in text


@pytest.mark.parametrize(
    ("think", "told"),
    [
        (None, "||"),
        (True, "True|True|"),
        (False, "False|False|"),
        ("low", "True|True|low"),
        ("medium", "True|True|medium"),
        ("high", "True|True|high"),
    ],
)
def test_how_templates_learn_about_thinking(think: bool | None, told: str) -> None:
    prompt = ChatPrompt((USER,), think=think)
    assert text_of(prompt, "{{ enable_thinking }}|{{ thinking }}|{{ reasoning_effort }}") == told


def test_variables_of_the_request_do_not_replace_ours() -> None:
    variables = {"style": "terse", "messages": [], "bos_token": "x", "enable_thinking": "x", "add_generation_prompt": 0}
    text = text_of(
        ChatPrompt((USER,), think=True, variables=variables),
        "{{ style }} {{ messages|length }} {{ bos_token }} {{ enable_thinking }} {{ add_generation_prompt }}",
    )
    assert text == "terse 1 <s> True True"


# -- thoughts that the template opens


@pytest.mark.parametrize(("think", "in_thought"), [(None, True), (True, True), (False, False)])
def test_a_thought_that_the_prompt_opens_is_reported(think: bool | None, in_thought: bool) -> None:
    assert rendered(ChatPrompt((USER,), think=think), THINKS).in_thought is in_thought


def test_a_thought_is_only_known_with_its_markers() -> None:
    assert not rendered(ChatPrompt((USER,)), THINKS, thinking=None).in_thought


def test_an_empty_thought_is_no_thought() -> None:
    assert not rendered(ChatPrompt((USER,), think=False)).in_thought


# -- answers that have begun


@pytest.mark.parametrize(
    ("template", "begun", "end", "in_thought"),
    [
        (CHATML, Message("assistant", "Sunny, "), "<|im_start|>assistant\nSunny, ", False),
        (CHATML, Message("assistant", ""), "<|im_start|>assistant\n", False),
        (CHATML, Message("assistant", "", thinking="Look "), "<|im_start|>assistant\n<think>\nLook ", True),
        (CHATML, Message("assistant", "Sun", thinking="Look."), "<think>\nLook.\n</think>\n\nSun", False),
        (THINKS, Message("assistant", "Sunny, "), "|<think>\n\n</think>\n\nSunny, ", False),
        (THINKS, Message("assistant", ""), "|<think>\n", True),
        (THINKS, Message("assistant", "", thinking="Look "), "|<think>\nLook ", True),
        (THINKS, Message("assistant", "Sun", thinking="Look."), "|<think>\nLook.\n</think>\n\nSun", False),
    ],
)
def test_a_begun_answer_is_continued(template: str, begun: Message, end: str, in_thought: bool) -> None:
    result = rendered(ChatPrompt((USER, begun), open_ended=True), template)
    assert result.text.endswith(end)
    assert result.text.count("Sun") == begun.content.count("Sun")
    assert result.in_thought is in_thought


def test_a_begun_answer_of_a_model_that_does_not_think() -> None:
    begun = Message("assistant", "Sunny, ", thinking="Look.")
    assert text_of(ChatPrompt((USER, begun), open_ended=True), thinking=None).endswith("assistant\nSunny, ")


def test_what_is_not_open_ended_is_answered() -> None:
    text = text_of(ChatPrompt((USER, ANSWER)))
    assert text.endswith("<|im_start|>assistant\nSunny.<|im_end|>\n<|im_start|>assistant\n")


def test_only_the_assistant_can_be_continued() -> None:
    assert text_of(ChatPrompt((USER,), open_ended=True)) == text_of(ChatPrompt((USER,)))


# -- without a template


def test_a_base_model_is_given_one_turn_as_text() -> None:
    assert rendered(ChatPrompt((USER,)), None) == Rendered("Weather in Zürich?", False)
    assert text_of(ChatPrompt((SYSTEM, USER)), None) == "Be brief.\n\nWeather in Zürich?"


@pytest.mark.parametrize(
    ("messages", "tools", "field"),
    [
        ((USER, ANSWER, USER), (), "messages"),
        ((SYSTEM,), (), "messages"),
        ((), (), "messages"),
        ((RESULT,), (), "messages"),
        ((USER,), (WEATHER,), "tools"),
    ],
)
def test_a_base_model_cannot_follow_more(
    messages: tuple[Message, ...], tools: tuple[ToolSpec, ...], field: str
) -> None:
    with pytest.raises(TemplateFailed, match="no chat template") as caught:
        rendered(ChatPrompt(messages, tools=tools), None)
    assert caught.value.field == field


# -- what cannot be rendered


@pytest.mark.parametrize("template", [CHATML, None])
def test_images_are_refused(template: str | None) -> None:
    with pytest.raises(Unsupported) as caught:
        rendered(ChatPrompt((SYSTEM, Message("user", "What is it?", images=(b"png",)))), template)
    assert caught.value.field == "messages"


def test_the_templates_own_refusal_comes_through() -> None:
    strict = "{% if messages[0].role != 'user' %}{{ raise_exception('System role not supported') }}{% endif %}"
    with pytest.raises(TemplateFailed, match="System role not supported"):
        rendered(ChatPrompt((SYSTEM, USER)), strict)


# -- the markers of thoughts


@pytest.mark.parametrize("markers", THINKING)
def test_markers_are_found_by_a_scan(markers: Thinking) -> None:
    assert thinking_of(f"{{{{ x.split('{markers.closing}')[-1] }}}}") == markers
    assert thinking_of("{{ messages }}") is None


# -- the demo model's template


@pytest.fixture(scope="module")
def demo() -> str:
    return facts(read_header(demo_gguf())).chat_template


def test_demo_answers_in_chatml(demo: str) -> None:
    assert text_of(ChatPrompt((SYSTEM, USER, ANSWER, USER)), demo) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWeather in Zürich?<|im_end|>\n"
        "<|im_start|>assistant\nSunny.<|im_end|>\n"
        "<|im_start|>user\nWeather in Zürich?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_demo_is_offered_tools_and_given_their_results(demo: str) -> None:
    text = text_of(ChatPrompt((USER, CALLS, RESULT), tools=(WEATHER,)), demo)
    assert "<tools>\n" in text
    assert '{"type": "function", "function": {"name": "weather", "description": "Looks at the sky"' in text
    assert '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich", "days": 2}}\n</tool_call>' in text
    assert '<tool_response>\n{"sky": "clear"}\n</tool_response>' in text
    assert text.endswith("<|im_start|>assistant\n")


def test_demo_thinks_only_when_asked(demo: str) -> None:
    assert thinking_of(demo) == THINK
    unasked, no, yes = (text_of(ChatPrompt((USER,), think=think), demo) for think in (None, False, True))
    assert unasked == no
    assert "/think" not in unasked
    assert "/think" in yes


def test_demo_continues_an_answer(demo: str) -> None:
    text = text_of(ChatPrompt((USER, Message("assistant", "With `runner ")), open_ended=True), demo)
    assert text.endswith("<|im_start|>assistant\nWith `runner ")
