"""Modelfile templates in Go's language: conversations through the families' templates, and what fails how."""

from __future__ import annotations

import datetime
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.conversation import Message, Role, ToolCall, ToolSpec
from runner.errors import TemplateFailed
from runner.formats import thinking_of
from runner.prompt import bounds, go_functions
from runner.prompt.go import GoTemplate
from runner.prompt.render import Rendered, render
from runner.protocol.commands import ChatPrompt
from tests.prompt import go_templates as family

SYSTEM = Message("system", "Be brief.")
USER = Message("user", "Weather in Zürich?")
ANSWER = Message("assistant", "Sunny.")
CALLS = Message("assistant", tool_calls=(ToolCall("weather", {"city": "Zürich", "days": 2}), ToolCall("clock", {})))
RESULT = Message("tool", '{"sky": "<clear>"}', tool_name="weather")
MORE = Message("user", "And now?")
WEATHER = ToolSpec(
    "weather", "Looks at the sky", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
)
WHOLE = "a message can't be written as a whole; write its fields"
FIELDS = "Role, Content, Thinking, Images, ToolCalls, ToolName, ToolCallID"
DESCRIBED = (
    '{"name":"weather","description":"Looks at the sky","parameters":'
    '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}'
)


def text_of(template: str, *messages: Message, tools: tuple[ToolSpec, ...] = (), think: bool | None = None) -> str:
    return GoTemplate(template).render(messages, tools, think)


def said(template: str, *contents: str) -> str:
    """A template over user messages."""
    return text_of(template, *(Message("user", content) for content in contents))


def failure(template: str, *messages: Message) -> str:
    with pytest.raises(TemplateFailed) as caught:
        text_of(template, *(messages or (USER,)))
    assert caught.value.message.encode("utf-8")
    return caught.value.message.removeprefix("the model's chat template cannot be ")


# -- the families


def test_a_template_of_one_turn_is_run_for_each_and_cut_behind_the_last_answer() -> None:
    assert text_of(family.CHATML, SYSTEM, USER, ANSWER, MORE) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWeather in Zürich?<|im_end|>\n"
        "<|im_start|>assistant\nSunny.<|im_end|>\n"
        "<|im_start|>user\nAnd now?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_template_without_a_response_is_cut_at_its_end() -> None:
    assert text_of("[{{ .System }}|{{ .Prompt }}] ", USER, ANSWER, MORE) == "[|Weather in Zürich?] Sunny.[|And now?] "


