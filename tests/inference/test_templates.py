"""Which template a model uses and why, and what the templates of known families write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from registry.gguf.facts import CHAT_MARKS, Facts, facts
from registry.gguf.reader import read_header
from runner.conversation import Message
from runner.inference.families import FAMILIES, family_of
from runner.inference.templates import Choice, choose
from runner.prompt.jinja import Template
from runner.prompt.render import render
from runner.protocol.commands import ChatPrompt
from tests import tiny_gguf

JINJA = "{% for m in messages %}{{ m.content }}{% endfor %}"
GO = "{{ .Prompt }}"
CHATML = ("<|im_start|>", "<|im_end|>")
TALK = (
    Message("system", "S"),
    Message("user", "one"),
    Message("assistant", "two"),
    Message("user", "three"),
)


def read(
    tmp_path: Path, tokens: Sequence[str] = (), extra: Mapping[str, object] | None = None, name: str = "tiny"
) -> Facts:
    """The facts of a model whose vocabulary is `<eos>` and these tokens."""
    path = tmp_path / "model.gguf"
    metadata = {"general.name": name, **(extra or {})}
    path.write_bytes(tiny_gguf.model(vocabulary=("<eos>", *tokens, "b", "c"), extra=metadata).build())
    return facts(read_header(path))


def test_the_order(tmp_path: Path) -> None:
    own = read(
        tmp_path, CHATML, {"tokenizer.chat_template": JINJA, "tokenizer.ggml.eos_token_id": tiny_gguf.Typed(4, 2)}
    )
    assert choose(GO, own) == Choice("modelfile", "the Modelfile's TEMPLATE (Go's, as in Ollama)", GO, "go")
    assert choose("{{ x }}", own).language == "jinja"
    assert choose(None, own) == Choice("gguf", "the GGUF's chat template (Jinja)", JINJA, "jinja", is_own=True)
    assert choose(" \n", own).source == "gguf"
    bare = read(tmp_path, CHATML, {"tokenizer.ggml.eos_token_id": tiny_gguf.Typed(4, 2)})
    found = choose(None, bare)
    assert (found.source, found.is_own) == ("family", False)
    assert "family chatml" in found.why
    none = choose(None, read(tmp_path))
    assert (none.source, none.text, none.language) == ("none", None, None)


def test_named_templates(tmp_path: Path) -> None:
    both = {"tokenizer.chat_template": JINJA, "tokenizer.chat_template.tool_use": "{{ tools }}"}
    found = choose(None, read(tmp_path, extra=both))
    assert (found.text, found.for_tools, found.is_own) == (JINJA, "{{ tools }}", True)
    assert "tool_use" in found.why
    assert choose(GO, read(tmp_path, extra=both)).for_tools is None
    named = choose(None, read(tmp_path, extra={"tokenizer.chat_template.default": JINJA}))
    assert (named.source, named.text, named.is_own) == ("gguf", JINJA, False)


@pytest.mark.parametrize(
    ("name", "tokens", "eos", "family"),
    [
        ("x", CHATML, 2, "chatml"),
        ("Qwen2.5_7B_Instruct", CHATML, 0, "chatml"),
        ("Qwen2.5 7B", CHATML, 0, None),
        ("Some Base Chat", CHATML, 2, None),
        ("x", (*CHATML, "<|im_sep|>"), 2, "phi4"),
        ("x", ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), 3, "llama3"),
        ("Meta-Llama-3-8B", ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), 0, None),
        ("Gemma 2 9b It", ("<start_of_turn>", "<end_of_turn>"), 0, "gemma"),
        ("Gemma 2 9b", ("<start_of_turn>", "<end_of_turn>"), 0, None),
        ("x", ("<|user|>", "<|assistant|>", "<|end|>"), 3, "phi3"),
        ("mistralai_Mistral-7B-Instruct-v0.2", (), 0, "mistral"),
        ("Mistral-7B-v0.2", (), 0, None),
        ("Mistral Small 3.1 24B Instruct 2503", ("[INST]", "[/INST]", "[SYSTEM_PROMPT]"), 0, "mistral-v7"),
        ("HuggingFaceH4_zephyr-7b-beta", (), 0, "zephyr"),
        ("LLaMA 2 13B chat", (), 0, "llama2"),
        ("granite-3.1-8b-instruct", ("<|start_of_role|>", "<|end_of_role|>"), 0, "granite"),
        ("deepseek-llm-7b-chat", ("<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"), 0, "deepseek"),
    ],
)
def test_families_by_vocabulary_and_name(
    tmp_path: Path, name: str, tokens: tuple[str, ...], eos: int, family: str | None
) -> None:
    known = family_of(read(tmp_path, tokens, {"tokenizer.ggml.eos_token_id": tiny_gguf.Typed(4, eos)}, name))
    assert (known.name if known else None) == family


def test_no_family_asks_for_a_mark_that_is_never_looked_for() -> None:
    assert {mark for family in FAMILIES for mark in family.marks} <= set(CHAT_MARKS)


WRITTEN = {
    "zephyr": "<|system|>\nS</s>\n<|user|>\none</s>\n<|assistant|>\ntwo</s>\n<|user|>\nthree</s>\n<|assistant|>\n",
    "vicuna": "S\n\nUSER: one\nASSISTANT: two</s>\nUSER: three\nASSISTANT:",
    "llama2": "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\none [/INST] two </s><s>[INST] three [/INST]",
    "phi4": "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>one<|im_end|>"
    "<|im_start|>assistant<|im_sep|>two<|im_end|><|im_start|>user<|im_sep|>three<|im_end|>"
    "<|im_start|>assistant<|im_sep|>",
    "chatml": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\ntwo<|im_end|>\n"
    "<|im_start|>user\nthree<|im_end|>\n<|im_start|>assistant\n",
    "llama3": "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
    "one<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\ntwo<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nthree<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "gemma": "<start_of_turn>user\nS\n\none<end_of_turn>\n<start_of_turn>model\ntwo<end_of_turn>\n"
    "<start_of_turn>user\nthree<end_of_turn>\n<start_of_turn>model\n",
    "phi3": "<|system|>\nS<|end|>\n<|user|>\none<|end|>\n<|assistant|>\ntwo<|end|>\n<|user|>\nthree<|end|>\n"
    "<|assistant|>\n",
    "deepseek": "S<\uff5cUser\uff5c>one<\uff5cAssistant\uff5c>two</s><\uff5cUser\uff5c>three<\uff5cAssistant\uff5c>",
    "command-r": "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>S<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>one<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>two<|END_OF_TURN_TOKEN|>"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>three<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    "granite": "<|start_of_role|>system<|end_of_role|>S</s>\n<|start_of_role|>user<|end_of_role|>one</s>\n"
    "<|start_of_role|>assistant<|end_of_role|>two</s>\n<|start_of_role|>user<|end_of_role|>three</s>\n"
    "<|start_of_role|>assistant<|end_of_role|>",
    "mistral-v7": "[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]one[/INST]two</s>[INST]three[/INST]",
    "mistral": "[INST] S\n\none [/INST] two</s>[INST] three [/INST]",
}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_what_the_families_templates_write(family: object) -> None:
    assert isinstance(family, type(FAMILIES[0]))
    text = render(ChatPrompt(TALK), Template(family.template), bos="<s>", eos="</s>", thinking=None).text
    assert text == WRITTEN[family.name]
