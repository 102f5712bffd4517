"""An installation as the text of a unit: systemd's two kinds, launchd's property list, Windows' task. Pure."""

from __future__ import annotations

from pathlib import Path

from runner.service import fill
from runner.service.installation import Installation, is_in_a_home

LABEL = "runner.daemon"
"""What launchd calls it."""
TASK = "Runner"
"""What Windows' Task Scheduler calls it."""
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))


def systemd_user(of: Installation) -> str:
    """A unit for `systemctl --user`."""
    whole = (of.home,) if of.home is not None else ()
    beside = tuple(folder for folder in of.folders if not any(folder.is_relative_to(each) for each in whole))
    return fill.filled(
        "runner.service",
        {
            "command": fill.command_words(of.program),
            "environment": _environment(of),
            "environment_file": _file(of),
            "write_paths": _writable((*whole, *beside, *_TEMPORARY)),
        },
    )


def systemd_system(of: Installation) -> str:
    """A unit for `systemctl`."""
    account = [f"User={of.user}" if of.user else "DynamicUser=yes"]
    if of.groups:
        account.append(f"SupplementaryGroups={' '.join(of.groups)}")
    hidden = "read-only" if of.in_home or any(is_in_a_home(each) for each in of.folders) else "yes"
    return fill.filled(
        "runner-system.service",
        {
            "command": fill.command_words(of.program),
            "environment": _environment(of),
            "environment_file": _file(of),
            "account": "\n".join(account),
            "protect_home": hidden,
            "write_paths": _writable(of.folders),
        },
    )


def plist(of: Installation) -> str:
    """A property list for ~/Library/LaunchAgents."""
    told = sorted(of.environment.items())
    return fill.filled(
        "runner.plist",
        {
            "label": LABEL,
            "arguments": "\n".join(f"        <string>{fill.xml_text(word)}</string>" for word in _beginning(of)),
            "environment": "\n".join(
                f"        <key>{fill.xml_text(name)}</key>\n        <string>{fill.xml_text(value)}</string>"
                for name, value in told
            ),
            "log": fill.xml_text(str(of.log)),
        },
    )


def task(of: Installation, user: str, encoding: str = "UTF-16") -> str:
    """A task for `schtasks /Create /XML`, which takes UTF-16; `user` as Windows writes it, with the machine's name."""
    program, *words = _beginning(of)
    told = [f"--set={name}={value}" for name, value in sorted(of.environment.items())]
    begin = words.index("runner.service.begin") + 1
    return fill.filled(
        "runner-task.xml",
        {
            "encoding": encoding,
            "label": TASK,
            "user": fill.xml_text(user),
            "program": fill.xml_text(program),
            "arguments": fill.xml_text(_windows_line([*words[:begin], *told, *words[begin:]])),
        },
    )


def _beginning(of: Installation) -> tuple[str, ...]:
    """The argv where the supervisor reads no file of secrets itself."""
    given = of.program[of.program.index("-m") + 2 :]
    python = of.program[: of.program.index("-m")]
    return (*python, "-m", "runner.service.begin", f"--environment={of.environment_file}", *given)


def _environment(of: Installation) -> str:
    return "\n".join(
        f"Environment={fill.unit_word(f'{name}={value}')}" for name, value in sorted(of.environment.items())
    )


def _file(of: Installation) -> str:
    """EnvironmentFile= takes the rest of its line, unquoted."""
    text = str(of.environment_file)
    return text if text.startswith("%h/") else text.replace("%", "%%")


def _writable(paths: tuple[Path, ...]) -> str:
    """With `-`, so that a missing one is the daemon's to report in words, and not systemd's by a number."""
    return "\n".join(f"ReadWritePaths={_path(path)}" for path in dict.fromkeys(paths))


def _path(path: Path) -> str:
    text = str(path)
    return f"-{text}" if text == "%h" or text.startswith("%h/") else fill.unit_word(f"-{text}")


def _windows_line(words: list[str]) -> str:
    """As the C library of Windows takes a line apart again."""
    import subprocess

    return subprocess.list2cmdline(words)
