"""The log of a real daemon: whole lines while files change under requests, found by a request's id, and followed from
one daemon to the next."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.daemon import Daemon

COMMAND = (sys.executable, "-m", "runner")


def ask(daemon: Daemon, number: int) -> None:
    body = {"model": "demo", "prompt": "never to be logged", "stream": False, "options": {"num_predict": 1}}
    request = urllib.request.Request(
        f"{daemon.url}/api/generate", json.dumps(body).encode(), {"X-Request-Id": f"req-{number:04}-x"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        assert json.loads(response.read())["done"]


def logs(daemon: Daemon) -> list[Path]:
    return sorted((daemon.home / "state" / "logs").glob("daemon.log*"))


def command(daemon: Daemon, *arguments: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], env=daemon.environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_files_change_under_requests_and_every_line_is_whole(own_daemon: Daemon) -> None:
    own_daemon.environment |= {"RUNNER_LOG_SIZE": "4KB", "RUNNER_LOG_FILES": "500"}
    own_daemon.start()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: ask(own_daemon, number), range(120)))
    assert len(logs(own_daemon)) > 3
    rows = [json.loads(line) for file in logs(own_daemon) for line in file.read_text().splitlines()]
    served = [row["request"] for row in rows if row["message"].startswith("POST /api/generate 200")]
    assert sorted(served) == [f"req-{number:04}-x" for number in range(120)]
    assert not any("never to be logged" in file.read_text() for file in logs(own_daemon))
    found = [json.loads(line) for line in command(own_daemon, "logs", "--request", "req-0007", "--json").splitlines()]
    assert {row["request"] for row in found} == {"req-0007-x"}
    own_daemon.stop()
    assert "POST /api/generate 200" in command(own_daemon, "logs", "--request", "req-0007-x")  # without one, too
    assert "==> the process of demo:latest <==" in command(own_daemon, "logs", "demo")


class Follower:
    """`runner logs -f --json`, its messages as they come."""

    def __init__(self, daemon: Daemon) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "logs", "-f", "--json"],
            env=daemon.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self._came = b""

    def expect(self, message: str) -> dict[str, Any]:
        """Read until a message that begins like this."""
        assert self.process.stdout is not None
        while True:
            while b"\n" not in self._came:
                ready, _, _ = select.select([self.process.stdout], [], [], 60)
                assert ready, message
                self._came += os.read(self.process.stdout.fileno(), 65536)
            line, _, self._came = self._came.partition(b"\n")
            row: dict[str, Any] = json.loads(line)
            if row["message"].startswith(message):
                return row


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal")
def test_it_is_followed_over_a_moved_file_and_another_daemon(own_daemon: Daemon) -> None:
    own_daemon.start()
    follower = Follower(own_daemon)
    try:
        follower.expect("Runner ")
        (file,) = logs(own_daemon)
        file.rename(file.with_name("moved"))
        assert own_daemon.process is not None
        os.kill(own_daemon.process.pid, signal.SIGHUP)
        ask(own_daemon, 1)
        assert follower.expect("POST /api/generate 200")["request"] == "req-0001-x"
        own_daemon.stop()
        follower.expect("ended")
        own_daemon.start()
        follower.expect("Runner ")
        ask(own_daemon, 2)
        assert follower.expect("POST /api/generate 200")["request"] == "req-0002-x"
        follower.process.send_signal(signal.SIGINT)
        assert follower.process.communicate(timeout=30)[1] == b""
        assert follower.process.returncode == 130
    finally:
        follower.process.kill()
        follower.process.communicate()


def test_settings_of_the_log_and_others_are_taken_over_as_they_are_set(own_daemon: Daemon) -> None:
    own_daemon.start()
    said = json.loads(command(own_daemon, "config", "set", "log_format", "text", "--json"))
    assert (said["changed"], said["daemon"]) == (True, "now")
    ask(own_daemon, 3)
    (file,) = logs(own_daemon)
    until(lambda: file.read_text().splitlines()[-1].startswith("20"))
    assert "[req-0003-x] POST /api/generate 200" in file.read_text()
    assert "POST /api/generate 200" in command(own_daemon, "logs", "--request", "req-0003")
    said = json.loads(command(own_daemon, "config", "set", "per_model.demo.options.num_ctx", "512", "--json"))
    assert said["daemon"] == "load"
    ask(own_daemon, 4)
    assert own_daemon.get("/api/ps")["models"][0]["context_length"] == 512
    said = json.loads(command(own_daemon, "config", "set", "max_body", "128MB", "--json"))
    assert said["daemon"] == "start"
    assert (
        own_daemon.environment["RUNNER_HOST"]
        in json.loads(command(own_daemon, "config", "get", "host", "--json"))["value"]
    )


def test_a_daemon_in_the_background_writes_each_line_once(own_daemon: Daemon) -> None:
    command(own_daemon, "list")  # which starts it
    try:
        early = own_daemon.home / "state" / "logs" / "daemon.err"
        (file,) = logs(own_daemon)
        assert file.read_text().count("is listening on") == 1
        assert "is listening on" not in early.read_text()
    finally:
        command(own_daemon, "shutdown")
    before = file.read_text()
    (own_daemon.home / "data" / "models").rename(own_daemon.home / "aside")
    (own_daemon.home / "data" / "models").write_text("no folder")
    done = subprocess.run([*COMMAND, "list"], env=own_daemon.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 69
    assert "models" in done.stderr.splitlines()[-1]
    assert file.read_text() == before
    done = subprocess.run([*COMMAND, "logs"], env=own_daemon.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "outside of its log" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
def test_a_full_disk_costs_lines_and_no_request(own_daemon: Daemon) -> None:
    logs_folder = own_daemon.home / "state" / "logs"
    logs_folder.mkdir(parents=True)
    file = logs_folder / "daemon.log"
    file.symlink_to("/dev/full")
    own_daemon.start()
    for number in range(5):
        ask(own_daemon, number)
    assert own_daemon.log.read_text().count("log lines are lost: No space left on device") == 1
    file.unlink()
    assert own_daemon.process is not None
    os.kill(own_daemon.process.pid, signal.SIGHUP)
    until(lambda: (ask(own_daemon, 6), file.exists())[1])
    first, *rest = (json.loads(line) for line in file.read_text().splitlines())
    assert first["message"].endswith("lines before this one are lost: the file could not be written")
    assert any(row.get("request") == "req-0006-x" for row in rest)
