"""What a stranger's text may do to a terminal: nothing."""

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli import output
from runner.cli.failures import Failure


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.text())
def test_what_is_printable_controls_nothing_and_can_be_encoded(text: str) -> None:
    shown = output.printable(text)
    assert all(character in "\n\t" or character.isprintable() or ord(character) > 0x9F for character in shown)
    shown.encode()


def test_only_controls_are_dropped() -> None:
    assert output.printable("\x1b[31mred\x07 \x9b1m\tend\r\n") == "[31mred 1m\tend\n"
    assert output.printable("half \ud83d a pair") == "half \ufffd a pair"
    assert output.printable("naïve 日本語 👩‍💻") == "naïve 日本語 👩‍💻"


def test_data_in_a_pipe_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.write("\x1b[31m\ud83d")
    assert capsys.readouterr().out == "\x1b[31m\ufffd"


def test_a_failure_is_one_line_and_its_detail(capsys: pytest.CaptureFixture[str]) -> None:
    output.report(Failure("it broke\n  in two\x1b[2J", detail="  here\n"))
    assert capsys.readouterr() == ("", "Error: it broke in two[2J\n  here\n")


def test_a_table_has_no_border_and_no_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("NAME", "SIZE"), [("a", "1 GB"), ("longer\nname", "2 GB")])
    assert capsys.readouterr().out == "NAME           SIZE\na              1 GB\nlonger name    2 GB\n"


ROWS = [("a-name", "chat", "text " * 20), ("b", "embedding", "short")]


@pytest.mark.parametrize(
    ("width", "heads"), [(200, ["NAME", "KIND", "TEXT"]), (60, ["NAME", "KIND", "TEXT"]), (25, ["NAME", "KIND"])]
)
def test_a_table_fits_a_terminal(width: int, heads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(output, "columns", lambda stream: width)
    monkeypatch.setattr(sys, "stdout", screen)
    output.table(("NAME", "KIND", "TEXT"), ROWS, ("TEXT", "KIND"))
    lines = screen.getvalue().splitlines()
    assert lines[0].split() == heads
    assert max(map(len, lines)) <= width
    assert ("text " * 20).strip() in lines[1] or width < 200


def test_talk_is_broken_between_words_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(output, "columns", lambda stream: 30)
    monkeypatch.setattr(sys, "stderr", screen)
    output.report(Failure(f"{'word ' * 20}huggingface.co/{'x' * 40} is gone", detail="  indented " + "word " * 10))
    lines = screen.getvalue().splitlines()
    assert " ".join(" ".join(lines).split()) == (
        f"Error: {'word ' * 20}huggingface.co/{'x' * 40} is gone indented {'word ' * 10}".strip()
    )
    assert [line for line in lines if len(line) > 30] == [f"huggingface.co/{'x' * 40}"]
    assert lines[-1].startswith("  word")


def test_json_is_readable_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    output.data({"name": "é"}, indent=None)
    assert capsys.readouterr().out == '{"name": "é"}\n'
    output.data([{"a": 1}])
    assert json.loads(capsys.readouterr().out) == [{"a": 1}]


def test_styles_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert output.may_style(Screen())
    assert not output.may_style(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "")
    assert output.may_style(Screen()), "an empty NO_COLOR asks for nothing"
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.may_style(Screen())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not output.may_style(Screen())
