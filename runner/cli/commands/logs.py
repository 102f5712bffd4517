"""`runner logs`: what the daemon and the processes that run models wrote, read from their files."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import output
from runner.cli.arguments import Host
from runner.cli.client import Client
from runner.cli.connect import is_local, usable_settings
from runner.cli.failures import Exit, Failure
from runner.cli.logs import lines as loglines
from runner.cli.logs.files import Log, wait
from runner.cli.logs.lines import LEVELS, Asked, Entry
from runner.cli.logs.models import named
from runner.config import Settings, parse_duration
from runner.log import daemon_file, early_file, folder, worker_file

EXAMPLES = """
runner logs
runner logs qwen3:0.6b -f
runner logs --request 3f2a81c0
runner logs --level warning --since 1h
"""
_LINES = 50
_LAST_WORDS = 10


def command(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="The log of its process, and the daemon's lines about it.")
    ] = None,
    request: Annotated[
        str, typer.Option("--request", metavar="ID", help="All lines of one request; the beginning of its id will do.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[
        str | None, typer.Option("--lines", "-n", metavar="COUNT", help=f"Last lines, or all. [default: {_LINES}]")
    ] = None,
    level: Annotated[
        str, typer.Option("--level", metavar="LEVEL", help="At least this serious: debug, info, warning, error.")
    ] = "debug",
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Not older than 10m, 2h, or a time of ISO 8601.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
    host: Host = None,
) -> None:
    """Show what was logged.

    Bare, the daemon's last lines; of a model, its process's own words too. The files are read where they lie, so no
    daemon has to run; it is not asked.
    """
    found, problem = usable_settings(host)
    if problem is not None:
        output.say(f"Warning: {output.on_one_line(problem)}")
    _check_here(found)
    most = _most(lines, everything=bool(request or since))
    asked = Asked(request.strip(), _level(level), _since(since))
    try:
        if model is not None:
            name = named(found, model)
            Reading(found, replace(asked, model=name), most, as_json, follow).of_model(name)
        else:
            Reading(found, asked, most, as_json, follow).of_daemon()
    except KeyboardInterrupt:
        output.after_interrupt()
        raise


Head = Callable[[], None]
"""Says whose line comes next."""


def _no_head() -> None:
    """Where all lines are the daemon's."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is shown, and how. `most` is how many lines of each file, None for all."""

    settings: Settings
    asked: Asked
    most: int | None
    as_json: bool
    follow: bool

    def of_daemon(self) -> None:
        """The daemon's lines. Raises Failure where there is no log, or nothing of a request."""
        state = self.settings.folders.state
        with Log(daemon_file(state)) as log:
            shown = self._last(log)
            if not self.as_json and not self.asked.request:
                _tell_last_words(early_file(state), log.path)
            if not shown and not self.follow:
                self._explain(log)
            while self.follow:
                wait()
                self._show(loglines.onwards(log.more()))

    def of_model(self, name: str) -> None:
        """The daemon's lines about a model, then what its process wrote, which has neither level nor request."""
        state = self.settings.folders.state
        with Log(daemon_file(state)) as about, Log(worker_file(folder(state), name)) as own:
            self._of_model(name, about, own)

    def _of_model(self, name: str, about: Log, own: Log) -> None:
        heads = _Heads(self.as_json)
        daemons, processes = f"the daemon about {name}", f"the process of {name}"
        shown = self._last(about, partial(heads.over, daemons))
        with_own = not self.asked.request and self.asked.level == "debug"
        if with_own and not self._is_old(own.path):
            lines = list(islice(own.last_first(), self.most))[::-1]
            if self.most == 0:
                own.begin_at_end()
            self._show_worker(lines, name, partial(heads.over, processes))
            shown += len(lines)
        if with_own and not own.exists:
            output.say(f"{name} has not been loaded yet: there is no log of its process")
        elif not shown and not self.follow:
            self._explain(about)
        while self.follow:
            wait()
            self._show(loglines.onwards(about.more()), partial(heads.over, daemons))
            if with_own:
                self._show_worker(own.more(), name, partial(heads.over, processes))

    def _last(self, log: Log, head: Head = _no_head) -> int:
        """Show the last entries, and say how many that were."""
        newest_first = loglines.backwards(log.last_first())
        recent = takewhile(lambda each: not self.asked.is_before(each), newest_first)
        entries = list(islice((each for each in recent if self.asked.wants(each)), self.most))
        if self.most == 0:
            log.begin_at_end()
        self._show(reversed(entries), head)
        return len(entries)

    def _show(self, entries: Iterable[Entry], head: Head = _no_head) -> None:
        styled = output.may_style(sys.stdout)
        for each in entries:
            if not self.asked.wants(each):
                continue
            head()
            if self.as_json:
                output.data(each.row(), indent=None)
            else:  # what came from elsewhere is escaped; the colours are ours
                sys.stdout.write(loglines.human(each, styled) + "\n")
        sys.stdout.flush()

    def _show_worker(self, lines: Iterable[str], name: str, head: Head) -> None:
        for line in lines:
            head()
            if self.as_json:
                output.data({"source": "worker", "model": name, "message": line}, indent=None)
            else:
                output.line(line)

    def _is_old(self, path: Path) -> bool:
        """A process's lines have no time of their own: they are as new as the last of them."""
        since = self.asked.since
        try:
            return since is not None and path.stat().st_mtime < since.timestamp()
        except OSError:
            return False

    def _explain(self, log: Log) -> None:
        """Why there is nothing to show. Raises Failure where that is no answer."""
        if not log.exists:
            if early_file(self.settings.folders.state).exists():
                return
            raise Failure(f"there is no log at {log.path}; {self._none()}")
        if self.asked.request:
            oldest = deque(loglines.backwards(log.last_first()), 1)
            begin = f", which begin {oldest[0].time:%Y-%m-%d %H:%M:%S}" if oldest and oldest[0].time else ""
            raise Failure(f"no request {self.asked.request} in the daemon's logs{begin}")
        output.say("nothing was logged that is asked for")

    def _none(self) -> str:
        """Why there may be no log."""
        if not self.settings.log_size:
            return "none is kept: log_size is 0"
        if Client(self.settings.host, None).is_listening():
            return f"what runs at {self.settings.host.url} is another user's, or has another RUNNER_HOME"
        return "the daemon begins it when it starts"


