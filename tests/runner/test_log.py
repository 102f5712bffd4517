"""Log lines: one a record, whatever the message holds, with the request's id."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from runner import log

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?P<level>[A-Z]+) (?P<name>\S+) \[(?P<id>.+?)\] (?P<text>.*)")


@pytest.fixture(autouse=True)
def root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_line_names_time_level_logger_and_request(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("info")
    logging.getLogger("runner.somewhere").warning("loaded %s in %d s", "demo", 3)
    token = log.request_id.set("req-7")
    logging.getLogger("runner.api").info("done")
    log.request_id.reset(token)
    first, second = (LINE.fullmatch(line) for line in lines(capsys))
    assert first is not None
    assert first.group("level", "name", "id", "text") == ("WARNING", "runner.somewhere", "-", "loaded demo in 3 s")
    assert second is not None
    assert second.group("level", "name", "id", "text") == ("INFO", "runner.api", "req-7", "done")


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_the_least_that_is_logged(level: str, shown: int, capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up(level)
    logger = logging.getLogger("runner.test")
    for severity in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logger.log(severity, "x")
    assert len(lines(capsys)) == shown


def test_setting_up_again_does_not_log_twice(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("info")
    log.set_up("info")
    logging.getLogger("runner.test").info("once")
    assert len(lines(capsys)) == 1


FORGED = "2026-01-01 00:00:00,000 ERROR runner [x] forged"


@pytest.mark.parametrize(
    "name",
    [
        f"demo\n{FORGED}",
        f"demo\r\n{FORGED}",
        f"demo\u2028{FORGED}",
        f"demo\x85{FORGED}",
        f"demo\nTraceback (most recent call last):\n{FORGED}",
        f"demo\nTraceback \n{FORGED}",
    ],
)
def test_a_name_cannot_forge_a_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("info")
    logging.getLogger("runner.test").info("pulling %s", name)
    (line,) = lines(capsys)
    assert "forged" in line
    assert not line.startswith("2026-01-01")


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\x00", "\x7f", "\x9b", "\u202e", "\ud800"])
def test_terminal_codes_are_escaped(character: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("info")
    logging.getLogger("runner.test").info("a%sb", character)
    (line,) = lines(capsys)
    assert character not in line
    assert "a\\" in line


def test_readable_text_of_any_script_stays(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("info")
    logging.getLogger("runner.test").info("Grüße, 你好, 🙂")
    assert lines(capsys)[0].endswith("Grüße, 你好, 🙂")


def test_a_traceback_follows_its_record_and_cannot_forge_one(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("info")
    try:
        raise ValueError(f"no model {FORGED!r}\n{FORGED}\x1b[2J")
    except ValueError:
        logging.getLogger("runner.test").exception("broken\nrequest")
    first, *rest = lines(capsys)
    assert first.endswith("broken\\nrequest")
    assert any("ValueError" in line for line in rest)
    assert any(line.strip().startswith(FORGED) for line in rest)
    assert all(line.startswith("    ") for line in rest)
    assert not any("\x1b" in line for line in rest)


def test_a_stack_is_indented_too(capsys: pytest.CaptureFixture[str]) -> None:
    log.set_up("info")
    logging.getLogger("runner.test").info("here", stack_info=True)
    first, *rest = lines(capsys)
    assert first.endswith("here")
    assert rest
    assert all(line.startswith("    ") for line in rest)
