"""A whole chat with a real model on a real terminal, as docs/chat.md shows it, and once within tmux."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.daemon import Daemon
from tests.cli.command_line import CommandLine
from tests.recordings.chat import BEGIN, END, record

ROOT = Path(__file__).parents[2]


def own_lines(lines: list[str]) -> list[str]:
    """What doesn't come from the model, and no times."""
    words = (">>> ", "Thought for", "Calls", "result of", "Took back", "Wrote", "get_weather")
    return [line if " s, " not in line else line.split()[0] for line in lines if line.startswith(words)]


def test_the_recorded_session(daemon: Daemon, tmp_path: Path) -> None:
    shown = record(daemon, tmp_path)
    page = (ROOT / "docs" / "chat.md").read_text(encoding="utf-8")
    assert own_lines(shown) == own_lines(page.partition(BEGIN)[2].partition(END)[0].splitlines())
    written = (tmp_path / "chat.md").read_text()
    assert "## You\n\nHow do I pull a model?\n\n## Model\n\n" in written


def test_a_model_that_goes_on(daemon: Daemon, tmp_path: Path) -> None:
    command = CommandLine(f"127.0.0.1:{daemon.port}", tmp_path)
    with command.terminal("run", "demo", "--system", "You are Runner.") as terminal:
        for typed, shown in (
            ("How do I pull a model?", "runner pull"),
            ("/save saved-chat", "Created saved-chat"),
            ("/load saved-chat", "Talking with saved-chat."),
            ("/show system", "You are Runner."),
            ("/set parameter num_predict 2", "Set num_predict"),
            ("How do I list models?", "its limit (num_predict)"),
            ("/bye", ""),
        ):
            terminal.expect(">>> ")
            terminal.type(typed + "\r")
            terminal.expect(shown)
        assert terminal.ends() == 0
    saved = daemon.post("/api/show", {"model": "saved-chat"})
    assert [message["role"] for message in saved["messages"]] == ["user", "assistant"]
    assert saved["system"] == "You are Runner."


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed here")
def test_within_tmux(daemon: Daemon, tmp_path: Path) -> None:
    """A window that gets narrower while the chat stands: nothing is lost, nothing is there twice."""
    socket = str(tmp_path / "tmux")
    environment = {name: value for name, value in os.environ.items() if name != "TMUX"} | daemon.environment

    def tmux(*arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", socket, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout

    def wait_for(text: str, times: int = 1) -> str:
        deadline = time.monotonic() + 60
        while (shown := tmux("capture-pane", "-p", "-J", "-S", "-")).count(text) < times:
            assert time.monotonic() < deadline, shown
            time.sleep(0.05)
        return shown

    tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", f"{sys.executable} -m runner run demo; cat")
    try:
        wait_for(">>> ")
        tmux("send-keys", "How do I pull a model?", "Enter")
        wait_for("into the store.")
        tmux("resize-window", "-x", "44", "-y", "12")
        wait_for(">>> Send a message")
        tmux("send-keys", "How do I create a model?", "Enter")
        shown = wait_for("Modelfile.")
        assert shown.count("into the store.") == 1
        assert shown.count("Run runner pull NAME.") == 1
    finally:
        tmux("kill-server")
