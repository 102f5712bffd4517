"""The command line as a person types it: an empty home, no daemon, one command after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfiles.embedded import demo_gguf
from tests.end_to_end.terminal import Terminal


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path_factory.mktemp("terminal"))
    yield terminal
    terminal("shutdown")


def test_the_first_command_starts_the_daemon_and_answers(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    try:
        first = terminal("run", "demo", "How do I pull a model?")
        assert first.returncode == 0, first.stderr
        assert "runner pull" in first.stdout
        assert "daemon" in first.stderr.lower()
        again = terminal("run", "demo", "How do I pull a model?")
        assert again.stdout == first.stdout
        assert again.stderr == ""
    finally:
        assert terminal("shutdown").returncode == 0
    assert terminal("ps").returncode == 69


def test_without_autostart_it_says_what_to_type(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.environment["RUNNER_AUTOSTART"] = "0"
    done = terminal("list")
    assert done.returncode == 69
    assert "runner serve" in done.stderr
    assert done.stdout == ""


def test_list_has_the_demo_from_the_first_start(runner: Terminal) -> None:
    done = runner("list")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("NAME")
    assert "demo:latest" in done.stdout
    rows = json.loads(runner("list", "--json").stdout)
    assert "demo:latest" in json.dumps(rows)


def test_stdin_goes_with_the_prompt(runner: Terminal) -> None:
    done = runner("run", "demo", stdin="How do I pull a model?")
    assert "runner pull" in done.stdout
    done = runner("run", "--no-stdin", "demo", "How do I pull a model?", stdin="ignored")
    assert "runner pull" in done.stdout


def test_verbose_prints_timings_on_stderr(runner: Terminal) -> None:
    done = runner("run", "--verbose", "demo", "How do I pull a model?")
    assert "eval rate" in done.stderr
    assert "eval rate" not in done.stdout


def test_create_show_cp_ps_stop_rm(runner: Terminal, tmp_path: Path) -> None:
    modelfile = tmp_path / "Modelfile"
    (tmp_path / "weights.gguf").write_bytes(demo_gguf().read_bytes())
    modelfile.write_text('FROM ./weights.gguf\nPARAMETER temperature 0\nSYSTEM "You are Runner."\n')
    assert runner("create", "mine", "-f", str(modelfile)).returncode == 0
    assert "You are Runner." in runner("show", "mine", "--modelfile").stdout
    assert "llama" in runner("show", "mine").stdout
    assert runner("cp", "mine", "copy").returncode == 0
    assert runner("run", "copy", "How do I list models?").returncode == 0
    assert "copy:latest" in runner("ps").stdout
    assert runner("stop", "copy").returncode == 0
    assert "copy:latest" not in runner("ps").stdout
    removed = runner("rm", "mine", "copy")
    assert removed.returncode == 0
    assert "mine" not in runner("list").stdout
    assert runner("prune").returncode == 0


def test_a_malformed_modelfile_names_line_and_column(runner: Terminal, tmp_path: Path) -> None:
    modelfile = tmp_path / "Modelfile"
    modelfile.write_text("FROM demo\nPARAMETER temperature hot\n")
    done = runner("create", "bad", "-f", str(modelfile))
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert "column" in done.stderr


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model" * 100, b"GGUF\x03\0\0\0" + b"\xff" * 64])
def test_what_is_no_gguf_is_refused_and_leaves_nothing(runner: Terminal, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.gguf").write_bytes(content)
    (tmp_path / "Modelfile").write_text("FROM ./bad.gguf\n")
    blobs = Path(runner.environment["RUNNER_HOME"]) / "data" / "models" / "blobs"
    before = sorted(blobs.iterdir())
    done = runner("create", "bad", "-f", str(tmp_path / "Modelfile"))
    assert done.returncode == 1
    assert "bad.gguf" in done.stderr
    assert sorted(blobs.iterdir()) == before
    assert "bad" not in runner("list").stdout


def test_an_unknown_model_names_near_ones(runner: Terminal) -> None:
    done = runner("show", "demmo")
    assert done.returncode == 1
    assert "not found" in done.stderr
    assert "demo" in done.stderr
    assert done.stdout == ""
