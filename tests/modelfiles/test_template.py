"""Which language a TEMPLATE is written in."""

from __future__ import annotations

import pytest

from modelfiles.template import is_go_template


@pytest.mark.parametrize(
    "template",
    [
        "{{ .Prompt }}",
        "{{ if .System }}<|system|>{{ .System }}{{ end }}<|user|>{{ .Prompt }}",
        "{{- range .Messages }}{{ .Content }}{{ end }}",
        '{{ $last := "" }}x',
        "{{/* a comment */}}{{ .Response }}",
        "{{ else }}",
        "{{ json .Messages }}",
    ],
)
def test_go(template: str) -> None:
    assert is_go_template(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% for message in messages %}{{ message.content }}{% endfor %}",
        "{{ messages[0].content }}",
        "{{ bos_token }}{{ messages[-1]['content'] }}",
        "{{ (messages[0].content if messages else '') }}",
        "plain text",
        "{{ ifs }}",
        "{{ index }}",
        "{%- if tools %}{{ .5 }}{% endif %}",
    ],
)
def test_jinja(template: str) -> None:
    assert not is_go_template(template)
