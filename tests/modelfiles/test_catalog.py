"""The catalog: its files are in order, and its reader says which file and field is not."""

import re
from typing import get_args

import pytest

from modelfiles import catalog_check
from modelfiles.catalog import CatalogEntry, Kind, assemble, entries, find, find_entry, near, read
from modelfiles.errors import CatalogError

GOOD = """
- name: tiny
  kind: chat
  summary: A model
  licence: MIT
  parameters: 1B
  context: 2048
  latest: 1b
  builds:
    0.5b: {repo: org/Half-GGUF, files: {Q8_0: 0.5}}
    1b: {repo: org/One-GGUF, files: {Q4_K_M: 0.6, Q8_0: 1.1, F16: 2}, also: [1b-chat]}
"""


def test_kinds_and_sizes_are_covered() -> None:
    assert {entry.kind for entry in entries()} == set(get_args(Kind))
    assert len(entries()) >= 60
    sizes = [tag.size_hint for entry in entries() for tag in entry.tags]
    assert min(sizes) < 50 * 10**6
    assert max(sizes) > 15 * 10**9


def test_the_files_are_in_good_form() -> None:
    assert catalog_check.faults() == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("MIT", "MTI", "tiny: the licence 'MTI' is not in the list of licences"),
        ("context: 2048", "context: 2047", "tiny: a context of 2047 tokens is not one that models have"),
        ("A model", "A model.", "tiny: the summary must be one line of at most 90 characters, without a full stop"),
        ("parameters: 1B", "parameters: small", "tiny: the parameters 'small' must read like 7B or 0.5B to 32B"),
        ("parameters: 0.5B to 1B", "parameters: 1B", "tiny: 0.5b: its number of parameters is outside what"),
        ("org/Half-GGUF", "org/Half", "tiny: 0.5b: org/Half doesn't look like a repository of GGUFs"),
        ("{Q8_0: 0.5}", "{Q8_1: 0.5}", "tiny: 0.5b: Q8_1 is not one of the quantizations that are usual"),
        ("{Q8_0: 0.5}", "{Q8_0: 5}", "tiny: 0.5b: 5.00 GB is not plausible for Q8_0: 0.32 to 0.96"),
    ],
)  # fmt: skip
def test_slips_are_found(old: str, new: str, fault: str) -> None:
    good = GOOD.replace("parameters: 1B", "parameters: 0.5B to 1B")
    assert catalog_check.faults(read("tiny.yaml", good)) == []
    text = (good if old in good else GOOD).replace(old, new)
    assert any(each.startswith(fault) for each in catalog_check.faults(read("tiny.yaml", text)))


def test_one_file_has_one_owner() -> None:
    other = GOOD.replace("name: tiny", "name: zebra")
    assert "zebra:0.5b: the same file is tiny's" in catalog_check.faults(assemble({"a.yaml": GOOD, "b.yaml": other}))


def test_sampling_is_a_models_or_a_builds() -> None:
    text = GOOD.replace("  builds:\n", "  sampling: {temperature: 1, top_k: 20}\n  builds:\n")
    text = text.replace("files: {Q8_0: 0.5}", "files: {Q8_0: 0.5}, sampling: {min_p: 0.1}")
    (entry,) = read("tiny.yaml", text)
    by_tag = {tag.tag: dict(tag.sampling) for tag in entry.tags}
    assert by_tag["0.5b"] == by_tag["0.5b-q8_0"] == {"min_p": 0.1}
    assert by_tag["latest"] == by_tag["1b-chat-fp16"] == {"temperature": 1.0, "top_k": 20}
    found = find("qwen3", "4b-instruct")
    assert found is not None
    assert dict(found.sampling) == {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.0}


def test_names_are_unique() -> None:
    names = [name for entry in entries() for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_entry(entry: CatalogEntry) -> None:
    assert entry.tags[0].tag == "latest"
    assert find(entry.name) == find(entry.name.upper(), "LATEST") == entry.tags[0]
    assert 256 <= entry.context <= 2**24
    assert not entry.summary.endswith(".")
    assert len(entry.summary) <= 90
    for tag in entry.tags:
        assert find(entry.name, tag.tag) == tag
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,79}", tag.tag)  # what a model name may hold
        assert tag.size_hint > 10**7
    for alias in entry.aliases:
        assert find_entry(alias) == entry