def test_llama3() -> None:
    text = text_of(family.LLAMA3, SYSTEM, USER, CALLS, RESULT, MORE, tools=(WEATHER,))
    assert text == (
        "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWeather in Zürich?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
        '{"name": "weather", "parameters": {"city":"Zürich","days":2}}{"name": "clock", "parameters": {}}<|eot_id|>'
        '<|start_header_id|>ipython<|end_header_id|>\n\n{"sky": "<clear>"}<|eot_id|>'
        "<|start_header_id|>user<|end_header_id|>\n\n"
        f'Answer with a call if one of these helps.\n{{"type":"function","function":{DESCRIBED}}}\n\nAnd now?<|eot_id|>'
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_mistral() -> None:
    assert text_of(family.MISTRAL, SYSTEM, USER, CALLS, RESULT, ANSWER, MORE, tools=(WEATHER,)) == (
        "[INST] Weather in Zürich?[/INST]"
        '[TOOL_CALLS] [{"name": "weather", "arguments": {"city":"Zürich","days":2}}, '
        '{"name": "clock", "arguments": {}}]</s>'
        '[TOOL_RESULTS] {"content": {"sky": "<clear>"}}[/TOOL_RESULTS] Sunny.</s>'
        f'[AVAILABLE_TOOLS] [{{"type":"function","function":{DESCRIBED}}}][/AVAILABLE_TOOLS]'
        "[INST] Be brief.\n\nAnd now?[/INST]"
    )


def test_qwen_thinks_and_is_offered_tools() -> None:
    thought = Message("assistant", "", thinking="Look.", tool_calls=(ToolCall("clock", {}),))
    text = text_of(family.QWEN, SYSTEM, USER, ANSWER, MORE, thought, RESULT, tools=(WEATHER,), think=True)
    assert text == (
        "<|im_start|>system\nBe brief.\n\n<tools>\n"
        f'{{"type": "function", "function": {DESCRIBED}}}\n</tools>\n<|im_end|>\n'
        "<|im_start|>user\nWeather in Zürich?<|im_end|>\n"
        "<|im_start|>assistant\nSunny.<|im_end|>\n"
        "<|im_start|>user\nAnd now? /think<|im_end|>\n"
        "<|im_start|>assistant\n<think>\nLook.\n</think>\n\n"
        '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call><|im_end|>\n'
        '<|im_start|>user\n<tool_response>\n{"sky": "<clear>"}\n</tool_response><|im_end|>\n'
        "<|im_start|>assistant\n"
    )
    assert text_of(family.QWEN, USER).endswith("Zürich?<|im_end|>\n<|im_start|>assistant\n")
    assert text_of(family.QWEN, USER, think=False).endswith(
        "/no_think<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def test_gemma() -> None:
    assert text_of(family.GEMMA, SYSTEM, USER, ANSWER, MORE) == (
        "<start_of_turn>user\nBe brief.\n\nWeather in Zürich?<end_of_turn>\n"
        "<start_of_turn>model\nSunny.<end_of_turn>\n"
        "<start_of_turn>user\nAnd now?<end_of_turn>\n"
        "<start_of_turn>model\n"
    )


def test_what_follows_a_gap() -> None:
    code = GoTemplate(family.CODELLAMA)
    assert code.fills_gaps
    assert code.infill("def f(", "): pass") == "<PRE> def f( <SUF>): pass <MID>"
    assert code.render([SYSTEM, USER]) == "[INST] <<SYS>>Be brief.<</SYS>>\n\nWeather in Zürich? [/INST] "
    deepseek = GoTemplate(family.DEEPSEEK_CODER)
    assert (
        deepseek.infill("a", "b")
        == "<\uff5cfim\u2581begin\uff5c>a<\uff5cfim\u2581hole\uff5c>b<\uff5cfim\u2581end\uff5c>"
    )
    assert deepseek.render([USER]) == "### Instruction:\nWeather in Zürich?\n### Response:\n"
    assert not GoTemplate(family.CHATML).fills_gaps


def test_templates_that_are_defined_and_types() -> None:
    schema = {
        "properties": {
            "when": {"type": ["string", "null"]},
            "names": {"type": "array", "items": {"type": "string"}},
            "at": {"anyOf": [{"type": "integer"}, {"type": "boolean"}], "description": "Where"},
            "any": {},
        }
    }
    assert text_of(family.TYPED, Message("user", 'a "b"'), tools=(ToolSpec("f", "Does it", schema),)) == (
        "// Does it\ntype f = (_: {\nany?: any,\n// Where\nat?: number | boolean,\nnames?: string[],\n"
        'when?: string | null,\n}) => any;\nuser: "a \\"b\\"";'
    )
    assert text_of(family.TYPED) == "silence"


# -- conversations


def test_neighbours_of_one_role_are_one_message() -> None:
    listed = "{{ range .Messages }}{{ .Role }}={{ .Content }};{{ end }}{{ .System }}"
    second = Message("system", "Be kind.")
    assert text_of(listed, SYSTEM, second, USER, MORE) == (
        "system=Be brief.\n\nBe kind.;user=Weather in Zürich?\n\nAnd now?;Be brief.\n\nBe kind."
    )
    assert text_of(listed, CALLS, ANSWER, RESULT, RESULT).count(";") == 4


def test_a_begun_answer_is_continued_in_either_kind_of_template() -> None:
    begun = Message("assistant", "It is")
    for template, end in ((family.CHATML, "<|im_start|>assistant\nIt is"), (family.GEMMA, "model\nIt is")):
        prompt = ChatPrompt((USER, begun), open_ended=True)
        rendered = render(prompt, GoTemplate(template), bos="", eos="", thinking=None)
        assert rendered.text.endswith(end)


def test_an_opened_thought_is_seen() -> None:
    template = "{{ range .Messages }}{{ .Thinking }}{{ .Content }}</think>{{ end }}{{ if .Think }}<think>\n{{ end }}"
    thinking = thinking_of(template)
    for think in (True, False):
        prompt = ChatPrompt((USER,), think=think)
        assert render(prompt, GoTemplate(template), bos="", eos="", thinking=thinking).in_thought is think
    levels = "{{ .Think }}|{{ .ThinkLevel }}|{{ .IsThinkSet }}{{ .Response }}"
    assert render(ChatPrompt((USER,), think="high"), GoTemplate(levels), bos="", eos="", thinking=None) == Rendered(
        "true|high|true", False
    )


def test_tool_calls_have_no_place_in_a_turn() -> None:
    assert "does not name .Messages" in failure(family.CHATML, USER, CALLS, RESULT)


# -- the language

F = "false"
PRINTED = 'a|b  |   7|  1.2|"q"|hi'


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("a {{- 1 -}} b", "a1b"),
        ("a {{-1}} b", "a -1 b"),
        ("a {{- /* not }} this */ -}} b", "ab"),
        ("{{ `}} raw\\n` }}{{ \"\\t\\u00e9\\x41\\\"\" }}{{ 'a' }}", '}} raw\\n\té' + 'A"97'),
        ("{{ 0x1F }} {{ 1_000 }} {{ 1.50 }} {{ 2e3 }} {{ true }} {{ nil }}.", "31 1000 1.5 2000 true ."),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ range .Nothing }}{{ else }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
        ("{{ range $i, $m := .Nothing }}{{ else }}{{ $i }}none{{ end }}", "none"),
        ("{{ $d := 0 }}{{ range $d = .Messages }}{{ $d.Content }}{{ end }}{{ $d.Content }}", "hihi"),
        ("{{ if $x := .Nothing }}a{{ else if eq (len .Messages) 1 }}b{{ $x }}{{ else }}c{{ end }}", "b"),
        ("{{ with .Nothing }}a{{ else with .Messages }}{{ len . }}{{ else }}c{{ end }}", "1"),
        ("{{ range $i, $m := .Messages }}{{ $i }}{{ $m.Content }}{{ end }}", "0hi"),
        ("{{ range $m := .Messages }}{{ $m.Role }}{{ end }}", "user"),
        ("{{ range 3 }}{{ . }}{{ end }}{{ range 0 }}{{ else }}none{{ end }}", "012none"),
        ("{{ range 9 }}{{ if eq . 1 }}{{ continue }}{{ else if gt . 3 }}{{ break }}{{ end }}{{ . }}{{ end }}", "023"),
        ("{{ and 1 0 .Messages.x }}{{ or 0 \"b\" .Messages.x }}{{ not 0 }}", "0btrue"),
        ("{{ eq 1 2 1 }} {{ ne `a` `b` }} {{ lt 1 2 }} {{ le 2 2 }} {{ gt `b` `a` }} {{ ge 1 2 }}", "true " * 5 + F),
        ("{{ eq .Nothing \"a\" }}{{ eq nil nil }}", "falsetrue"),
        ("{{ (index .Messages 0).Content | printf `%s|%-3s|%4d|%5.1f|%q|%v` `a` `b` 7 1.25 `q` }}", PRINTED),
        ("{{ print 1 2 \"a\" 3 true nil }}{{ println 1 \"b\" }}", "1 2a3 true 1 b\n"),
        ("{{ range $i, $_ := .Messages }}{{ len (printf \"a%*s\" $i \"\") }}{{ end }}", "1"),
        ("{{ slice \"abcd\" 1 3 }}{{ len \"é\" }}", "bc2"),
        ("{{ json .Nothing }}{{ json \"é<\" }}{{ .Messages | len | json }}", 'null"é<"1'),
        ("{{ .Nothing.deeper }}{{ $.Prompt }}|{{ .Tools }}", "|[]"),
        ("{{ define \"x\" }}[{{ . }}{{ $ }}]{{ end }}{{ template \"x\" 1 }}{{ template \"x\" }}", "[11][]"),
    ],
)  # fmt: skip
def test_the_language(template: str, written: str) -> None:
    assert said(template + "{{ if .Messages }}{{ end }}", "hi") == written


