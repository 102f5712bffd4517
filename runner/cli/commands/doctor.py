"""`runner doctor`: is everything as it should be, and what to do where it isn't."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator

from runner import __version__
from runner.cli import output, wording
from runner.cli.arguments import AsJson, Host
from runner.cli.client import Client
from runner.cli.doctor.checks import with_daemon, without_daemon
from runner.cli.doctor.installation import of_installation
from runner.cli.doctor.shell import of_shell
from runner.cli.failures import Exit, Failure
from runner.config import ConfigError, Settings, load_usable
from runner.protocol.checkup import Finding

EXAMPLES = """
runner doctor
runner doctor --json
"""
_COLOURS = {"ok": "32", "warn": "33", "fail": "31"}
_STEP = "what to do: "
_CORRECT = "correct it; docs/configuration.md has all settings"


def command(as_json: AsJson = False, host: Host = None) -> None:
    """Look whether all is well, and say what to do where not.

    The daemon is asked if one runs, and none is started. Exit code 1 if a check fails; warnings are no failures.
    """
    found: list[Finding] = []
    for finding in _findings(host):
        found.append(finding)  # each is told as it is found: some take seconds
        if not as_json:
            _tell(finding)
    failed = [finding for finding in found if finding.state == "fail"]
    if as_json:
        rows = [{"check": f.check, "state": f.state, "said": f.said, "advice": f.advice} for f in found]
        output.data({"runner": __version__, "ok": not failed, "findings": rows})
    elif not failed:
        warned = sum(finding.state == "warn" for finding in found)
        output.say(f"\n{wording.counted(warned, 'warning')}, nothing failed" if warned else "\nall is well")
    if failed:
        raise Failure(f"{wording.counted(len(failed), 'check')} failed", Exit.FAILED)


def _findings(host: str | None) -> Iterator[Finding]:
    try:
        settings, problem = load_usable({"host": host})
    except ConfigError as error:
        yield Finding("settings", "fail", str(error), _CORRECT)
        yield from of_installation()
        return
    yield from _of_runner(settings, problem)
    yield from of_installation()
    yield from of_shell(Client(settings.host, None).address)
    from runner.cli.doctor.assistants import of_assistants  # here: what is behind it takes its time to import

    yield from of_assistants(settings)


def _of_runner(settings: Settings, problem: str | None) -> Iterator[Finding]:
    if problem is not None:  # a daemon that runs goes on with what it had, and is looked at
        yield Finding("settings", "fail", problem, _CORRECT)
    client = Client(settings.host, settings.api_key)
    told = with_daemon(client)
    if told is not None:
        yield from (each for each in told if problem is None or problem not in each.said)
        return
    if problem is None:
        yield Finding("settings", "ok", "nothing is wrong with them")
    yield from without_daemon(settings)


def _tell(finding: Finding) -> None:
    _hang(f"{finding.state:<4}  {finding.check:<9}  ", output.on_one_line(finding.said), _COLOURS[finding.state])
    if finding.advice and finding.state != "ok":
        _hang(" " * 17 + _STEP, output.on_one_line(finding.advice))


def _hang(head: str, text: str, colour: str = "") -> None:
    """Text that goes on below itself where a terminal is narrow; a pipe gets one line. Paths stay whole."""
    width = shutil.get_terminal_size().columns - len(head) if sys.stdout.isatty() else len(text)
    rows = textwrap.wrap(text, max(20, width), break_long_words=False, break_on_hyphens=False) or [""]
    for number, row in enumerate(rows):
        if number or not colour or not output.may_style(sys.stdout):
            output.line((" " * len(head) if number else head) + row)
        else:  # the row has no control characters left; the colour is ours
            print(f"\x1b[{colour}m{head[:4]}\x1b[0m{head[4:]}{output.printable(row)}", flush=True)
