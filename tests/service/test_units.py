"""Units as text: each format's own reader takes them, odd paths stay whole, and no key is in them."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from runner.config import load
from runner.service import fill, render, units
from runner.service.installation import Installation, hidden_part, of_machine, of_user, program

ROOT = Path(__file__).parents[2]
ODD = 'a "b" 50% $HOME \\n é'
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed: its own reader can't be asked"
)


def made(home: Path, **environ: str) -> Installation:
    told = {"RUNNER_HOME": str(home / "runner"), "RUNNER_API_KEY": "sesame"} | environ
    return of_user(load(environ=told), told, home)


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def verified(path: Path, runtime: Path, *flags: str) -> str:
    """What systemd's own reader has against a unit."""
    environ = os.environ | {"XDG_RUNTIME_DIR": str(runtime), "HOME": str(runtime), "SYSTEMD_LOG_TARGET": "console"}
    done = subprocess.run(
        ["systemd-analyze", *flags, "verify", "--man=no", str(path)],
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stderr + (f"status {done.returncode}" if done.returncode else "")


def test_what_is_under_installer_comes_from_the_templates() -> None:
    stale = [name for name, text in render.files().items() if (ROOT / "installer" / name).read_text("utf-8") != text]
    assert not stale, "run `python -m runner.service.render`"


@pytest.mark.parametrize("name", ["plain", ODD])
@needs_systemd
def test_systemd_takes_the_unit_of_a_user(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    unit = tmp_path / "runner.service"
    of = made(home, RUNNER_MODELS=str(tmp_path / "store"))
    for each in (of, replace(of, program=program(("hf.co/org/repo:Q4_K_M",)))):
        unit.write_text(units.systemd_user(each))
        assert verified(unit, tmp_path, "--user") == ""


@needs_systemd
def test_systemd_takes_the_unit_of_the_machine(tmp_path: Path) -> None:
    unit = tmp_path / "runner.service"
    unit.write_text(units.systemd_system(of_machine(tmp_path / "store", "root", ("root",))))
    assert verified(unit, tmp_path) == ""


@needs_systemd
def test_systemd_takes_what_packagers_get(tmp_path: Path) -> None:
    command = tmp_path / ".local" / "bin" / "runner"
    command.parent.mkdir(parents=True)
    command.symlink_to("/bin/true")
    assert verified(ROOT / "installer" / "runner.service", tmp_path, "--user") == ""


@needs_systemd
def test_systemd_would_say_what_is_wrong(tmp_path: Path) -> None:
    unit = tmp_path / "runner.service"
    unit.write_text(units.systemd_user(made(tmp_path)).replace("KillMode=", "KillMood="))
    assert "KillMood" in verified(unit, tmp_path, "--user")


@needs_systemd
@pytest.mark.parametrize(("name", "most"), [("runner.service", 6.2), ("runner-system.service", 2.5)])
def test_the_hardening_does_not_get_weaker(name: str, most: float) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={int(most * 10)}", ROOT / "installer" / name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "Unknown" in done.stderr or "unrecognized" in done.stderr:
        pytest.skip("this systemd can't judge a unit that isn't loaded")
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


def test_no_unit_holds_the_key(tmp_path: Path) -> None:
    of = made(tmp_path)
    for text in (units.systemd_user(of), units.systemd_system(of), units.plist(of), units.task(of, "me")):
        assert "sesame" not in text
        assert str(of.environment_file) in text


def test_the_home_is_one_mount_while_files_are_shared_with_other_tools(tmp_path: Path) -> None:
    text = units.systemd_user(made(tmp_path, RUNNER_MODELS="/srv/models"))
    assert values(text, "ReadWritePaths") == [f"-{tmp_path}", "-/srv/models", "-/tmp", "-/var/tmp"]


def test_without_sharing_the_home_is_read_only(tmp_path: Path) -> None:
    paths = values(units.systemd_user(made(tmp_path, RUNNER_ADOPT_FROM="none")), "ReadWritePaths")
    assert f"-{tmp_path}" not in paths
    assert f"-{tmp_path}/runner/data" in paths
    assert f"-{tmp_path}/runner/data/models" in paths


def test_odd_characters_stay_what_they_are() -> None:
    assert fill.unit_word("50%") == "50%%"
    assert fill.unit_word('a "b"') == '"a \\"b\\""'
    assert fill.command_words(("/opt/a b", "$HOME")) == '"/opt/a b" $$HOME'
    with pytest.raises(ValueError, match="several lines"):
        fill.unit_word("a\nExecStart=/bin/sh")


def test_a_template_takes_all_that_it_has_places_for_and_no_more() -> None:
    with pytest.raises(KeyError):
        fill.filled("runner.plist", {})
    with pytest.raises(ValueError, match="no place for nothing"):
        fill.filled("runner.plist", {"nothing": ""})


def test_the_property_list_is_one(tmp_path: Path) -> None:
    of = made(tmp_path / ODD / "<&>")
    read = plistlib.loads(units.plist(of).encode())
    assert read["Label"] == units.LABEL
    python, *words = read["ProgramArguments"]
    assert python == sys.executable
    assert words == ["-m", "runner.service.begin", f"--environment={of.environment_file}"]
    assert read["EnvironmentVariables"]["RUNNER_HOME"] == str(tmp_path / ODD / "<&>" / "runner")
    assert read["KeepAlive"] == {"SuccessfulExit": False}
    assert read["Umask"] == 0o077


def test_the_task_is_one(tmp_path: Path) -> None:
    of = made(tmp_path / "a b & c")
    root = ElementTree.fromstring(units.task(of, "PC\\me & you").encode("utf-16"))
    space = {"t": "http://schemas.microsoft.com/windows/2004/02/mit/task"}
    assert [child.tag.partition("}")[2] for child in root] == [
        "RegistrationInfo", "Triggers", "Principals", "Settings", "Actions",
    ]  # fmt: skip
    assert {each.text for each in root.iterfind(".//t:UserId", space)} == {"PC\\me & you"}
    assert root.findtext(".//t:Command", None, space) == sys.executable
    arguments = root.findtext(".//t:Arguments", "", space)
    assert arguments.startswith("-m runner.service.begin --set=")
    assert f'"--environment={of.environment_file}"' in arguments
    assert f'"--set=RUNNER_HOME={tmp_path}/a b & c/runner"' in arguments
    assert root.findtext(".//t:ExecutionTimeLimit", None, space) == "PT0S"


def test_a_folder_that_only_its_owner_may_enter_is_found(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "venv").mkdir(parents=True)
    closed.chmod(0o700)
    found = hidden_part(closed / "venv")
    assert found is not None
    assert found == closed or found in closed.parents
    assert hidden_part(Path("/usr/bin")) is None
