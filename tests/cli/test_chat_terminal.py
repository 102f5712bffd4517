"""The chat as a person sees it: keys pressed on a pseudo-terminal, and the screen of a terminal emulator read."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import CommandLine, Terminal
from tests.cli.fake_daemon import FakeDaemon
from tests.engine.vision_models import png

PROMPT = ">>> "
ENTER, NEW_LINE, ALT_ENTER = "\r", "\n", "\x1b\r"


def texts(*pieces: str) -> list[dict[str, Any]]:
    return [{"message": {"content": piece}} for piece in pieces]


def in_pieces(text: str) -> list[dict[str, Any]]:
    return texts(*(text[at : at + 3] for at in range(0, len(text), 3)))


def ask(terminal: Terminal, text: str) -> None:
    terminal.expect(PROMPT)
    terminal.type(text + ENTER)


def leave(terminal: Terminal) -> None:
    terminal.expect(PROMPT)
    terminal.type("\x04")
    assert terminal.ends() == 0


def asked(daemon: FakeDaemon) -> list[str]:
    return [seen.body["messages"][-1]["content"] for seen in daemon.asked("/api/chat") if seen.body["messages"]]


def test_an_answer_is_drawn(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.says["demo:latest"] = in_pieces(
        "# Title\n\nSome **bold** words that are long enough to be broken.\n\n- one\n- two\n\n```python\nx = 1\n```\n"
    )
    with runner.terminal("run", "demo", columns=40) as terminal:
        ask(terminal, "hi")
        leave(terminal)
    start = next(place for place, line in enumerate(terminal.looks) if line == ">>> hi")
    assert terminal.looks[start : start + 12] == [
        ">>> hi",
        "Title",
        "",
        "Some bold words that are long enough to",
        "be broken.",
        "",
        " • one",
        " • two",
        "",
        "```python",
        "x = 1",
        "```",
    ]


def test_models_are_asked_for_at_the_start_and_when_there_may_be_more(daemon: FakeDaemon, runner: CommandLine) -> None:
    with runner.terminal("run", "demo") as terminal:
        for text in ("hi", "/show thinking", "again"):
            ask(terminal, text)
        terminal.expect(PROMPT)
        assert len(daemon.asked("/api/tags")) == 1
        terminal.type("/save mine" + ENTER)
        leave(terminal)
    assert len(daemon.asked("/api/tags")) <= 2


@pytest.mark.parametrize(("columns", "lines"), [(100, 40), (30, 8)])
def test_a_long_answer_is_told_once(daemon: FakeDaemon, runner: CommandLine, columns: int, lines: int) -> None:
    """Paragraphs that are higher than the window, a list and code, each row once and in order."""
    words = [f"w{number}" for number in range(500)]
    code = [f"c{number}" for number in range(100)]
    text = " ".join(words) + "\n\n" + "".join(f"- i{number}\n" for number in range(60)) + "\n```\n" + "\n".join(code)
    daemon.says["demo:latest"] = in_pieces(text + "\n```\n")
    with runner.terminal("run", "demo", columns=columns, lines=lines) as terminal:
        ask(terminal, "hi")
        leave(terminal)
    said = [word for line in terminal.looks for word in line.split() if word[0] in "wic" and word[1:].isdigit()]
    assert said == [*words, *(f"i{number}" for number in range(60)), *code]


def test_a_window_that_grows_in_the_middle(daemon: FakeDaemon, runner: CommandLine) -> None:
    with runner.terminal("run", "slow", columns=30, lines=10) as terminal:
        ask(terminal, "hi")
        terminal.expect("one")
        terminal.resize(60, 20)
        terminal.type("\x03")
        leave(terminal)
    assert [line for line in terminal.looks if line.startswith("one")] == ["one"]


def test_as_it_comes(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.says["demo:latest"] = in_pieces("# Title\n**bold**")
    for flags, more in (((), {"NO_COLOR": "1"}), ((), {"TERM": "dumb"}), (("--nowordwrap",), {})):
        with runner.terminal("run", "demo", *flags, **more) as terminal:
            ask(terminal, "hi")
            leave(terminal)
        assert "# Title\n**bold**\n" in terminal.shown


@pytest.mark.parametrize("key", [NEW_LINE, ALT_ENTER])
def test_several_lines(daemon: FakeDaemon, runner: CommandLine, key: str) -> None:
    with runner.terminal("run", "demo") as terminal:
        ask(terminal, f"one{key}two")
        leave(terminal)
    assert asked(daemon) == ["one\ntwo"]


def test_a_pasted_newline_never_sends(daemon: FakeDaemon, runner: CommandLine) -> None:
    with runner.terminal("run", "demo") as terminal:
        ask(terminal, "\x1b[200~def f():\n    pass\r\n\x1b[201~explain")
        leave(terminal)
    assert asked(daemon) == ["def f():\n    pass\nexplain"]


@pytest.mark.parametrize(
    "code", ['"""Words', '"""Words."""\n\n\ndef f():\n    """More words."""', "/* Words. */\nint main() {}"]
)
def test_pasted_code_is_sent_as_it_is(daemon: FakeDaemon, runner: CommandLine, code: str) -> None:
    with runner.terminal("run", "demo") as terminal:
        ask(terminal, f"\x1b[200~{code}\x1b[201~")
        terminal.expect("Type runner pull.")
        leave(terminal)
    assert asked(daemon) == [code]


