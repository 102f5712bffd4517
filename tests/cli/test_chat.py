"""A conversation on a pseudo-terminal: the real prompt, keys pressed, and what the daemon gets to see."""

import stat
from pathlib import Path

import pytest

from runner.cli.chat import slash
from runner.cli.chat.prompt import is_open as stays_open
from runner.cli.chat.session import Session
from runner.cli.chat.settings import unquoted
from runner.cli.client import Client
from runner.cli.failures import Failure
from runner.config import parse_address
from tests.cli.command_line import CommandLine
from tests.cli.fake_daemon import FakeDaemon

NOBODY = Client(parse_address("127.0.0.1:1"), None)


def test_a_conversation(daemon: FakeDaemon, runner: CommandLine, runner_home: Path) -> None:
    with runner.terminal("run", "demo", "--system", "Be brief") as terminal:
        terminal.expect(">>> ")
        terminal.type("hello\r")
        terminal.expect("Type runner pull.\n")
        terminal.expect(">>> ")
        terminal.type("/set parameter seed 7\r")
        terminal.expect("Set seed to 7.")
        terminal.expect(">>> ")
        terminal.type("again\r")
        terminal.expect("Type runner pull.\n")
        terminal.expect(">>> ")
        terminal.type("\x04")
        assert terminal.ends() == 0
    assert len(daemon.asked("/api/tags")) == 1, "what the store has is asked once, and not at every prompt"
    load, first, second = (seen.body for seen in daemon.asked("/api/chat"))
    system, hello = {"role": "system", "content": "Be brief"}, {"role": "user", "content": "hello"}
    assert load == {"model": "demo", "messages": [], "stream": True}
    assert first["messages"] == [system, hello]
    reply = {"role": "assistant", "content": "Type runner pull."}
    assert second["messages"] == [system, hello, reply, {"role": "user", "content": "again"}]
    assert second["options"] == {"seed": 7}
    history = runner_home / "state" / "history"
    assert "+hello\n" in history.read_text()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_ctrl_c_stops_the_answer_and_keeps_the_conversation(daemon: FakeDaemon, runner: CommandLine) -> None:
    with runner.terminal("run", "slow") as terminal:
        terminal.expect(">>> ")
        terminal.type("first\r")
        terminal.expect("one")
        terminal.type("\x03")
        terminal.expect("(stopped)\n")
        assert daemon.hung_up.wait(30), "the daemon still answers"
        terminal.expect(">>> ")
        terminal.type("\x03")
        terminal.expect("Ctrl-D or /bye leaves.")
        terminal.expect(">>> ")
        terminal.type("second\r")
        terminal.expect("one")
        terminal.type("\x03")
        terminal.expect(">>> ")
        terminal.type("/bye\r")
        assert terminal.ends() == 0
    messages = daemon.asked("/api/chat")[-1].body["messages"]
    assert [message["content"] for message in messages] == ["first", "one ", "second"]


def test_several_lines_between_quotes(daemon: FakeDaemon, runner: CommandLine) -> None:
    with runner.terminal("run", "demo") as terminal:
        terminal.expect(">>> ")
        terminal.type('"""one\r')
        terminal.expect("...")
        terminal.type('two"""\r')
        terminal.expect("Type runner pull.")
        terminal.expect(">>> ")
        terminal.type("/exit\r")
        assert terminal.ends() == 0
    assert daemon.asked("/api/chat")[-1].body["messages"][-1]["content"] == "one\ntwo"


def test_a_failure_doesnt_end_the_conversation(daemon: FakeDaemon, runner: CommandLine) -> None:
    with runner.terminal("run", "late") as terminal:
        terminal.expect(">>> ")
        terminal.type("hello\r")
        terminal.expect("Error: the worker died in the middle\n")
        terminal.expect(">>> ")
        terminal.type("/nonsense\r")
        terminal.expect("Error: unknown command '/nonsense'")
        terminal.expect(">>> ")
        terminal.type("/show parameters\r")
        terminal.expect("temperature                    0\n")
        terminal.expect(">>> ")
        terminal.type("\x04")
        assert terminal.ends() == 0


