"""Reading the settings: flag > `RUNNER_*` environment > `config.yaml` > default. Reading has no side effects."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from runner.config.table import BY_NAME, SETTINGS, Folders, Settings

if TYPE_CHECKING:
    import yaml

_Excuse = Callable[[str], None]
"""Told what can't be used of the file; it may raise."""


class ConfigError(ValueError):
    """A setting cannot be used. The text names the setting, where it came from and what it takes."""


def folders(environ: Mapping[str, str] = os.environ) -> Folders:
    """The folders for this user; nothing is created. Raises ConfigError when there is no place for one."""
    home = environ.get("RUNNER_HOME")
    if home:
        try:
            root = Path(home).expanduser().absolute()
        except RuntimeError as error:
            raise ConfigError(f"RUNNER_HOME (environment) takes a folder, and {home!r} is none: {error}") from None
        return Folders(*(root / part for part in ("data", "state", "cache", "config", "run")))
    dirs = platformdirs.PlatformDirs("runner", appauthor=False)
    return Folders(
        dirs.user_data_path, dirs.user_state_path, dirs.user_cache_path, dirs.user_config_path, _runtime(dirs)
    )


def _runtime(dirs: platformdirs.PlatformDirs) -> Path:
    # Outside of a login session (ssh, cron, a container) platformdirs takes a private folder among the temporary ones.
    # It warns about that each time, and every command would print it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dirs.user_runtime_path
        except OSError as error:
            raise ConfigError(f"there is no folder for sockets and locks: {error}; set RUNNER_HOME") from None


def config_file(where: Folders) -> Path:
    """The file with the settings, which needn't be there."""
    return where.config / "config.yaml"


def load(flags: Mapping[str, object] | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Merge flags (None means not given), environment, file and defaults.

    Raises ConfigError naming the setting and where its value came from; unknown keys in the file, and `RUNNER_*`
    variables that look like a setting misspelt, are errors too. Others are left alone: GitHub's machines have many.
    """
    return _merged(flags or {}, environ, _refuse)


def load_usable(
    flags: Mapping[str, object] | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[Settings, str | None]:
    """As `load`, for whoever can go on without the file: what can be used of it, and the first thing that can't.

    Raises ConfigError for flags and environment.
    """
    problems: list[str] = []
    found = _merged(flags or {}, environ, problems.append)
    return found, problems[0] if problems else None


def outweighed(found: Settings) -> dict[str, str]:
    """What a flag or the environment keeps from counting, though the file says otherwise: sources by setting."""
    in_file = _read_file(config_file(found.folders), lambda problem: None)
    kept = {}
    for name, value in in_file.items():
        source = found.sources.get(name, "")
        if not source.startswith(("flag", "environment")):
            continue
        with suppress(ValueError):  # what can't be used is told elsewhere
            if BY_NAME[name].read(value) != getattr(found, name):
                kept[name] = source
    return kept


def _refuse(problem: str) -> None:
    raise ConfigError(problem)


def _merged(flags: Mapping[str, object], environ: Mapping[str, str], excuse: _Excuse) -> Settings:
    where = folders(environ)
    given = {name: value for name, value in flags.items() if value is not None}
    file = config_file(where)
    in_file = _read_file(file, excuse)
    known = {setting.env for setting in SETTINGS} | {"RUNNER_HOME"}
    for key in sorted(environ):
        if key.startswith("RUNNER_") and key not in known and (meant := _misspelt(key)):
            raise ConfigError(f"{key} in the environment is no setting of Runner; did you mean {meant}?")
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        name = setting.name
        if name in given:
            value, source = given[name], f"flag --{name.replace('_', '-')}"
        elif environ.get(setting.env, "") != "":
            value, source = environ[setting.env], f"environment {setting.env}"
        elif name in in_file:
            value, source = in_file[name], f"file {file}"
        else:
            value, source = setting.default, "default"
        try:
            values[name] = setting.read(value)
        except ValueError as error:
            problem = f"{name} ({source}) {error}"
            if not source.startswith("file "):
                raise ConfigError(problem) from None
            excuse(problem)
            values[name], source = setting.read(setting.default), "default"
        sources[name] = source
    values["models"] = values["models"] or where.data / "models"
    return Settings(folders=where, sources=sources, **values)


def _misspelt(key: str) -> str | None:
    """The variable that this one was probably meant to be: letters swapped, left out or doubled, not another word."""
    names = {setting.name: setting.env for setting in SETTINGS} | {"home": "RUNNER_HOME"}
    close = difflib.get_close_matches(key.removeprefix("RUNNER_").lower(), names, n=1, cutoff=0.8)
    return names[close[0]] if close else None


def _read_file(path: Path, excuse: _Excuse) -> dict[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        excuse(f"{path} cannot be read: {error}")
        return {}
    import yaml  # on use: most starts have no file, and the CLI's start-up counts

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date or number that is none
        excuse(f"{path} is not YAML: {_told(error)}")
        content = _entries_alone(text)
    if content is None:
        return {}
    if not isinstance(content, dict):
        excuse(f"{path} must hold `name: value` lines")
        return {}
    for key in content:
        if key not in BY_NAME:
            excuse(f"{path}: {key!r} is no setting of Runner; see `runner config`")
    # `name:` with nothing behind it is a setting that is not given.
    return {str(key): value for key, value in content.items() if value is not None}


def _told(error: Exception) -> str:
    """What is wrong with a YAML text, in a sentence that begins with its line where there is one."""
    import yaml

    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split()) or type(error).__name__
    mark = _place(error)
    words = error.problem or error.context or "something is wrong"
    return f"line {mark.line + 1}: {words}" if mark is not None else words


def _place(error: yaml.MarkedYAMLError) -> yaml.Mark | None:
    """Where to look: at the beginning of what isn't ended, or else where the parser stopped."""
    begun = error.context_mark
    is_unended = begun is not None and "block" not in (error.context or "")
    return begun if is_unended else error.problem_mark


def _entries_alone(text: str) -> dict[str, object]:
    """The entries of a text that isn't YAML as a whole, each that can be read by itself."""
    import yaml

    entries: list[list[str]] = []
    for line in text.splitlines():
        if not entries or line[:1].strip():
            entries.append([])
        entries[-1].append(line)
    found: dict[str, object] = {}
    for lines in entries:
        with suppress(yaml.YAMLError, ValueError, RecursionError):
            entry = yaml.safe_load("\n".join(lines))
            if isinstance(entry, dict):
                found |= entry
    return found
