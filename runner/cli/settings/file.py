"""Changing config.yaml for a person: read, checked by the table, written at once or not at all, and then what a daemon
that runs has made of it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.cli import output
from runner.cli.client import Client
from runner.cli.connect import is_local
from runner.cli.failures import Exit, Failure
from runner.config import BY_NAME, ConfigError, Settings, config_file, load_usable
from runner.config.editing import CannotEdit, drop, parsed, put
from runner.config.naming import Named, mapped, spelt

WHEN = {
    "now": "in force",
    "load": "in force; a loaded model that it concerns is let go, and loaded anew at its next request",
    "start": "waits until the daemon is started again: `runner shutdown`, then `runner serve`",
}
_ASK = 5.0  # seconds
_CLIENTS_OWN = ("autostart",)  # what the daemon never reads


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an edit: `taken` is the daemon's word for it (now, load, start, refused, outweighed), None where
    none runs that reads the file; `words` tell it to a person."""

    found: Settings
    changed: bool
    taken: str | None
    words: tuple[str, ...]


def set_value(before: Settings, meant: Named, given: str) -> Outcome:
    """Write one setting, or one entry of one. Raises Failure, and then the file is as it was."""
    try:
        value = meant.read(given)
    except ConfigError as error:
        raise Failure(str(error), Exit.USAGE) from None
    return _edited(before, meant, lambda text: put(text, _path(meant, text), value))


def unset(before: Settings, meant: Named) -> Outcome:
    """Take one out again. Raises Failure."""
    return _edited(before, meant, lambda text: drop(text, _path(meant, text)))


def drop_stranger(before: Settings, name: str) -> bool:
    """Take out an entry that is no setting's, if there is one: it keeps the file from being used. Raises Failure."""
    file = config_file(before.folders)
    text = _read(file)
    try:
        after = drop(text, (name,))
    except CannotEdit as error:
        raise _cannot(file, error) from None
    if after == text:
        return False
    _write(file, after, holds_key=False)
    return True


def _edited(before: Settings, meant: Named, edit: Callable[[str], str]) -> Outcome:
    file = config_file(before.folders)
    text = _read(file)
    try:
        after = edit(_opened(meant, text))
        entries = parsed(after)
        if (value := entries.get(meant.row.name)) is not None:
            meant.row.read(value)
    except CannotEdit as error:
        raise _cannot(file, error) from None
    except ValueError as error:
        raise Failure(f"{meant.row.name} in {file} {error}", Exit.USAGE) from None
    if after != text:
        _write(file, after, holds_key=bool(entries.get("api_key")))
    try:
        found, problem = load_usable()
    except ConfigError as error:
        raise Failure(str(error), Exit.USAGE) from None
    words = [f"the rest of the file can't be used, so the daemon takes nothing of it: {problem}"] if problem else []
    source = found.sources[meant.row.name]
    if source.startswith("environment"):
        words.append(f"{source.removeprefix('environment ')} in the environment outweighs it here")
    if not found.host.is_loopback and found.api_key is None:
        words.append(f"the daemon will not listen on {found.host} without a key: set api_key too")
    taken, said = _taken(before, found, meant)
    return Outcome(found, after != text, taken, (*words, said))


def _opened(meant: Named, text: str) -> str:
    """The file with the setting as a mapping, where one entry of it is meant: `options: num_ctx=1,seed=2` is none."""
    mapping = mapped(meant, parsed(text).get(meant.row.name))
    text = text if mapping is None else put(text, (meant.row.name,), mapping)
    *outer, last = _path(meant, text)
    if outer[2:] != ["options"]:
        return text
    own = (parsed(text).get(outer[0]) or {}).get(outer[1])
    inner = own.get("options") if isinstance(own, dict) else None
    if (mapping := mapped(Named(BY_NAME["options"], (last,)), inner)) is None:
        return text
    return put(text, outer, mapping)


def _path(meant: Named, text: str) -> tuple[str, ...]:
    """As the file spells the model, where it has it already."""
    name, *inside = meant.path
    models = parsed(text).get(name)
    if name != "per_model" or not inside or not isinstance(models, dict):
        return meant.path
    there = spelt({str(each): None for each in models}, inside[0])
    return (name, there or inside[0], *inside[1:])


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as opened:  # line breaks stay as they are
            return opened.read()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise Failure(f"{file} cannot be read: {error}") from None


def _cannot(file: Path, error: CannotEdit) -> Failure:
    return Failure(f"{file} {error}; it is as it was, so edit it yourself", Exit.USAGE)


def _write(file: Path, text: str, holds_key: bool) -> None:
    """All of it, or nothing. A link stays one; nobody else may read a key."""
    target = file.resolve()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
    descriptor, aside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        os.chmod(aside, mode & 0o600 if holds_key else mode)
        os.replace(aside, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside)
        raise


def _taken(before: Settings, found: Settings, meant: Named) -> tuple[str | None, str]:
    """What the daemon made of it. It is asked at the address and with the key that it has had so far."""
    if meant.row.name in _CLIENTS_OWN:
        return None, "counts from the next command on"
    client = Client(before.host, before.api_key)
    if not is_local(client):
        return None, f"the daemon at {before.host.url} reads a file of its own, on its machine"
    if not client.is_listening():
        return None, "counts when the daemon starts; none runs now"
    try:
        _reload(client)
        return _told(Client(before.host, found.api_key), meant, config_file(found.folders))
    except Failure:
        # Its key may be the one that has just been written: it looks at the file by itself.
        with suppress(Failure):
            return _told(Client(before.host, found.api_key), meant, config_file(found.folders))
        return None, "the daemon that runs can't be asked whether it has taken it over"


def _reload(client: Client) -> None:
    try:
        client.post("/runner/config/reload", {}, timeout=_ASK)
    except Failure as failure:
        if "the settings stay as they are" not in failure.message:
            raise


def _of_service(variable: str, file: Path) -> str:
    """What to do where the value is one that `runner service install` took along."""
    from runner.service import carried  # on use: few values are outweighed

    with suppress(OSError, UnicodeDecodeError):
        if variable in carried.read(file):
            return f"; {file} has it: remove the line there, then `runner service restart`"
    return ""


def _told(client: Client, meant: Named, file: Path) -> tuple[str, str]:
    said = client.get("/runner/config", timeout=_ASK)
    if said.get("refused"):
        return "refused", f"the daemon goes on with what it had: {output.on_one_line(str(said['refused']))}"
    row: dict[str, Any] = next((each for each in said.get("settings", []) if each.get("name") == meant.row.name), {})
    source = str(row.get("source", ""))
    if row.get("waiting") is not None:
        return "start", WHEN["start"]
    if source.startswith(("flag", "environment")):
        told = f"the daemon was started with another value, which outweighs it ({source})"
        return "outweighed", told + _of_service(meant.row.env, file.with_name("service.env"))
    if source.startswith("file ") and source != f"file {file}":
        return "outweighed", f"the daemon that runs reads another file ({source.removeprefix('file ')})"
    applies = str(row.get("applies", "now"))
    return ("now", WHEN["now"]) if applies == "start" else (applies, WHEN.get(applies, WHEN["now"]))