def test_a_model_that_cannot_be_loaded(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.refusals["/api/chat"] = (500, {"error": "needs 8 GB, and 2 GB are free"})
    with runner.terminal("run", "demo") as terminal:
        assert terminal.ends() == 1
    assert terminal.shown == "Error: needs 8 GB, and 2 GB are free\n"


def session() -> Session:
    return Session("demo", messages=[{"role": "user", "content": "hi"}])


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        ("/set system Be brief", "system", "Be brief"),
        ('/set system """two\nlines"""', "system", "two\nlines"),
        ("/set parameter temperature 0", "options", {"temperature": 0.0}),
        ('/set parameter stop "a b"', "options", {"stop": ["a b"]}),
        ("/set think", "think", True),
        ("/set think low", "think", "low"),
        ("/set nothink", "think", False),
        ("/set format json", "form", "json"),
        ("/set verbose", "verbose", True),
        ("/clear", "messages", []),
    ],
)
def test_commands_change_the_session(command: str, name: str, value: object) -> None:
    changed = session()
    slash.obey(NOBODY, changed, command)
    assert getattr(changed, name) == value


def test_the_form_is_shown_and_only_a_form_changes_it(capsys: pytest.CaptureFixture[str]) -> None:
    changed = session()
    for command in ("/format", "/set format"):
        slash.obey(NOBODY, changed, command)
        assert capsys.readouterr().out.startswith("Answers may have any form; /format json")
        assert changed.form is None
    for command, says in (
        ("/format json", "Answers are JSON now; /format off ends it.\n"),
        ("/format", "Answers are JSON; /format off ends it.\n"),
        (
            '/format {"type": "object"}',
            'Answers follow this JSON Schema now: {"type": "object"}; /format off ends it.\n',
        ),
        ("/format off", "Answers may have any form now.\n"),
    ):
        slash.obey(NOBODY, changed, command)
        assert capsys.readouterr().out == says
    assert changed.form is None


def test_commands_take_back_what_they_set() -> None:
    changed = session()
    for command in ("/set system x", "/set system", "/set format json", "/set noformat", "/set verbose", "/set quiet"):
        slash.obey(NOBODY, changed, command)
    assert (changed.system, changed.form, changed.verbose) == (None, None, False)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/nope", "unknown command '/nope'"),
        ("/set", "/set takes one of: system"),
        ("/set parameter seed", "takes a name and a value"),
        ("/set parameter seed x", "seed: must be a whole number"),
        ("/show nothing", "/show takes one of: info"),
        ("/undo 3", "only 1 question can be taken back"),
        ("/undo all", "/undo takes nothing, or how many"),
    ],
)
def test_commands_say_what_they_take(command: str, words: str) -> None:
    before = session()
    with pytest.raises(Failure, match=words.replace("?", r"\?")):
        slash.obey(NOBODY, before, command)
    assert before == session()


@pytest.mark.parametrize("command", ["/bye", "/exit", "/BYE "])
def test_leaving(command: str) -> None:
    with pytest.raises(slash.Leave):
        slash.obey(NOBODY, session(), command)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    slash.obey(NOBODY, session(), "/?")
    shown = capsys.readouterr().out
    for name in ("/set", "/show", "/clear", "/bye", "/exit", "/?", "/help", "system", "parameter", '"""'):
        assert name in shown


@pytest.mark.parametrize("columns", [120, 80, 60, 40])
@pytest.mark.parametrize("command", ["/?", "/? set", "/? show"])
def test_help_fits_the_window(
    command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    slash.obey(NOBODY, session(), command)
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= columns
    assert "thinking" in shown
    assert not any(line.lstrip().startswith(",") for line in shown.splitlines())


@pytest.mark.parametrize(
    ("text", "is_command"),
    [
        ("/set x", True),
        ("/?", True),
        ("/", True),
        ("/etc/hosts is what?", False),
        ("5/3", False),
        ("/* comment */\nint main() {}", False),
        ("/** comment */", False),
        ("/ 2 is half of it", False),
    ],
)
def test_a_path_or_code_is_something_to_talk_about(text: str, is_command: bool) -> None:
    assert slash.is_command(text) is is_command


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("plain", False),
        ('"""', True),
        ('"""one', True),
        ('"""one"""', False),
        ('""""""', False),
        ('/set system """one', True),
        ('say """this', False),
        ('"""Words."""\nimport os\n', False),
        ('"""\ndef f():\n    """Words."""', True),
        ('"""\ndef f():\n    """Words."""\n"""', False),
    ],
)
def test_quotes_stay_open_until_they_are_closed(text: str, is_open: bool) -> None:
    assert stays_open(text) is is_open


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ('"""one\ntwo"""', "one\ntwo"),
        ('"""\none\n"""\n', "one"),
        ('def f():\n    """Words."""', 'def f():\n    """Words."""'),
        ('"""Words."""\nimport os\n', '"""Words."""\nimport os'),
        ('"""', '"""'),
    ],
)
def test_only_quotes_on_both_sides_are_taken_away(text: str, inner: str) -> None:
    assert unquoted(text) == inner
