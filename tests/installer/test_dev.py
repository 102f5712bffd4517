"""installer/dev against a stand-in Python: what it does when, and what it leaves behind when it is cut short."""

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2]
STUB_PYTHON = Path(__file__).with_name("stub_python.sh")
SYSTEM_TOOLS = ("cat", "cksum", "cp", "dirname", "mkdir", "mv", "rm", "sed", "sh", "tail")
PORTABLE = "-DGGML_NATIVE=OFF"
DIE_OF_ILLEGAL_INSTRUCTION = "kill -ILL $$\n"


@dataclass
class Checkout:
    """A checkout that has only what installer/dev reads, and a PATH that has only what it needs."""

    root: Path
    tools: Path
    stub: Path

    def environment(self, **extra: str) -> dict[str, str]:
        return {"PATH": str(self.tools), "STUB": str(self.stub), "REAL_PYTHON": sys.executable} | extra

    def start(self, *command: str, cwd: Path | None = None, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.root / "installer" / "dev", *command],
            cwd=cwd,
            env=self.environment(**extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A suite that runs in the background has SIGINT ignored, and would hand that down.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *command: str, cwd: Path | None = None, **extra: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*command, cwd=cwd, **extra)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    def provide(self, name: str, script: str) -> None:
        """Put a script where pip would have put a command."""
        path = self.root / ".venv" / "bin" / name
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    def calls(self) -> list[str]:
        """The stand-in's calls since the last time this was asked: venv, pip, pip of llama.cpp alone, probe."""
        path = self.stub / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return ["llama" if "--no-deps" in line else line.split()[0] for line in lines]


