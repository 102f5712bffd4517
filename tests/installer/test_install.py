"""installer/install.sh: its decisions against a stand-in Python, and once for real in an empty home."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.benchmarks.daemon import free_port
from tests.installer.wheels import make_wheels

SOURCE = Path(__file__).parents[2]
STUB_PYTHON = Path(__file__).with_name("stub_runner_python.sh")
SCRIPTS = ("install.sh", "backend.sh", "prerequisites.sh", "shells.sh", "uninstall.sh")
SYSTEM_TOOLS = (
    *("cat", "chmod", "cksum", "cp", "date", "dirname", "find", "grep", "head", "mkdir", "mv", "readlink", "rm"),
    *("id", "rmdir", "sed", "sh", "sort", "tail", "tr", "uname"),
)
PORTABLE = "-DGGML_NATIVE=OFF"
DIE_OF_ILLEGAL_INSTRUCTION = "kill -ILL $$\n"
FIRST = ["venv", "source", "llama", "needs", "probe", "shutdown"]


@dataclass
class Machine:
    """A home with nothing in it, a checkout that has what the installer reads, and a PATH of what it needs."""

    home: Path
    root: Path
    tools: Path
    stub: Path

    @property
    def app(self) -> Path:
        return self.home / ".local" / "share" / "runner" / "app"

    @property
    def launcher(self) -> Path:
        return self.home / ".local" / "bin" / "runner"

    def start(self, *options: str, script: str = "install.sh", **extra: str) -> subprocess.Popen[str]:
        environment = {"HOME": str(self.home), "PATH": str(self.tools), "STUB": str(self.stub), "SHELL": "/bin/bash"}
        return subprocess.Popen(
            [self.root / "installer" / script, *options],
            cwd=self.home,
            env=environment | {"REAL_PYTHON": sys.executable} | extra,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A suite that runs in the background has SIGINT ignored, and would hand that down.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *options: str, check: int = 0, **extra: str) -> str:
        """Run the installer to its end, expect this exit code, and give what it said."""
        process = self.start(*options, **extra)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == check, stderr
        assert check or not stdout
        return stdout + stderr

    def play(self, part: str, script: str) -> None:
        (self.stub / part).write_text(script)

    def provide(self, name: str, script: str) -> None:
        (self.tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.tools / name).chmod(0o755)

    def calls(self) -> list[str]:
        """The stand-in's calls since the last time this was asked."""
        path = self.stub / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def parts(self) -> list[str]:
        return [line.split()[0] for line in self.calls()]

    def environment_in_use(self) -> Path:
        return (self.app / "current").resolve(strict=True)

    def environments(self) -> list[Path]:
        return sorted((self.app / "versions").iterdir())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(*(tmp_path / name for name in ("a home", "a folder with 'quotes'", "tools", "stub")))
    for folder in (made.home, made.root / "installer", made.tools, made.stub):
        folder.mkdir(parents=True)
    for name in SCRIPTS:
        shutil.copy(SOURCE / "installer" / name, made.root / "installer" / name)
    shutil.copy(SOURCE / "pyproject.toml", made.root)
    for name in SYSTEM_TOOLS:
        found = shutil.which(name)
        assert found, f"this machine has no {name}"
        (made.tools / name).symlink_to(found)
    shutil.copy(STUB_PYTHON, made.tools / "python3")
    for name in ("c++", "cmake"):
        made.provide(name, "")
    return made


def test_installs_into_its_own_place(machine: Machine) -> None:
    said = machine.run()
    assert machine.parts() == FIRST
    assert machine.launcher.stat().st_mode & 0o111
    shared = machine.home / ".local" / "share"
    assert (shared / "bash-completion/completions/runner").read_text() == "# completion for bash\n"
    assert (shared / "zsh/site-functions/_runner").read_text() == "# completion for zsh\n"
    assert (shared / "fish/vendor_completions.d/runner.fish").read_text() == "# completion for fish\n"
    assert "--modify-path" in said
    assert not (machine.home / ".bashrc").exists()
    shown = subprocess.run(
        [machine.launcher, "--version"], env={"STUB": str(machine.stub)}, capture_output=True, text=True, check=True
    )
    assert shown.stdout == "runner 0.1.0\n"