def test_a_file_dropped_into_the_middle_of_a_message(daemon: FakeDaemon, runner: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("one\n")
    with runner.terminal("run", "demo") as terminal:
        ask(terminal, f"sort the lines of \x1b[200~{tmp_path}/f.txt\x1b[201~ by name")
        terminal.expect("Added f.txt (1 lines)")
        leave(terminal)
    assert asked(daemon) == [f"sort the lines of {tmp_path}/f.txt by name\n\nf.txt:\n```txt\none\n```"]


def test_a_dumb_terminal_gets_no_sequences(daemon: FakeDaemon, runner: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(json.dumps([{"name": "weather", "parameters": {"type": "object"}}]))
    call = {"id": "c1", "function": {"name": "weather", "arguments": {}}}
    daemon.says["demo:latest"] = [{"message": {"content": "", "tool_calls": [call]}}]
    with runner.terminal("run", "demo", TERM="dumb") as terminal:
        ask(terminal, "/tools tools.json")
        ask(terminal, "hi")
        terminal.expect("result of weather> ")
        terminal.type("sunny" + ENTER)
        terminal.expect("Type runner pull.")
        leave(terminal)
    assert "\x1b" not in terminal.raw
    assert daemon.asked("/api/chat")[-1].body["messages"][-1]["content"] == "sunny"


def test_searching_what_was_typed_before(daemon: FakeDaemon, runner: CommandLine) -> None:
    with runner.terminal("run", "demo") as terminal:
        for text in ("the first question", "another"):
            ask(terminal, text)
            terminal.expect("Type runner pull.")
        terminal.expect("Send a message")
        terminal.type("\x12first")
        terminal.expect("the first question")
        terminal.type(ENTER + ENTER)
        terminal.expect("Type runner pull.")
        leave(terminal)
    assert asked(daemon) == ["the first question", "another", "the first question"]


def test_an_editor(daemon: FakeDaemon, runner: CommandLine, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "from the editor" >> "$1"\n')
    editor.chmod(0o755)
    with runner.terminal("run", "demo", VISUAL=str(editor)) as terminal:
        terminal.expect(PROMPT)
        terminal.type("begun \x07")
        terminal.expect("from the editor")
        terminal.type(ENTER)
        leave(terminal)
    assert asked(daemon) == ["begun from the editor"]


def test_what_is_typed_during_an_answer_waits_unseen(daemon: FakeDaemon, runner: CommandLine) -> None:
    with runner.terminal("run", "slow") as terminal:
        ask(terminal, "hi")
        terminal.expect("one")
        terminal.type("unseen")
        terminal.type("\x03")
        terminal.expect(PROMPT)
        terminal.type(" now" + ENTER)
        terminal.expect("one")
        terminal.type("\x03")
        leave(terminal)
    assert asked(daemon)[-1].endswith("now")
    assert "oneunseen" not in terminal.shown


def test_a_folded_thought_is_shown_afterwards(daemon: FakeDaemon, runner: CommandLine) -> None:
    thought = [{"message": {"thinking": word}} for word in ("Let ", "me ", "see.")]
    daemon.says["demo:latest"] = [*thought, *texts("Done.")]
    with runner.terminal("run", "demo") as terminal:
        ask(terminal, "/set thinking fold")
        ask(terminal, "hi")
        terminal.expect("3 tokens (Ctrl-T shows it)")
        terminal.expect("Done.")
        terminal.expect(PROMPT)
        assert "Let me see." not in "\n".join(terminal.looks)
        terminal.type("\x14")
        terminal.expect("Let me see.")
        leave(terminal)
    [summary] = [line for line in terminal.looks if line.startswith("Thought for")]
    assert summary.endswith("s, 3 tokens (Ctrl-T shows it)")


def test_the_user_answers_calls(daemon: FakeDaemon, runner: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(json.dumps([{"name": "weather", "parameters": {"type": "object"}}]))
    call = {"id": "c1", "function": {"name": "weather", "arguments": {"city": "Ulm\x1b[2J"}}}
    daemon.says["demo:latest"] = [{"message": {"content": "", "tool_calls": [call]}}]
    with runner.terminal("run", "demo") as terminal:
        ask(terminal, "/tools tools.json")
        ask(terminal, "hi")
        terminal.expect('Calls weather {"city": "Ulm')
        terminal.expect("result of weather>")
        terminal.type("sunny" + ENTER)
        terminal.expect("Type runner pull.")
        leave(terminal)
    last = daemon.asked("/api/chat")[-1].body
    assert [message["role"] for message in last["messages"]] == ["user", "assistant", "tool"]
    assert last["messages"][1]["tool_calls"] == [call]
    assert last["messages"][2] == {
        "role": "tool",
        "content": "sunny",
        "tool_name": "weather",
        "tool_call_id": "c1",
    }
    assert last["tools"][0]["function"]["name"] == "weather"
    assert "\x1b[2J" not in terminal.raw


def test_pictures(daemon: FakeDaemon, runner: CommandLine, tmp_path: Path) -> None:
    daemon.models["seeing:latest"] = ["completion", "vision"]
    (tmp_path / "a b.png").write_bytes(png(1))
    dropped = f"{tmp_path}/a\\ b.png"
    with runner.terminal("run", "demo") as terminal:
        ask(terminal, f"what is {dropped}")
        terminal.expect("a b.png is a picture, and this model sees none; its name is sent as it is")
        terminal.expect("Type runner pull.")
        ask(terminal, "/model seeing")
        ask(terminal, f"what is {dropped}")
        terminal.expect("Added image a b.png")
        leave(terminal)
    message = daemon.asked("/api/chat")[-1].body["messages"][-1]
    assert message == {"role": "user", "content": "what is", "images": [base64.b64encode(png(1)).decode()]}
    picture = str(tmp_path / "a b.png")
    runner("run", "seeing", "--image", picture, "look")
    assert daemon.asked("/api/generate")[-1].body["images"] == message["images"]
    assert "sees no pictures" in runner("run", "demo", "--image", picture, "look", check=1).stderr


def test_a_full_context_is_told(daemon: FakeDaemon, runner: CommandLine) -> None:
    daemon.loaded = [{"name": "demo:latest", "context_length": 31}]
    end = {"message": {"content": ""}, "done": True, "done_reason": "length", "prompt_eval_count": 26, "eval_count": 5}
    daemon.says["demo:latest"] = [*texts("Cut"), end]
    with runner.terminal("run", "demo") as terminal:
        ask(terminal, "hi")
        terminal.expect("the context of 31 tokens is full")
        ask(terminal, "/undo")
        terminal.expect("Took back: hi")
        leave(terminal)


def test_files_on_the_command_line(daemon: FakeDaemon, runner: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("x = 1\n")
    runner("run", "demo", "--file", "f.py", "explain", stdin="and this")
    assert daemon.asked("/api/generate")[0].body["prompt"] == "f.py:\n```py\nx = 1\n```\n\nand this\nexplain"
    assert "absent" in runner("run", "demo", "--file", "absent", "hi", check=74).stderr