def test_maps_are_gone_over_by_key_and_written_as_go_does() -> None:
    loop = "{{ range $k, $v := .Function.Arguments }}{{ $k }}={{ $v }};{{ end }}"
    call = Message("assistant", tool_calls=(ToolCall("f", {"b": [1, 2.0, None], "a": {"z": True, "y": "s"}}),))
    template = "{{ range .Messages }}{{ range .ToolCalls }}" + loop + "{{ .Function.Arguments }}{{ end }}{{ end }}"
    assert text_of(template, call) == 'a=map[y:s z:true];b=[1 2 <nil>];{"b":[1,2.0,null],"a":{"z":true,"y":"s"}}'


def test_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go_functions, "_today", lambda: datetime.date(2026, 3, 1))
    assert said('{{ currentDate }} {{ yesterdayDate "x" }}{{ with .Messages }}{{ end }}') == "2026-03-01 2026-02-28"


# -- failures


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ .X", "used: line 1: the braces are never closed"),
        ("a\n{{ \"x }}", "used: line 2: a text in quotes is never closed"),
        ("{{/* x }}", "used: line 1: a comment is never closed"),
        ("{{ }}", "used: line 1: the braces are empty"),
        ("{{ if .A }}\n\n{{ range .B }}", "used: line 3: what begins here is never ended"),
        ("\n{{ end }}", "used: line 2: this end belongs to nothing"),
        ("{{ if .A }}{{ else }}{{ else }}{{ end }}", "used: line 1: an end is missing before this else"),
        ("\n\n{{ $x }}", "used: line 3: the variable $x was never declared"),
        ("{{ if 1 }}{{ $x := 1 }}{{ end }}{{ $x }}", "used: line 1: the variable $x was never declared"),
        ("{{ $x = 1 }}", "used: line 1: the variable $x was never declared"),
        ("{{ .A | upper }}", "used: line 1: 'upper' is not supported in a Go template; write the TEMPLATE in Jinja"),
        ("{{ .A .B }}", "used: line 1: only a function can be given values, and this is none"),
        ("{{ (.A }}", "used: line 1: a parenthesis is never closed"),
        ("{{ break }}", "used: line 1: break stands outside of any range"),
        ("{{ if 1 }}{{ define `x` }}{{ end }}{{ end }}", "used: line 1: define stands within another block"),
        ("{{ if }}{{ end }}", "used: line 1: something is missing here: there is nothing to take the value of"),
        ("{{ .A ! }}", "used: line 1: '!' means nothing here"),
        ("{{ if 1 }}" * 60, "used: line 1: it is nested too deeply"),
        ("{{ " + "(" * 60 + "}}", "used: line 1: it is nested too deeply"),
        ("\n{{ template \"x\" }}", "rendered: line 2: no template 'x' is defined"),
        (
            "{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}",
            "rendered: line 1: templates call each other too deeply",
        ),
        (
            "{{ range .Messages }}\n{{ .Text }}{{ end }}",
            f"rendered: line 2: .Text: a message has {FIELDS}, and no Text",
        ),
        ("{{ .Prompt.X }}", "rendered: line 1: .X: a text has no fields"),
        ("{{ eq .Prompt 1 }}", "rendered: line 1: eq: a text and a number can't be compared"),
        ("{{ index .Messages 1 }}", "rendered: line 1: index: there is no place 1 in it"),
        ("{{ len 1 }}", "rendered: line 1: len: a number has no length"),
        ("{{ printf \"%*s\" 1000000000 \"\" }}", "rendered: line 1: printf: there is no place 1000000000 in it"),
        ("{{ printf \"%d\" \"x\" }}", "rendered: line 1: printf: %d has no way to write a text"),
        ("{{ range .Prompt }}{{ end }}", "rendered: line 1: a range can't go over a text"),
        ("{{ eq and 1 }}", "rendered: line 1: and takes at least one value"),
        ("{{ not 1 2 }}", "rendered: line 1: not takes 1 values, not 2"),
        ("{{ range .Messages }}{{ . }}{{ end }}", f"rendered: line 1: {WHOLE}"),
    ],
)  # fmt: skip
def test_failures_name_the_line_and_the_reason(template: str, reason: str) -> None:
    assert failure(template) == reason


