"""`runner config`: every setting, its value, and where the value comes from; and setting them in the file."""

from __future__ import annotations

import sys
from contextlib import suppress
from getpass import getpass
from typing import Annotated, Any

import typer

from runner.cli import output
from runner.cli.arguments import AsJson, Host
from runner.cli.client import Client
from runner.cli.connect import daemon, usable_settings
from runner.cli.failures import Exit, Failure
from runner.cli.settings import card as settingcard
from runner.cli.settings import file as settingsfile
from runner.cli.settings.file import WHEN, Outcome
from runner.config import SETTINGS, ConfigError, Settings, config_file
from runner.config.naming import Named, named

EXAMPLES = """
runner config
runner config get keep_alive
runner config set keep_alive 30m
runner config set per_model.qwen3:0.6b.options.num_ctx 32768
runner config unset keep_alive
runner config reload
"""
_ASK = 5.0  # seconds


def command(
    action: Annotated[
        str | None,
        typer.Argument(metavar="[get|set|unset|reload]", help="Reload has the daemon read config.yaml again now."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A setting; with dots an entry of options, aliases or per_model."),
    ] = None,
    value: Annotated[
        str | None,
        typer.Argument(
            metavar="[VALUE]", help="What to set it to; without it, standard input is read. A key is asked for."
        ),
    ] = None,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Show the settings, or change them in config.yaml.

    Bare, every one with its value and where that comes from. A setting is given as a flag of `runner serve`, as
    RUNNER_<NAME> in the environment, or in config.yaml, in this order of weight. What `set` and `unset` write is
    checked first, and all else in the file stays as it stands. The daemon sees a change of config.yaml by itself,
    within a few seconds.
    """
    takes = {None: 0, "reload": 0, "get": 1, "unset": 1, "set": 2}
    if action not in takes:
        raise Failure(f"config takes get, set, unset, reload or nothing, not {action!r}", Exit.USAGE)
    given = [each for each in (name, value) if each is not None]
    if len(given) > takes[action] or (takes[action] and name is None):
        words = {0: "nothing more", 1: "NAME", 2: "NAME VALUE"}[takes[action]]
        raise Failure(f"config {action} takes {words}", Exit.USAGE)
    if action is None:
        _show(as_json, host)
    elif action == "reload":
        _reload(as_json, host)
    elif action == "get":
        _get(str(name), as_json, host)
    elif action == "set":
        _set(str(name), value, as_json, host)
    else:
        _unset(str(name), as_json, host)


def _show(as_json: bool, host: str | None) -> None:
    found, problem = usable_settings(host)
    values: dict[str, Any] = {row.name: settingcard.shown(row.name, getattr(found, row.name)) for row in SETTINGS}
    if as_json:
        output.data([{"name": name, "value": value, "source": found.sources[name]} for name, value in values.items()])
    else:
        rows = ((name, settingcard.told(name, value), found.sources[name]) for name, value in values.items())
        if sys.stdout.isatty():
            output.write(settingcard.rows(("NAME", "VALUE", "FROM"), rows, output.columns(sys.stdout)))
        else:
            output.table(("NAME", "VALUE", "FROM"), rows)
        file = config_file(found.folders)
        output.say(f"\nSettings file: {file}{'' if file.exists() else ' (not there)'}")
        _tell_what_waits(found)
    if problem is not None:
        detail = "  what of the file can be used is shown above; a daemon that runs goes on with what it had"
        raise Failure(problem, Exit.USAGE, detail)


def _get(name: str, as_json: bool, host: str | None) -> None:
    meant = _named(name)
    found, problem = usable_settings(host)
    if problem is not None:
        output.say(f"Warning: {output.on_one_line(problem)}")
    value = _value(meant, found)
    if value is None:
        raise Failure(f"{meant} is not set")
    if as_json:
        output.data({"name": str(meant), "value": value, "source": found.sources[meant.row.name]})
    else:
        output.line(settingcard.cell(value))


def _set(name: str, value: str | None, as_json: bool, host: str | None) -> None:
    meant = _named(name)
    if value is None:
        value = _asked(meant) if sys.stdin.isatty() else sys.stdin.read().strip()
    done = settingsfile.set_value(usable_settings(host)[0], meant, value)
    file = config_file(done.found.folders)
    _tell(meant, done, f"{meant} is set in {file}{'' if done.changed else ', as before'}", as_json)


def _asked(meant: Named) -> str:
    """A secret as it is typed, unseen. All else can stand on the command line. Raises Failure."""
    if meant.row.name != settingcard.SECRET:
        raise Failure("config set takes NAME VALUE", Exit.USAGE)
    try:
        value = getpass(f"{meant}: ").strip()
    except EOFError:
        value = ""
    if not value:
        raise Failure(f"no {meant} was given; nothing is changed", Exit.USAGE)
    return value


def _unset(name: str, as_json: bool, host: str | None) -> None:
    before = usable_settings(host)[0]
    try:
        meant = named(name)
    except ConfigError as error:
        if not settingsfile.drop_stranger(before, name):
            raise Failure(str(error), Exit.USAGE) from None
        output.say(f"{name}, which is no setting, is taken out of {config_file(before.folders)}")
        return
    done = settingsfile.unset(before, meant)
    file = config_file(done.found.folders)
    words = f"{meant} is removed from {file}" if done.changed else f"{meant} was not set in {file}"
    value = _value(meant, done.found)
    if value is not None:
        value = value if meant.inside else settingcard.shown(meant.row.name, meant.of(done.found))
        words += f", which leaves {settingcard.cell(value) or 'it empty'} ({done.found.sources[meant.row.name]})"
    _tell(meant, done, words, as_json)


def _tell(meant: Named, done: Outcome, words: str, as_json: bool) -> None:
    file, value = config_file(done.found.folders), _value(meant, done.found)
    if as_json:
        row = {"name": str(meant), "value": value, "source": done.found.sources[meant.row.name], "file": str(file)}
        output.data({**row, "changed": done.changed, "daemon": done.taken})
    else:
        output.line(words)
    for each in done.words:
        output.say(f"{meant}: {each}")


def _value(meant: Named, found: Settings) -> Any:
    """As it would be written in the file; None for an entry that isn't there."""
    value = meant.of(found)
    if value == float("inf"):
        return "-1"  # as it can be written; "forever" is for the eye
    if not meant.inside:
        return settingcard.shown(meant.row.name, value)
    return None if value is None else settingcard.part(value, meant.inside[-1])


def _named(name: str) -> Named:
    try:
        return named(name)
    except ConfigError as error:
        raise Failure(str(error), Exit.USAGE) from None


def _reload(as_json: bool, host: str | None) -> None:
    change = daemon(host, autostart=False, warns=False).post("/runner/config/reload", {})
    if as_json:
        output.data(change)
        return
    for key, words in WHEN.items():
        if names := change.get(key):
            output.line(f"{', '.join(map(str, names))}: {words}")
    if not any(change.get(key) for key in WHEN):
        output.line("nothing has changed")


def _tell_what_waits(found: Settings) -> None:
    """What a daemon that runs says of settings that it hasn't taken over."""
    with suppress(Failure):  # there may be none, or an older one
        said = Client(found.host, found.api_key).get("/runner/config", timeout=_ASK)
        if said.get("refused"):
            output.say(f"The daemon goes on with what it had: {said['refused']}")
        waiting = [str(row.get("name")) for row in said.get("settings", []) if row.get("waiting") is not None]
        if waiting:
            output.say(f"{', '.join(waiting)}: {WHEN['start']}")