@pytest.mark.parametrize(
    ("name", "repo", "quantization"),
    [
        ("qwen3:0.6b", "Qwen/Qwen3-0.6B-GGUF", "Q8_0"),
        ("qwen3:4b", "Qwen/Qwen3-4B-GGUF", "Q4_K_M"),
        ("qwen3:4b-q8_0", "Qwen/Qwen3-4B-GGUF", "Q8_0"),
        ("qwen3:4b-q4_k_m", "Qwen/Qwen3-4B-GGUF", "Q4_K_M"),
        ("llama3.2:3b", "bartowski/Llama-3.2-3B-Instruct-GGUF", "Q4_K_M"),
        ("llama3.2:3b-instruct-q4_K_M", "bartowski/Llama-3.2-3B-Instruct-GGUF", "Q4_K_M"),
        ("llama3.2", "bartowski/Llama-3.2-3B-Instruct-GGUF", "Q4_K_M"),
        ("gemma3:4b", "bartowski/google_gemma-3-4b-it-GGUF", "Q4_K_M"),
        ("qwen2.5-coder:7b", "bartowski/Qwen2.5-Coder-7B-Instruct-GGUF", "Q4_K_M"),
        ("gpt-oss:20b", "ggml-org/gpt-oss-20b-GGUF", "MXFP4"),
        ("deepseek-r1:8b", "bartowski/deepseek-ai_DeepSeek-R1-0528-Qwen3-8B-GGUF", "Q4_K_M"),
        ("all-minilm", "second-state/All-MiniLM-L6-v2-Embedding-GGUF", "F16"),
        ("nomic-embed-text", "nomic-ai/nomic-embed-text-v1.5-GGUF", "F16"),
        ("bge-m3", "gpustack/bge-m3-GGUF", "Q8_0"),
        ("bge-reranker-v2-m3", "gpustack/bge-reranker-v2-m3-GGUF", "Q8_0"),
        ("qwen2.5vl:7b", "ggml-org/Qwen2.5-VL-7B-Instruct-GGUF", "Q4_K_M"),
        ("mistral", "bartowski/Mistral-7B-Instruct-v0.3-GGUF", "Q4_K_M"),
        ("phi4", "bartowski/phi-4-GGUF", "Q4_K_M"),
    ],
)
def test_names_that_people_type(name: str, repo: str, quantization: str) -> None:
    model, _, tag = name.partition(":")
    found = find(model, tag) if tag else find(model)
    assert found is not None
    assert (found.repo, found.quantization) == (repo, quantization)


def test_unknown_names_are_not_found_but_near() -> None:
    assert find("qwen3", "5b") is None
    assert find("lama3.2", "latest") is None
    assert find_entry("lama3.2") is None
    assert near("lama3.2", [entry.name for entry in entries()])[0] == "llama3.2"


def test_tags_of_a_build() -> None:
    (entry,) = read("tiny.yaml", GOOD)
    assert [(tag.tag, tag.quantization, tag.size_hint) for tag in entry.tags] == [
        ("latest", "Q4_K_M", 600_000_000),
        ("0.5b", "Q8_0", 500_000_000),
        ("0.5b-q8_0", "Q8_0", 500_000_000),
        ("1b", "Q4_K_M", 600_000_000),
        ("1b-q4_K_M", "Q4_K_M", 600_000_000),
        ("1b-q8_0", "Q8_0", 1_100_000_000),
        ("1b-fp16", "F16", 2_000_000_000),
        ("1b-chat", "Q4_K_M", 600_000_000),
        ("1b-chat-q4_K_M", "Q4_K_M", 600_000_000),
        ("1b-chat-q8_0", "Q8_0", 1_100_000_000),
        ("1b-chat-fp16", "F16", 2_000_000_000),
    ]