def test_no_loop_runs_for_ever() -> None:
    endless = GoTemplate("{{ range 1000000000000 }}{{ end }}{{ .Response }}", seconds=0.2)
    with pytest.raises(TemplateFailed, match=r"took more than 0.2 s"):
        endless.render([USER])


def test_no_text_grows_for_ever() -> None:
    growing = '{{ $x := "aaaaaaaaaaaaaaaa" }}{{ range 99 }}{{ $x = print $x $x }}{{ end }}{{ .Response }}'
    assert failure(growing) == f"rendered: the template writes more than {bounds.OUTPUT_LIMIT} characters"
    assert "writes more than" in failure("{{ range 1000000000 }}" + "x" * 100_000 + "{{ end }}{{ .Response }}")


_PARTS = [*'{}-/*."`$()|:=,\\ \nxE1', "{{", "}}", "{{ if ", "{{ end }}", "{{ else }}", ".Messages", "range ", "with $x"]
texts = st.lists(st.sampled_from(_PARTS), max_size=40).map("".join)
messages = st.lists(
    st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text(max_size=20)), max_size=6
).map(lambda parts: [Message(_role(role), text) for role, text in parts])  # fmt: skip


def _role(name: str) -> Role:
    return name  # type: ignore[return-value] # one of those above


def outcome(template: str, conversation: list[Message]) -> str:
    """Why it fails, nothing if it doesn't."""
    try:
        GoTemplate(template, seconds=5.0).render(conversation, [WEATHER])
    except TemplateFailed as error:
        return error.message
    return ""


@settings(max_examples=400, deadline=None)
@given(st.one_of(texts, st.text(), texts.map(lambda text: "{{" + text + "}}")), messages)
def test_any_text_is_a_template_or_refused_with_its_line(text: str, conversation: list[Message]) -> None:
    assert re.match(r"$|.* line [1-9]\d*: ", outcome(text, conversation))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(family.ALL), st.integers(0, 2000), st.integers(0, 30), st.text(max_size=6))
def test_a_damaged_template_fails_in_words_or_works(template: str, at: int, length: int, other: str) -> None:
    at %= len(template)
    damaged = template[:at] + other + template[at + length :]
    assert re.match(r"$|.* line [1-9]\d*: ", outcome(damaged, [SYSTEM, USER, ANSWER, MORE]))


@given(messages)
def test_every_word_of_a_conversation_comes_out(conversation: list[Message]) -> None:
    text = text_of(family.CHATML, *conversation)
    assert all(message.content in text for message in conversation)
