"""The daemon as a process: how it starts, what it refuses, how it ends, what it weighs."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from runner import __version__

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ends daemons by POSIX signals")

MIB = 2**20


class Running:
    """A daemon on a port of its own choosing, ready."""

    def __init__(self, home: Path, *flags: str, **environment: str) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runner.daemon", "--host", "127.0.0.1:0", *flags],
            env=os.environ | {"RUNNER_HOME": str(home)} | environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.lines: list[str] = []
        for line in self.process.stderr:
            self.lines.append(line)
            if "is listening on http://" in line:
                break
        else:
            raise AssertionError("".join(self.lines))
        self.port = int(line.split("http://127.0.0.1:")[1].split(";")[0])

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def post(self, path: str, **body: object) -> tuple[int, str]:
        connection = self.connection()
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def end(self, number: int, seconds: float = 15.0) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)

    @property
    def announcement(self) -> Path:
        return self.home / "run" / "daemon.json"


@contextmanager
def running(home: Path, *flags: str, **environment: str) -> Iterator[Running]:
    daemon = Running(home, *flags, **environment)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.process.kill()
        daemon.process.communicate()


def refused(home: Path, *flags: str, **environment: str) -> tuple[int, str]:
    """The exit status and the words of a daemon that doesn't start."""
    result = subprocess.run(
        [sys.executable, "-m", "runner.daemon", *flags],
        env=os.environ | {"RUNNER_HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return result.returncode, result.stderr


def test_says_where_it_is_and_takes_it_back(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        about = json.loads(daemon.announcement.read_text())
        assert about["pid"] == daemon.process.pid
        assert about["address"] == f"127.0.0.1:{daemon.port}"
        assert about["version"] == __version__
        assert stat.S_IMODE(daemon.announcement.stat().st_mode) == 0o600
        assert daemon.end(signal.SIGTERM) == 143
        assert not daemon.announcement.exists()


def test_the_embedded_model_is_there_from_the_first_start(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        assert daemon.post("/api/show", model="demo")[0] == 200


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ends_on_a_signal(tmp_path: Path, number: int, status: int) -> None:
    with running(tmp_path) as daemon:
        assert daemon.end(number) == status


def test_ends_when_asked(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        assert daemon.post("/runner/shutdown")[0] == 200
        assert daemon.process.wait(15) == 0


def test_workers_end_with_it(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        assert daemon.post("/api/generate", model="demo", prompt="hi", stream=False)[0] == 200
        workers = psutil.Process(daemon.process.pid).children()  # a spare one may be among them
        assert workers
        assert all("runner.engine" in worker.cmdline() for worker in workers)
        assert daemon.end(signal.SIGTERM) == 143
        assert not any(worker.is_running() for worker in workers)


def test_a_killed_daemon_takes_its_workers_along(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.post("/api/generate", model="demo", prompt="hi", stream=False)
        workers = psutil.Process(daemon.process.pid).children()
        daemon.process.kill()
        _, alive = psutil.wait_procs(workers, timeout=5)
        assert alive == []


@pytest.fixture
def silent_hub() -> Iterator[socket.socket]:
    """A hub that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


@contextmanager
def endless_request(home: Path, hub: socket.socket) -> Iterator[tuple[Running, http.client.HTTPConnection]]:
    """A daemon with a request under way that will not end by itself."""
    with running(home, HF_ENDPOINT=f"http://127.0.0.1:{hub.getsockname()[1]}") as daemon:
        connection = daemon.connection()
        body = json.dumps({"model": "hf.co/somebody/something:Q4_0"})
        connection.request("POST", "/api/pull", body, {"Content-Type": "application/json"})
        asked, _ = hub.accept()
        with asked:
            yield daemon, connection
        connection.close()


def test_requests_get_an_answer_or_an_error_before_the_end(tmp_path: Path, silent_hub: socket.socket) -> None:
    with endless_request(tmp_path, silent_hub) as (daemon, connection):
        assert daemon.end(signal.SIGTERM, 25) == 143
        answer = connection.getresponse()
        assert "shutting_down" in answer.read().decode() or answer.status == 503


def test_a_second_signal_ends_it_at_once(tmp_path: Path, silent_hub: socket.socket) -> None:
    with endless_request(tmp_path, silent_hub) as (daemon, _):
        assert daemon.process.stderr is not None
        daemon.process.send_signal(signal.SIGTERM)
        while "SIGTERM" not in daemon.process.stderr.readline():
            pass
        assert daemon.end(signal.SIGTERM, 3) == 143


class TestRefusals:
    def test_a_store_that_is_taken_names_who_has_it(self, tmp_path: Path) -> None:
        with running(tmp_path) as daemon:
            status, words = refused(tmp_path, "--host", "127.0.0.1:0")
            assert status == 75
            assert str(daemon.process.pid) in words

    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            status, words = refused(tmp_path, "--host", f"127.0.0.1:{port}")
        assert status == 75
        assert f"127.0.0.1:{port}" in words
        assert "in use" in words
        assert "Traceback" not in words

    def test_the_open_world_without_a_key(self, tmp_path: Path) -> None:
        status, words = refused(tmp_path, "--host", "0.0.0.0:0")
        assert status == 77
        assert "RUNNER_API_KEY" in words
        assert not tmp_path.joinpath("data").exists()

    @pytest.mark.parametrize(
        ("flags", "environment"),
        [
            (("--keep-alive", "soon"), {}),
            (("--nonsense", "1"), {}),
            ((), {"RUNNER_MAX_QUEU": "1"}),
            ((), {"RUNNER_MAX_QUEUE": "-3"}),
        ],
    )
    def test_settings_that_are_none(self, tmp_path: Path, flags: tuple[str, ...], environment: dict[str, str]) -> None:
        status, words = refused(tmp_path, *flags, **environment)
        assert status == 2
        assert "Traceback" not in words

    def test_a_store_of_a_later_version(self, tmp_path: Path) -> None:
        models = tmp_path / "data" / "models"
        models.mkdir(parents=True)
        (models / "store.json").write_text('{"format_version": 99}')
        status, words = refused(tmp_path, "--host", "127.0.0.1:0")
        assert status == 1
        assert "99" in words

    def test_a_store_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("a file in the way")
        status, words = refused(tmp_path, "--host", "127.0.0.1:0")
        assert status == 74
        assert "Traceback" not in words


def test_weighs_little_at_rest(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        connection = daemon.connection()
        connection.request("GET", "/api/tags")
        assert connection.getresponse().status == 200
        connection.close()
        resident = psutil.Process(daemon.process.pid).memory_info().rss
        assert resident <= 64 * MIB, f"{resident / MIB:.0f} MiB"
