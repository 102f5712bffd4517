"""`runner service` where nothing can be installed, and what it would do: its words, its exit codes. What it does is in
test_real_manager. And the beginning of a container, for real.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from runner.service import carried
from tests.benchmarks.daemon import free_port

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks as on a Linux without systemd")


class Bare:
    """A machine without systemd's program: nothing but Python is on the PATH."""

    def __init__(self, folder: Path) -> None:
        (folder / "bin").mkdir()
        self.environ = {
            "PATH": str(folder / "bin"), "HOME": str(folder / "home"), "RUNNER_HOST": f"127.0.0.1:{free_port()}",
            "RUNNER_AUTOSTART": "0", "PYTHONPATH": str(Path(__file__).parents[2]),
        }  # fmt: skip

    def __call__(self, *words: str, check: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "runner", "service", *words],
            env=self.environ | more, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == check, done
        return done


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    return Bare(tmp_path)


@linux
def test_without_systemd_it_says_what_there_is_instead(bare: Bare, tmp_path: Path) -> None:
    shown = bare("install", "--dry-run")
    assert "here this would fail: this system has no systemd" in shown.stderr
    refused = bare("install", "--user", check=1)
    assert "this system has no systemd" in refused.stderr
    assert "runner serve" in refused.stderr
    told = json.loads(bare("status", "--json", check=1).stdout)
    assert (told["installed"], told["active"], told["answers"]) == (False, "unknown", False)
    assert "no systemd" in told["problem"]
    assert "not installed: this system has no systemd" in bare(check=1).stdout
    assert "No service was installed" in bare("uninstall", "--user").stdout
    assert not (tmp_path / "home").exists()


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="only root is asked whether it means itself")
def test_root_has_to_say_which_service_it_means(bare: Bare) -> None:
    refused = bare("install", check=77)
    assert "--system" in refused.stderr
    assert "--user" in refused.stderr


@linux
def test_a_dry_run_shows_all_and_does_nothing(bare: Bare, tmp_path: Path) -> None:
    shown = bare("install", "--dry-run", RUNNER_API_KEY="sesame", HF_TOKEN="hf_mine").stdout
    unit = tmp_path / "home/.config/systemd/user/runner.service"
    assert f"# file {unit} (0644)" in shown
    assert "service.env (0600)" in shown
    assert "RUNNER_API_KEY=..." in shown
    assert "sesame" not in shown
    assert "hf_mine" not in shown
    assert shown.rstrip().endswith("systemctl --user start runner.service")
    assert "systemctl --user disable --now runner.service" in bare("uninstall", "--dry-run").stdout
    machine = bare("install", "--system", "--dry-run").stdout
    assert "# file /etc/systemd/system/runner.service" in machine
    assert "DynamicUser=yes" in machine
    assert "RUNNER_HOME=/var/lib/runner" in machine
    elsewhere = bare("install", "--system", "--dry-run", "--as", "root", RUNNER_MODELS="/srv/models").stdout
    assert "User=root" in elsewhere
    assert "ReadWritePaths=-/srv/models" in elsewhere
    assert "--as USER" in bare("install", "--system", "--dry-run", check=1, RUNNER_MODELS="/srv/models").stderr
    assert not (tmp_path / "home").exists()


@linux
def test_what_was_taken_along_once_is_named_and_can_be_forgotten(bare: Bare, tmp_path: Path) -> None:
    file = tmp_path / "home/.config/runner/service.env"
    carried.write(file, carried.written({"RUNNER_KEEP_ALIVE": "1h", "HF_TOKEN": "hf_old"}))
    environ = bare.environ
    kept = bare("install", "--dry-run", HF_TOKEN="hf_new").stdout
    assert f"# kept from before: RUNNER_KEEP_ALIVE, in {file}; remove a line there" in kept
    assert "# taken along: HF_TOKEN, RUNNER_HOST" in kept
    assert "RUNNER_KEEP_ALIVE=..." in kept
    fresh = bare("install", "--dry-run", "--fresh").stdout
    assert "# forgotten: HF_TOKEN, RUNNER_KEEP_ALIVE" in fresh
    assert "RUNNER_KEEP_ALIVE=..." not in fresh
    bare.environ = {name: value for name, value in environ.items() if name != "RUNNER_HOST"}
    assert f"rm {file}" in bare("install", "--dry-run", "--fresh").stdout.splitlines(), (
        "with nothing to tell there is none"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "--fresh"), "--fresh goes with install"),
        (("instal",), "service takes install, start, stop, restart, status, uninstall"),
        (("status", "--system", "--user"), "exclude each other"),
        (("start", "--as", "me"), "--as goes with --system"),
        (("start", "--json"), "--json goes with status"),
    ],
)
def test_what_is_mistyped(bare: Bare, words: tuple[str, ...], said: str) -> None:
    assert said in bare(*words, check=2).stderr


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """What a container's image begins with: every address, a key from a file, one model."""
    key = tmp_path / "key"
    key.write_text("sesame\n")
    told = {
        "RUNNER_HOME": str(tmp_path / "home"), "RUNNER_HOST": f"0.0.0.0:{free_port()}", "RUNNER_API_KEY_FILE": str(key),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "runner.service.begin", "demo"], env=os.environ | told, stdin=subprocess.DEVNULL
    )
    yield process, told
    if process.poll() is None:
        process.terminate()
    assert process.wait(30) == 143
    assert not psutil.wait_procs(seers(process.pid), 30)[1], "what sees to the models ends with the daemon"


def seers(daemon: int) -> list[psutil.Process]:
    """The processes that see to a daemon's models."""
    return [
        each
        for each in psutil.process_iter(["cmdline"])
        if {"runner.service.have", f"--of={daemon}"} <= set(each.info["cmdline"] or ())
    ]


def ask(told: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    port = told["RUNNER_HOST"].rpartition(":")[2]
    environ = os.environ | told | {"RUNNER_HOST": f"127.0.0.1:{port}", "RUNNER_API_KEY": "sesame"}
    return subprocess.run([sys.executable, "-m", *words], env=environ, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="containers are Linux")
def test_a_container_begins_listens_is_healthy_and_has_its_model(
    begun: tuple[subprocess.Popen[bytes], dict[str, str]],
) -> None:
    process, told = begun
    deadline = time.monotonic() + 60
    rows: list[dict[str, Any]] = []
    while not rows and time.monotonic() < deadline and process.poll() is None:
        listed = ask(told, "runner", "ps", "--json")
        rows = json.loads(listed.stdout) if listed.returncode == 0 else []
    assert rows, "the model is never loaded"
    assert ask(told, "runner.service.alive").returncode == 0
    command = psutil.Process(process.pid).cmdline()
    assert command[-1] == "runner.daemon", "the same process goes on as the daemon"
    assert "sesame" not in " ".join(command)
    data = Path(told["RUNNER_HOME"]) / "data"
    assert stat.S_ISDIR(data.stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
def test_what_sees_to_the_models_ends_with_its_daemon(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as daemon:
        told = {"RUNNER_HOME": str(tmp_path), "RUNNER_HOST": f"127.0.0.1:{free_port()}"}
        command = [sys.executable, "-m", "runner.service.have", f"--of={daemon.pid}", "--", "demo"]
        subprocess.run(command, env=os.environ | told, check=True, timeout=60)
        [seer] = seers(daemon.pid)
        daemon.kill()
        assert not psutil.wait_procs([seer], 30)[1]


def test_the_health_check_fails_where_nobody_answers(tmp_path: Path) -> None:
    done = ask({"RUNNER_HOST": f"0.0.0.0:{free_port()}"}, "runner.service.alive")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
