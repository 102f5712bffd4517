"""`runner logs`: lines of either form, of a request, of a model, as they come, and without a daemon."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runner import log
from runner.log import File
from tests.cli.command_line import CommandLine

ID = "3f2a81c0" + "0" * 24
TEXT = (
    "2026-01-02 03:04:05,678 ERROR runner.api [-] broken\n    Traceback (most recent call last):\n    ValueError: x\n"
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "state" / "logs").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def logs(home: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Nobody listens at its address."""
    monkeypatch.setenv("RUNNER_HOME", str(home))
    return CommandLine("127.0.0.1:1", home)


def line(message: str, ago: float = 0, **more: Any) -> str:
    stamp = (datetime.now().astimezone() - timedelta(seconds=ago)).isoformat(timespec="milliseconds")
    return json.dumps({"time": stamp, "level": "info", "logger": "runner.test", "message": message} | more) + "\n"


def write(home: Path, *lines: str, name: str = "daemon.log") -> Path:
    file = home / "state" / "logs" / name
    with file.open("a", encoding="utf-8") as out:
        out.writelines(lines)
    return file


def test_the_last_lines_of_either_form_as_people_read_them(logs: CommandLine, home: Path) -> None:
    write(home, *(line(f"old {number}") for number in range(100)), name="daemon.log.1")
    write(home, TEXT, line("GET /x 200", request=ID, status=200), line("a\x1b[2J\nb", level="warning"), '{"torn": ')
    said = logs("logs").stdout.splitlines()
    assert len(said) == 52  # two lines more of a traceback
    assert said[-6:-3] == [
        "2026-01-02 03:04:05  ERROR    broken",
        "    Traceback (most recent call last):",
        "    ValueError: x",
    ]
    assert said[-3].endswith("INFO     GET /x 200  [3f2a81c0]")
    assert said[-2].endswith("WARNING  a\\x1b[2J\\nb")
    assert said[-1] == '{"torn": '
    assert len(logs("logs", "-n", "2").stdout.splitlines()) == 2
    assert len(logs("logs", "-n", "all").stdout.splitlines()) == 106
    rows = [json.loads(each) for each in logs("logs", "--json", "-n", "4").stdout.splitlines()]
    assert rows[0]["traceback"] == "Traceback (most recent call last):\nValueError: x"
    assert (rows[1]["status"], rows[1]["request"]) == (200, ID)


def test_by_request_level_and_time(logs: CommandLine, home: Path) -> None:
    write(home, line("first", 7200, request=ID), line("other", 7200, request="b" * 32), name="daemon.log.1")
    write(home, line("last", 60, request=ID, level="error"), *(line(f"noise {number}") for number in range(80)))
    assert [each.split()[3] for each in logs("logs", "--request", "3f2a").stdout.splitlines()] == ["first", "last"]
    assert len(logs("logs", "--level", "warn").stdout.splitlines()) == 1
    assert len(logs("logs", "--since", "10m").stdout.splitlines()) == 81
    assert len(logs("logs", "--since", "3h").stdout.splitlines()) == 83
    missing = logs("logs", "--request", "nope", check=1)
    assert missing.stderr.startswith("Error: no request nope in the daemon's logs, which begin ")
    assert "--since takes" in logs("logs", "--since", "soon", check=2).stderr
    assert "--lines takes" in logs("logs", "-n", "few", check=2).stderr
    assert "--level takes" in logs("logs", "--level", "loud", check=2).stderr


def test_a_models_own_words_and_what_the_daemon_says_of_it(logs: CommandLine, home: Path) -> None:
    write(home, line('"qwen3:0.6b" is loaded'), line('"qwen3:0.6b-x" is loaded'), line("POST /x", model="qwen3:0.6b"))
    write(home, "llama: old\n", name="qwen3_0.6b.log.1")
    write(home, "llama: new\n", name="qwen3_0.6b.log")
    (home / "cache").mkdir()
    (home / "cache" / "names").write_text("qwen3:0.6b\ndemo:latest\n")
    said = logs("logs", "Qwen3:0.6b").stdout.splitlines()
    assert said[0] == "==> the daemon about qwen3:0.6b <=="
    assert said[1].endswith('"qwen3:0.6b" is loaded')
    assert said[2].endswith("POST /x")
    assert said[3:] == ["", "==> the process of qwen3:0.6b <==", "llama: old", "llama: new"]
    last = json.loads(logs("logs", "qwen3:0.6b", "--json").stdout.splitlines()[-1])
    assert last == {"source": "worker", "model": "qwen3:0.6b", "message": "llama: new"}
    assert "demo:latest has not been loaded yet" in logs("logs", "demo").stderr
    wrong = logs("logs", "qwen:0.6b", check=1).stderr
    assert wrong == 'Error: there is no log of "qwen:0.6b": no such model was loaded here; did you mean qwen3:0.6b?\n'


