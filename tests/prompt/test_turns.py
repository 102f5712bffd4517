"""Past calls and their results, as templates of different habits want to see them."""

from __future__ import annotations

import re

import pytest

from runner.conversation import Message, ToolCall, ToolSpec
from runner.formats import CallFormat, calls_of
from runner.prompt import turns
from runner.prompt.jinja import Template
from runner.prompt.turns import Style, style_of

ITERATES = """{% for m in messages %}{{ m.role }}:{{ m.content }}
{%- for c in m.tool_calls or [] %}[{{ c.function.name }}{% for k, v in c.function.arguments|items %} {{ k }}={{ v }}
{%- endfor %}]{% endfor %};{% endfor %}"""
JOINS = """{% for m in messages %}{{ m.role }}:{{ m.content }}
{%- for c in m.tool_calls or [] %}{{ '[' + c.function.name + ' ' + c.function.arguments + ']' }}{% endfor %};
{%- endfor %}"""
ONLY_WITHOUT_CONTENT = """{% for m in messages %}{% if m.content is none %}
{%- for c in m.tool_calls %}{{ c.function.arguments|tojson }}{% endfor %}{% else %}{{ m.content }}{% endif %};
{%- endfor %}"""
ONE_BY_ONE = """{% for m in messages %}{% if m.tool_calls %}
{%- if m.tool_calls|length != 1 %}{{ raise_exception('one at a time') }}{% endif %}
{{- m.tool_calls[0].function.arguments|tojson }}{% else %}{{ m.role }}:{{ m.content }}{% endif %};{% endfor %}"""
NO_CALLS = "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"

ASKS = Message("user", "Add")
BOTH = Message("assistant", tool_calls=(ToolCall("add", {"a": "é", "b": 2}, "one"), ToolCall("sub", {"a": "x"}, "two")))
RESULTS = (Message("tool", "3", tool_call_id="one"), Message("tool", "4", tool_call_id="two"))


def text(template: str, *messages: Message, calls: CallFormat | None = None) -> str:
    compiled = Template(template)
    return compiled.render({"messages": turns.told(messages, compiled, calls)})


@pytest.mark.parametrize(
    ("template", "style"),
    [
        (ITERATES, Style()),
        (JOINS, Style(as_text=True)),
        (ONLY_WITHOUT_CONTENT, Style(no_content=True)),
        (ONE_BY_ONE, Style(one_by_one=True)),
        (NO_CALLS, None),
    ],
)
def test_the_style_is_found_by_trying(template: str, style: Style | None) -> None:
    assert style_of(Template(template)) == style


def test_each_gets_what_it_wants() -> None:
    conversation = (ASKS, BOTH, *RESULTS)
    assert text(ITERATES, *conversation) == "user:Add;assistant:[add a=é b=2][sub a=x];tool:3;tool:4;"
    assert text(JOINS, *conversation) == 'user:Add;assistant:[add {"a": "é", "b": 2}][sub {"a": "x"}];tool:3;tool:4;'
    assert text(ONLY_WITHOUT_CONTENT, *conversation) == 'Add;{"a": "é", "b": 2}{"a": "x"};3;4;'
    assert text(ONE_BY_ONE, *conversation) == 'user:Add;{"a": "é", "b": 2};tool:3;{"a": "x"};tool:4;'


def test_where_a_template_renders_no_calls_they_are_words() -> None:
    lfm = calls_of("List of tools: tools")
    assert text(NO_CALLS, ASKS, BOTH, calls=lfm) == (
        "user:Add;assistant:<|tool_call_start|>[add(a='é', b=2), sub(a='x')]<|tool_call_end|>;"
    )
    granite = calls_of("<|start_of_role|> tools")
    assert '<|tool_call|>[{"name": "add", "arguments": {"a": "é", "b": 2}}, ' in text(
        NO_CALLS, ASKS, BOTH, calls=granite
    )


IDS = """{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.id }} {% endfor %}
{{- m.tool_call_id }}/{{ m.name }};{% endfor %}{{ messages|tojson }}"""


class TestMatching:
    def test_by_id(self) -> None:
        assert text(IDS, ASKS, BOTH, *reversed(RESULTS)).startswith("/;one two /;two/sub;one/add;")

    def test_by_name_or_order(self) -> None:
        """As Ollama's clients send them: without ids, with names or without anything."""
        calls = Message("assistant", tool_calls=(ToolCall("add", {}), ToolCall("sub", {}), ToolCall("add", {})))
        results = (Message("tool", "1", tool_name="sub"), Message("tool", "2"), Message("tool", "3"))
        told = text(IDS, ASKS, calls, *results)
        assert told.startswith("/;call_0 call_1 call_2 /;call_1/sub;call_0/add;call_2/add;")

    def test_nine_letters_and_digits_where_they_are_demanded(self) -> None:
        mistral = calls_of("[TOOL_CALLS] tools")
        calls = Message("assistant", tool_calls=(ToolCall("add", {}, "call_0123456789abcdef"), ToolCall("sub", {})))
        told = text(IDS, ASKS, calls, Message("tool", "1", tool_call_id="call_0123456789abcdef"), calls=mistral)
        first, second, third = re.findall(r"[0-9A-Za-z]{9}(?= |/)", told)[:3]
        assert first == third != second


def test_thoughts_and_words_before_a_call_are_one_channel_in_harmony() -> None:
    both = Message("assistant", "Let me see.", thinking="Hm.", tool_calls=(ToolCall("add", {}, "one"),))
    template = "{% for m in messages %}{{ m.content }}|{{ m.thinking }}|{{ m.tool_calls }}{% endfor %}"
    assert text(template, both, calls=calls_of("<|channel|>to=functions.")).startswith("|Hm.\nLet me see.|")
    assert text(template, both).startswith("Let me see.|Hm.|")


def test_tools_have_properties_if_only_none() -> None:
    [told] = turns.tools([ToolSpec("now")])
    assert told["function"] == {"name": "now", "description": "", "parameters": {"type": "object", "properties": {}}}