@pytest.mark.parametrize(
    ("old", "new", "field", "reason"),
    [
        ("  kind: chat\n", "", "model 1.kind", "is missing"),
        ("  kind: chat\n", "  kind: chat\n  colour: red\n", "model 1.colour", "is not a field of the catalog"),
        ("name: tiny", "name: Tiny", "model 1.name", "not of the right form"),
        ("name: tiny", "name: 7", "model 1.name", "must be a text"),
        ("kind: chat", "kind: chess", "tiny.kind", "must be one of chat, code, embedding, rerank, vision, not chess"),
        ("summary: A model", "summary: [a]", "tiny.summary", "must be a text"),
        ("context: 2048", "context: 0", "tiny.context", "must be a number above 0"),
        ("context: 2048", "context: 2048.5", "tiny.context", "must be a whole number of tokens"),
        ("context: 2048", "context: true", "tiny.context", "must be a number above 0"),
        ("context: 2048", "context: .nan", "tiny.context", "must be a number above 0"),
        ("latest: 1b", "latest: 2b", "tiny.latest", "there is no build 2b"),
        ("latest: 1b", "latest: 1b\n  sampling: {}", "tiny.sampling", "must be a mapping"),
        ("latest: 1b", "latest: 1b\n  sampling: {heat: 1}", "tiny.sampling.heat", "is not a parameter of sampling"),
        (
            "latest: 1b",
            "latest: 1b\n  sampling: {num_ctx: 1}",
            "tiny.sampling.num_ctx",
            "is not a parameter of sampling",
        ),
        ("latest: 1b", "latest: 1b\n  sampling: {top_p: 2}", "tiny.sampling.top_p", "must be between 0.0 and 1.0"),
        ("kind: chat", "kind: rerank\n  sampling: {top_p: 1}", "tiny.sampling", "has no place in a model for rerank"),
        ("latest: 1b", "latest: 1b\n  aliases: small", "tiny.aliases", "must be a list"),
        ("latest: 1b", "latest: 1b\n  aliases: [a b]", "tiny.aliases.1", "not of the right form"),
        ("org/Half-GGUF", "Half-GGUF", "tiny.builds.0.5b.repo", "not of the right form"),
        ("org/Half-GGUF", "../Half-GGUF", "tiny.builds.0.5b.repo", "not of the right form"),
        ("repo: org/Half-GGUF, ", "", "tiny.builds.0.5b.repo", "is missing"),
        ("{Q8_0: 0.5}", "{}", "tiny.builds.0.5b.files", "must be a mapping"),
        ("{Q8_0: 0.5}", "{q8_0: 0.5}", "tiny.builds.0.5b.files.q8_0", "not of the right form"),
        ("{Q8_0: 0.5}", "{Q8_0: big}", "tiny.builds.0.5b.files.Q8_0", "must be a number above 0"),
        ("    0.5b:", "    5:", "tiny.builds", "the key 5 must be a text; put it in quotes"),
        ("    0.5b:", "    1b:", "YAML", "1b is given twice"),
        ("[1b-chat]", "[0.5b]", "tiny.builds", "the tag 0.5b is given twice"),
        ("    0.5b:", "    latest:", "tiny.builds", "the tag latest is given twice"),
        ("- name: tiny", "- name: [", "YAML", "while parsing"),
        (GOOD, "", "file", "must be a list of models"),
        (GOOD, "tiny: 1", "file", "must be a list of models"),
        (GOOD, "- tiny", "model 1", "must be a mapping"),
        (GOOD, "- !!python/object/apply:os.getcwd []", "YAML", "could not determine a constructor"),
    ],
)
def test_faults_name_the_file_and_the_field(old: str, new: str, field: str, reason: str) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(CatalogError) as caught:
        read("tiny.yaml", GOOD.replace(old, new))
    assert (caught.value.file, caught.value.field) == ("tiny.yaml", field)
    assert reason in caught.value.reason
    assert str(caught.value) == f"tiny.yaml: {field}: {caught.value.reason}"


def test_a_name_belongs_to_one_file() -> None:
    other = GOOD.replace("name: tiny", "name: other\n  aliases: [tiny]")
    with pytest.raises(CatalogError, match=re.escape("b.yaml: other: the name tiny is taken in a.yaml")):
        assemble({"a.yaml": GOOD, "b.yaml": other})


def test_entries_are_sorted_by_name() -> None:
    listed = assemble({"z.yaml": GOOD, "a.yaml": GOOD.replace("name: tiny", "name: zebra")})
    assert [entry.name for entry in listed] == ["tiny", "zebra"]
    assert [entry.name for entry in entries()] == sorted(entry.name for entry in entries())
