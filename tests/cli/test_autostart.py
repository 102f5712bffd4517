"""Starting the daemon in the background: when it works, when it dies, and when two commands start one at once.

The daemon here is the fake one, as a process of its own.
"""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from runner.cli import autostart, connect
from runner.cli.failures import Exit, Failure, Unavailable
from runner.config import Settings, load
from runner.service import choice, installation, steps
from runner.service.system import Standing
from tests.cli.command_line import ROOT, environment

# The command line with another daemon: what `autostart.command` gives is the one thing that is replaced.
INJECTED = """
import sys
from runner.cli import autostart
autostart.command = lambda flags: {argv!r}
from runner.cli.main import main
main()
"""


@pytest.fixture
def host() -> Iterator[str]:
    """An address where nobody listens yet; whoever does at the end is shut down."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    yield f"127.0.0.1:{port}"
    subprocess.run(
        [sys.executable, "-m", "runner", "shutdown"],
        env=environment(f"127.0.0.1:{port}"),
        capture_output=True,
        check=False,
    )


def runner(host: str, argv: list[str], *arguments: str, **env: str) -> subprocess.Popen[str]:
    script = [sys.executable, "-c", INJECTED.format(argv=argv), *arguments]
    return subprocess.Popen(
        script,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(host, **{"RUNNER_AUTOSTART": "1", **env}),
    )


def fake_daemon(host: str) -> list[str]:
    return [sys.executable, "-m", "tests.cli.fake_daemon", host.partition(":")[2]]


def test_the_daemon_is_started_and_said_so_and_stays(host: str, runner_home: Path) -> None:
    first = runner(host, fake_daemon(host), "list")
    out, err = first.communicate(timeout=60)
    logs = runner_home / "state" / "logs"
    early = logs / "daemon.err"
    assert first.returncode == 0, err
    assert "demo:latest" in out
    assert err == f"Starting the Runner daemon in the background; its log is {logs / 'daemon.log'}\n"
    assert early.read_text() == "listening\n"
    assert stat.S_IMODE(early.stat().st_mode) == 0o600
    second = runner(host, ["/nowhere"], "list")
    assert second.communicate(timeout=60) == (out, "")


def test_two_commands_at_once_end_up_with_one_daemon(host: str, runner_home: Path) -> None:
    both = [runner(host, fake_daemon(host), "list") for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "demo:latest" in out
    assert (runner_home / "state" / "logs" / "daemon.err").read_text().count("listening") == 1


def test_a_daemon_that_dies_is_said_why(host: str) -> None:
    dying = [sys.executable, "-c", "import sys; print('out of\\x1b[2J luck', file=sys.stderr); sys.exit(3)"]
    process = runner(host, dying, "list")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 69
    assert out == ""
    assert err.splitlines()[1:] == ["Error: the daemon ended at once with status 3", "  out of[2J luck"]


def test_autostart_can_be_turned_off(host: str) -> None:
    process = runner(host, fake_daemon(host), "list", RUNNER_AUTOSTART="0")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 69
    assert err == f"Error: no Runner daemon answers at http://{host}; start one with: runner serve\n"
    process = runner(host, fake_daemon(host), "list", "--host", host, RUNNER_AUTOSTART="0")
    assert f"start one with: runner serve --host {host}\n" in process.communicate(timeout=60)[1]


@pytest.mark.parametrize("verb", ["ps", "stop", "shutdown"])
def test_some_verbs_never_start_one(host: str, runner_home: Path, verb: str) -> None:
    process = runner(host, fake_daemon(host), verb, *(["demo"] if verb == "stop" else []))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 69
    assert err == f"Error: no Runner daemon answers at http://{host}\n"
    assert not (runner_home / "state").exists()


class Machines:
    """The machine's service, as systemd would tell of it."""

    def __init__(self, unit: Path, active: str) -> None:
        self.unit = unit
        self.active = active

    def ask(self, run: steps.Run) -> Standing:
        return Standing(installed=True, active=self.active)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("active", "at", "starts"),
    [("stopped", "own", False), ("failed", "own", False), ("stopped", "127.0.0.1:9", True), ("running", "own", True)],
)
def test_the_machines_service_keeps_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host: str, active: str, at: str, starts: bool
) -> None:
    """A daemon that a user's command starts there would keep the service from its port."""
    unit, told = tmp_path / "runner.service", tmp_path / "service.env"
    unit.touch()
    told.write_text(f'RUNNER_HOST="{host if at == "own" else at}"\n')
    absent = Machines(tmp_path / "none", "unknown")
    monkeypatch.setattr(choice, "of_this_machine", lambda machine, **_: Machines(unit, active) if machine else absent)
    monkeypatch.setattr(installation, "SYSTEM_ENVIRONMENT", told)
    started: list[list[str]] = []
    monkeypatch.setattr(autostart, "start", lambda found, argv, *_: started.append(argv))
    monkeypatch.setenv("RUNNER_HOST", host)
    monkeypatch.setenv("RUNNER_AUTOSTART", "1")
    with pytest.raises(Unavailable) as raised:
        connect.daemon(None).get("/api/tags")
    assert bool(started) is starts
    assert ("sudo runner service start --system" in raised.value.detail) is not starts


