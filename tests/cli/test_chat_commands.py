"""The chat's commands on a session: what they change, ask, write and refuse."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from runner.cli.chat import calls, clipboard, past, slash
from runner.cli.chat.completion import Names, Words
from runner.cli.chat.session import Session
from runner.cli.client import Client
from runner.cli.failures import Failure
from runner.config import parse_address
from tests.cli.fake_daemon import FakeDaemon

TOOLS = [{"name": "get_weather", "description": "Tells the weather", "parameters": {"type": "object"}}]


def session(**more: Any) -> Session:
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello.", "thinking": "Hm."}]
    return Session("demo", messages=said, abilities=["completion", "tools"], **more)


@pytest.fixture
def client(daemon: FakeDaemon) -> Client:
    return Client(parse_address(daemon.address), None)


def test_undo_and_retry(client: Client) -> None:
    talk = session()
    assert slash.obey(client, talk, "/retry") == {"role": "user", "content": "hi"}
    assert talk.messages == []
    for command in ("/undo", "/retry"):
        with pytest.raises(Failure, match="yet"):
            slash.obey(client, talk, command)
    talk = session(unanswered={"role": "user", "content": "failed"})
    assert slash.obey(client, talk, "/retry") == {"role": "user", "content": "failed"}
    assert len(talk.messages) == 2


def test_a_session_in_a_file(client: Client, tmp_path: Path) -> None:
    talk = session(system="Be brief", options={"seed": 7}, form={"type": "object"})
    file = tmp_path / "chat.json"
    slash.obey(client, talk, f"/export {file}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(Failure, match="is there already"):
        slash.obey(client, talk, f"/export {file}")
    other = Session("echo")
    slash.obey(client, other, f"/load '{file}'")
    assert (other.model, other.system, other.options, other.form) == ("demo", "Be brief", {"seed": 7}, talk.form)
    assert other.messages == talk.messages


def test_a_conversation_to_read(client: Client, tmp_path: Path) -> None:
    slash.obey(client, session(system="Be brief"), f"/export {tmp_path}/chat.md")
    assert (tmp_path / "chat.md").read_text() == (
        "# Chat with demo\n\n## System\n\nBe brief\n\n## You\n\nhi\n\n## Model\n\nHello.\n"
    )


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 1, "model": "demo", "messages": [{"role": "x"}]}'])
def test_a_file_that_is_no_session_changes_nothing(client: Client, tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    talk = session()
    with pytest.raises(Failure, match=r"bad\.json is no"):
        slash.obey(client, talk, f"/load {tmp_path}/bad.json")
    assert talk == session()


def test_save_makes_a_model(daemon: FakeDaemon, client: Client) -> None:
    slash.obey(client, session(system="Be brief", options={"seed": 7}), "/save mine")
    assert daemon.asked("/api/create")[0].body == {
        "model": "mine",
        "from": "demo",
        "stream": True,
        "system": "Be brief",
        "parameters": {"seed": 7},
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello."}],
    }


def test_another_model(daemon: FakeDaemon, client: Client) -> None:
    talk = session(think=True)
    slash.obey(client, talk, "/model slow")
    assert (talk.model, talk.abilities, talk.think, len(talk.messages)) == ("slow", ["completion"], None, 2)
    slash.obey(client, talk, "/load demo")
    assert (talk.model, talk.messages) == ("demo", [])
    for command, words in (
        ("/model denmo", r"not found; did you mean demo:latest\?$"),
        ("/load embedder", "can't chat"),
    ):
        with pytest.raises(Failure, match=words):
            slash.obey(client, talk, command)
    assert talk.model == "demo"


def test_another_model_gets_only_what_it_takes(
    daemon: FakeDaemon, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.models["seeing:latest"] = ["completion", "tools", "vision"]
    tools = [{"type": "function", "function": TOOLS[0]}]
    talk = session(tools=tools)
    talk.messages[0]["images"] = ["cGljdHVyZQ=="]
    slash.obey(client, talk, f"/export {tmp_path}/chat.json")
    slash.obey(client, talk, "/model seeing")
    assert talk.ask([])["messages"][0]["images"] == ["cGljdHVyZQ=="]
    capsys.readouterr()
    slash.obey(client, talk, "/model slow")
    assert capsys.readouterr().out == (
        "Talking with slow. It calls no tools, so none are offered any more. "
        "It sees no pictures, so those that were shown are left out.\n"
    )
    asked = talk.ask([])
    assert "tools" not in asked
    assert [set(each) for each in asked["messages"]] == [{"role", "content"}, {"role", "content", "thinking"}]
    slash.obey(client, talk, "/model seeing")
    assert talk.ask([])["messages"][0]["images"] == ["cGljdHVyZQ=="]
    talk.tools = tools
    slash.obey(client, talk, "/load slow")
    assert talk.tools == []
    daemon.models["demo:latest"] = ["completion"]
    slash.obey(client, talk, f"/load {tmp_path}/chat.json")
    assert talk.tools == []
    assert "It calls no tools" in capsys.readouterr().out


def test_a_conversation_to_read_cannot_be_loaded(
    daemon: FakeDaemon, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    talk = session()
    slash.obey(client, talk, "/export chat.md")
    with pytest.raises(Failure, match=r"only what /export wrote as \.json can be"):
        slash.obey(client, talk, "/load chat.md")
    assert talk == session()
    (tmp_path / "slow").touch()
    slash.obey(client, talk, "/load slow")
    assert talk.model == "slow"


def test_tools_from_a_file(client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tools.json"
    wrapped = [{"type": "function", "function": TOOLS[0]}]
    for content in (TOOLS, {"tools": wrapped}, wrapped, TOOLS[0]):
        file.write_text(json.dumps(content))
        talk = session()
        slash.obey(client, talk, f"/tools {file}")
        assert talk.ask([])["tools"] == wrapped
    assert "get_weather  Tells the weather" in capsys.readouterr().out
    slash.obey(client, talk, "/tools off")
    assert "tools" not in talk.ask([])
    talk.abilities = ["completion"]
    with pytest.raises(Failure, match="calls no tools"):
        slash.obey(client, talk, f"/tools {file}")


@pytest.mark.parametrize("content", ["", "[]", "3", "[{}]", '[{"function": {"name": 3}}]'])
def test_a_file_without_tools(tmp_path: Path, content: str) -> None:
    (tmp_path / "tools.json").write_text(content)
    with pytest.raises(Failure, match=r"tools\.json"):
        calls.offered(tmp_path / "tools.json")


def test_copy_uses_the_terminal_where_there_is_no_command(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("TMUX", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSH_TTY", "/dev/pts/1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    slash.obey(client, session(), "/copy")
    assert capsys.readouterr().out.startswith(clipboard.sequence(b"Hello.") + "Sent 6 characters")


def test_copy_the_last_code(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(clipboard, "copy", lambda text: copied.append(text) or "")
    talk = session()
    talk.messages[-1]["content"] = "See:\n```sh\nls\n```\nor\n```py\nprint()\n\nx\n```\nDone."
    slash.obey(client, talk, "/copy code")
    assert copied == ["print()\n\nx\n"]
    with pytest.raises(Failure, match="no code"):
        slash.obey(client, session(), "/copy code")


def test_the_last_thought_and_the_settings(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    talk = session()
    slash.obey(client, talk, "/show thinking")
    assert capsys.readouterr().out == "Hm.\n"
    slash.obey(client, talk, "/set thinking fold")
    slash.obey(client, talk, "/show settings")
    assert "thinking    fold" in capsys.readouterr().out
    with pytest.raises(Failure, match="show, fold, hide"):
        slash.obey(client, talk, "/set thinking less")


def test_a_command_that_is_nearly_one(client: Client) -> None:
    with pytest.raises(Failure, match="did you mean /clear"):
        slash.obey(client, session(), "/claer")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("/mo", ["/model"]),
        ("/set thinki", ["thinking"]),
        ("/show par", ["parameters"]),
        ("/model de", ["demo"]),
        ("/load slo", ["slow"]),
        ("hello", []),
        ("what is {}/tool", ["s.json"]),
        ("/tools {}/too", ["ls.json"]),
    ],
)
def test_tab(client: Client, tmp_path: Path, typed: str, offered: list[str]) -> None:
    (tmp_path / "tools.json").touch()
    names = Names(client)
    names._ask()
    line = typed.format(tmp_path)
    found = Words(names).get_completions(Document(line), CompleteEvent(completion_requested=True))
    assert [each.text for each in found] == offered


def test_history_is_bounded_and_private(runner_home: Path) -> None:
    file = runner_home / "state" / "history"
    kept = True
    history = past.past(lambda: kept)
    for number in range(past.MOST + 10):
        history.store_string(f"message {number}")
    kept = False
    history.store_string("secret")
    again = list(past.past(lambda: True).load_history_strings())
    assert (again[0], len(again)) == (f"message {past.MOST + 9}", past.MOST // 2)
    assert "secret" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["history"]