def test_where_there_is_none(logs: CommandLine, home: Path) -> None:
    assert "there is no log at" in logs("logs", check=1).stderr
    assert "there is no log of demo:latest" in logs("logs", "demo", check=1).stderr
    elsewhere = logs("logs", RUNNER_HOST="192.0.2.7:11435", check=1).stderr
    assert elsewhere == (
        "Error: the logs of the daemon at http://192.0.2.7:11435 lie on that machine: use `runner logs` there\n"
    )
    write(home, "Fatal:\nMemoryError\n", name="daemon.err")
    assert logs("logs").stderr.splitlines()[-1] == "  MemoryError"


def test_on_a_terminal_levels_have_colours(logs: CommandLine, home: Path) -> None:
    write(home, line("odd", level="error"))
    with logs.terminal("logs") as terminal:
        assert terminal.ends() == 0
    assert "\x1b[31mERROR    odd\x1b[0m" in terminal.raw
    with logs.terminal("logs", NO_COLOR="1") as terminal:
        assert terminal.ends() == 0
    assert "\x1b" not in terminal.raw


@contextmanager
def following(logs: CommandLine, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    process = logs.start("logs", "-f", *arguments)
    assert process.stdout is not None

    came = b""

    def next_line() -> str:
        nonlocal came
        assert process.stdout is not None
        while b"\n" not in came:
            ready, _, _ = select.select([process.stdout], [], [], 30)
            assert ready, came
            came += os.read(process.stdout.fileno(), 65536)
        first, _, came = came.partition(b"\n")
        return first.decode()

    try:
        yield process, next_line
    finally:
        process.kill()
        process.communicate()


def test_what_comes_is_told_across_files_and_in_order(logs: CommandLine, home: Path) -> None:
    file = File(home / "state" / "logs" / "daemon.log", 300, 50, print, lambda words: b"")
    file.write(line("0").encode())
    with following(logs, "-n", "1") as (process, next_line):
        assert next_line().endswith("  0")
        for number in range(1, 40):  # three in a file, and more files than one between two looks
            file.write(line(str(number)).encode())
        assert [next_line().split()[-1] for _ in range(39)] == [str(number) for number in range(1, 40)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130
        assert errors == b""
    file.close()


def test_the_prompt_after_ctrl_c_has_a_line_of_its_own(logs: CommandLine, home: Path) -> None:
    write(home, line("first"))
    with logs.terminal("logs", "-f") as terminal:
        terminal.expect("first")
        terminal.type("\x03")
        assert terminal.ends() == 130
    assert terminal.shown.endswith("^C\n")


def test_it_waits_for_a_log_and_ends_with_its_reader(logs: CommandLine, home: Path) -> None:
    with following(logs) as (process, next_line):
        write(home, line("first"))
        assert next_line().endswith("first")
        path = log.daemon_file(home / "state")
        path.rename(path.with_name("away"))
        write(home, line("after"))
        assert next_line().endswith("after")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == -signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == b""
        process.stdout = open(os.devnull, "rb")  # noqa: SIM115 - for communicate()


def test_a_model_is_followed_beside_the_daemon(logs: CommandLine, home: Path) -> None:
    write(home, "llama: one\n", name="demo_latest.log")
    with following(logs, "demo") as (_, next_line):
        assert [next_line() for _ in range(2)] == ["==> the process of demo:latest <==", "llama: one"]
        write(home, "llama: two\n", name="demo_latest.log")
        assert next_line() == "llama: two"
        write(home, line("demo:latest is gone"), line("other is gone"))
        assert [next_line() for _ in range(2)] == ["", "==> the daemon about demo:latest <=="]
        assert next_line().endswith("demo:latest is gone")
