"""Templates from Modelfile and request, through a real daemon and the worker that runs them."""

from __future__ import annotations

from typing import Any

import pytest

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.end_to_end.test_bad_input import worker

QUESTION = "How do I pull a model?"
MESSAGES = [{"role": "user", "content": QUESTION}]
GO = """\
{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
PROMPT = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"


def made(daemon: Daemon, name: str, template: str) -> str:
    """The demo model with another TEMPLATE."""
    body = {"model": name, "from": "demo", "template": template, "stream": False}
    assert daemon.post("/api/create", body) == {"status": "success"}
    return name


def shown(daemon: Daemon, path: str, **body: Any) -> Any:
    return daemon.post(path, {"_debug_render_only": True, "stream": False, **body})["_debug_info"]["rendered_template"]


def test_a_modelfiles_template_in_go_is_what_the_model_gets(daemon: Daemon) -> None:
    name = made(daemon, "gopher", GO)
    assert shown(daemon, "/api/chat", model=name, messages=MESSAGES) == PROMPT
    assert shown(daemon, "/api/generate", model=name, prompt=QUESTION) == PROMPT
    answer = daemon.post("/api/chat", {"model": name, "messages": MESSAGES, "stream": False})
    assert "runner pull" in answer["message"]["content"]
    said = daemon.post("/api/show", {"model": name})
    # The model fills gaps by tokens of its own, which some clients learn from the template's text alone.
    assert (said["template"], said["template_source"]) == ("{{/* takes .Suffix */}}" + GO, "modelfile")


@pytest.mark.parametrize(
    "template",
    [
        "<|im_start|>user\n{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n{{ .Response }}<|im_end|>\n",
        "{% for m in messages %}<|im_start|>user\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n",
    ],
)
def test_a_request_may_bring_a_template_in_either_language(daemon: Daemon, template: str) -> None:
    asked = {"model": "demo", "prompt": QUESTION, "template": template}
    assert shown(daemon, "/api/generate", **asked).rstrip("\n") == PROMPT.rstrip("\n")
    assert "runner pull" in daemon.post("/api/generate", {**asked, "stream": False})["response"]


def test_a_template_that_fails_is_told_with_its_line_and_spoils_nothing_else(daemon: Daemon) -> None:
    name = made(daemon, "torn", "{{ .System }}\n\n{{ if .Prompt }}{{ title .Prompt }}{{ end }}")
    loaded = daemon.post("/api/generate", {"model": name, "prompt": "x", "raw": True, "stream": False})
    assert loaded["done"]
    before = worker(daemon)
    status, body = daemon.post("/api/chat", {"model": name, "messages": MESSAGES, "stream": False})
    assert (status, body["code"]) == (400, "template_error")
    assert "line 3: 'title' is not supported in a Go template; write the TEMPLATE in Jinja" in body["error"]
    status, body = daemon.post(
        "/api/generate", {"model": name, "prompt": "x", "template": "a\n{{ raise_exception('not so') }}"}
    )
    assert (status, body["code"]) == (400, "template_error")
    assert body["error"] == "the template of this request refuses this conversation: line 2: not so"
    again = daemon.post("/api/generate", {"model": name, "prompt": QUESTION, "template": GO, "stream": False})
    assert "runner pull" in again["response"]
    assert worker(daemon) == before


def test_a_model_without_a_template_is_of_the_family_that_its_vocabulary_tells(daemon: Daemon) -> None:
    gguf = daemon.home / "untemplated.gguf"
    data = demo_gguf().read_bytes()
    # Another key of the same length: to all readers, this model has no template.
    gguf.write_bytes(data.replace(b"tokenizer.chat_template", b"tokenizer.cat_template_", 1))
    daemon.create("untemplated", gguf)
    assert shown(daemon, "/api/chat", model="untemplated", messages=MESSAGES) == PROMPT
    said = daemon.post("/api/show", {"model": "untemplated"})
    assert said["template_source"] == "family"
    assert "chatml" in said["template_reason"]
