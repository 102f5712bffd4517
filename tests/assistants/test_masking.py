"""What stays off the screen of what somebody keeps in a settings file."""

import pytest

from runner.assistants import jsonc, yamltext
from runner.assistants.masking import HIDDEN, masked
from tests.assistants.homes import CLINE, CONTINUE, QWEN, ZED


@pytest.mark.parametrize(
    "line",
    [
        '"apiKey": "sk-1234"',
        '"ANTHROPIC_AUTH_TOKEN": "sk-1234",',
        "openai-api-key: sk-1234",
        "#openai-api-key: sk-1234   # old",
        '{"a": 1} // "x-api-key": "sk-1234"',
        "# Authorization: Bearer sk-1234",
        'bearer_token = "sk-1234"',
        "  - --password=sk-1234",
        "url: https://me:sk-1234@example.org/v1",
        "Authorization: 'Bearer sk-1234'",
    ],
)
def test_values_under_such_names_are_masked(line: str) -> None:
    shown = masked(f"-{line}\n+{line}\n")
    assert "sk-1234" not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    "line",
    [
        '"max_tokens": 8192',
        '"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "8192"',
        '"env_key": "LOCAL_RUNNER_API_KEY"',
        '"envKey": "DASHSCOPE_API_KEY"',
        "apiKey: ${{ secrets.KEY }}   # kept elsewhere",
        '"apiKey": "{env:LOCAL_RUNNER_API_KEY}"',
        "apiKey: runner",
        '"prompt_cache_key": false',
        '"ANTHROPIC_API_KEY": ""',
        '"baseUrl": "http://127.0.0.1:11435/v1"',
        '"tokenSource": "manual"',
    ],
)
def test_all_else_is_shown(line: str) -> None:
    assert masked(line) == line


def test_what_is_below_such_a_name() -> None:
    text = "api-key:\n  - gemini=abcd\n  - |\n    line one\n    line two\nother: 1\n"
    shown = masked(text, yamltext.parse(text))
    assert shown == f"api-key:\n  - {HIDDEN}\n  - |\n    {HIDDEN}\n    {HIDDEN}\nother: 1\n"
    quoted = r'{"secret": "a\"b\\c"}'
    assert masked(quoted, jsonc.parse(quoted)) == f'{{"secret": "{HIDDEN}"}}'


def test_homes_that_somebody_keeps() -> None:
    for text, parse in ((CONTINUE, yamltext.parse), (QWEN, jsonc.parse), (ZED, jsonc.parse)):
        assert masked(text, parse(text)) == text
    shown = masked(CLINE, jsonc.parse(CLINE))
    assert "sk-x" not in shown
    assert '"mine"' not in shown
    assert shown.count(HIDDEN) == 2
