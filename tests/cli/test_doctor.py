"""`runner doctor`: with a daemon, without one, and with something else in its place; its words and its exit code."""

from __future__ import annotations

import fcntl
import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from runner import __version__
from runner.assistants.fill import Target
from runner.assistants.knowledge import load, names
from tests.assistants.homes import applied
from tests.cli.command_line import CommandLine
from tests.cli.fake_daemon import FakeDaemon

FINDINGS = [
    {"check": "store", "state": "warn", "said": "3 models\x1b[31m, little room", "advice": "make room"},
    {"check": "engine", "state": "ok", "said": "it computes", "advice": ""},
]


@pytest.fixture
def examined(daemon: FakeDaemon) -> FakeDaemon:
    daemon.refusals["/api/version"] = (200, {"version": "0.33.0", "runner": __version__})
    daemon.refusals["/runner/doctor"] = (200, {"runner": __version__, "ok": True, "findings": FINDINGS})
    return daemon


def found(runner: CommandLine, home: Path, check: int = 0, **env: str) -> dict[str, dict[str, Any]]:
    said = json.loads(runner("doctor", "--json", check=check, RUNNER_HOME=str(home), **env).stdout)
    assert said["ok"] == (check == 0)
    return {each["check"]: each for each in said["findings"]}


@pytest.fixture
def alone(tmp_path: Path) -> CommandLine:
    """With an address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return CommandLine(f"127.0.0.1:{probe.getsockname()[1]}", tmp_path)


def test_what_the_daemon_found_is_told_with_the_next_step(examined: FakeDaemon, runner: CommandLine) -> None:
    lines = runner("doctor").stdout.splitlines()
    assert lines[0].startswith(f"ok    daemon     Runner {__version__} answers at http://")
    assert lines[1] == "warn  store      3 models[31m, little room"
    assert lines[2].strip() == "what to do: make room"
    assert lines[3] == "ok    engine     it computes"


def test_a_failed_check_is_exit_code_1(examined: FakeDaemon, runner: CommandLine) -> None:
    worse = [{**FINDINGS[0], "state": "fail"}]
    examined.refusals["/runner/doctor"] = (200, {"runner": __version__, "ok": False, "findings": worse})
    assert "1 check failed" in runner("doctor", check=1).stderr
    assert json.loads(runner("doctor", "--json", check=1).stdout)["ok"] is False


def test_another_version_a_wrong_key_and_an_old_daemon(
    examined: FakeDaemon, runner: CommandLine, tmp_path: Path
) -> None:
    examined.refusals["/api/version"] = (200, {"version": "0.33.0", "runner": "0.0.1"})
    assert "0.0.1" in found(runner, tmp_path)["daemon"]["said"]
    examined.refusals["/runner/doctor"] = (404, {"error": "there is no /runner/doctor"})
    assert found(runner, tmp_path)["daemon"]["state"] == "warn"
    examined.refusals["/api/version"] = (401, {"error": "a valid API key is required"})
    assert "RUNNER_API_KEY" in found(runner, tmp_path, check=1)["daemon"]["advice"]
    examined.refusals["/api/version"] = (200, {"version": "0.9.0"})
    assert "no Runner" in found(runner, tmp_path, check=1)["daemon"]["said"]


HALF_WRITTEN = "keep_alive: 1m\nkeep_al\n"


def test_a_half_written_file_keeps_no_command_from_a_daemon_that_runs(
    examined: FakeDaemon, runner: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text(HALF_WRITTEN)
    home = {"RUNNER_HOME": str(tmp_path)}
    done = runner("ps", **home)
    assert done.stdout.startswith("NAME")
    assert done.stderr.startswith("Warning: ")
    assert "is not YAML: line 2: could not find expected ':'" in done.stderr.splitlines()[0]
    told = found(runner, tmp_path, check=1)
    assert "line 2" in told["settings"]["said"]
    assert told["engine"]["state"] == "ok"  # so it went on with the daemon


def test_nothing_is_started_with_a_half_written_file(alone: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text(HALF_WRITTEN)
    done = alone("show", "demo", check=2, RUNNER_HOME=str(tmp_path), RUNNER_AUTOSTART="1")
    assert "Error: " in done.stderr
    assert "line 2" in done.stderr
    told = found(alone, tmp_path, check=1)
    assert {"settings", "daemon", "store", "memory", "sandbox", "engine"} <= set(told)


def test_without_a_daemon_it_looks_itself_and_starts_none(alone: CommandLine, tmp_path: Path) -> None:
    told = found(alone, tmp_path / "home")
    assert {"settings", "daemon", "store", "memory", "sandbox", "engine"} <= set(told)
    assert "autostart is off" in told["daemon"]["said"]
    assert told["engine"]["state"] == "ok", told["engine"]
    assert not (tmp_path / "home").exists()


def test_a_store_that_another_process_has(alone: CommandLine, tmp_path: Path) -> None:
    store = tmp_path / "models"
    store.mkdir()
    with (store / "lock").open("w") as lock:
        lock.write("process 42")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = json.loads(alone("doctor", "--json", RUNNER_MODELS=str(store)).stdout)["findings"]
    assert [each["state"] for each in said if "process 42" in each["said"]] == ["warn"]


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [("RUNNER_KEEP_ALIVE", "soon", "keep_alive"), ("RUNNER_KEEP_ALIV", "5m", "RUNNER_KEEP_ALIVE")],
)
def test_a_setting_that_is_wrong(alone: CommandLine, tmp_path: Path, variable: str, value: str, named: str) -> None:
    told = found(alone, tmp_path, check=1, **{variable: value})
    assert named in told["settings"]["said"]


def test_something_else_at_the_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        told = found(CommandLine(address, tmp_path), tmp_path, check=1)
        thread.join()
    assert "but what answers" in told["daemon"]["said"]


def test_config_reload_and_what_waits(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/runner/config/reload"] = (200, {"now": ["max_queue"], "load": [], "start": ["models"]})
    lines = runner("config", "reload").stdout.splitlines()
    assert lines[0] == "max_queue: in force"
    assert lines[1].startswith("models: waits until the daemon is started again")
    daemon.refusals["/runner/config/reload"] = (200, {"now": [], "load": [], "start": []})
    assert runner("config", "reload").stdout == "nothing has changed\n"
    daemon.refusals["/runner/config/reload"] = (400, {"error": "the settings stay as they are: keep_alive ..."})
    assert "keep_alive" in runner("config", "reload", check=1).stderr
    assert "reload" in runner("config", "relaod", check=2).stderr
    row = {"name": "models", "value": "/a", "source": "default", "applies": "start", "waiting": "/b"}
    daemon.refusals["/runner/config"] = (
        200,
        {"runner": "x", "pid": 1, "settings": [row], "refused": "it is odd"},
    )
    said = runner("config").stderr
    assert "models: waits" in said
    assert "it is odd" in said


@pytest.fixture
def configured(tmp_path: Path, examined: FakeDaemon, runner: CommandLine) -> dict[str, str]:
    """The environment of a home whose every assistant was pointed at Runner with --config."""
    for name in names():
        applied(tmp_path, name, Target("coder", f"http://{runner.host}", 65536, 8192))
    return {"HOME": str(tmp_path), "RUNNER_HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}


def of_assistants(runner: CommandLine, **env: str) -> list[dict[str, str]]:
    said = json.loads(runner("doctor", "--json", **env).stdout)["findings"]
    return [each for each in said if each["check"] == "assistants"]


def test_assistants_that_lead_to_runner(configured: dict[str, str], runner: CommandLine) -> None:
    told = of_assistants(runner, **configured)
    assert {each["state"] for each in told} == {"ok"}
    with_files = {load(name).title for name in names() if load(name).files}
    assert {each["said"].partition("'s settings")[0] for each in told} == with_files
    here = runner.host.replace("127.0.0.1", "localhost")
    assert {each["state"] for each in of_assistants(runner, **configured, RUNNER_HOST=here)} == {"ok"}


def test_assistants_that_point_elsewhere(configured: dict[str, str], runner: CommandLine, alone: CommandLine) -> None:
    """After a change of Runner's port, after one of its key, and of a file that somebody changed."""
    told = of_assistants(alone, **configured)
    assert len(told) == sum(bool(load(name).files) for name in names())
    for each in told:
        assert each["state"] == "warn"
        assert alone.host in each["said"]
        assert each["advice"].startswith("`runner launch ")
    keyed = {each["said"]: each["state"] for each in of_assistants(runner, **configured, RUNNER_API_KEY="s3cret")}
    path = Path(configured["HOME"]) / ".claude" / "settings.json"
    assert keyed[f"{path} doesn't give Claude Code the API key of Runner"] == "warn"
    assert "s3cret" not in str(keyed)
    assert sum("Codex" in said and "the API key" in said for said in keyed) == 1
    path.write_text(path.read_text().replace(f"http://{runner.host}", "https://me:pw@corp.example"))
    (wrong,) = (each for each in of_assistants(runner, **configured) if each["state"] != "ok")
    assert wrong["said"] == (
        f"{path} sends Claude Code to https://corp.example:443, not to Runner at http://{runner.host}"
    )
    path.write_text("{")
    (wrong,) = (each for each in of_assistants(runner, **configured) if each["state"] != "ok")
    assert f"{path}: line 1" in wrong["said"]


def test_settings_of_claude_that_outweigh_the_shell(examined: FakeDaemon, runner: CommandLine, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "RUNNER_HOME": str(tmp_path / "runner")}
    path = tmp_path / ".claude" / "settings.json"
    path.parent.mkdir()
    for text in ("{}", '{"env": []}', f'{{"env": {{"ANTHROPIC_BASE_URL": "http://{runner.host}/"}}}}'):
        path.write_text(text)
        assert of_assistants(runner, **home) == []
    path.write_text('{"env": {"ANTHROPIC_BASE_URL": "https://corp.example"}}')
    (told,) = of_assistants(runner, **home)
    assert told["state"] == "warn"
    assert told["said"].startswith(f"{path} sends Claude Code to https://corp.example:443, whatever ANTHROPIC_BASE_URL")