def test_a_dry_run_says_what_and_does_nothing(machine: Machine) -> None:
    said = machine.run("--dry-run")
    assert str(machine.app) in said
    assert "portable" in said
    assert machine.calls() == []
    assert list(machine.home.iterdir()) == []


def test_help_and_usage(machine: Machine) -> None:
    process = machine.start("--help")
    stdout, _ = process.communicate(timeout=60)
    assert "--uninstall" in stdout
    assert "set -eu" not in stdout
    assert "--nonsense" in machine.run("--nonsense", check=2)
    assert "--purge goes with --uninstall" in machine.run("--purge", check=2)
    assert "none of auto" in machine.run("--backend", "tpu", check=1)
    assert "names no NVIDIA GPU" in machine.run("--backend=cuda", check=1)


def test_names_what_is_missing_as_this_system_calls_it(machine: Machine) -> None:
    for tool in ("c++", "cmake"):
        (machine.tools / tool).unlink()
    machine.provide("apt-get", "")
    (machine.stub / "no-ensurepip").touch()
    said = machine.run(check=1)
    assert said.count("missing: ") == 3
    assert "sudo apt install python3-venv g++ cmake" in said
    (machine.tools / "apt-get").unlink()
    machine.provide("dnf", "")
    assert "sudo dnf install python3 gcc-c++ cmake" in machine.run(check=1)
    assert "found Python 3.9.0" in machine.run(check=1, STUB_VERSION="3.9.0")
    assert list(machine.home.iterdir()) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_for_a_start_file_work_in_its_shell(machine: Machine, shell: str) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} isn't installed, so its start file can't be tried")
    machine.run("--modify-path", SHELL=path)
    file = (machine.app / "installed").read_text().splitlines()[-1].removeprefix("edited ")
    asked = {
        # Where compinit has run before the lines, as in most start files, and where bash-completion isn't there.
        "zsh": f"compdef() {{ echo completes; }}; source '{file}'; whence -p runner",
        "bash": f"source '{file}'; type -p runner",
        "fish": f"source '{file}'; type -p runner",
    }
    for script in machine.home.rglob("_runner"):
        script.write_text("compdef _runner runner\n")
    done = subprocess.run(
        [path, "--norc" if shell == "bash" else "-f" if shell == "zsh" else "--no-config", "-c", asked[shell]],
        env={"HOME": str(machine.home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = f"{machine.launcher}\n"
    assert (done.stdout, done.stderr) == (f"completes\n{expected}" if shell == "zsh" else expected, "")


def test_a_second_run_upgrades_and_ends_the_daemon(machine: Machine) -> None:
    machine.run()
    old = machine.environment_in_use()
    machine.calls()
    assert "Upgrade" in machine.run()
    assert machine.environment_in_use() != old
    assert machine.environments() == [machine.environment_in_use()]
    assert machine.parts() == FIRST


def test_the_first_run_ends_the_daemon_of_a_checkout(machine: Machine) -> None:
    machine.play("shutdown", 'echo "$0" >"$STUB/by"\n')
    assert "the running daemon has ended" in machine.run()
    by = (machine.stub / "by").read_text().strip()
    assert by == f"{machine.environment_in_use()}/bin/python", "there is no older one"


def test_a_daemon_that_cannot_be_ended_keeps_its_files(machine: Machine) -> None:
    machine.run()
    old = machine.environment_in_use()
    machine.play("shutdown", "exit 75\n")
    assert "runner shutdown" in machine.run()
    assert machine.environment_in_use() != old
    assert old in machine.environments()
    assert "nothing was removed" in machine.run("--uninstall", "--yes", check=1)
    assert machine.launcher.exists()
    machine.play("shutdown", "exit 69\n")
    machine.run()
    assert machine.environments() == [machine.environment_in_use()]


def test_a_service_that_runs_is_stopped_for_the_switch_and_started_again(machine: Machine) -> None:
    machine.run()
    old = machine.environment_in_use()
    machine.calls()
    # Who calls shows whether the switch has happened.
    machine.play("service", 'readlink "$HOME/.local/share/runner/app/current" >>"$STUB/calls"\n')
    said = machine.run()
    before, after = f"versions/{old.name}", f"versions/{machine.environment_in_use().name}"
    assert machine.calls()[-7:] == [
        *("service status --user", before, "service stop --user", before),
        *("shutdown", "service start --user", after),
    ]
    assert "started again" in said


@pytest.mark.parametrize("part", ["source", "llama", "needs", "probe"])
def test_a_failed_upgrade_leaves_the_old_one(machine: Machine, part: str) -> None:
    machine.run()
    old, launcher = machine.environment_in_use(), machine.launcher.read_text()
    machine.calls()
    machine.play(part, "echo the words of the failure; exit 1\n")
    said = machine.run(check=1)
    assert "the words of the failure" in said
    assert machine.environments() == [machine.environment_in_use()] == [old]
    assert machine.launcher.read_text() == launcher
    assert "shutdown" not in machine.parts()
    assert not list(machine.app.glob("*.part"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_one_leaves_nothing_half(machine: Machine, number: signal.Signals, status: int) -> None:
    os.mkfifo(machine.stub / "arrived")
    os.mkfifo(machine.stub / "never")
    machine.play("needs", 'echo >"$STUB/arrived"; read -r line <"$STUB/never"\n')
    arrived = os.open(machine.stub / "arrived", os.O_RDWR)
    never = os.open(machine.stub / "never", os.O_RDWR)
    try:
        process = machine.start()
        assert select.select([arrived], [], [], 60)[0], "pip never came"
        assert "under way" in machine.run(check=1)
        os.killpg(process.pid, number)
        _, stderr = process.communicate(timeout=60)
    finally:
        os.close(arrived)
        os.close(never)
    assert process.returncode == status
    assert "nothing was changed" in stderr
    assert machine.environments() == []
    assert not machine.launcher.exists()
    (machine.stub / "needs").unlink()
    machine.run()
    assert machine.environments() == [machine.environment_in_use()]


def test_what_a_killed_one_left_is_swept(machine: Machine) -> None:
    (machine.app / "versions" / "20200101000000-1" / "bin").mkdir(parents=True)
    machine.run()
    assert machine.environments() == [machine.environment_in_use()]


def test_a_dead_probe_rebuilds_past_the_cache_and_only_once(machine: Machine) -> None:
    machine.play("probe", DIE_OF_ILLEGAL_INSTRUCTION)
    machine.play("built", 'rm "$STUB/probe"\n')
    said = machine.run()
    assert "signal 4" in said
    [build] = [line for line in machine.calls() if line.startswith("build")]
    assert f"build {PORTABLE} " in build
    assert "--no-cache-dir --no-binary llama-cpp-python" in build
    (machine.stub / "built").unlink()
    machine.run()
    assert machine.parts() == ["venv", "source", "built", "needs", "probe", "shutdown"]


def test_a_probe_that_stays_dead_stops_it(machine: Machine) -> None:
    machine.play("probe", DIE_OF_ILLEGAL_INSTRUCTION)
    assert "AVX2" in machine.run(check=1)
    assert machine.environments() == []


def has_gpu(machine: Machine) -> None:
    machine.provide("nvidia-smi", 'case $1 in *name) echo "NVIDIA X1" ;; *) printf "9.0\\n8.6\\n9.0\\n" ;; esac')
    machine.provide("nvcc", "")


def test_a_gpu_is_used_and_remembered(machine: Machine) -> None:
    has_gpu(machine)
    assert "cuda: NVIDIA X1" in machine.run()
    [build] = [line for line in machine.calls() if line.startswith("build")]
    assert "-DGGML_CUDA=ON" in build
    assert "-DCMAKE_CUDA_ARCHITECTURES=86;90" in build
    machine.run()
    assert machine.parts() == ["venv", "source", "built", "needs", "probe", "shutdown"]
    machine.run("--backend", "cpu")
    assert machine.parts() == FIRST
    assert "cpu: the portable build" in machine.run("--dry-run")


def test_a_gpu_without_its_compiler_is_told_of(machine: Machine) -> None:
    has_gpu(machine)
    (machine.tools / "nvcc").unlink()
    said = machine.run("--dry-run", CUDA_HOME=str(machine.home), CUDACXX="nvcc")
    if "cuda:" in said:
        pytest.skip("this machine has a CUDA toolkit where every system has it, so that its absence can't be played")
    assert "install the CUDA toolkit" in said
    assert "portable" in said


def test_a_gpu_whose_build_fails_gets_the_portable_one(machine: Machine) -> None:
    has_gpu(machine)
    machine.play("build", "echo nvcc fatal: unsupported; exit 1\n")
    said = machine.run()
    assert "nvcc fatal: unsupported" in said
    assert "install.log" in said
    assert "the portable build" in said
    assert machine.parts() == ["venv", "source", "build", "llama", "needs", "probe", "shutdown"]
    assert (machine.app / "current" / "backend").read_text().splitlines() == ["cpu", PORTABLE]


def test_flags_of_the_users_own(machine: Machine) -> None:
    machine.run(CMAKE_ARGS="-DGGML_AVX2=OFF")
    assert any(line.startswith("build -DGGML_AVX2=OFF ") for line in machine.calls())
    assert "CMAKE_ARGS=-DGGML_AVX2=OFF" in machine.run("--dry-run")


def test_a_command_of_somebody_elses_is_not_overwritten(machine: Machine) -> None:
    machine.launcher.parent.mkdir(parents=True)
    machine.launcher.write_text("#!/bin/sh\necho another\n")
    assert "another program" in machine.run(check=1)
    assert machine.launcher.read_text() == "#!/bin/sh\necho another\n"
    machine.run("--prefix", "elsewhere")
    assert (machine.home / "elsewhere" / "bin" / "runner").exists()
    assert (machine.home / "elsewhere" / "lib" / "runner" / "current").exists()


def everything_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_uninstalling_leaves_what_is_the_users(machine: Machine) -> None:
    rc = machine.home / ".bashrc"
    rc.write_text("alias ll='ls -l'\n\n")
    machine.run("--modify-path")
    assert f"export PATH='{machine.launcher.parent}'" in rc.read_text()
    machine.run("--modify-path")
    assert rc.read_text().count("runner >>>") == 1
    share, state = machine.home / ".local" / "share" / "runner", machine.home / ".local" / "state" / "runner"
    cache, config = machine.home / ".cache" / "runner", machine.home / ".config" / "runner"
    for file in (share / "models/x", state / "logs/daemon.log", state / "memory.json", cache / "names", config / "c"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    folders = (share, state, cache, config, machine.home / "run", share / "models")
    (machine.stub / "folders").write_text("".join(f"{folder}\n" for folder in folders))
    aside = machine.home.parent / "aside"

    assert str(machine.launcher) in machine.run("--uninstall", "--dry-run")
    assert machine.launcher.exists()
    shutil.copytree(machine.home, aside, symlinks=True)
    machine.run("--uninstall", "--yes")
    assert everything_below(machine.home) == {
        *(".bashrc", ".config", ".config/runner", ".config/runner/c"),
        *(".local", ".local/share", ".local/share/runner", ".local/share/runner/models"),
        *(".local/share/runner/models/x", ".local/state", ".local/state/runner", ".local/state/runner/logs"),
        ".local/state/runner/logs/daemon.log",
    }
    assert rc.read_text() == "alias ll='ls -l'\n\n"
    assert "there is no Runner" in machine.run("--uninstall", check=1)

    shutil.rmtree(machine.home)
    shutil.copytree(aside, machine.home, symlinks=True)
    assert "--yes" in machine.run("--uninstall", "--purge", check=1)
    assert machine.launcher.exists()
    machine.run("--uninstall", "--purge", "--yes")
    assert everything_below(machine.home) == {".bashrc"}


def put(machine: Machine, folders: Sequence[Path], *files: Path) -> None:
    """Have Runner's folders be these: data, state, cache, config, runtime, the store; with these files."""
    (machine.stub / "folders").write_text("".join(f"{folder}\n" for folder in folders))
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name)


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_uninstalling_keeps_models_where_all_folders_are_one(machine: Machine) -> None:
    """As on a Mac."""
    machine.run()
    home = machine.home / "Library" / "Application Support" / "runner"
    caches = machine.home / "Library" / "Caches"
    folders = (home, home, caches / "runner", home, caches / "TemporaryItems", home / "models")
    kept = (home / "models/blobs/x", home / "models/.x", home / "config.yaml", home / "logs/daemon.log")
    put(machine, folders, *kept, home / "memory.json", home / "..history", caches / "runner/names")
    machine.run("--uninstall", "--yes")
    assert files_below(machine.home) == {file.relative_to(machine.home).as_posix() for file in kept}
    machine.run()
    machine.run("--uninstall", "--purge", "--yes")
    assert everything_below(machine.home) == set()


@pytest.mark.parametrize("how", [(), ("--purge",)], ids=["plain", "purge"])
@pytest.mark.parametrize("place", ["cache", "state", "run", "config"])
def test_a_store_in_another_folder_of_runners_stays(machine: Machine, place: str, how: tuple[str, ...]) -> None:
    machine.run()
    # Reached by a link, as a home may be.
    (machine.home / "real").mkdir()
    (machine.home / "link").symlink_to("real")
    root = machine.home / "link"
    store = root / place / "runner" / "in [it]" / "store"
    folders = [root / each / "runner" for each in ("data", "state", "cache", "config", "run")]
    put(machine, (*folders, store.resolve()), store / "x", *(folder / "other" for folder in folders[1:3]))
    said = machine.run("--uninstall", "--yes", *how)
    assert files_below(machine.home) == {f"real/{place}/runner/in [it]/store/x"}
    assert str(store.resolve()) in said


def test_an_environment_that_does_not_start_is_not_said_to_be_removed(machine: Machine) -> None:
    machine.run()
    machine.play("asked", "echo 'ModuleNotFoundError: nothing here' >&2; exit 1\n")
    before = everything_below(machine.home)
    said = machine.run("--uninstall", "--purge", "--yes", check=1)
    assert "ModuleNotFoundError: nothing here" in said
    assert "nothing was removed. Run install.sh once more" in said
    assert "is removed" not in said
    python = machine.environment_in_use() / "bin" / "python"
    python.unlink()
    python.symlink_to("python3.99")
    machine.run("--uninstall", "--yes", check=1)
    assert before - {python.relative_to(machine.home).as_posix()} <= everything_below(machine.home)


def test_a_command_that_fails_and_a_unit_that_it_cannot_remove(machine: Machine) -> None:
    machine.run()
    machine.play("service", "exit 1\n")
    assert "nothing was removed" in machine.run("--uninstall", "--yes", check=1)
    assert machine.launcher.exists()
    unit = machine.home / ".config/systemd/user/runner.service"
    unit.parent.mkdir(parents=True)
    shutil.copy(SOURCE / "installer" / "runner.service", unit)
    machine.play("service", "[ $2 = --help ]\n")
    machine.run("--uninstall", "--yes")
    assert not unit.exists()
    machine.run()
    unit.write_text("[Service]\nExecStart=a-runner-of-somebody-else\n")
    machine.run("--uninstall", "--yes")
    assert unit.exists()


def test_a_start_file_without_a_last_newline(machine: Machine) -> None:
    rc = machine.home / ".bashrc"
    rc.write_text("export FOO=bar")
    machine.run("--modify-path")
    assert rc.read_text().splitlines()[:2] == ["export FOO=bar", "# >>> runner >>>"]
    machine.run("--uninstall", "--yes")
    assert rc.read_text() == "export FOO=bar\n"


@pytest.mark.parametrize(
    "broken",
    ["# >>> runner >>>\nmine\n", "mine\n# <<< runner <<<\n", "# <<< runner <<<\nmine\n# >>> runner >>>\nmore\n"],
)
def test_a_start_file_with_half_of_the_marks_is_left(machine: Machine, broken: str) -> None:
    machine.run("--modify-path")
    rc = machine.home / ".bashrc"
    rc.write_text(broken)
    assert f"Note: lines in {rc} stay" in machine.run("--uninstall", "--yes")
    assert rc.read_text() == broken


def test_a_start_file_is_edited_through_its_link_and_keeps_its_mode(machine: Machine) -> None:
    (machine.home / "dotfiles").mkdir()
    real = machine.home / "dotfiles" / "bashrc"
    real.write_text("before\n")
    real.chmod(0o640)
    (machine.home / ".bashrc").symlink_to(real)
    machine.run("--modify-path")
    with real.open("a") as file:
        file.write("after\n")
    machine.run("--uninstall", "--yes")
    assert real.read_text() == "before\nafter\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert everything_below(machine.home) == {".bashrc", "dotfiles", "dotfiles/bashrc"}


# For real.


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    make_wheels(folder)
    yield folder
    shutil.rmtree(folder)


def test_an_empty_home(wheels: Path, tmp_path: Path) -> None:
    """What a newcomer does, with this machine's own llama.cpp build, and from here to an empty home again."""
    home = tmp_path / "home"
    home.mkdir()
    port, path = free_port(), f"{home}/.local/bin:/usr/bin:/bin"  # without this checkout's own runner
    environment = {
        "HOME": str(home),
        "PATH": path,
        "PYTHON": sys.executable,
        "RUNNER_HOST": f"127.0.0.1:{port}",
        "PIP_CACHE_DIR": str(tmp_path / "pip"),
        "PIP_NO_COMPILE": "1",
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }
    (tmp_path / "run").mkdir(mode=0o700)

    def run(*command: str | Path, cwd: Path = home) -> str:
        done = subprocess.run(
            command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    install = (SOURCE / "installer" / "install.sh", "--wheels", wheels, "--backend", "cpu", "--yes")
    run(*install)
    app = home / ".local" / "share" / "runner" / "app"
    first = (app / "current").resolve()
    try:
        assert run("runner", "--version").startswith("runner ")
        findings = json.loads(run("runner", "doctor", "--json"))["findings"]
        assert [each["said"] for each in findings if each["check"] == "path"] == [
            f"the shell uses {home}/.local/bin/runner"
        ]
        # Where somebody's file is called as a module of Python's, that isn't imported.
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "json.py").write_text("raise SystemExit('imported')\n")
        answer = run("runner", "run", "demo", "How do I pull a model?", cwd=tmp_path / "elsewhere")
        assert "runner pull" in answer

        completion = home / ".local" / "share" / "bash-completion" / "completions" / "runner"
        driver = (
            f"source '{completion}'; COMP_WORDS=(runner rm d) COMP_CWORD=2 COMP_LINE='runner rm d' COMP_POINT=11\n"
            '_runner; echo "${COMPREPLY[@]}"'
        )
        assert run("bash", "--norc", "-c", driver) == "demo\n"

        run(*install)  # the daemon of the first one runs until then
        assert (app / "current").resolve() != first
        assert not first.exists()
        assert "demo" in run("runner", "list")
    finally:
        run(app / "uninstall.sh", "--yes")
    left = {each for each in everything_below(home) if not each.startswith(".local/share/runner/models")}
    assert {each for each in left if (home / each).is_file()} <= {
        ".local/state/runner/logs/daemon.err",
        ".local/state/runner/logs/daemon.log",
        ".local/state/runner/logs/demo_latest.log",
    }
    assert (home / ".local/share/runner/models/store.json").exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the daemon is still there"


def test_the_scripts_are_clean() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck isn't installed")
    scripts = [f"installer/{name}" for name in (*SCRIPTS, "dev")]
    found = subprocess.run([shellcheck, "-x", *scripts], cwd=SOURCE, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
