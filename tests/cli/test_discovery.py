"""`pull --dry-run` and `search`: what is asked, printed and returned."""

import json
from typing import Any

import pytest

from tests.cli.command_line import CommandLine
from tests.cli.fake_daemon import NASTY, FakeDaemon

Json = dict[str, Any]
YES: Json = {"verdict": "yes", "needs": 2, "context": 8192, "why": ""}
NO: Json = {"verdict": "no", "needs": 9, "context": 8192, "why": "needs 9.3 GB at least, and 8.0 GB are free"}
LOOK: Json = {
    "name": "hf.co/org/Tiny-GGUF:latest",
    "reference": "hf.co/org/Tiny-GGUF:latest",
    "origin": "https://hf.co/org/Tiny-GGUF/tree/abc",
    "revision": "abc",
    "quantization": "Q4_K_M",
    "why": "the usual quantization, and it fits into 8.0 GB of memory",
    "licence": "apache-2.0",
    "architecture": "llama",
    "supported": True,
    "problem": "",
    "title": "Tiny",
    "parameters": 8_030_261_248,
    "size_label": "8B",
    "context_length": 131_072,
    "chat_template": True,
    "capabilities": ["completion", "tools"],
    "sampling": {"temperature": 0.6, "top_p": 0.9},
    "builds": [
        {"tag": "Q4_K_M", "quantization": "Q4_K_M", "size": 4_920_000_000, "files": 1, "chosen": True, "stored": False,
         "fits": YES},
        {"tag": "Q8_0", "quantization": "Q8_0", "size": 8_540_000_000, "files": 2, "chosen": False, "stored": True,
         "fits": NO},
    ],
    "files": [
        {"title": "Tiny-Q4_K_M.gguf", "role": "weights", "size": 4_920_000_000, "place": "partial",
         "missing": 4_000_000_000},
        {"title": "mmproj-F16.gguf", "role": "projector", "size": 850_000_000, "place": "missing",
         "missing": 850_000_000},
    ],
    "size": 5_770_000_000,
    "fetch": 4_850_000_000,
    "free": 73_000_000_000,
    "stored": False,
    "read": 7_900_000,
}  # fmt: skip
FOUND: Json = {
    "catalog": [
        {
            "name": "tiny", "kind": "chat", "summary": "A small model", "licence": "MIT", "parameters": "1B to 8B",
            "context": 8192, "aliases": [],
            "tags": [
                {"tag": "1b", "latest": True, "repository": "org/One-GGUF", "quantization": "Q8_0",
                 "size": 1_100_000_000, "stored": True, "fits": YES},
                {"tag": "1b-q4_K_M", "latest": False, "repository": "org/One-GGUF", "quantization": "Q4_K_M",
                 "size": 700_000_000, "stored": False, "fits": YES},
                {"tag": "8b", "latest": False, "repository": "org/Eight-GGUF", "quantization": "Q8_0",
                 "size": 8_540_000_000, "stored": False, "fits": NO},
            ],
        }
    ],
    "hub": [
        {"model": "hf.co/org/Tiny-GGUF", "downloads": 1_234_567, "likes": 12, "gated": True, "licence": "",
         "modified": "2020-01-02T03:04:05+00:00", "architecture": "quux9", "supported": False,
         "parameters": 8_030_261_248, "context": 8192, "stored": False},
    ],
    "note": "",
}  # fmt: skip


def test_a_dry_run_tells_everything_and_fetches_nothing(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/look"] = (200, LOOK)
    result = runner("pull", "--dry-run", "hf.co/org/Tiny-GGUF")
    assert result.stdout == (
        "hf.co/org/Tiny-GGUF:latest\n"
        "    from             https://hf.co/org/Tiny-GGUF/tree/abc\n"
        "    architecture     llama\n"
        "    parameters       8.0B\n"
        "    context          131072 tokens\n"
        "    licence          apache-2.0\n"
        "    capabilities     completion tools\n"
        "    chat template    yes\n"
        "    sampling         temperature 0.6, top_p 0.9\n"
        "\n"
        "Quantizations\n"
        "       TAG       SIZE      FITS\n"
        "    >  Q4_K_M    4.9 GB    yes\n"
        "       Q8_0      8.5 GB    no      in the store; 2 files; needs 9.3 GB at least, and 8.0 GB are free\n"
        "\n"
        "Files\n"
        "    Tiny-Q4_K_M.gguf    4.9 GB    weights      begun, 4.0 GB to fetch\n"
        "    mmproj-F16.gguf     850 MB    projector    to fetch\n"
        "\n"
        "Chose Q4_K_M: the usual quantization, and it fits into 8.0 GB of memory.\n"
        "To fetch: 4.8 GB of 5.8 GB; 73 GB are free.\n"
    )
    assert (daemon.asked("/runner/look")[0].body, daemon.asked("/api/pull")) == ({"model": "hf.co/org/Tiny-GGUF"}, [])
    assert json.loads(runner("pull", "--dry-run", "x", "--json").stdout) == LOOK


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        (
            {"architecture": "quux9", "supported": False, "problem": "architecture 'quux9' isn't known to Runner"},
            1,
            "Error: this model can't run here: architecture 'quux9' isn't known to Runner",
        ),
        ({"free": 10**9}, 74, "Error: not enough space on the store's disk"),
        ({"fetch": 0, "free": 0, "stored": True}, 0, ""),
    ],
)
def test_a_dry_run_fails_where_a_pull_would(
    daemon: FakeDaemon, runner: CommandLine, changed: Json, code: int, words: str
) -> None:
    daemon.refusals["/runner/look"] = (200, LOOK | changed)
    result = runner("pull", "x", "--dry-run", check=code)
    assert result.stderr.strip() == words
    assert ("quux9 (can't run here)" in result.stdout) == ("architecture" in changed)
    assert ("this version is in the store already" in result.stdout) == ("stored" in changed)
    assert json.loads(runner("pull", "x", "--dry-run", "--json", check=code).stdout)["name"] == LOOK["name"]


