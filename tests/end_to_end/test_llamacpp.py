"""llama-server's endpoints with the real demo model: what is counted and rendered is what answers are computed from."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.benchmarks.daemon import Daemon

TEXT = "Wörter, 👋🏽\u2028 and <|im_end|>"
TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How do I pull a model?"}]
GAP = {"model": "demo", "input_prefix": "def add(a, b):\n    return ", "input_suffix": "\n\nprint(add(1, 2))\n"}


def events(daemon: Daemon, body: Any) -> list[Any]:
    request = urllib.request.Request(f"{daemon.url}/infill", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as response:
        blocks = response.read().decode().removesuffix("\n\n").split("\n\n")
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


def test_tokens_there_and_back(daemon: Daemon) -> None:
    pieces = daemon.post("/tokenize", {"model": "demo", "content": TEXT, "with_pieces": True})["tokens"]
    assert pieces[-1]["piece"] == "<|im_end|>"
    written = [each["piece"].encode() if isinstance(each["piece"], str) else bytes(each["piece"]) for each in pieces]
    assert b"".join(written).decode() == TEXT
    plain = daemon.post("/tokenize", {"model": "demo", "content": TEXT, "parse_special": False})["tokens"]
    assert len(plain) > len(pieces)
    for tokens in ([each["id"] for each in pieces], plain):
        assert daemon.post("/detokenize", {"model": "demo", "tokens": tokens})["content"] == TEXT
    status, refused = daemon.post("/detokenize", {"model": "demo", "tokens": [1, 2**31 - 1]})
    assert (status, refused["error"]["param"]) == (400, "tokens")


def test_a_conversation_has_as_many_tokens_as_its_answer_is_billed(daemon: Daemon) -> None:
    counted = daemon.post("/tokenize", {"model": "demo", "messages": TURNS})
    rendered = daemon.post("/apply-template", {"model": "demo", "messages": TURNS})["prompt"]
    body = {"model": "demo", "messages": TURNS, "max_tokens": 1}
    assert counted["count"] == daemon.post("/v1/chat/completions", body)["usage"]["prompt_tokens"]
    assert daemon.post("/tokenize", {"model": "demo", "prompt": rendered})["tokens"] == counted["tokens"]
    assert daemon.post("/detokenize", {"model": "demo", "tokens": counted["tokens"]})["prompt"] == rendered
    assert counted["max_model_len"] == 4096
    thinking = {"model": "demo", "messages": TURNS, "chat_template_kwargs": {"enable_thinking": True}}
    assert daemon.post("/apply-template", thinking)["prompt"] != rendered


def test_a_gap_is_filled_alike_in_three_dialects(daemon: Daemon) -> None:
    whole = daemon.post("/infill", {**GAP, "n_predict": 12, "temperature": 0})
    *chunks, end = events(daemon, {**GAP, "n_predict": 12, "temperature": 0, "stream": True})
    assert "".join(chunk["content"] for chunk in chunks) == whole["content"] != ""
    assert chunks[-1]["tokens_predicted"] <= end["tokens_predicted"] == whole["tokens_predicted"]
    assert (end["stop_type"], end["tokens_evaluated"]) == (whole["stop_type"], whole["tokens_evaluated"])
    text = {"model": "demo", "prompt": GAP["input_prefix"], "suffix": GAP["input_suffix"]}
    native = daemon.post("/api/generate", {**text, "stream": False, "options": {"temperature": 0, "num_predict": 12}})
    openai = daemon.post("/v1/completions", {**text, "temperature": 0, "max_tokens": 12})
    assert native["response"] == openai["choices"][0]["text"] == whole["content"]
    moved = {**GAP, "input_prefix": "def add(a, b):\n", "prompt": "    return ", "n_predict": 12, "temperature": 0}
    assert daemon.post("/infill", moved)["content"] == whole["content"]


def test_why_a_gap_ended(daemon: Daemon) -> None:
    ends = daemon.post("/infill", {**GAP, "n_predict": 3, "ignore_eos": True, "response_fields": ["stop_type"]})
    assert ends == {"stop_type": "limit"}
    grammar = {**GAP, "grammar": 'root ::= "a + b;" [a-z]*', "stop": [";"], "n_predict": 20}
    word = daemon.post("/infill", grammar)
    assert (word["content"], word["stop_type"], word["stopping_word"]) == ("a + b", "word", ";")
    warm = daemon.post("/infill", {**GAP, "n_predict": 0})  # how editors have a prompt computed ahead
    assert (warm["content"], warm["tokens_predicted"]) == ("", 0)
    assert daemon.post("/infill", {**GAP, "n_predict": 1})["tokens_cached"] == warm["tokens_evaluated"] - 1


def test_a_long_prefix_loses_what_is_farthest_from_the_gap(daemon: Daemon) -> None:
    extra = [{"text": "x = 1\n" * 3000, "filename": "x.py"}]
    cut = daemon.post("/infill", {**GAP, "input_extra": extra, "n_predict": 4})
    assert cut["truncated"]
    assert cut["tokens_evaluated"] < 4096


def test_the_only_loaded_model_needs_no_name(own_daemon: Daemon) -> None:
    own_daemon.start()
    status, refused = own_daemon.post("/tokenize", {"content": "x"})
    assert (status, refused["error"]["param"]) == (400, "model")
    named = own_daemon.post("/tokenize", {"model": "demo", "content": "x"})
    assert own_daemon.post("/tokenize", {"content": "x"}) == named
    assert own_daemon.post("/infill", {**GAP, "model": None, "n_predict": 1})["model"] == "demo:latest"
