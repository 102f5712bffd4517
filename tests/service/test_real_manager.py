"""`runner service` against a real systemd, as an ordinary user: installed, killed, hung, taken over, uninstalled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.service import units
from runner.service.installation import SYSTEM_HOME, of_machine
from tests.benchmarks.daemon import free_port
from tests.service.manager import Manager, lacking

pytestmark = pytest.mark.skipif(bool(why := lacking()), reason=f"no systemd user manager can be started: {why}")
_PATIENCE = 60.0
DROP_IN = ".config/systemd/user/runner.service.d/test.conf"


class Service:
    """The command in the manager's world."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.environ = {"RUNNER_HOST": f"127.0.0.1:{free_port()}", "RUNNER_API_KEY": "sesame"}

    def __call__(self, *words: str, check: int = 0) -> subprocess.CompletedProcess[str]:
        done = self.manager(sys.executable, "-m", "runner", *words, environ=self.environ)
        assert done.returncode == check, done
        return done

    def write(self, name: str, text: str) -> None:
        """A file of the user's own."""
        script = 'umask 077; mkdir -p "${1%/*}" && printf %s "$2" >"$1"'
        assert not self.manager("sh", "-c", script, "sh", str(self.manager.home / name), text).returncode

    def status(self, check: int = 0) -> dict[str, Any]:
        found = json.loads(self("service", "status", "--json", check=check).stdout)
        assert isinstance(found, dict)
        return found

    def becomes(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while True:
            done = self.manager(sys.executable, "-m", "runner", "service", "status", "--json", environ=self.environ)
            if holds(found := json.loads(done.stdout)):
                return dict(found)
            assert time.monotonic() < deadline, found


@contextmanager
def dropped_in(service: Service, line: str) -> Iterator[None]:
    """One line of the unit is another for a while."""
    file = service.manager.seen / DROP_IN
    service.write(DROP_IN, f"[Service]\n{line}\n")
    service.manager("systemctl", "--user", "daemon-reload")
    service("service", "restart")
    yield
    file.unlink()
    file.parent.rmdir()
    service.manager("systemctl", "--user", "daemon-reload")


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Manager() as manager:
        yield Service(manager)


@pytest.fixture
def installed(service: Service) -> Iterator[Service]:
    service("service", "install")
    yield service
    service("service", "uninstall")


def test_installed_twice_answers_and_is_shut_in(installed: Service) -> None:
    status = installed.status()
    assert (status["active"], status["enabled"], status["answers"]) == ("running", True, True)
    assert "nothing has changed" in installed("service", "install").stdout
    assert installed.status()["pid"] == status["pid"]
    assert "Runner" in installed("run", "demo", "Hello").stdout
    told = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{status['pid']}/status").read_text("utf-8").splitlines()
        if ":" in line
    )
    assert (told["NoNewPrivs"].strip(), told["Seccomp"].strip()) == ("1", "2")
    home = installed.manager.seen
    assert (home / ".config/runner/service.env").stat().st_mode & 0o777 == 0o600
    assert "sesame" not in (home / ".config/systemd/user/runner.service").read_text()
    findings = {each["check"]: each for each in json.loads(installed("doctor", "--json").stdout)["findings"]}
    assert findings["service"]["state"] == "ok"
    assert findings["sandbox"]["state"] == "ok", "the unit must not take from workers what they shut themselves in with"


def test_it_has_its_own_view_of_the_files_and_does_all_it_has_to(installed: Service) -> None:
    """systemd gives a user's service one by itself since 254; told to, this one does as well."""
    home = installed.manager.home
    with dropped_in(installed, "PrivateUsers=yes"):
        pid = installed.status()["pid"]
        lines = [line.split() for line in Path(f"/proc/{pid}/mounts").read_text("utf-8").splitlines()]
        held = {where: options.split(",") for _, where, _, options, *_ in lines}
        assert "ro" in held["/"]
        assert "rw" in held[max((where for where in held if home.is_relative_to(where)), key=len)]
        assert "Runner" in installed("run", "demo", "Hello").stdout
        findings = {each["check"]: each for each in json.loads(installed("doctor", "--json").stdout)["findings"]}
        assert {findings[each]["state"] for each in ("sandbox", "engine", "store", "service")} == {"ok"}
        inside = [where for where in held if where.startswith(f"{home}/")]
        assert not inside, "hard links between the store and other tools' files end at a mount of its own"


def test_killed_it_comes_back(installed: Service) -> None:
    before = installed.status()
    os.kill(before["pid"], signal.SIGKILL)
    after = installed.becomes(lambda found: found["active"] == "running" and found["pid"] != before["pid"])
    assert after["restarts"] >= 1