def test_a_stranger_writes_no_sequences_to_the_terminal(daemon: FakeDaemon, runner: CommandLine) -> None:
    nasty = {"licence": NASTY, "why": NASTY, "sampling": {"stop": NASTY}, "capabilities": [NASTY]}
    daemon.refusals["/runner/look"] = (200, LOOK | nasty)
    with runner.terminal("pull", "x", "--dry-run") as terminal:
        assert terminal.ends() == 0
    assert "\x1b" not in terminal.raw


def test_search_tells_the_catalog_and_the_hub_apart(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/search"] = (200, FOUND)
    result = runner("search", "tiny", "--limit", "5")
    assert daemon.asked("/runner/search")[0].body == {"text": "tiny", "limit": 5, "hub": True}
    lines = result.stdout.splitlines()
    assert lines[:6] == [
        "IN THE CATALOG",
        "",
        "tiny: A small model (chat, MIT, 8192 tokens)",
        "    tiny:1b           Q8_0      1.1 GB    yes    latest; in the store",
        "    tiny:1b-q4_K_M    Q4_K_M    700 MB    yes",
        "    tiny:8b           Q8_0      8.5 GB    no     needs 9.3 GB at least, and 8.0 GB are free",
    ]
    assert lines[7:9] == ["ON HUGGING FACE, unchecked", ""]
    assert lines[9].split() == ["MODEL", "PARAMETERS", "DOWNLOADS", "LIKES", "CHANGED", "LICENCE", "NOTE"]
    assert lines[10].startswith("hf.co/org/Tiny-GGUF    8.0B          1.2M         12       ")
    assert lines[10].endswith("    -          gated, quux9 can't run here")
    assert result.stderr == ""
    assert json.loads(runner("search", "tiny", "--json").stdout) == FOUND


def test_search_without_words_lists_the_catalog(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/search"] = (200, FOUND | {"hub": []})
    assert runner("search", "--catalog").stdout == (
        "NAME    KIND    PARAMETERS    FITS HERE    SUMMARY\ntiny    chat    1B to 8B      1b           A small model\n"
    )
    assert daemon.asked("/runner/search")[0].body == {"text": "", "limit": 20, "hub": False}
    long = [FOUND["catalog"][0] | {"summary": "word " * 40}]
    daemon.refusals["/runner/search"] = (200, {"catalog": long, "hub": [], "note": ""})
    with runner.terminal("search") as terminal:
        assert terminal.ends() == 0
    assert max(map(len, terminal.shown.splitlines())) == 100, "the last column is cut to the terminal"
    assert ("word " * 40).strip() in runner("search").stdout
    with runner.terminal("search", columns=50) as terminal:
        assert terminal.ends() == 0
    assert terminal.shown.split() == [
        "NAME",
        "KIND",
        "PARAMETERS",
        "FITS",
        "HERE",
        "tiny",
        "chat",
        "1B",
        "to",
        "8B",
        "1b",
    ]


def test_search_without_the_hub_says_so(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/search"] = (200, {"catalog": [], "hub": [], "note": "nobody answers"})
    result = runner("search", "tiny")
    assert result.stdout == ""
    assert result.stderr == "nothing found for 'tiny'\nHugging Face could not be searched: nobody answers\n"


def test_search_that_finds_nothing_says_where(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/search"] = (200, {"catalog": [], "hub": [], "note": ""})
    assert runner("search", "zebra").stderr == "nothing found for 'zebra' in the catalog or on Hugging Face\n"
    alone = runner("search", "zebra", "--catalog").stderr
    assert alone == "nothing found for 'zebra' in the catalog; Hugging Face wasn't asked\n"


def test_more_tags_than_rows_are_a_row_for_each_model(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/search"] = (200, FOUND | {"hub": []})
    result = runner("search", "tiny", "--limit", "2")
    assert [line.split("    ")[0] for line in result.stdout.splitlines()] == ["IN THE CATALOG", "", "NAME", "tiny"]
    assert result.stderr == "a row for each model, as all of their tags are more than 2 rows: --limit 3\n"
    assert "tiny:8b" in runner("search", "tiny", "--limit", "3").stdout
    refused = runner("search", "x", "--limit", "0", check=2)
    assert (refused.stdout, refused.stderr) == ("", "Error: --limit takes a number from 1 to 100, not 0\n")
