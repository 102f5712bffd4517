"""runner launch: what is started with which words and environment, and what becomes of the assistant's files."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.assistants.knowledge import load, names
from tests.cli.command_line import ROOT, CommandLine
from tests.cli.fake_daemon import FakeDaemon

_SCRIPT = """#!{python}
import json, os, sys
with open({told!r}, "w") as told:
    json.dump({{"argv": sys.argv, "env": dict(os.environ), "pid": os.getpid()}}, told)
print("at work", flush=True)
{then}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


@pytest.fixture
def launch(daemon: FakeDaemon, runner: CommandLine, home: Path) -> Callable[..., Any]:
    """`runner launch …` in that home. The daemon has a model that can call tools, loaded with 65,536 tokens."""
    daemon.models["coder:latest"] = ["completion", "tools"]
    daemon.loaded = [{"name": "coder:latest", "model": "coder:latest", "context_length": 65536}]

    def run(*arguments: str, check: int | None = 0, **more: str) -> Any:
        return runner("launch", *arguments, check=check, **environment(home), **more)

    return run


def environment(home: Path) -> dict[str, str]:
    path = f"{home / 'bin'}:/usr/bin:/bin"
    return {"HOME": str(home), "RUNNER_HOME": str(home / "runner"), "PATH": path, "XDG_CONFIG_HOME": ""}


def installed(home: Path, name: str, then: str = "sys.exit(7)") -> Path:
    """An assistant that notes down how it was started; the file with that."""
    told, program = home / "told.json", home / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(_SCRIPT.format(python=sys.executable, told=str(told), then=then))
    program.chmod(0o755)
    return told