class Gate:
    """A named pipe through which a stand-in says that it has arrived, or is let go."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Open for both ends, so that neither side waits for the other just to open it.
        self._descriptor = os.open(path, os.O_RDWR)

    def wait(self) -> None:
        assert select.select([self._descriptor], [], [], 60)[0], "nobody came"
        os.read(self._descriptor, 16)

    def open(self) -> None:
        os.write(self._descriptor, b"\n")

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def gate(checkout: Checkout) -> Iterator[Callable[[str], Gate]]:
    """Makes the pipe `$STUB/<name>`."""
    with ExitStack() as open_gates:
        yield lambda name: open_gates.enter_context(closing(Gate(checkout.stub / name)))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "a folder with spaces" / "runner"
    (root / "installer").mkdir(parents=True)
    shutil.copy(SOURCE / "installer" / "dev", root / "installer" / "dev")
    shutil.copy(SOURCE / "pyproject.toml", root)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in SYSTEM_TOOLS:
        found = shutil.which(name)
        assert found, f"this machine has no {name}"
        (tools / name).symlink_to(found)
    shutil.copy(STUB_PYTHON, tools / "python3")
    for name in ("c++", "cmake"):
        (tools / name).write_text("#!/bin/sh\n")
        (tools / name).chmod(0o755)
    stub = tmp_path / "stub"
    stub.mkdir()
    return Checkout(root, tools, stub)


def test_sets_up_once(checkout: Checkout) -> None:
    first = checkout.run()
    assert first.returncode == 0, first.stderr
    assert checkout.calls() == ["venv", "pip", "probe"]
    assert first.stdout == ""
    assert "five minutes" in first.stderr

    again = checkout.run()
    assert (again.returncode, checkout.calls()) == (0, [])


def test_command_gets_arguments_folder_and_a_clean_environment(checkout: Checkout, tmp_path: Path) -> None:
    checkout.run()
    checkout.provide("runner", 'printf "%s|" "$@" "$PWD" "${VIRTUAL_ENV-none}" "${PYTHONPATH-none}"; exit 7\n')
    result = checkout.run("runner", "two words", "", cwd=tmp_path, VIRTUAL_ENV="/other", PYTHONPATH="/other")
    assert result.stdout == f"two words||{tmp_path}|none|none|"
    assert result.returncode == 7


def test_tools_work_on_the_checkout_wherever_the_user_stands(checkout: Checkout, tmp_path: Path) -> None:
    checkout.run()
    checkout.provide("pytest", "pwd\n")
    inside = checkout.root / "installer"
    assert checkout.run("pytest", cwd=tmp_path).stdout.strip() == str(checkout.root)
    assert checkout.run("pytest", cwd=inside).stdout.strip() == str(inside)


def test_unknown_command(checkout: Checkout) -> None:
    result = checkout.run("no-such-command")
    assert result.returncode == 127
    assert "no-such-command" in result.stderr


@pytest.mark.parametrize(
    ("tool", "named", "package"),
    [
        ("python3", "Python 3.11 or newer", "apt install python3 python3-venv"),
        ("c++", "a C++ compiler", "apt install g++"),
        ("cmake", "cmake", "apt install cmake"),
    ],
)
def test_names_what_is_missing(checkout: Checkout, tool: str, named: str, package: str) -> None:
    (checkout.tools / tool).unlink()
    result = checkout.run("runner")
    assert result.returncode == 1
    assert f"missing: {named}" in result.stderr
    assert package in result.stderr
    assert result.stderr.count("missing: ") == 1
    assert checkout.calls() == []


def test_names_everything_that_is_missing_at_once(checkout: Checkout) -> None:
    for tool in ("python3", "c++", "cmake"):
        (checkout.tools / tool).unlink()
    assert checkout.run().stderr.count("missing: ") == 3


def test_old_python_and_a_python_without_venv(checkout: Checkout) -> None:
    assert "found Python 3.9.0" in checkout.run(STUB_VERSION="3.9.0").stderr
    (checkout.stub / "no-ensurepip").touch()
    assert "apt install python3-venv" in checkout.run().stderr


def test_a_newer_python_beside_an_old_one_is_found(checkout: Checkout) -> None:
    (checkout.tools / "python3").rename(checkout.tools / "python3.12")
    (checkout.tools / "python3").write_text("#!/bin/sh\nexit 1\n")
    (checkout.tools / "python3").chmod(0o755)
    assert checkout.run().returncode == 0
    assert checkout.calls() == ["venv", "pip", "probe"]


def test_changed_requirements_install_into_the_same_environment(checkout: Checkout) -> None:
    checkout.run()
    checkout.calls()
    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    checkout.run()
    assert checkout.calls() == ["pip", "probe"]


def test_moved_checkout_or_other_python_makes_a_new_environment(checkout: Checkout) -> None:
    checkout.run()
    checkout.calls()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    checkout.run()
    assert checkout.calls() == ["venv", "pip", "probe"]
    checkout.run(STUB_VERSION="3.12.0")
    assert checkout.calls() == ["venv", "pip", "probe"]


def test_failed_install_shows_the_log_and_starts_over(checkout: Checkout) -> None:
    (checkout.stub / "pip").write_text("echo no matching distribution; exit 1\n")
    result = checkout.run("runner")
    assert result.returncode == 1
    assert "no matching distribution" in result.stderr
    assert ".venv/setup.log" in result.stderr
    checkout.calls()

    (checkout.stub / "pip").unlink()
    assert checkout.run().returncode == 0
    assert checkout.calls() == ["venv", "pip", "probe"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_set_up_is_repaired(
    checkout: Checkout, gate: Callable[[str], Gate], number: signal.Signals, status: int
) -> None:
    arrived, _never = gate("arrived"), gate("never")
    (checkout.stub / "pip").write_text('echo >"$STUB/arrived"; read -r line <"$STUB/never"\n')
    process = checkout.start("runner")
    arrived.wait()  # pip is at work
    os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == status
    assert "the next run repairs" in stderr
    assert "the set-up failed" not in stderr
    checkout.calls()

    (checkout.stub / "pip").unlink()
    assert checkout.run().returncode == 0
    assert checkout.calls() == ["venv", "pip", "probe"]


def test_two_at_once_set_up_once(checkout: Checkout, gate: Callable[[str], Gate]) -> None:
    arrived, go = gate("arrived"), gate("go")
    (checkout.stub / "pip").write_text('echo >"$STUB/arrived"; read -r line <"$STUB/go"\n')
    first = checkout.start()
    arrived.wait()
    second = checkout.start()
    assert second.stderr is not None
    assert "under way" in second.stderr.readline()
    go.open()
    for process in (first, second):
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert checkout.calls() == ["venv", "pip", "probe"]


def test_dead_probe_rebuilds_the_portable_way_past_the_cache(checkout: Checkout) -> None:
    (checkout.stub / "probe").write_text(DIE_OF_ILLEGAL_INSTRUCTION)
    (checkout.stub / "pip").write_text('case "$*" in *--no-deps*) rm "$STUB/probe"; echo "$CMAKE_ARGS $*" ;; esac\n')
    result = checkout.run()
    assert result.returncode == 0, result.stderr
    assert "signal 4" in result.stderr
    assert checkout.calls() == ["venv", "pip", "probe", "llama", "probe"]
    log = (checkout.root / ".venv" / "setup.log").read_text()
    assert PORTABLE in log
    assert "--no-cache-dir" in log
    assert "llama-cpp-python==" in log

    checkout.run()
    assert checkout.calls() == []


def test_probe_that_stays_dead_stops_the_set_up(checkout: Checkout) -> None:
    (checkout.stub / "probe").write_text(DIE_OF_ILLEGAL_INSTRUCTION)
    result = checkout.run("runner")
    assert result.returncode == 1
    assert "AVX2" in result.stderr


def test_probe_that_fails_for_another_reason_is_shown_and_tried_again(checkout: Checkout) -> None:
    (checkout.stub / "probe").write_text("echo half a module; exit 1\n")
    result = checkout.run()
    assert result.returncode == 0
    assert "half a module" in result.stderr
    assert checkout.calls() == ["venv", "pip", "probe"]
    checkout.run()
    assert checkout.calls() == ["probe"]


def test_cmake_args_are_built_past_the_cache_and_remembered(checkout: Checkout) -> None:
    checkout.run()
    checkout.calls()
    checkout.run(CMAKE_ARGS="-DGGML_CUDA=ON")
    assert checkout.calls() == ["llama", "pip", "probe"]
    checkout.run()
    checkout.run(CMAKE_ARGS="-DGGML_CUDA=ON")
    assert checkout.calls() == []
    checkout.run(CMAKE_ARGS=PORTABLE)
    assert checkout.calls() == ["llama", "pip", "probe"]


def test_help_needs_no_set_up(checkout: Checkout) -> None:
    result = checkout.run("--help")
    assert "./installer/dev pytest" in result.stdout
    assert "set -eu" not in result.stdout
    assert checkout.calls() == []
