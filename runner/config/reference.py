"""docs/settings.md, made from the table of settings: `python -m runner.config.reference > docs/settings.md`."""

from __future__ import annotations

import sys

from runner.config.table import SETTINGS, Setting

_HEAD = """\
# Every setting

Each is a flag of `runner serve`, a variable in the environment, or a key of `config.yaml`, in this order of weight;
[settings](configuration.md) tells how they are changed. `runner config` shows every value that is in force and where it
comes from. This page is generated from the table that the code goes by
(`python -m runner.config.reference > docs/settings.md`), and a test holds it to that.

The flag of a setting has dashes (`--keep-alive`), its variable is in capitals (`RUNNER_KEEP_ALIVE`), its key in
`config.yaml` is as here.
"""
_TAIL = """\
A duration is a number of seconds or `300ms`, `30s`, `5m`, `1h30m`; a size a number of bytes or `512MB`, `4GB`, `2GiB`.
Lists are separated by commas in flags and in the environment; in `config.yaml` they may be written as lists.

`RUNNER_HOME` is no setting but the one folder under which everything is put (`data`, `state`, `cache`, `config`, `run`)
instead of the places that the system has for these.
"""
_COUNTS = {
    "now": "at once",
    "load": "when a model is loaded: from the next request on",
    "start": "when the daemon starts",
}


def page() -> str:
    """The whole page."""
    lines = ["| setting | default | what it is | a change counts |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(_row(each))} |" for each in SETTINGS]
    return "\n".join((_HEAD, *lines, "", _TAIL))


def _row(setting: Setting) -> tuple[str, ...]:
    default = str(setting.default).lower() if isinstance(setting.default, bool) else str(setting.default)
    words = setting.help.replace("*", r"\*").replace("|", r"\|")
    return f"`{setting.name}`", f"`{default}`" if default else "", words, _COUNTS[setting.applies]


if __name__ == "__main__":
    sys.stdout.write(page())