class _Heads:
    """Says whose lines follow, where that changes."""

    def __init__(self, is_silent: bool) -> None:
        self._is_silent = is_silent
        self._last = ""

    def over(self, words: str) -> None:
        if words != self._last and not self._is_silent:
            output.line(f"{chr(10) if self._last else ''}==> {words} <==")
        self._last = words


def _check_here(found: Settings) -> None:
    client = Client(found.host, found.api_key)
    if not is_local(client):
        raise Failure(f"the logs of the daemon at {found.host.url} lie on that machine: use `runner logs` there")


def _tell_last_words(early: Path, log: Path) -> None:
    """What a daemon in the background said beside its log, and after it: most likely why it ended."""
    try:
        if log.exists() and log.stat().st_mtime > early.stat().st_mtime:
            return
        with Log(early) as said:
            lines = list(islice(said.last_first(), _LAST_WORDS))[::-1]
    except OSError:
        return
    if any(lines):
        output.say(f"\nThe daemon said last, outside of its log ({early}):")
        for line in lines:
            output.say(f"  {output.printable(line)}")


def _most(given: str | None, everything: bool) -> int | None:
    if given is None:
        return None if everything else _LINES
    if given.strip().lower() == "all":
        return None
    try:
        number = int(given)
    except ValueError:
        number = -1
    if number < 0:
        raise Failure(f"--lines takes a count or all, not {given!r}", Exit.USAGE)
    return number


def _level(given: str) -> str:
    level = given.strip().lower()
    level = {"warn": "warning"}.get(level, level)
    if level not in LEVELS:
        raise Failure(f"--level takes one of {', '.join(LEVELS)}, not {given!r}", Exit.USAGE)
    return level


def _since(given: str | None) -> datetime | None:
    if given is None:
        return None
    now = datetime.now().astimezone()
    try:
        return now - timedelta(seconds=parse_duration(given.strip()))
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(given.strip())
    except ValueError:
        said = f"--since takes a span such as 10m, or a time such as {now:%Y-%m-%dT%H:%M:%S}, not {given!r}"
        raise Failure(said, Exit.USAGE) from None
    return moment if moment.tzinfo else moment.astimezone()
