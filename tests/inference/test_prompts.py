"""Whose words go where."""

from __future__ import annotations

import pytest

from runner.conversation import Message
from runner.errors import InvalidRequest
from runner.inference import prompts
from runner.inference.requests import Chat, Complete
from runner.protocol.commands import ChatPrompt, InfillPrompt, TextPrompt, TokenPrompt

HISTORY = (("user", "q"), ("assistant", "a"))


def roles(prompt: object) -> list[tuple[str, str]]:
    assert isinstance(prompt, ChatPrompt)
    return [(message.role, message.content) for message in prompt.messages]


def chat(*messages: tuple[str, str]) -> Chat:
    return Chat("m", tuple(Message(role, text) for role, text in messages))  # type: ignore[arg-type]


def test_system_and_history_of_the_modelfile() -> None:
    prompt = prompts.of_chat(chat(("user", "hi")), "be kind", HISTORY)
    assert roles(prompt) == [("system", "be kind"), *HISTORY, ("user", "hi")]


def test_a_system_message_of_the_request_replaces_the_modelfiles() -> None:
    prompt = prompts.of_chat(chat(("system", "be brief"), ("user", "hi")), "be kind", HISTORY)
    assert roles(prompt) == [("system", "be brief"), *HISTORY, ("user", "hi")]


def test_one_in_the_middle_does_too_and_stays_where_it_is() -> None:
    prompt = prompts.of_chat(chat(("user", "hi"), ("system", "be brief"), ("user", "so")), "be kind", ())
    assert roles(prompt) == [("user", "hi"), ("system", "be brief"), ("user", "so")]


def test_a_last_message_of_the_assistant_is_continued() -> None:
    assert prompts.of_chat(chat(("user", "hi"), ("assistant", "He")), None, ()).open_ended
    assert not prompts.of_chat(chat(("user", "hi")), None, ()).open_ended


def test_a_conversation_needs_a_message() -> None:
    with pytest.raises(InvalidRequest) as caught:
        prompts.of_chat(chat(), "be kind", HISTORY)
    assert caught.value.field == "messages"


def test_completions() -> None:
    turn = prompts.of_completion(Complete("m", "hi"), "be kind", HISTORY)
    assert roles(turn) == [("system", "be kind"), *HISTORY, ("user", "hi")]
    other = prompts.of_completion(Complete("m", "hi", system="be brief"), "be kind", ())
    assert roles(other) == [("system", "be brief"), ("user", "hi")]
    none = prompts.of_completion(Complete("m", "hi", system=""), "be kind", ())
    assert roles(none) == [("user", "hi")]
    assert prompts.of_completion(Complete("m", "hi", raw=True), "be kind", HISTORY) == TextPrompt("hi")
    assert prompts.of_completion(Complete("m", (1, 2)), "be kind", HISTORY) == TokenPrompt((1, 2))
    assert prompts.of_completion(Complete("m", "a", suffix="b"), None, ()) == InfillPrompt("a", "b")
    brought = prompts.of_completion(Complete("m", "a", template="{{ .Prompt }}"), None, ())
    assert isinstance(brought, ChatPrompt)
    assert brought.template == "{{ .Prompt }}"
    gap = prompts.of_completion(Complete("m", "a", suffix="b", template="{{ .Suffix }}"), None, ())
    assert gap == InfillPrompt("a", "b", "{{ .Suffix }}")


def test_a_raw_prompt_takes_no_template() -> None:
    with pytest.raises(InvalidRequest) as caught:
        prompts.of_completion(Complete("m", "a", raw=True, template="{{ .Prompt }}"), None, ())
    assert caught.value.field == "template"


def test_a_suffix_needs_a_text() -> None:
    with pytest.raises(InvalidRequest) as caught:
        prompts.of_completion(Complete("m", (1,), suffix="b"), None, ())
    assert caught.value.field == "suffix"
