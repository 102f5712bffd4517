"""Drafts through the daemon: options, bad values, counts, and a draft model from a Modelfile or a request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon

LINE = "The red fox runs over the hill. "
PROMPT = f"<|im_start|>user\nSay it again: {LINE * 4}<|im_end|>\n<|im_start|>assistant\n{LINE * 4}"


@pytest.fixture
def ai(daemon: Daemon) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def generate(daemon: Daemon, model: str = "demo", **options: Any) -> Any:
    asked = {"num_predict": 60, "ignore_eos": True, **options}
    return daemon.post(
        "/api/generate", {"model": model, "prompt": PROMPT, "raw": True, "stream": False, "options": asked}
    )


def test_looking_drafts_up_changes_no_answer(daemon: Daemon) -> None:
    plain, drafting = generate(daemon), generate(daemon, prompt_lookup_num_tokens=8)
    assert drafting["response"] == plain["response"]
    assert drafting["eval_count"] == plain["eval_count"] == 60
    assert "draft_count" not in plain
    assert 0 <= drafting.get("draft_accepted_count", 0) <= drafting.get("draft_count", 0)


def test_a_model_with_a_draft_says_the_same_and_counts_what_came_true(daemon: Daemon, ai: openai.OpenAI) -> None:
    daemon.create("drafted", demo_gguf(), "FROM {path}\nDRAFT {path}\nPARAMETER temperature 0\n")
    plain, drafting = generate(daemon), generate(daemon, "drafted")
    assert drafting["response"] == plain["response"]
    answer = ai.chat.completions.create(
        model="drafted", messages=[{"role": "user", "content": "How do I pull a model?"}], stop=["<|im_end|>"]
    )
    assert "runner pull" in (answer.choices[0].message.content or "")
    off = generate(daemon, "drafted", draft_num_predict=0)
    assert off["response"] == plain["response"]
    assert "draft_count" not in off


def test_a_request_names_a_draft_model(daemon: Daemon) -> None:
    daemon.create("main", demo_gguf(), "FROM {path}\nPARAMETER temperature 0\n")
    plain = generate(daemon, "main")
    before = set(daemon.workers())
    drafting = generate(daemon, "main", draft_model="demo")
    assert drafting["response"] == plain["response"]
    assert set(daemon.workers()) != before  # loaded anew, with the other beside it


@pytest.mark.parametrize("name", ["draft_num_predict", "prompt_lookup_num_tokens"])
@pytest.mark.parametrize("value", [-1, 2**63, 1.5, True, "4", 1025])
def test_absurd_numbers_are_refused_by_name(daemon: Daemon, name: str, value: object) -> None:
    generate(daemon)
    before = set(daemon.workers())
    status, body = generate(daemon, **{name: value})
    assert status == 400
    assert name in body["error"]
    status, body = daemon.post(
        "/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "Hi"}], name: value}
    )
    assert status == 400
    assert name in body["error"]["message"]
    assert set(daemon.workers()) == before


@pytest.mark.parametrize("value", ["nobody-has-this", "", 7, True, ["demo"], "a b"])
def test_a_draft_model_that_is_none_is_refused_by_name(daemon: Daemon, value: object) -> None:
    generate(daemon)
    before = set(daemon.workers())
    status, body = generate(daemon, draft_model=value)
    assert status == 400
    assert "draft_model" in body["error"]
    assert set(daemon.workers()) == before