def files(home: Path) -> dict[str, bytes]:
    """All that is not Runner's own."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and not path.is_relative_to(home / "runner")
    }


def test_all_of_them_dry_in_an_empty_home(runner: CommandLine, home: Path) -> None:
    """No daemon, no store, no assistant: what would be done is shown all the same."""
    nowhere = CommandLine("127.0.0.1:9", runner.folder)
    for name in names():
        done = nowhere("launch", name, "--dry-run", **environment(home))
        assert "Would run" in done.stdout, name
        assert "MODEL" in done.stdout
        assert "No daemon answers" in done.stderr
        assert nowhere("launch", name, "--dry-run", "--config", "--model", "m", **environment(home)).returncode == 0
        told = json.loads(nowhere("launch", name, "--dry-run", "--json", "--model", "m", **environment(home)).stdout)
        assert told["model"] == "m"
        assert told["command"][0] == load(name).commands[0]
    assert files(home) == {}
    assert not (home / "runner").exists()


def test_a_launch(launch: Callable[..., Any], daemon: FakeDaemon, home: Path) -> None:
    told = installed(home, "claude")
    done = launch("claude", "--", "-p", "two words", check=7)
    assert done.stdout == "at work\n"
    assert "Claude Code gets 'coder'; --model takes another" in done.stderr
    seen = json.loads(told.read_text())
    own = home / "runner" / "state" / "launch" / "claude" / "settings.json"
    assert seen["argv"][1:] == ["--settings", str(own), "--model", "coder", "-p", "two words"]
    env = seen["env"]
    assert env["ANTHROPIC_BASE_URL"] == f"http://{daemon.address}"
    assert {env[f"ANTHROPIC_DEFAULT_{kind}_MODEL"] for kind in ("OPUS", "SONNET", "HAIKU", "FABLE")} == {"coder"}
    assert env["CLAUDE_CODE_ATTRIBUTION_HEADER"] == "0"
    assert env["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] == "65536"
    assert env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "16384"
    assert not (home / ".claude").exists(), "a launch of it needs no file of its own"
    rows = {row["name"]: row for row in json.loads(launch("--json").stdout)}
    assert rows["claude"]["model"] == "coder"
    assert rows["claude"]["installed"] == str(home / "bin" / "claude")
    assert not rows["claude"]["configured"]
    assert rows["codex"]["installed"] is None


def test_claude_is_sent_to_runner_whatever_its_settings_say(launch: Callable[..., Any], home: Path) -> None:
    """`env` of its settings outweighs the environment; the file that it is started with outweighs both."""
    told = installed(home, "claude", "sys.exit(0)")
    theirs = home / ".claude" / "settings.json"
    theirs.parent.mkdir()
    theirs.write_text('{"env": {"ANTHROPIC_BASE_URL": "https://corp.example", "CLAUDE_CODE_USE_BEDROCK": "1"}}')
    before = theirs.read_bytes()
    launch("claude", RUNNER_API_KEY="s3cret")
    seen = json.loads(told.read_text())
    own = Path(seen["argv"][seen["argv"].index("--settings") + 1])
    env = json.loads(own.read_text())["env"]
    assert all(isinstance(value, str) for value in env.values())
    assert {name: seen["env"][name] for name in env if name in seen["env"]}.items() <= env.items()
    assert env["ANTHROPIC_BASE_URL"] == seen["env"]["ANTHROPIC_BASE_URL"]
    assert env["CLAUDE_CODE_USE_BEDROCK"] == ""
    assert env["ANTHROPIC_AUTH_TOKEN"] == "s3cret"
    assert "s3cret" not in " ".join(seen["argv"])
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    assert theirs.read_bytes() == before
    assert [row["changed"] for row in json.loads(launch("--json").stdout) if row["name"] == "claude"] == [[]]
    assert "nothing to put back" in launch("claude", "--restore").stderr
    assert theirs.read_bytes() == before


def test_a_launch_with_another_model_than_the_configured_one(
    launch: Callable[..., Any], daemon: FakeDaemon, home: Path
) -> None:
    told = installed(home, "claude", "sys.exit(0)")
    daemon.models["other:latest"] = ["completion", "tools"]
    launch("claude", "--config", "--model", "coder")
    configured = (home / ".claude" / "settings.json").read_bytes()
    launch("claude", "--model", "other")
    argv = json.loads(told.read_text())["argv"]
    env = json.loads(Path(argv[argv.index("--settings") + 1]).read_text())["env"]
    models = {name: value for name, value in env.items() if name.endswith("MODEL")}
    assert set(json.loads(configured)["env"]) <= set(env), "none is left to what is configured"
    assert set(models.values()) == {"other"}
    assert (home / ".claude" / "settings.json").read_bytes() == configured


def test_what_would_interfere_is_taken_away(launch: Callable[..., Any], home: Path) -> None:
    told = installed(home, "claude", "sys.exit(0)")
    launch("claude", CLAUDE_CODE_USE_BEDROCK="1", ANTHROPIC_API_KEY="sk-of-mine")
    env = json.loads(told.read_text())["env"]
    assert "CLAUDE_CODE_USE_BEDROCK" not in env
    assert env["ANTHROPIC_API_KEY"] == ""


def test_the_key_goes_by_the_environment(launch: Callable[..., Any], daemon: FakeDaemon, home: Path) -> None:
    daemon.key = "s3cret"
    told = installed(home, "codex", "sys.exit(0)")
    launch("codex", RUNNER_API_KEY="s3cret")
    seen = json.loads(told.read_text())
    assert "s3cret" not in " ".join(seen["argv"])
    assert seen["env"]["LOCAL_RUNNER_API_KEY"] == "s3cret"
    profile = (home / ".codex" / "runner.config.toml").read_text()
    assert 'env_key = "LOCAL_RUNNER_API_KEY"' in profile
    assert "s3cret" not in profile
    for name in names():
        for flags in ([], ["--json"], ["--config"]):
            shown = launch(name, "--dry-run", *flags, RUNNER_API_KEY="s3cret")
            assert "s3cret" not in shown.stdout + shown.stderr, name
    exports = launch("goose", "--config", RUNNER_API_KEY="s3cret")
    assert 'export OPENAI_API_KEY="$RUNNER_API_KEY"\n' in exports.stdout
    assert "s3cret" not in exports.stdout


def test_a_dry_run_shows_no_secret_of_others(launch: Callable[..., Any], home: Path) -> None:
    path = home / ".claude" / "settings.json"
    path.parent.mkdir()
    path.write_text('{\n  "env": {\n    "ANTHROPIC_AUTH_TOKEN": "sk-corp",\n    "GITHUB_TOKEN": "ghp_mine"\n  }\n}\n')
    for flags in ([], ["--json"]):
        shown = launch("claude", "--dry-run", "--config", *flags).stdout
        assert "GITHUB_TOKEN" in shown
        assert "sk-corp" not in shown
        assert "ghp_mine" not in shown
    assert "ghp_mine" in path.read_text()


def test_config_and_restore(launch: Callable[..., Any], home: Path) -> None:
    path = home / ".claude" / "settings.json"
    path.parent.mkdir()
    path.write_text('{\n  "theme": "dark" // mine\n}\n')
    before = files(home)
    done = launch("claude", "--config")
    assert done.stdout == ""
    assert f"Wrote {path}" in done.stderr
    assert "// mine" in path.read_text()
    once = files(home)
    assert "Unchanged:" in launch("claude", "--config").stderr
    assert files(home) == once
    assert [row["configured"] for row in json.loads(launch("--json").stdout) if row["name"] == "claude"] == [True]
    path.write_text(path.read_text().replace("dark", "light"))
    refused = launch("claude", "--restore", check=1)
    assert "was changed since Runner wrote it; --force takes only Runner's settings out of it" in refused.stderr
    path.write_text(path.read_text().replace("light", "dark"))
    assert launch("claude", "--restore").stdout == f"{path} is as it was\n"
    assert files(home) == before
    assert "nothing to put back" in launch("claude", "--restore").stderr


def test_force_leaves_what_others_changed(launch: Callable[..., Any], home: Path) -> None:
    launch("opencode", "--config")
    (path,) = home.glob(".config/opencode/*")
    kept = json.loads(path.read_text()) | {"theme": "mine"}
    path.write_text(json.dumps(kept))
    launch("opencode", "--restore", "--force")
    assert json.loads(path.read_text()) == {"theme": "mine"}


def test_an_exec_hands_the_process_over(launch: Callable[..., Any], runner: CommandLine, home: Path) -> None:
    """The same process id, and Ctrl-C ends the assistant as it likes."""
    ready = "import signal\ntry:\n    print('ready', flush=True)\n    signal.pause()\n"
    catch = f"{ready}except KeyboardInterrupt:\n    sys.exit(42)"
    told = installed(home, "goose", catch)
    process = runner.start("launch", "goose", "--model", "coder", **environment(home))
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"at work\n"
    assert process.stdout.readline() == b"ready\n"
    assert json.loads(told.read_text())["pid"] == process.pid
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) == 42
    process.stdout.close()
    process.stderr.close()


def test_a_model_that_is_not_here_is_pulled(launch: Callable[..., Any], daemon: FakeDaemon, home: Path) -> None:
    told = installed(home, "codex", "sys.exit(0)")
    done = launch("codex", "--model", "tiny")
    assert [seen.body["model"] for seen in daemon.asked("/api/pull")] == ["tiny"]
    assert "'tiny' can't call tools, which is how Codex works" in done.stderr
    assert "served with 1024 tokens of context; Codex wants 32768" in done.stderr
    assert json.loads(told.read_text())["argv"][1:] == ["--profile", "runner"]
    again = launch("codex")
    assert "gets" not in again.stderr, "the last one, without a word"
    assert 'model = "tiny"' in (home / ".codex" / "runner.config.toml").read_text()
    del daemon.models["tiny:latest"]
    assert "'tiny', which Codex used last, isn't here any more" in launch("codex").stderr
    assert 'model = "coder"' in (home / ".codex" / "runner.config.toml").read_text()


def test_a_model_that_is_nowhere_is_named_with_its_neighbours(launch: Callable[..., Any], home: Path) -> None:
    installed(home, "codex")
    assert "; did you mean demo:latest?" in launch("codex", "--model", "denmo", check=1).stderr


def test_no_model_will_do(launch: Callable[..., Any], daemon: FakeDaemon, home: Path) -> None:
    installed(home, "codex")
    del daemon.models["coder:latest"]
    done = launch("codex", check=1)
    assert "no model is here that can call tools, which Codex needs" in done.stderr
    assert "  runner pull qwen3:8b\n" in done.stderr
    assert "can't chat: it can embedding" in launch("codex", "--model", "embedder", check=2).stderr
    assert files(home).keys() == {"bin/codex"}


def test_the_largest_that_can_is_taken(launch: Callable[..., Any], daemon: FakeDaemon, home: Path) -> None:
    """A loaded one before all others; aider gets along without tools."""
    daemon.loaded = [{"name": "slow:latest", "context_length": 20000}]
    assert json.loads(launch("codex", "--dry-run", "--json").stdout)["model"] == "coder"
    assert json.loads(launch("aider", "--dry-run", "--json").stdout)["model"] == "slow"


def test_words_for_what_is_wrong(launch: Callable[..., Any], home: Path) -> None:
    assert "did you mean codex" in launch("codx", check=2).stderr
    missing = launch("codex", check=1).stderr
    assert (
        "Codex isn't installed: there is no 'codex' on PATH; install it with: npm install -g @openai/codex" in missing
    )
    assert "which assistant?" in launch("--config", check=2).stderr
    assert "--force goes with --restore" in launch("codex", "--force", check=2).stderr
    assert "don't go together" in launch("codex", "--config", "--restore", check=2).stderr
    path = home / ".continue" / "config.yaml"
    path.parent.mkdir()
    path.write_text("name: [\n")
    assert f"{path}: line 2:" in launch("continue", "--config", check=1).stderr
    assert path.read_text() == "name: [\n"


def test_files_with_a_key_are_for_their_owner(launch: Callable[..., Any], daemon: FakeDaemon, home: Path) -> None:
    daemon.key = "s3cret"
    launch("continue", "--config", RUNNER_API_KEY="s3cret")
    path = home / ".continue" / "config.yaml"
    assert "apiKey: s3cret" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    manifest = home / "runner" / "state" / "launch" / "continue" / "manifest.json"
    assert stat.S_IMODE(manifest.stat().st_mode) == 0o600


def test_other_verbs_start_without_all_this() -> None:
    script = (
        "import sys; from importlib import import_module; from runner.cli.verbs import VERBS\n"
        "for verb in VERBS:\n    if verb != 'launch':\n        import_module(f'runner.cli.commands.{verb}')\n"
        "print(*(name for name in sys.modules if name.startswith(('tomlkit', 'runner.assistants'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_the_list(launch: Callable[..., Any], home: Path) -> None:
    installed(home, "opencode")
    rows = launch().stdout.splitlines()
    assert rows[0].split() == ["NAME", "ASSISTANT", "INSTALLED", "CONFIGURED", "MODEL"]
    assert [row.split()[0] for row in rows[1:]] == list(names())
    assert next(row for row in rows if row.startswith("opencode")).split() == ["opencode", "OpenCode", "yes", "no"]
