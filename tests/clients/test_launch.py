"""Coding assistants started by `runner launch`, with what it writes and sets for them. By hand: `-m assistants`.

The same programs and models as in test_assistants.py, which points them by settings of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.assistants.knowledge import load
from tests.benchmarks.daemon import Daemon
from tests.clients import assistants, environments
from tests.clients.asked import QUESTION, Reference

pytestmark = pytest.mark.assistants

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Tried:
    """How an assistant is asked one question without a terminal, and the tool that its model is to call."""

    name: str
    language: str
    package: str
    tool: str
    parameter: str
    words: tuple[str, ...]


TRIED = (
    Tried("opencode", "node", "opencode", "bash", "command", ("run", "--pure", "--auto", "--format", "json", QUESTION)),
    Tried("codex", "node", "codex", "exec_command", "cmd", ("exec", "--json", "--sandbox", "read-only", QUESTION)),
    Tried("continue", "node", "continue", "Bash", "command", ("--auto", "--print", QUESTION)),
    Tried("claude", "node", "claude", "Bash", "command", ("--allowedTools", "Bash", "-p", QUESTION)),
    Tried("cline", "node", "cline", "run_commands", "command", ("--json", QUESTION)),
    Tried("copilot", "node", "copilot", "bash", "command", ("--allow-all-tools", "-p", QUESTION)),
    Tried("qwen", "node", "qwen", "run_shell_command", "command", ("--approval-mode", "yolo", "-p", QUESTION)),
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for models' files."""
    return tmp_path_factory.mktemp("weights")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return assistants.repository(tmp_path)


@pytest.fixture
def programs(environments_cache: Path, tmp_path: Path) -> Callable[[Tried], Path]:
    """A folder for PATH with the assistant in it, under the name that it is found by."""

    def make(tried: Tried) -> Path:
        try:
            made = environments.node_environment(environments_cache, tried.package)
        except environments.CannotInstall as error:
            pytest.skip(f"{tried.name} can't be had here: {error}")
        folder = tmp_path / "bin"
        folder.mkdir()
        command = load(tried.name).commands[0]
        (folder / command).symlink_to((made / "node_modules" / ".bin" / command).resolve())
        node = shutil.which("node")
        assert node is not None
        (folder / "node").symlink_to(node)
        return folder

    return make


def launched(daemon: Daemon, repository: Path, folder: Path, *arguments: str) -> assistants.Ran:
    """`runner launch …` in the repository, with the home that assistants get beside it."""
    return assistants.run(
        [sys.executable, "-m", "runner", "launch", *arguments],
        repository,
        PATH=f"{folder}:{os.environ['PATH']}",
        PYTHONPATH=str(ROOT),
        RUNNER_HOME=str(repository.with_name("runner")),
        RUNNER_HOST=f"127.0.0.1:{daemon.port}",
        RUNNER_AUTOSTART="0",
        CLINE_SESSION_BACKEND_MODE="local",  # or it leaves a process behind
    )


@pytest.mark.parametrize("tried", TRIED, ids=lambda tried: tried.name)
def test_a_call_and_its_answer(
    tried: Tried, daemon: Daemon, repository: Path, weights: Path, programs: Callable[[Tried], Path],
    reference: Reference,
) -> None:  # fmt: skip
    """A turn over the settings that launch wrote, with a call that the assistant runs; and all of them put back."""
    folder = programs(tried)
    model = assistants.create_caller(daemon, weights, tried.tool, tried.parameter)
    ran = launched(daemon, repository, folder, tried.name, "--model", model, "--", *tried.words)
    assert ran.status == 0, ran
    assert reference.text in ran.out.replace("\\n", "\n"), ran
    assert launched(daemon, repository, folder, tried.name, "--restore", "--force").status == 0
    rows = json.loads(launched(daemon, repository, folder, "--json").out)
    assert [row["changed"] for row in rows] == [[]] * len(rows)


def test_settings_of_the_user_do_not_lead_claude_elsewhere(
    daemon: Daemon, repository: Path, weights: Path, programs: Callable[[Tried], Path], reference: Reference
) -> None:
    """They outweigh the environment that it is started with, and those of the project outweigh the user's."""
    (claude,) = (tried for tried in TRIED if tried.name == "claude")
    folder = programs(claude)
    model = assistants.create_caller(daemon, weights, claude.tool, claude.parameter)
    elsewhere = {
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "ANTHROPIC_AUTH_TOKEN": "x",
        "CLAUDE_CODE_USE_BEDROCK": "1",
    }
    for settings in (
        repository.with_name("home") / ".claude/settings.json",
        repository / ".claude/settings.local.json",
    ):
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps({"env": elsewhere}))
    ran = launched(daemon, repository, folder, "claude", "--model", model, "--", *claude.words)
    assert ran.status == 0, ran
    assert reference.text in ran.out, ran
