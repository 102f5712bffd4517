"""`runner config get`, `set` and `unset`: the file, what is said, and what the daemon has made of it."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from runner.cli.settings import card
from runner.cli.settings.card import ZERO
from runner.config import SETTINGS
from tests.cli.command_line import CommandLine
from tests.cli.fake_daemon import FakeDaemon


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """With an address where nobody listens."""
    monkeypatch.setenv("RUNNER_HOME", str(tmp_path))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return CommandLine(f"127.0.0.1:{probe.getsockname()[1]}", tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "config.yaml"


def test_a_narrow_terminal_gets_whole_values() -> None:
    heads, found = ("NAME", "VALUE", "FROM"), [("models", "/home/somebody/models", "default"), ("a", "1", "the file")]
    assert card.rows(heads, found, 80).splitlines()[1] == "models    /home/somebody/models    default"
    narrow = card.rows(heads, found, 30)
    assert narrow.splitlines() == [
        "NAME    VALUE         FROM",
        "models  /home/somebody/models",
        "                      default",
        "a       1             the file",
    ]


def test_set_get_and_unset(alone: CommandLine, file: Path) -> None:
    done = alone("config", "set", "keep_alive", "30m")
    assert done.stdout == f"keep_alive is set in {file}\n"
    assert done.stderr == "keep_alive: counts when the daemon starts; none runs now\n"
    assert file.read_text() == "keep_alive: 30m\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert alone("config", "get", "keep_alive").stdout == "30m\n"
    assert json.loads(alone("config", "get", "keep_alive", "--json").stdout) == {
        "name": "keep_alive", "value": "30m", "source": f"file {file}",
    }  # fmt: skip
    assert ", as before" in alone("config", "set", "keep_alive", "30m").stdout
    alone("config", "set", "queue_timeout", "-1")
    alone("config", "set", "per_model.qwen3:0.6b.options.num_ctx", "32768")
    assert alone("config", "get", "per_model.qwen3:0.6b.options.num_ctx").stdout == "32768\n"
    assert alone("config", "get", "per_model.qwen3:0.6b").stdout == '{"options": {"num_ctx": 32768}}\n'
    assert "is not set" in alone("config", "get", "per_model.qwen3:0.6b.keep_alive", check=1).stderr
    said = json.loads(alone("config", "unset", "keep_alive", "--json").stdout)
    assert (said["value"], said["source"], said["changed"], said["daemon"]) == ("5m", "default", True, None)
    assert file.read_text() == "queue_timeout: -1\nper_model:\n  qwen3:0.6b:\n    options: {num_ctx: 32768}\n"


def test_a_key_is_asked_for_and_not_shown(alone: CommandLine, file: Path) -> None:
    with alone.terminal("config", "set", "api_key") as terminal:
        terminal.expect("api_key: ")
        terminal.type("s3cret\r")
        terminal.expect("api_key is set in")
        assert terminal.ends() == 0
    assert "s3cret" not in terminal.raw
    assert file.read_text() == "api_key: s3cret\n"
    for name, words in (("api_key", "no api_key was given; nothing is changed"), ("keep_alive", "NAME VALUE")):
        with alone.terminal("config", "set", name) as terminal:
            if name == "api_key":
                terminal.expect("api_key: ")
                terminal.type("\r")
            terminal.expect(words)
            assert terminal.ends() == 2
    assert file.read_text() == "api_key: s3cret\n"


def test_an_entry_of_what_is_written_as_a_text(alone: CommandLine, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("options: num_ctx=64,stop=x\naliases: [a=demo]\nper_model: {demo: {options: 'seed=1'}}\n")
    alone("config", "set", "options.seed", "2")
    alone("config", "set", "aliases.b", "demo")
    alone("config", "set", "per_model.demo:latest.options.top_k", "3")
    assert file.read_text() == (
        "options: {num_ctx: 64, stop: [x], seed: 2}\n"
        "aliases: {a: demo, b: demo}\n"
        "per_model: {demo: {options: {seed: 1, top_k: 3}}}\n"
    )
    alone("config", "unset", "per_model.demo.options.seed")
    alone("config", "unset", "aliases.a")
    alone("config", "unset", "api_key")
    assert "aliases: {b: demo}\nper_model: {demo: {options: {top_k: 3}}}\n" in file.read_text()
    file.write_text("per_model:\n")
    alone("config", "set", "per_model.demo.options.seed", "1")
    assert file.read_text() == "per_model:\n  demo:\n    options: {seed: 1}\n"


def test_a_key_is_never_shown_and_nobody_else_reads_it(alone: CommandLine, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("keep_alive: 1h\n")
    file.chmod(0o644)
    link = file.with_name("link.yaml")
    file.rename(link)
    file.symlink_to(link)
    done = alone("config", "set", "api_key", stdin="hush 123\n")
    assert "hush" not in done.stdout + done.stderr
    assert (file.is_symlink(), link.stat().st_mode & 0o777) == (True, 0o600)
    assert link.read_text() == "keep_alive: 1h\napi_key: hush 123\n"
    assert alone("config", "get", "api_key").stdout == "(set)\n"
    assert "hush" not in alone("config", "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "keepalive", "1m"], "did you mean keep_alive"),
        (["set", "keep_alive", "soon"], "keep_alive takes seconds"),
        (["set", "num_parallel", "abc"], "num_parallel takes auto or a whole number from 1 to 256, not 'abc'"),
        (["set", "num_parallel", "300"], "num_parallel takes auto or a whole number from 1 to 256"),
        (["set", "host", "1.2.3"], "host takes host:port, and '1.2.3' is no address"),
        (["set", "host", "11435"], "for a port alone :11435"),
        (["set", "per_model.demo.options.num_ctx", "much"], "num_ctx"),
        (["get"], "config get takes NAME"),
        (["get", "keep_alive", "1m"], "config get takes NAME"),
        (["reload", "keep_alive"], "config reload takes nothing more"),
        (["put", "keep_alive"], "config takes get, set"),
    ],
)
def test_what_cannot_be_leaves_the_file(alone: CommandLine, file: Path, arguments: list[str], said: str) -> None:
    assert said in alone("config", *arguments, check=2).stderr
    assert not file.exists()


def test_a_file_that_is_wrong_is_shown_as_far_as_it_goes_and_put_right(alone: CommandLine, file: Path) -> None:
    file.parent.mkdir()
    file.write_text("max_queue: 7\nkeep_alive: soon\nnonsense: 1\n")
    shown = alone("config", check=2)
    assert ["max_queue", "7", "file", str(file)] in [line.split() for line in shown.stdout.splitlines()]
    assert "keep_alive" in shown.stderr.splitlines()[-2] or "nonsense" in shown.stderr.splitlines()[-2]
    assert "the rest of the file can't be used" in alone("config", "set", "keep_alive", "5m").stderr
    assert "is taken out" in alone("config", "unset", "nonsense").stderr
    assert file.read_text() == "max_queue: 7\nkeep_alive: 5m\n"
    alone("config")
    file.write_text("max_queue: [\n")
    assert "edit it yourself" in alone("config", "set", "max_queue", "8", check=2).stderr
    assert file.read_text() == "max_queue: [\n"


def test_what_outweighs_the_file_is_said(alone: CommandLine) -> None:
    said = alone("config", "set", "keep_alive", "1h", RUNNER_KEEP_ALIVE="2h").stderr
    assert "RUNNER_KEEP_ALIVE in the environment outweighs it here" in said
    assert "without a key" in alone("config", "set", "host", "0.0.0.0:1", RUNNER_HOST="").stderr


def test_what_a_daemon_made_of_it(daemon: FakeDaemon, runner: CommandLine, tmp_path: Path) -> None:
    home = {"RUNNER_HOME": str(tmp_path)}
    daemon.refusals["/runner/config/reload"] = (200, {"now": [], "load": [], "start": []})

    def says(**row: Any) -> tuple[str, str]:
        refused = row.pop("refused", None)
        rows = [{"name": "keep_alive", "value": 1, "source": f"file {tmp_path}/config/config.yaml", "applies": "now"}]
        daemon.refusals["/runner/config"] = (200, {"runner": "x", "settings": [rows[0] | row], "refused": refused})
        done = runner("config", "set", "keep_alive", "1h", "--json", **home)
        return json.loads(done.stdout)["daemon"], done.stderr.strip()

    assert says() == ("now", "keep_alive: in force")
    assert says(applies="load")[0] == "load"
    assert says(waiting="x")[0] == "start"
    assert says(source="flag --keep-alive")[0] == "outweighed"
    by_service = tmp_path / "config" / "service.env"
    by_service.write_text('RUNNER_KEEP_ALIVE="2h"\n')
    assert f"; {by_service} has it: remove the line there" in says(source="environment RUNNER_KEEP_ALIVE")[1]
    assert "another file (/etc/x.yaml)" in says(source="file /etc/x.yaml")[1]
    assert says(refused="max_queue takes\x1b[2J less") == (
        "refused",
        "keep_alive: the daemon goes on with what it had: max_queue takes[2J less",
    )
    assert len(daemon.asked("/runner/config/reload")) == 7


def test_unset_names_what_is_left(alone: CommandLine, file: Path) -> None:
    alone("config", "set", "queue_timeout", "1m")
    alone("config", "set", "options.seed", "7")
    removed = alone("config", "unset", "queue_timeout", RUNNER_KEEP_ALIVE="1h").stdout
    assert removed == f"queue_timeout is removed from {file}, which leaves forever (default)\n"
    outweighed = alone("config", "unset", "keep_alive", RUNNER_KEEP_ALIVE="1h").stdout
    assert outweighed == f"keep_alive was not set in {file}, which leaves 1h (environment RUNNER_KEEP_ALIVE)\n"
    assert alone("config", "unset", "options.seed").stdout == f"options.seed is removed from {file}\n"


def test_what_0_means_is_said_to_people(alone: CommandLine) -> None:
    rows = {row.split()[0]: row for row in alone("config").stdout.splitlines()[1:] if row}
    assert "0 (what is free)" in rows["max_memory"]
    assert "0 (no limit)" in rows["download_rate"]
    assert alone("config", "get", "max_memory").stdout == "0\n"
    explained = {row.name for row in SETTINGS if re.search(r"\b0 (means|for|keeps) ", row.help)}
    assert explained == ZERO.keys()


def test_sizes_are_shown_as_they_are_written(alone: CommandLine) -> None:
    rows = {row["name"]: row["value"] for row in json.loads(alone("config", "--json").stdout)}
    assert {rows[name] for name in ("prefix_ram", "stored_responses_size", "max_body", "log_size")} == {
        "512MB", "64MB", "10MB",
    }  # fmt: skip
    for row in SETTINGS:
        if row.name not in ("api_key", "per_model"):
            again = alone("config", "get", row.name).stdout.strip() if rows[row.name] == "forever" else rows[row.name]
            assert row.read(again) == row.read(row.default) or row.name in ("host", "models", "autostart")
    assert alone("config", "get", "download_rate", RUNNER_DOWNLOAD_RATE="1000000").stdout == "1000000\n"
