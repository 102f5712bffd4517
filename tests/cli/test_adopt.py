"""`runner adopt`: what is asked of the daemon, and how its shelf looks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from runner.cli.client import Client, Json
from runner.cli.commands.adopt import adopt, is_path
from tests.cli.command_line import CommandLine
from tests.cli.fake_daemon import FakeDaemon

MODEL = {
    "name": "ollama.com/library/tiny:latest",
    "owner": "Ollama",
    "known_as": ["tiny:latest"],
    "size": 1_300_000_000,
    "files": [],
    "state": "new",
    "status": "",
    "total": 0,
    "completed": 0,
    "error": "",
    "here_as": "",
}
MORE = [
    {**MODEL, "name": "b:latest", "known_as": [], "state": "adopting", "total": 200, "completed": 86},
    {**MODEL, "name": "c:latest", "known_as": [], "state": "here", "here_as": "C:latest"},
    {**MODEL, "name": "hf.co/x:Q8_0", "known_as": [], "state": "here", "here_as": "hf.co/x:latest"},
    {**MODEL, "name": "d:latest", "known_as": [], "error": "no GGUF"},
]
NOTHING = {"status": "success", "models": [], "left_out": [], "looked_at": ["/home/me/.lmstudio/models", "/x"]}
LEFT_OUT = [{"what": "library/cloud/latest", "reason": "no weights"}]


@pytest.fixture
def shelf(daemon: FakeDaemon) -> FakeDaemon:
    answer = {"status": "success", "models": [MODEL, *MORE], "left_out": LEFT_OUT, "looked_at": ["/theirs"]}
    daemon.refusals["/runner/adopt"] = (200, answer)
    return daemon


def test_the_shelf_is_a_table(shelf: FakeDaemon, runner: CommandLine) -> None:
    result = runner("adopt", "ollama")
    lines = [line.split(maxsplit=4) for line in result.stdout.splitlines()]
    assert lines[0][:2] == ["NAME", "OWNER"]
    assert lines[1] == ["ollama.com/library/tiny:latest", "Ollama", "1.3", "GB", "new"]
    assert [line[-1] for line in lines[2:]] == ["adopting, 43%", "here", "here as hf.co/x:latest", "failed: no GGUF"]
    assert "left out library/cloud/latest: no weights" in result.stderr
    assert "runner adopt ollama NAME" in result.stderr
    assert [each.body for each in shelf.asked("/runner/adopt")] == [{"from": "ollama"}]
    runner("adopt")
    assert shelf.asked("/runner/adopt")[-1].body == {}
    only = json.loads(runner("adopt", "ollama", "tiny", "--list", "--json").stdout)
    assert [each["name"] for each in only["models"]] == [MODEL["name"]]
    assert only["left_out"] == LEFT_OUT


def test_what_is_asked_for(shelf: FakeDaemon, runner: CommandLine) -> None:
    shelf.refusals["/runner/adopt"] = (200, b'{"status":"hashing x","total":5,"completed":5}\n{"status":"success"}\n')
    assert runner("adopt", "ollama", "tiny").stderr == "hashing x: 5 B\nsuccess\n"
    (runner.folder / "mine").mkdir()
    runner("adopt", "mine", "--all", "--json")
    bodies = [each.body for each in shelf.asked("/runner/adopt")]
    assert bodies == [
        {"from": "ollama", "models": ["tiny"], "stream": True},
        {"from": str(runner.folder / "mine"), "all": True, "stream": True},
    ]


def test_nothing_there_says_where_it_was_looked_for(shelf: FakeDaemon, runner: CommandLine) -> None:
    shelf.refusals["/runner/adopt"] = (200, NOTHING)
    result = runner("adopt", "lmstudio")
    assert (result.stdout, result.stderr) == (
        "", "no model that could be adopted was found; looked at: /home/me/.lmstudio/models, /x\n",
    )  # fmt: skip
    assert "no model called tiny was found" in runner("adopt", "ollama", "tiny", "--list").stderr
    assert json.loads(runner("adopt", "lmstudio", "--json").stdout)["looked_at"] == NOTHING["looked_at"]
    (runner.folder / "notes.txt").write_text("no GGUF")
    shelf.refusals["/runner/adopt"] = (200, {**NOTHING, "left_out": [{"what": "notes.txt", "reason": "why"}]})
    failed = runner("adopt", "./notes.txt", check=1)
    assert failed.stdout == ""
    assert "left out notes.txt: why\n" in failed.stderr
    assert f"no model that could be adopted at {runner.folder / 'notes.txt'}" in failed.stderr


def test_it_ends_with_how_to_run_what_came(shelf: FakeDaemon, runner: CommandLine) -> None:
    def ends_with(*names: str) -> str:
        said = {"status": "success", "models": names}
        shelf.refusals["/runner/adopt"] = (200, json.dumps(said).encode() + b"\n")
        return runner("adopt", "ollama", "--all").stderr.splitlines()[-1]

    assert ends_with("ollama.com/library/tiny:latest") == "run it with: runner run ollama.com/library/tiny:latest"
    assert ends_with("a:latest", "b:latest") == "run one of these 2 with: runner run a:latest"
    assert ends_with() == "nothing was adopted: all of it is here already, under other names"


def test_leaving_says_that_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupted:
        def __init__(self, begun: bool) -> None:
            self.begun = begun

        @contextmanager
        def stream(self, *asked: object) -> Iterator[Iterator[Json]]:
            yield self.updates()

        def updates(self) -> Iterator[Json]:
            if self.begun:
                yield {"status": "hashing x"}
            raise KeyboardInterrupt

    for begun in (False, True):
        with pytest.raises(KeyboardInterrupt):
            adopt(cast(Client, Interrupted(begun)), "/my models", [], True, False, False)
        said = "it goes on in the background; `runner adopt '/my models'` shows where it stands\n"
        assert (said in capsys.readouterr().err) == begun


def test_a_path_is_pulled_under_a_name(shelf: FakeDaemon, runner: CommandLine) -> None:
    shelf.refusals["/runner/adopt"] = (200, {"status": "success", "models": [MODEL], "left_out": [], "looked_at": []})
    runner("pull", "./x.gguf", "--as", "small")
    asked = {"from": str(runner.folder / "x.gguf")}
    assert [each.body for each in shelf.asked("/runner/adopt")] == [
        asked, {**asked, "models": [MODEL["name"]], "as": "small", "stream": True},
    ]  # fmt: skip
    assert "only --as, --json and --host go with a path" in runner("pull", "./x.gguf", "--insecure", check=2).stderr


def test_detached(shelf: FakeDaemon, runner: CommandLine) -> None:
    shelf.refusals["/runner/adopt"] = (200, {"status": "adopting", "models": [MODEL], "left_out": []})
    said = runner("adopt", "ollama", "--all", "--detach").stderr
    assert said == "adopting ollama.com/library/tiny:latest in the background: 1.3 GB to hash\n"
    assert shelf.asked("/runner/adopt")[0].body == {"from": "ollama", "all": True, "detach": True}


def test_what_makes_no_sense(shelf: FakeDaemon, runner: CommandLine) -> None:
    assert "either models or --all" in runner("adopt", "ollama", "x", "--all", check=2).stderr
    assert "is none of huggingface, ollama" in runner("adopt", "gpt4all", check=2).stderr
    assert shelf.asked("/runner/adopt") == []


def test_a_path_is_pulled_where_it_is(shelf: FakeDaemon, runner: CommandLine) -> None:
    assert "several models are at ./theirs: ollama.com/library/tiny" in runner("pull", "./theirs", check=1).stderr
    shelf.refusals["/runner/adopt"] = (200, {"status": "success", "models": [], "left_out": LEFT_OUT})
    assert "there is no model at . (library/cloud/latest: no weights)" in runner("pull", ".", check=1).stderr
    assert shelf.asked("/api/pull") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("./x.gguf", True), ("/x", True), ("~/x.gguf", True), ("..", True), (".", True), ("../models", True),
        ("qwen3", False), ("hf.co/org/repo:x.gguf", False), ("https://x.example/y.gguf", False), ("org/model", False),
        ("file:///x.gguf", False),
    ],
)  # fmt: skip
def test_what_is_a_path(text: str, expected: bool) -> None:
    assert is_path(text) is expected
