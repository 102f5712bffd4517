"""Which compiled template a prompt gets, in the worker."""

from __future__ import annotations

import pytest

from runner.conversation import Message, ToolSpec
from runner.errors import TemplateFailed
from runner.prompt.choose import Templates
from runner.prompt.go import GoTemplate
from runner.prompt.jinja import Template
from runner.protocol.commands import ChatPrompt, InfillPrompt

HI = (Message("user", "hi"),)
TOOLS = (ToolSpec("f"),)


def text_of(templates: Templates, prompt: ChatPrompt) -> str | None:
    found = templates.of_chat(prompt)
    return found.text if found else None


def test_the_requests_own_goes_before_the_one_for_tools_and_that_before_the_models() -> None:
    templates = Templates("{{ 'usual' }}", "{{ 'tools' }}")
    assert text_of(templates, ChatPrompt(HI)) == "{{ 'usual' }}"
    assert text_of(templates, ChatPrompt(HI, tools=TOOLS)) == "{{ 'tools' }}"
    assert text_of(templates, ChatPrompt(HI, tools=TOOLS, template="{{ .Prompt }}")) == "{{ .Prompt }}"
    assert text_of(Templates("{{ 'usual' }}"), ChatPrompt(HI, tools=TOOLS)) == "{{ 'usual' }}"
    assert text_of(Templates(None), ChatPrompt(HI)) is None


def test_each_language_has_its_own_engine() -> None:
    assert isinstance(Templates("{{ .Prompt }}").of_chat(ChatPrompt(HI)), GoTemplate)
    assert isinstance(Templates("{{ messages }}").of_chat(ChatPrompt(HI)), Template)


def test_a_requests_template_is_compiled_once_and_few_are_kept() -> None:
    templates = Templates(None)
    first = templates.of_chat(ChatPrompt(HI, template="{{ .Prompt }}"))
    assert templates.of_chat(ChatPrompt(HI, template="{{ .Prompt }}")) is first
    for number in range(16):
        templates.of_chat(ChatPrompt(HI, template=f"{{{{ .Prompt }}}}{number}"))
    assert templates.of_chat(ChatPrompt(HI, template="{{ .Prompt }}")) is not first
    large = "{{ .Prompt }}" + "x" * 600_000
    kept = templates.of_chat(ChatPrompt(HI, template=large))
    assert templates.of_chat(ChatPrompt(HI, template=large)) is kept
    templates.of_chat(ChatPrompt(HI, template=large + "y"))
    assert templates.of_chat(ChatPrompt(HI, template=large)) is not kept


@pytest.mark.parametrize("broken", ["a\n{{ .Prompt }}\n{{ end }}", "a\nb\n{% if %}"])
def test_a_broken_template_is_told_with_its_line_whoever_brought_it(broken: str) -> None:
    templates = Templates(broken)
    for _ in range(2):
        with pytest.raises(TemplateFailed, match=r"the model's chat template .* line 3: ") as caught:
            templates.of_chat(ChatPrompt(HI))
        assert caught.value.field is None
    with pytest.raises(TemplateFailed, match=r"the template of this request .* line 3: ") as caught:
        Templates(None).of_chat(ChatPrompt(HI, template=broken))
    assert caught.value.field == "template"


def test_gaps() -> None:
    gaps = "{{ if .Suffix }}{{ .Prompt }}_{{ .Suffix }}{{ end }}"
    own = Templates(gaps).of_gap(InfillPrompt("a", "b"))
    assert own is not None
    assert own.infill("a", "b") == "a_b"
    assert Templates("{{ .Prompt }}").of_gap(InfillPrompt("a", "b")) is None
    with pytest.raises(TemplateFailed, match="line 1"):
        Templates("{{ .Suffix }}{{ end }}").of_gap(InfillPrompt("a", "b"))
    brought = Templates(None).of_gap(InfillPrompt("a", "b", gaps))
    assert brought is not None
    for other in ("{{ .Prompt }}", "{{ suffix }}"):
        with pytest.raises(TemplateFailed, match="no place for a suffix") as caught:
            Templates(gaps).of_gap(InfillPrompt("a", "b", other))
        assert caught.value.field == "template"
