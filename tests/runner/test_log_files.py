"""The daemon's log file: whole lines of JSON, begun anew by size, kept in number, and what becomes of a full disk."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import log
from runner.log.repeats import BURST, WINDOW, Repeats


@pytest.fixture(autouse=True)
def root_as_it_was() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "daemon.log"


Kept = Callable[..., logging.Logger]


@pytest.fixture
def kept(file: Path) -> Kept:
    def begin(size: int = 10**6, files: int = 2, form: str = "json") -> logging.Logger:
        log.set_up("info")
        log.keep(log.Keeping(file, size, files, form))
        return logging.getLogger("runner.test")

    return begin


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_line_of_json_holds_what_a_machine_wants(kept: Kept, file: Path) -> None:
    logger = kept()
    token = log.request_id.set("req-7")
    fields = {"status": 200, "ms": 1.5, "model": None, "level": "forged", "odd": {1, 2}}
    logger.info("done %s", "\x1b[2J\u2028\u202e\ud800", extra={"fields": fields})
    log.request_id.reset(token)
    try:
        raise ValueError("x\ny")
    except ValueError:
        logger.exception("broken", extra={"fields": {"rate": float("nan")}})
    assert "\x1b" not in file.read_text(encoding="utf-8")
    first, second = rows(file)
    assert list(first) == ["time", "level", "logger", "request", "message", "status", "ms", "odd"]
    assert (first["level"], first["request"], first["status"], first["ms"]) == ("info", "req-7", 200, 1.5)
    assert first["time"][10] == "T"
    assert first["time"][-6] in "+-"
    assert "request" not in second
    assert "ValueError: x" in second["traceback"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_text_on_request_and_from_one_moment_to_the_next(kept: Kept, file: Path) -> None:
    kept(form="text").warning("a\nb")
    log.settle("info", 10**6, 2, "json")
    logging.getLogger("runner.test").warning("c")
    log.settle("error", 10**6, 2, "json")
    logging.getLogger("runner.test").warning("too little")
    first, second = file.read_text().splitlines()
    assert first.endswith(" WARNING runner.test [-] a\\nb")
    assert json.loads(second)["message"] == "c"


def test_no_line_is_torn_or_lost_while_files_change_under_many_threads(kept: Kept, file: Path) -> None:
    logger = kept(size=2000, files=1000)

    def write(thread: int) -> None:
        for number in range(100):
            logger.info("%d %d %s", thread, number, "x" * 50)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = list(file.parent.iterdir())
    assert len(files) > 10
    assert all(each.stat().st_size <= 2000 for each in files)
    said = [row["message"].split()[:2] for each in files for row in rows(each)]
    assert sorted(said) == sorted([str(thread), str(number)] for thread in range(4) for number in range(100))


def test_so_many_older_files_are_kept(kept: Kept, file: Path) -> None:
    logger = kept(size=200, files=3)
    for number in range(20):
        logger.info("%d %s", number, "x" * 100)
    assert sorted(each.name for each in file.parent.iterdir()) == [
        "daemon.log",
        *(f"daemon.log.{n}" for n in (1, 2, 3)),
    ]
    newest_first = [file, *(file.with_name(f"daemon.log.{n}") for n in (1, 2, 3))]
    assert [rows(each)[0]["message"].split()[0] for each in newest_first] == ["19", "18", "17", "16"]
    log.settle("info", 200, 0, "json")
    logger.info("last")
    logger.info("%s", "y" * 150)
    assert [each.name for each in file.parent.iterdir()] == ["daemon.log"]
    log.settle("info", 0, 0, "json")
    logger.info("nowhere")
    assert "nowhere" not in file.read_text()


def test_a_file_that_was_moved_away_is_begun_anew(kept: Kept, file: Path) -> None:
    logger = kept()
    logger.info("before")
    file.rename(file.with_name("away"))
    log.reopen()
    logger.info("after")
    assert [row["message"] for row in rows(file)] == ["after"]
    assert [row["message"] for row in rows(file.with_name("away"))] == ["before"]


def test_a_full_disk_costs_lines_and_one_warning(
    kept: Kept, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = kept()
    logger.info("before")
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if b"torn" in data:
            return real(descriptor, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    logger.info("torn")
    logger.info("lost")
    monkeypatch.setattr(os, "write", real)
    assert capsys.readouterr().err.count("log lines are lost: No space left on device") == 1
    log.reopen()  # as after the pause
    logger.info("after")
    assert [row["message"].partition(" before")[0] for row in rows(file)] == ["before", "2 lines", "after"]


def test_a_folder_that_cannot_be_made_leaves_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs").write_text("a file")
    log.set_up("info")
    log.keep(log.Keeping(tmp_path / "logs" / "daemon.log", 1000, 1, "json"))
    logging.getLogger("runner.test").info("hello")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "cannot be written" in said[0]
    assert said[1].endswith("hello")


PROCESS = """
import logging, os, sys
from pathlib import Path
from runner import log
status = os.fstat(2)
if sys.argv[2] == "journal":
    os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
log.set_up("debug")
log.keep(log.Keeping(Path(sys.argv[1]), 10**6, 1, "json"))
for level in (10, 20, 30, 40, 50):
    logging.getLogger("runner.test").log(level, "said")
"""


@pytest.mark.parametrize(("name", "said"), [("daemon.err", 0), ("daemon.log", 5), ("elsewhere", 5)])
def test_nothing_is_written_twice_beside_the_log(file: Path, name: str, said: int) -> None:
    file.parent.mkdir()
    with (file.parent / name).open("ab") as errors:
        subprocess.run([sys.executable, "-c", PROCESS, str(file), ""], stderr=errors, check=True)
    assert (file.parent / name).read_text().count("said") == said
    assert [row["message"] for row in rows(file)] == ["said"] * 5


def test_the_journal_gets_priorities(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, str(file), "journal"], stderr=subprocess.PIPE, text=True, check=True
    )
    assert done.stderr.splitlines() == [f"<{number}>runner.test [-] said" for number in (7, 6, 4, 3, 2)]


def test_repeats_are_counted_and_those_of_requests_are_their_own() -> None:
    now = 0.0
    repeats = Repeats(lambda: now)

    def say(words: str, request: str = "-") -> list[str]:
        record = logging.LogRecord("runner.test", logging.WARNING, "", 0, "%s", (words,), None)
        record.request = request
        return [each.getMessage() for each in repeats.admitted(record)]

    assert [len(say("same")) for _ in range(BURST + 5)] == [1] * BURST + [0] * 5
    assert say("other") == ["other"]
    assert say("same", "r1") == ["same"]
    now = WINDOW
    assert say("third") == ["same message 5 more times: same", "third"]
    assert say("same") == ["same"]
    for _ in range(BURST):
        say("same")
    assert [each.getMessage() for each in repeats.rest()] == ["same message once more: same"]
    assert [each for number in range(1000) for each in say(str(number))] == [str(number) for number in range(1000)]
