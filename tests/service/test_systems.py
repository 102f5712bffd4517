"""What each service manager is told, and what becomes of its answers: steps as values, with a manager of the test's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from runner.protocol.checkup import Finding
from runner.service import carried, steps
from runner.service.checkup import checkup
from runner.service.installation import Installation
from runner.service.launchd import Launchd
from runner.service.steps import Command, Ran, Refused, Remove, Write
from runner.service.system import System
from runner.service.systemd import Systemd
from runner.service.tasks import Tasks


class Said:
    """Answers of programs, by the beginning of the command; everything else succeeds in silence."""

    def __init__(self, answers: Mapping[str, Ran] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []

    def __call__(self, words: Sequence[str]) -> Ran:
        line = " ".join(words)
        self.asked.append(line)
        return next((answer for name, answer in self.answers.items() if line.startswith(name)), Ran(0))


def made(folder: Path) -> Installation:
    return Installation(
        ("/py", "-m", "runner.daemon"), folder / "service.env", folder / "daemon.log", folders=(folder / "data",)
    )


@pytest.fixture
def user(tmp_path: Path) -> Systemd:
    """A user with a session."""
    (tmp_path / "run" / "systemd" / "private").mkdir(parents=True)
    (tmp_path / "booted").mkdir()
    return systemd(tmp_path)


def systemd(folder: Path, *, machine: bool = False, uid: int = 0) -> Systemd:
    environ = {"XDG_RUNTIME_DIR": str(folder / "run")}
    return Systemd(machine=machine, environ=environ, home=folder, booted=folder / "booted", uid=uid)


def commands(of: Sequence[steps.Step]) -> list[str]:
    return [" ".join(step.words) for step in of if isinstance(step, Command)]


def test_systemd_is_installed_started_and_removed(user: Systemd, tmp_path: Path) -> None:
    run = Said()
    assert steps.carry_out(user.install(made(tmp_path)), run)
    assert user.unit.read_text().startswith("# Runner as a service")
    assert (tmp_path / "data").is_dir()
    assert run.asked == ["systemctl --user daemon-reload", "systemctl --user enable runner.service"]
    assert not steps.carry_out(user.install(made(tmp_path)), run), "the same again changes nothing"
    assert commands(user.start())[-1] == "systemctl --user start runner.service"
    steps.carry_out(user.uninstall(), run)
    assert not user.unit.exists()


def test_a_command_that_fails_is_told_in_the_systems_words(user: Systemd) -> None:
    with pytest.raises(Refused, match="systemctl --user stop") as refused:
        steps.carry_out(user.stop(), Said({"systemctl": Ran(5, errors="Unit runner.service not loaded.")}))
    assert refused.value.detail == "Unit runner.service not loaded."


def test_why_there_is_no_manager_and_what_to_do(user: Systemd, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="has no systemd"):
        user.check(Said({"systemctl": Ran(127)}))
    with pytest.raises(Refused, match="doesn't answer"):
        user.check(Said({"systemctl --user": Ran(1)}))
    user.check(Said())
    with pytest.raises(Refused, match="no service manager runs") as refused:
        Systemd(machine=False, environ={"XDG_RUNTIME_DIR": "/nowhere"}, home=tmp_path, booted=tmp_path, uid=0).check(
            Said()
        )
    assert "loginctl enable-linger root" in refused.value.detail
    with pytest.raises(Refused, match="container") as refused:
        Systemd(machine=False, environ={}, home=tmp_path, booted=tmp_path / "no", uid=0).check(Said())
    assert "wsl.conf" in refused.value.detail
    with pytest.raises(Refused, match="root") as refused:
        systemd(tmp_path, machine=True, uid=1000).check(Said())
    assert refused.value.denied


SHOWN = """LoadState=loaded
UnitFileState=enabled
ActiveState={active}
SubState={sub}
MainPID={pid}
StatusText=listening on http://127.0.0.1:11435
Result={result}
NRestarts=4
"""


def shown(active: str, sub: str = "", pid: int = 0, result: str = "success") -> Said:
    text = SHOWN.format(active=active, sub=sub, pid=pid, result=result)
    return Said({"systemctl --user show runner": Ran(0, text), "loginctl": Ran(0, "Linger=no\n")})


def test_how_it_stands(user: Systemd) -> None:
    running = user.ask(shown("active", "running", 42))
    assert (running.active, running.pid, running.enabled, running.restarts) == ("running", 42, True, 4)
    assert running.said == "listening on http://127.0.0.1:11435"
    assert user.ask(shown("inactive")).said == ""
    failed = user.ask(shown("failed", result="watchdog"))
    assert (failed.active, failed.said) == ("failed", "its loop hung, so systemd ended it")
    assert user.ask(shown("activating", "auto-restart", result="exit-code")).active == "failed"
    assert user.ask(Said({"systemctl": Ran(1)})).active == "unknown"
    assert "enable-linger root" in next(iter(user.notes(shown("active"))))


def test_launchd_unloads_to_stop(tmp_path: Path) -> None:
    mac = Launchd(tmp_path, uid=501)
    assert commands(mac.stop()) == ["launchctl bootout gui/501/runner.daemon"]
    assert commands(mac.restart()) == [
        "launchctl bootout gui/501/runner.daemon",
        f"launchctl bootstrap gui/501 {mac.unit}",
        "launchctl kickstart gui/501/runner.daemon",
    ]
    printed = "gui/501/runner.daemon = {\n\tstate = running\n\tpid = 77\n\tendpoints = {\n\t\tpid = 3\n\t}\n}\n"
    standing = mac.ask(Said({"launchctl print": Ran(0, printed)}))
    assert (standing.active, standing.pid) == ("running", 77)
    with pytest.raises(Refused, match="no session"):
        mac.check(Said({"launchctl": Ran(113)}))


def test_windows_has_a_task_in_utf_16(tmp_path: Path) -> None:
    windows = Tasks(tmp_path, {"LOCALAPPDATA": str(tmp_path), "USERDOMAIN": "PC", "USERNAME": "me"})
    run = Said()
    assert steps.carry_out(windows.install(made(tmp_path)), run)
    assert run.asked == [f"schtasks /Create /TN Runner /XML {windows.unit} /F"]
    assert "<UserId>PC\\me</UserId>" in windows.unit.read_bytes().decode("utf-16")
    assert not steps.carry_out(windows.install(made(tmp_path)), run)
    assert not windows.ask(Said({"schtasks": Ran(1)})).installed


@pytest.mark.parametrize("which", ["launchd", "tasks"])
def test_an_uninstalled_one_leaves_no_file(tmp_path: Path, which: str) -> None:
    system: System = Launchd(tmp_path, uid=501) if which == "launchd" else Tasks(tmp_path, {"USERNAME": "me"})
    steps.carry_out(system.install(made(tmp_path)), Said())
    assert system.unit.exists()
    steps.carry_out(system.uninstall(), Said())
    assert not system.unit.exists()


def test_what_is_shown_hides_what_is_secret(tmp_path: Path) -> None:
    lines = "\n".join(
        steps.shown(
            (
                Write(tmp_path / "env", '# words\nRUNNER_API_KEY="sesame"\n', 0o600, secret=True),
                Remove(tmp_path / "unit"),
                Command(("systemctl", "start", "runner")),
            )
        )
    )
    assert "sesame" not in lines
    assert "RUNNER_API_KEY=..." in lines
    assert f"rm {tmp_path / 'unit'}" in lines
    assert lines.endswith("systemctl start runner")


def doctor(folder: Path, run: Said) -> list[Finding]:
    return [each for each in checkup({"XDG_RUNTIME_DIR": str(folder / "run")}, folder, run) if each.check == "service"]


def test_doctor_says_which_settings_do_not_count(tmp_path: Path) -> None:
    """Taken along at an install, they outweigh what is written later."""
    unit = systemd(tmp_path).unit
    unit.parent.mkdir(parents=True)
    unit.write_text("")
    file = tmp_path / "config" / "service.env"
    told = {"RUNNER_KEEP_ALIVE": "1h", "RUNNER_MAX_QUEUE": "7", "RUNNER_API_KEY": "k"}
    carried.write(file, carried.written(told))
    (tmp_path / "config" / "config.yaml").write_text("keep_alive: 2h\nmax_queue: 7\n")
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "RUNNER_HOME": str(tmp_path)}
    [*_, found] = checkup(environ, tmp_path, Said({"systemctl": Ran(127)}))
    assert found.state == "warn"
    assert found.said == f"RUNNER_KEEP_ALIVE in {file} outweighs what {tmp_path}/config/config.yaml says"
    carried.write(file, carried.written(told | {"RUNNER_KEEP_ALIVE": "2h"}))
    assert not any("outweighs" in each.said for each in checkup(environ, tmp_path, Said({"systemctl": Ran(127)})))


def test_doctor_says_what_is_wrong_with_the_service(tmp_path: Path) -> None:
    [none] = doctor(tmp_path, Said())
    assert none.state == "ok"
    assert "not installed" in none.said
    unit = systemd(tmp_path).unit
    unit.parent.mkdir(parents=True)
    unit.write_text("")
    [no_manager] = doctor(tmp_path, Said({"systemctl": Ran(127)}))
    assert (no_manager.state, str(unit) in no_manager.said) == ("warn", True)