def test_shut_down_it_stays_away_until_a_command_needs_it(installed: Service) -> None:
    installed("shutdown")
    assert installed.status(check=1)["active"] == "stopped"
    said = installed("list").stderr
    assert "Starting Runner's service" in said
    assert installed.status()["active"] == "running"


def test_hung_it_is_ended_by_the_watchdog_and_comes_back(installed: Service) -> None:
    with dropped_in(installed, "WatchdogSec=2"):
        pid = installed.status()["pid"]
        os.kill(pid, signal.SIGSTOP)
        assert installed.becomes(lambda found: found["active"] == "running" and found["pid"] not in (pid, None))


def test_a_daemon_that_no_service_started_makes_room(service: Service) -> None:
    service("list")
    assert service.status(check=1)["answers"]
    before = service.environ["RUNNER_HOST"]
    service.environ["RUNNER_HOST"] = f"127.0.0.1:{free_port()}"  # it holds the store, wherever it listens
    done = service("service", "install")
    assert f"that no service started runs at http://{before}" in done.stderr
    assert service.status()["active"] == "running"
    assert "runs already" in service("service", "start").stdout
    assert "has ended" in service("service", "stop").stdout
    assert "doesn't run" in service("service", "stop").stdout
    assert "stay in" in service("service", "uninstall").stdout
    home = service.manager.seen
    assert not (home / ".config/systemd/user/runner.service").exists()
    assert not (home / ".config/runner/service.env").exists()
    assert (home / ".local/share/runner/models").is_dir()
    assert "not installed" in service("service", "start", check=1).stderr
    assert "No service was installed" in service("service", "uninstall").stdout


def test_settings_that_cannot_be_are_told_and_not_tried_again(installed: Service) -> None:
    installed.write(".config/runner/config.yaml", "keep_alive: soon\n")
    failed = installed.manager("systemctl", "--user", "restart", "runner")
    assert failed.returncode != 0
    assert installed.manager("systemctl", "--user", "is-failed", "runner").stdout.strip() == "failed"
    (installed.manager.seen / ".config/runner/config.yaml").unlink()
    assert "runs" in installed("service", "start").stdout


def test_what_the_machines_unit_forbids_breaks_nothing() -> None:
    """Its lines under a manager that may do all that the machine's does: another user, no capabilities, its own view of
    the files. Of these folders, StateDirectory= is the machine's manager's; so is DynamicUser=. A test's Python may lie
    in /tmp, which PrivateTmp= would hide.
    """
    home, store, port = "/run/home/machine", "/run/home/store", free_port()
    text = units.systemd_system(of_machine(Path(store), "daemon"))
    for ours, here in (
        (str(SYSTEM_HOME), home),
        (
            "StateDirectory=runner\nStateDirectoryMode=0700",
            f"ReadWritePaths={home}\nEnvironment=RUNNER_HOST=127.0.0.1:{port}",
        ),
        ("PrivateTmp=yes", "PrivateTmp=no"),
    ):
        assert ours in text
        text = text.replace(ours, here)
    with Manager(0) as manager:
        nobody_else = "chmod 755 /run/home /run/user/0 /run/user/0/systemd && chmod 777 /run/user/0/systemd/notify"
        manager("sh", "-c", f"{nobody_else} && mkdir {home} {store} && chown daemon {home} {store}")
        unit = manager.seen / ".config/systemd/user/runner.service"
        unit.parent.mkdir(parents=True)
        unit.write_text(text)
        started = manager("systemctl", "--user", "start", "runner")
        assert started.returncode == 0, manager("systemctl", "--user", "status", "runner").stdout
        pid = manager("systemctl", "--user", "show", "runner", "-p", "MainPID", "--value").stdout.strip()
        told = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines() if ":" in line
        )
        assert int(told["CapBnd"], 16) == 0
        assert told["Uid"].split() == ["1"] * 4
        mounts = [line.split() for line in Path(f"/proc/{pid}/mounts").read_text("utf-8").splitlines()]
        held = {where: options.split(",") for _, where, _, options, *_ in mounts}
        assert ("ro" in held["/"], "rw" in held[store]) == (True, True)
        command = (sys.executable, "-m", "runner")
        there = {"RUNNER_HOST": f"127.0.0.1:{port}"}
        assert "Runner" in manager(*command, "run", "demo", "Hello", environ=there).stdout
        findings = json.loads(manager(*command, "doctor", "--json", environ=there).stdout)["findings"]
        assert {each["check"]: each["state"] for each in findings}["sandbox"] == "ok"
