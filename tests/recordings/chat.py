"""A real chat with the demo model, as a terminal shows it: typed into a real daemon's chat, read from an emulator.

    python -m tests.recordings.chat docs/chat.md

puts it between the two marks in that file; without a file it is printed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.daemon import Daemon
from tests.cli.command_line import CommandLine

BEGIN, END = "<!-- recording -->\n", "<!-- end of the recording -->\n"
TOOLS = [
    {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]
# What is typed, and what is waited for before the next prompt.
TYPED = (
    ("How do I pull a model?", "into the store."),
    ("/set think", "It thinks before it answers."),
    ("/set thinking fold", "A thought is one line"),
    ("How do I see which models are loaded?", "right now."),
    ("/show thinking", "They ask"),
    ("/set nothink", "It answers at once."),
    ("/export chat.md", "Wrote"),
    ("/clear", "Forgot what was said."),
    ("/tools weather.json", "get_weather"),
    ("What is the weather in Paris?", "result of get_weather>"),
    ("18 degrees, sunny", "The result is"),
    ("/undo", "Took back"),
)


def record(daemon: Daemon, folder: Path) -> list[str]:
    """The lines of the session; `folder` is where it is typed, and gets chat.md."""
    (folder / "weather.json").write_text(json.dumps(TOOLS))
    command = CommandLine(f"127.0.0.1:{daemon.port}", folder)
    with command.terminal("run", "demo", columns=88, lines=30, RUNNER_HOME=str(daemon.home)) as terminal:
        waits_for_result = False
        for typed, shown in TYPED:
            if not waits_for_result:
                terminal.expect(">>> ")
            terminal.type(typed + "\r")
            terminal.expect(shown)
            waits_for_result = shown.startswith("result of")
        terminal.expect(">>> ")
        terminal.type("/bye\r")
        if terminal.ends():
            raise RuntimeError("\n".join(terminal.looks))
    return ["$ runner run demo", *terminal.looks]


def main() -> None:
    with tempfile.TemporaryDirectory() as name, Daemon(Path(name) / "home") as daemon:
        folder = Path(name) / "folder"
        folder.mkdir()
        text = "\n".join(("```text", *record(daemon, folder), "```", ""))
    if len(sys.argv) == 1:
        print(text, end="")
        return
    page = Path(sys.argv[1])
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(before + BEGIN + text + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
