"""What `runner doctor` says of its installation and of the shell it is typed in."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli.doctor.checks import holder_of
from runner.cli.doctor.installation import _on_path, _packages, fits
from runner.cli.doctor.shell import clients, proxies
from runner.config import parse_address
from tests.cli.command_line import CommandLine

OURS = parse_address("127.0.0.1:11435")


@pytest.mark.parametrize(
    ("variable", "value", "state", "word"),
    [
        ("OLLAMA_HOST", "http://localhost:11435/", "ok", "to Runner"),
        ("OLLAMA_HOST", "0.0.0.0:11435", "ok", "to Runner"),
        ("OLLAMA_HOST", "127.0.0.1", "warn", "127.0.0.1:11434"),
        ("OLLAMA_HOST", "https://host", "warn", "host:443"),
        ("OLLAMA_HOST", ":11435", "ok", "to Runner"),
        ("OLLAMA_HOST", "http://a:b:c", "warn", "no address"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:11435/v1/", "ok", "to Runner"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:11435", "warn", "find nothing"),
        ("OPENAI_API_BASE", "https://name:hush@api.openai.com/v1", "warn", "https://api.openai.com:443/v1, not"),
        ("ANTHROPIC_BASE_URL", "http://[::1]:11435", "ok", "to Runner"),
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:11435/v1", "warn", "find nothing"),
    ],
)
def test_where_variables_send_clients(variable: str, value: str, state: str, word: str) -> None:
    (found,) = clients(OURS, {variable: value})
    assert found.state == state
    assert word in found.said
    assert "hush" not in found.said + found.advice
    assert (f"export {variable}=http://127.0.0.1:11435" in found.advice) == (state == "warn")


@pytest.mark.parametrize(
    ("environ", "warns"),
    [
        ({}, False),
        ({"HTTP_PROXY": "http://u:hush@proxy:3128"}, True),
        ({"all_proxy": "proxy:3128", "NO_PROXY": "example.com"}, True),
        ({"HTTP_PROXY": "http://proxy", "NO_PROXY": "localhost,127.0.0.1"}, False),
        ({"http_proxy": "http://proxy", "no_proxy": "*"}, False),
        ({"HTTPS_PROXY": "http://proxy"}, False),
    ],
)
def test_a_proxy_in_the_way(environ: dict[str, str], warns: bool) -> None:
    found = list(proxies(OURS, environ))
    assert bool(found) == warns
    if found:
        assert "hush" not in found[0].said
        assert "127.0.0.1" in found[0].advice
    assert not list(proxies(parse_address("10.0.0.5"), environ))


@pytest.mark.parametrize(
    ("version", "limits", "is_so"),
    [
        ("3.14.5", ">=3.14.5,<4", True),
        ("3.14.4", ">=3.14.5,<4", False),
        ("4.0", ">=3.14.5,<4", False),
        ("0.3.36", "==0.3.36", True),
        ("0.3.36.post1", "==0.3.37", False),
        ("2.0.0rc1", ">=2,<3", True),
        ("1.4.9", "~=1.4.2", True),
        ("1.5", "~=1.4.2", False),
        ("1", "", True),
    ],
)
def test_versions_by_their_numbers(version: str, limits: str, is_so: bool) -> None:
    assert fits(version, limits) == is_so


def test_packages_that_are_missing_or_others() -> None:
    (fine,) = _packages(["psutil>=1", 'nothing>=1; python_version < "3"', 'other>=1; extra == "dev"'])
    assert (fine.state, "all 1" in fine.said) == ("ok", True)
    (old,) = _packages(["psutil>=1", "pytest<2"])
    assert (old.state, "pytest is" in old.said) == ("warn", True)
    (missing,) = _packages(["no-such-thing>=1"])
    assert (missing.state, "not there" in missing.said) == ("fail", True)


def test_which_runner_the_shell_finds(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("ours", "theirs", "link")]
    for folder in folders:
        folder.mkdir()
    ours, theirs, link = (folder / "runner" for folder in folders)
    for each in (ours, theirs):
        each.write_text("#!/bin/sh\n")
        each.chmod(0o755)
    link.symlink_to(ours)
    paths = [str(folder) for folder in folders]

    def said(*order: int) -> tuple[str, str]:
        found = _on_path(":".join(paths[number] for number in order), folders[0])
        return found.state, found.said

    assert said(0) == ("ok", f"the shell uses {ours}")
    assert said(2, 0)[0] == "ok"
    assert said(0, 1) == ("warn", f"the shell uses {ours}; there is another: {theirs}")
    assert said(1, 0) == ("warn", f"the shell's `runner` is {theirs}, and this one is {ours}")
    assert said() == ("warn", "the shell finds no `runner` on PATH")


@pytest.mark.skipif(sys.platform == "win32", reason="its launcher is another, and its scripts end in .exe")
def test_the_installers_launcher_is_the_runner_that_it_starts(tmp_path: Path) -> None:
    app, bin_ = tmp_path / "an app", tmp_path / "bin"
    ours, launcher = app / "current" / "bin", bin_ / "runner"
    for version in ("1", "2"):
        (app / "versions" / version / "bin").mkdir(parents=True)
        (app / "versions" / version / "bin" / "runner").write_text("#!/bin/sh\n")
        (app / "versions" / version / "bin" / "runner").chmod(0o755)
    (app / "current").symlink_to("versions/1")
    bin_.mkdir()
    # The lines of install.sh itself, so that this hears of it when they change.
    folder = Path(__file__).parents[2] / "installer"
    script = (folder / "install.sh").read_text()
    lines = script[script.index("        echo '#!/bin/sh'") : script.index('    } >"$app/launcher.part"')]
    making = ["sh", "-c", f". '{folder}/shells.sh'\napp=$1\n{lines}", "sh", str(app)]
    made = subprocess.run(making, capture_output=True, check=True)
    launcher.write_bytes(made.stdout)
    launcher.chmod(0o755)
    assert (_on_path(str(bin_), ours).state, _on_path(str(bin_), ours).said) == ("ok", f"the shell uses {launcher}")
    assert _on_path(f"{bin_}:{ours}", ours).state == "ok"
    said = _on_path(str(bin_), app / "versions" / "2" / "bin").said
    assert said == f"the shell's `runner` is {launcher}, and this one is {app}/versions/2/bin/runner"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell the owner of a port to administrators only")
def test_who_has_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "process" in holder_of(server.getsockname()[1])
    assert holder_of(1) == ""


def test_the_whole_of_it(runner: CommandLine, tmp_path: Path) -> None:
    home = {"RUNNER_HOME": str(tmp_path), "RUNNER_HOST": "127.0.0.1:1", "http_proxy": "http://proxy", "no_proxy": ""}
    home |= {"NO_PROXY": ""}
    said = json.loads(runner("doctor", "--json", **home).stdout)
    found = {each["check"]: each for each in said["findings"]}
    assert {"python", "packages", "path", "build", "engine", "proxies"} <= set(found)
    assert found["packages"]["state"] == "ok", found["packages"]
    assert "llama-cpp-python" in found["build"]["said"]
    assert all(each["advice"] for each in said["findings"] if each["state"] != "ok")
    with runner.terminal("doctor", **home) as terminal:
        assert terminal.ends() == 0
    assert "\x1b[32mok\x1b[0m" in terminal.raw or "\x1b[32mok  \x1b[0m" in terminal.raw
    assert "nothing failed" in terminal.shown
