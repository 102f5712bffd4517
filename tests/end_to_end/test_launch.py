"""runner launch against a real daemon: what an assistant is told of a model is what Runner serves."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from runner.assistants.knowledge import names
from tests.end_to_end.terminal import Terminal


def test_the_context_that_is_told_is_the_one_that_is_served(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    terminal = Terminal(tmp_path / "runner")
    terminal.environment |= {"HOME": str(home), "RUNNER_CONTEXT_LENGTH": "3000"}
    terminal.environment.pop("CODEX_HOME", None)
    profile = home / ".codex" / "runner.config.toml"
    try:
        before = terminal("launch", "codex", "--dry-run", "--json", "--model", "demo")
        assert before.returncode == 0, before.stderr
        assert "No daemon answers" in before.stderr
        assert not (tmp_path / "runner").exists(), "a dry run starts nothing"

        first = terminal("launch", "codex", "--config", "--model", "demo")
        assert first.returncode == 0, first.stderr
        assert "'demo' is served with 3000 tokens of context" in first.stderr, "before it is loaded"
        told = tomllib.loads(profile.read_text())
        terminal("run", "demo", "How do I pull a model?")
        (served,) = json.loads(terminal("ps", "--json").stdout)
        assert told["model_context_window"] == served["context_length"] == 3000
        again = terminal("launch", "codex", "--config")
        assert "Unchanged:" in again.stderr, "and after it"

        nothing = terminal("launch", "opencode", "--config")
        assert nothing.returncode == 1
        assert "no model is here that can call tools" in nothing.stderr, "the demo is no help to anybody's code"
        for name in names():
            dry = terminal("launch", name, "--dry-run", "--json", "--model", "demo")
            assert dry.returncode == 0, dry.stderr
            assert json.loads(dry.stdout)["model"] == "demo"
        assert terminal("launch", "codex", "--restore").returncode == 0
        assert not profile.exists()
    finally:
        terminal("shutdown")
