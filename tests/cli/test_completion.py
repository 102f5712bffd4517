"""Shell completion: in real shells that have no Python to start, with names that a stranger might have chosen."""

from __future__ import annotations

import os
import pty
import select
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from runner.cli import completion
from runner.cli.commands.generate import KINDS
from runner.cli.completion.grammar import GENERATED, KNOWN, grammar
from runner.cli.verbs import ALIASES, VERBS
from runner.cli.verbs import app as command_line
from tests.cli.command_line import TAKE_TERMINAL, CommandLine

ROOT = Path(__file__).parents[2]
COPIES = ROOT / "installer" / "completions"
# The last ones can't come from a store; whoever can write the file shall get nothing out of it either.
NAMES = "demo\nqwen3:0.6b\nqwen3:4b\nhf.co/org/repo:Q4_K_M\n$(echo>pwned)\n`echo>pwned`\nx;echo>pwned\n-rf\n'\n"
_PATIENCE = 30.0


def needs(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} isn't installed, so its completion can't be tried")
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """RUNNER_HOME with the daemon's file of names."""
    (tmp_path / "home" / "cache").mkdir(parents=True)
    (tmp_path / "home" / "cache" / "names").write_text(NAMES)
    return tmp_path / "home"


@pytest.fixture
def environment(tmp_path: Path, home: Path) -> Iterator[dict[str, str]]:
    """A PATH of nothing but Pythons and a `runner` that tell on whoever starts them."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("python", "python3", "python3.11", "runner"):
        (tools / name).write_text(f"#!/bin/sh\necho {name} >>'{tmp_path}/started'\n")
        (tools / name).chmod(0o755)
    user = tmp_path / "user"
    user.mkdir()
    yield {"PATH": str(tools), "HOME": str(user), "RUNNER_HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    assert not (tmp_path / "started").exists(), "a Tab started a program"
    assert not list(tmp_path.rglob("pwned")), "a name ran as a command"


# What is written.


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_installers_copies_are_what_is_generated(shell: str) -> None:
    copy = (COPIES / completion.FILES[shell]).read_text(encoding="utf-8")
    assert copy == completion.script(shell), "python -m runner.cli.completion installer/completions"


def test_generate_prints_a_script_and_refuses_other_shells(runner: CommandLine) -> None:
    assert runner("generate", "completion", "bash").stdout == completion.script("bash")
    refused = runner("generate", "completion", "tcsh", check=2)
    assert "bash, zsh, fish, powershell" in refused.stderr


def test_the_kinds_that_can_be_generated_are_offered_with_what_they_take() -> None:
    assert {kind: said for kind, (said, _) in GENERATED.items()} == {name: kind.said for name, kind in KINDS.items()}
    assert GENERATED["completion"][1].words == tuple(completion.SHELLS)
    (generate,) = (each for each in grammar().commands if each.name == "generate")
    assert [each.name for each in generate.commands] == list(KINDS)


def test_everything_of_the_verb_table_is_known() -> None:
    known = {command.path: command for command in grammar().all()}
    group = typer.main.get_command(command_line)
    for verb in (*VERBS, *ALIASES):
        spelled = {name for option in known[verb,].options for name in option.names}
        real = {
            name
            for each in group.commands[verb].params
            if each.param_type_name == "option" and not each.hidden
            for name in (*each.opts, *each.secondary_opts)
        }
        assert real <= spelled, verb


def test_what_is_listed_of_values_is_there() -> None:
    commands = [each for each in grammar().all() if each.path]
    options = {(each.path[0], name) for each in commands for option in each.options for name in option.names}
    arguments = {(each.path[0], argument.name) for each in commands for argument in each.arguments}
    assert KNOWN.keys() <= options | arguments


def test_the_bash_script_is_clean() -> None:
    found = subprocess.run(
        [needs("shellcheck"), COPIES / "runner.bash"], capture_output=True, text=True, check=False, timeout=60
    )
    assert found.returncode == 0, found.stdout


# Real shells.

QUESTIONS: tuple[tuple[str, set[str], set[str]], ...] = (
    ("runner p", {"pull", "push", "ps", "pin", "plan", "prune"}, {"run", "demo"}),
    ("runner --v", {"--version"}, {"--verbose"}),
    ("runner rm ", {"demo", "qwen3:0.6b", "qwen3:4b", "hf.co/org/repo:Q4_K_M"}, {"-rf", "'"}),
    ("runner stop demo q", {"qwen3:0.6b", "qwen3:4b"}, {"demo"}),
    ("runner run --format json --think d", {"demo"}, {"qwen3:4b"}),
    ("runner run -o temperature=0 d", {"demo"}, set()),
    ("runner run demo ", set(), {"demo"}),
    ("runner run demo --verb", {"--verbose"}, set()),
    ("runner push demo --format ", {"docker", "cncf", "both"}, {"demo"}),
    ("runner config rel", {"reload"}, set()),
    ("runner pull deepseek-r", {"deepseek-r1"}, {"demo"}),
    ("runner generate ", {"compose", "quadlet", "systemd", "kube", "completion"}, {"demo", "bash"}),
    ("runner generate completion ", {"bash", "zsh", "fish", "powershell"}, {"demo"}),
    ("runner generate --port 1 compose demo q", {"qwen3:0.6b"}, {"bash", "demo"}),
    ("runner create x --file Model", {"Modelfile"}, {"demo"}),
)


def offered_by_bash(line: str, environment: dict[str, str], folder: Path) -> set[str]:
    """What readline would be given, with the words as readline makes them."""
    driver = (
        f"source '{COPIES / 'runner.bash'}'\n"
        "complete -p runner >/dev/null || exit 9\n"
        'COMP_LINE=$1 COMP_POINT=${#1}; read -r -a COMP_WORDS <<<"${1//=/ = }"\n'
        '[[ $1 == *" " ]] && COMP_WORDS+=("")\n'
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _runner\n"
        "printf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    asked = subprocess.run(
        [needs("bash"), "--norc", "-c", driver, "bash", line],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    return set(asked.stdout.splitlines())


def offered_by_fish(line: str, environment: dict[str, str], folder: Path) -> set[str]:
    asked = subprocess.run(
        [needs("fish"), "--no-config", "-c", f"source '{COPIES / 'runner.fish'}'; complete -C $argv[1]", line],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    return {each.split("\t")[0] for each in asked.stdout.splitlines()}


@pytest.mark.parametrize("ask", [offered_by_bash, offered_by_fish], ids=["bash", "fish"])
def test_offers_what_fits(
    ask: Callable[[str, dict[str, str], Path], set[str]], environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "Modelfile").write_text("FROM demo\n")
    for line, wanted, unwanted in QUESTIONS:
        offered = ask(line, environment, tmp_path)
        assert wanted <= offered, line
        assert not unwanted & offered, line


@pytest.mark.parametrize("ask", [offered_by_bash, offered_by_fish], ids=["bash", "fish"])
def test_without_a_file_there_are_no_names_and_no_error(
    ask: Callable[[str, dict[str, str], Path], set[str]], environment: dict[str, str], tmp_path: Path, home: Path
) -> None:
    (home / "cache" / "names").unlink()
    assert ask("runner rm ", environment, tmp_path) <= {""}
    del environment["RUNNER_HOME"]
    assert ask("runner rm ", environment, tmp_path) <= {""}
    (tmp_path / "xdg" / "runner").mkdir(parents=True)
    (tmp_path / "xdg" / "runner" / "names").write_text("mine\n")
    assert ask("runner rm ", environment | {"XDG_CACHE_HOME": str(tmp_path / "xdg")}, tmp_path) == {"mine"}


class Shell:
    """An interactive shell on a terminal. A function named `runner` shows the arguments that were completed."""

    def __init__(self, argv: list[str], environment: dict[str, str], folder: Path) -> None:
        ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", TAKE_TERMINAL, *argv],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        os.close(theirs)
        self._terminal = ours
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def expect(self, text: str) -> str:
        """Read until this came; gives all that came until then."""
        deadline = time.monotonic() + _PATIENCE
        while text not in self._seen:
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} never came: {self._seen!r}"
            self._seen += os.read(self._terminal, 65536).decode("utf-8", "replace")
        before, _, self._seen = self._seen.partition(text)
        return before + text

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


SHOW = {"bash": "printf '<%s>' \"$@\"", "zsh": "printf '<%s>' \"$@\""}
SETTINGS = {
    "bash": f"source '{COPIES / 'runner.bash'}'; runner() {{ {SHOW['bash']}; echo; }}; PS1=; echo rea''dy\r",
    "zsh": f"PS1=; unsetopt zle_bracketed_paste; fpath=('{COPIES}' $fpath); autoload -Uz compinit; compinit -u -D; "
    f"runner() {{ {SHOW['zsh']}; echo }}; echo rea''dy\r",
    "fish": f"source '{COPIES / 'runner.fish'}'; function runner; printf '<%s>' $argv; echo; end; "
    "function fish_prompt; end; echo rea''dy\r",
}
START = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}


@pytest.mark.parametrize("shell", START)
def test_a_tab_completes_in_a_terminal(shell: str, environment: dict[str, str], tmp_path: Path) -> None:
    """The keys that a person presses, up to what the command gets."""
    running = Shell([needs(shell), *START[shell]], environment, tmp_path)
    try:
        running.type(SETTINGS[shell])
        running.expect("ready")
        for typed, given in (
            ("runner verif\t\r", "<verify>"),
            ("runner rm qwen3:0\t\r", "<rm><qwen3:0.6b>"),
            ("runner show hf\t\r", "<show><hf.co/org/repo:Q4_K_M>"),
            ("runner run --think=hi\t demo\r", "<run><--think=high><demo>"),
            ("runner run de\t --hideth\t\r", None),
        ):
            running.type(typed)
            running.expect(given or "<--hidethinking>")
    finally:
        running.close()


@pytest.mark.parametrize("shell", START)
def test_a_tab_completes_files_below_a_home(shell: str, environment: dict[str, str], tmp_path: Path) -> None:
    user = tmp_path / "o'neil & co"
    (user / "folder").mkdir(parents=True)
    for name in (".zfile", "two words", "50% [x]*"):
        (user / name).write_text("")
    environment |= {"HOME": str(user), "XDG_CONFIG_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    running = Shell([needs(shell), *START[shell]], environment, tmp_path)
    try:
        running.type(SETTINGS[shell])
        running.expect("ready")
        for typed, given in (
            ("runner create x --file ~/.zf\t\r", f"<create><x><--file><{user}/.zfile>"),
            ("runner run ~/.zf\t\r", f"<run><{user}/.zfile>"),
            ("runner run ~/two\\ w\t\r", f"<run><{user}/two words>"),
            ("runner run ~/50\t\r", f"<run><{user}/50% [x]*>"),
            ("runner run ~/fol\t\t.zno\r", f"<run><{user}/folder/.zno>"),
        ):
            running.type(typed)
            running.expect(given)
    finally:
        running.close()


def test_zsh_lists_what_fits(environment: dict[str, str], tmp_path: Path) -> None:
    running = Shell([needs("zsh"), *START["zsh"]], environment, tmp_path)
    try:
        running.type(SETTINGS["zsh"])
        running.expect("ready")
        running.type("runner rm \t")
        shown = running.expect("qwen3:4b")
        assert "hf.co/org/repo:Q4_K_M" in shown
        assert "demo" in shown
        running.type("\x15runner p\t")
        running.expect("pull")
        running.expect("Bring a model into the store")
    finally:
        running.close()


# The file of names.


def test_the_daemon_keeps_the_names(tmp_path: Path) -> None:
    from tests.benchmarks.daemon import Daemon

    path = tmp_path / "home" / "cache" / "names"

    def expect(content: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not path.exists() or path.read_text() != content:
            assert time.monotonic() < deadline, path.exists() and path.read_text()
            time.sleep(0.02)

    with Daemon(tmp_path / "home") as daemon:
        line = CommandLine(f"127.0.0.1:{daemon.port}", tmp_path)
        expect("demo\n")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        line("cp", "demo", "second:q4")
        expect("demo\nsecond:q4\n")
        line("rm", "second:q4")
        expect("demo\n")
        path.unlink()
    with Daemon(tmp_path / "home"):
        expect("demo\n")
    assert [each.name for each in path.parent.glob("names*")] == ["names"]
