"""Reading the settings: flag > `RUNNER_*` environment > `config.yaml` > default. Reading has no side effects."""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from runner.config.table import BY_NAME, SETTINGS, Folders, Settings


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
    where = folders(environ)
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    file = config_file(where)
    in_file = _read_file(file)
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
            raise ConfigError(f"{name} ({source}) {error}") from None
        sources[name] = source
    values["models"] = values["models"] or where.data / "models"
    return Settings(folders=where, sources=sources, **values)


def _misspelt(key: str) -> str | None:
    """The variable that this one was probably meant to be: letters swapped, left out or doubled, not another word."""
    names = {setting.name: setting.env for setting in SETTINGS} | {"home": "RUNNER_HOME"}
    close = difflib.get_close_matches(key.removeprefix("RUNNER_").lower(), names, n=1, cutoff=0.8)
    return names[close[0]] if close else None


def _read_file(path: Path) -> dict[str, object]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    import yaml  # on use: most starts have no file, and the CLI's start-up counts

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date or number that is none
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold `name: value` lines")
    for key in content:
        if key not in BY_NAME:
            raise ConfigError(f"{path}: {key!r} is no setting of Runner; see `runner config`")
    # `name:` with nothing behind it is a setting that is not given.
    return {str(key): value for key, value in content.items() if value is not None}