def test_a_daemon_elsewhere_is_not_ours_to_start(monkeypatch: pytest.MonkeyPatch, runner_home: Path) -> None:
    def refuse(connection: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(HTTPConnection, "connect", refuse)  # no test calls another machine
    with pytest.raises(Failure, match=r"\Ano Runner daemon answers at http://192\.0\.2\.7:11435\Z") as raised:
        connect.daemon("192.0.2.7").get("/api/tags")
    assert raised.value.code == Exit.UNAVAILABLE
    assert not runner_home.exists()


def test_a_log_that_cannot_be_written(runner_home: Path) -> None:
    runner_home.mkdir()
    (runner_home / "state").write_text("a file where the folder should be")
    with pytest.raises(Failure, match="cannot start the daemon") as raised:
        autostart.start(settings(), ["/nowhere"], lambda: False, lambda text: None)
    assert raised.value.code == Exit.IO


def settings() -> Settings:
    return load({})


def test_a_signal_and_the_end_of_a_long_log() -> None:
    script = "import os; print(*range(20), sep='\\n', flush=True); os.kill(os.getpid(), 9)"
    with pytest.raises(Unavailable, match="killed by signal 9") as raised:
        autostart.start(settings(), [sys.executable, "-c", script], lambda: False, lambda text: None)
    assert raised.value.detail.split() == [str(number) for number in range(10, 20)]


def test_another_daemon_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autostart, "_OTHER", 0.2)
    script = "import sys; sys.exit('held by pid 7')"
    gives_way = [sys.executable, "-c", f"{script.replace('exit(', 'stderr.write(')}; sys.exit(75)"]
    with pytest.raises(Unavailable, match=r"no daemon is ready at http://127\.0\.0\.1:11435") as raised:
        autostart.start(settings(), gives_way, lambda: False, lambda text: None)
    assert raised.value.detail == "  held by pid 7"
    assert raised.value.code == Exit.BUSY


def test_the_command_carries_flags_but_no_secret() -> None:
    flags = {"host": "127.0.0.1:1", "max_queue": "7", "api_key": "hush"}
    argv = autostart.command(flags)
    assert argv == [sys.executable, "-m", "runner.daemon", "--host=127.0.0.1:1", "--max-queue=7"]
    assert autostart.environment(flags)["RUNNER_API_KEY"] == "hush"


def test_the_daemon_imports_nothing_from_the_folder_it_is_started_in(tmp_path: Path) -> None:
    for name in ("runner", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')")
    seen = subprocess.run(
        [sys.executable, "-c", "import json, runner; print(runner.__file__)"],
        cwd=tmp_path,
        env=autostart.environment({}, {key: os.environ[key] for key in ("PATH",)}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(seen.stdout.strip()) == ROOT / "runner" / "__init__.py"
