"""The daemon under a supervisor that this test plays: it starts exactly what the unit says, hears its words on a
socket, and ends it as systemd does.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.config import load
from runner.service import units
from runner.service.installation import of_user
from runner.service.notify import Supervisor
from tests.benchmarks.daemon import free_port

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such supervisor")
_PULSE = 1.5  # seconds after which a silent daemon counts as dead
_PATIENCE = 60.0


class Supervising:
    """Plays systemd for one unit: the same command, environment and words."""

    def __init__(self, home: Path, abstract: bool) -> None:
        told = {"RUNNER_HOME": str(home), "RUNNER_HOST": f"127.0.0.1:{free_port()}"}
        text = units.systemd_user(of_user(load(environ=told), told, home))
        lines = [line.partition("=") for line in text.splitlines()]
        environ = {**os.environ, **told}
        for name, _, value in lines:
            if name == "Environment":
                key, _, given = shlex.split(value)[0].partition("=")
                environ[key] = given
        [command] = (value for name, _, value in lines if name == "ExecStart")
        [stop] = (int(value) for name, _, value in lines if name == "TimeoutStopSec")
        self.stop_within = stop
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        where = f"\0runner-{os.getpid()}-{id(self)}" if abstract else str(home.parent / "notify")
        self._socket.bind(where)
        self._socket.settimeout(_PATIENCE)
        environ |= {"NOTIFY_SOCKET": where.replace("\0", "@"), "WATCHDOG_USEC": str(int(_PULSE * 1e6))}
        self.process = subprocess.Popen(shlex.split(command), env=environ, stdin=subprocess.DEVNULL)

    def hear(self) -> dict[str, str]:
        """The next datagram."""
        lines = self._socket.recv(4096).decode().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def until(self, name: str) -> dict[str, str]:
        """The first datagram from here on that has this word."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if name in (heard := self.hear()):
                return heard
        raise AssertionError(f"{name} never came")

    def silent_for(self, seconds: float) -> bool:
        """Drop what is under way, then listen that long."""
        self._socket.setblocking(False)
        try:
            while True:
                self.hear()
        except BlockingIOError:
            self._socket.settimeout(seconds)
        try:
            self.hear()
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(_PATIENCE)
        return False

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        self._socket.close()


@pytest.fixture(params=[False, True], ids=["path", "abstract"])
def supervising(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Supervising]:
    if request.param and sys.platform != "linux":
        pytest.skip("only Linux has abstract sockets")
    made = Supervising(tmp_path / "home", request.param)
    yield made
    made.close()


def test_ready_alive_reloaded_and_ended(supervising: Supervising) -> None:
    ready = supervising.until("READY")
    assert ready["STATUS"].startswith("listening on http://127.0.0.1:")
    supervising.until("WATCHDOG")
    supervising.until("WATCHDOG")
    supervising.process.send_signal(signal.SIGHUP)
    assert supervising.until("RELOADING")["MONOTONIC_USEC"].isdigit()
    supervising.until("READY")
    began = time.monotonic()
    supervising.process.terminate()
    assert int(supervising.until("STOPPING")["EXTEND_TIMEOUT_USEC"]) <= supervising.stop_within * 1e6
    assert supervising.process.wait(supervising.stop_within) == 128 + signal.SIGTERM
    assert time.monotonic() - began < supervising.stop_within


def test_a_loop_that_hangs_falls_silent(supervising: Supervising) -> None:
    supervising.until("WATCHDOG")
    supervising.process.send_signal(signal.SIGSTOP)
    assert supervising.silent_for(2 * _PULSE)
    supervising.process.send_signal(signal.SIGCONT)
    supervising.until("WATCHDOG")


def test_nobody_to_tell_is_no_trouble(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}, {"NOTIFY_SOCKET": "vsock:2:1"}):
        supervisor = Supervisor(environ)
        assert not supervisor.listens
        supervisor.ready("here")
        supervisor.stopping(1)
        supervisor.close()


def test_a_watchdog_meant_for_another_process_is_not_ours(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(str(tmp_path / "notify"))
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
        for more, pulse in (
            ({}, 30.0),
            ({"WATCHDOG_PID": str(os.getpid())}, 30.0),
            ({"WATCHDOG_PID": "1"}, 0.0),
            ({"WATCHDOG_USEC": "soon"}, 0.0),
        ):
            supervisor = Supervisor(told | more)
            assert supervisor.pulse == pulse
            supervisor.close()
