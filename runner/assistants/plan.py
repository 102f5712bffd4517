"""What is to be done so that an assistant uses Runner: files with their new content, its environment, its command.

Decides and touches nothing: what the files hold now is handed to it. See `acting` for the doing.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runner.assistants import fill
from runner.assistants.editing import Change, Setting, applied, decoded, merged, parsed, undone
from runner.assistants.errors import Clash, Trouble
from runner.assistants.fill import Target
from runner.assistants.knowledge import Assistant, File, Step
from runner.assistants.ledger import Manifest, Record, digest
from runner.assistants.masking import masked
from runner.assistants.paths import Machine

Read = Callable[[Path], bytes | None]
"""A file's bytes, None where there is none."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class Write:
    """A file and what it is to hold. `baseline` is what a restore puts back: it has nothing of Runner's. What
    `is_private` is for its owner's eyes only."""

    path: Path
    file: File
    before: bytes | None
    after: bytes
    baseline: bytes | None
    changes: list[Change]
    is_private: bool = False

    @property
    def is_change(self) -> bool:
        """False where the file is already as it should be."""
        return self.before != self.after

    def content(self) -> str:
        """What it is to hold, with the secrets masked."""
        return self._masked(self.after.decode())

    def difference(self) -> str:
        """The change as a unified diff, with the secrets masked."""
        old = [] if self.before is None else self.before.decode("utf-8", "replace").splitlines(keepends=True)
        new = self.after.decode("utf-8", "replace").splitlines(keepends=True)
        rows = difflib.unified_diff(old, new, "/dev/null" if self.before is None else str(self.path), str(self.path))
        return self._masked("".join(row if row.endswith("\n") else row + "\n" for row in rows))

    def _masked(self, text: str) -> str:
        return masked(text, *(parsed(decoded(held or b""), self.file.format) for held in (self.before, self.after)))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a launch does.

    `environment` is set beside the user's own; `secrets` are names in it whose values stay off the screen. `argv`
    begins with the program, or with its plain name where it isn't installed.
    """

    writes: tuple[Write, ...]
    environment: dict[str, str]
    unset: tuple[str, ...]
    argv: tuple[str, ...]
    secrets: frozenset[str] = field(default_factory=frozenset)


def plan(
    assistant: Assistant,
    target: Target,
    machine: Machine,
    read: Read,
    manifest: Manifest,
    extra: Sequence[str] = (),
    *,
    config: bool = False,
) -> Plan:
    """The plan for one assistant. With `config` the files make Runner the default. Raises Trouble naming the file."""
    blanks = target.blanks() | {"state": str(machine.state)}
    has_key = target.key is not None
    writes = [
        _write(assistant, file, settings, machine, read, manifest, has_key)
        for file in assistant.files
        if (settings := _settings(file.set, blanks, has_key, config))
    ]
    environment = {}
    for name, given in assistant.environment.items():
        text = fill.variable(given, blanks, has_key)
        if text is not None:
            environment[name] = text
    secrets = {name for name, given in assistant.environment.items() if has_key and fill.names_key(given)}
    program = machine.program(assistant.commands, assistant.paths) or assistant.commands[0]
    if writes:
        blanks["file"] = str(writes[0].path)
    arguments = [str(fill.filled(argument, blanks)) for argument in assistant.arguments]
    return Plan(
        tuple(writes),
        environment | _past_proxies(target.url, machine),
        tuple(assistant.unset),
        (program, *arguments, *extra),
        frozenset(secrets),
    )


def chosen_path(file: File, machine: Machine, read: Read) -> Path | None:
    """Which of its paths a file has on this machine, None where it has none."""
    candidates = machine.paths(file.path)
    return next((path for path in candidates if read(path) is not None), candidates[0] if candidates else None)


def _settings(steps: Sequence[Step], blanks: dict[str, Any], has_key: bool, config: bool) -> list[Setting]:
    return [
        Setting(fill.filled(step.at, blanks), fill.filled(step.value, blanks), step.first, step.missing, step.frame)
        for step in steps
        if (config or not step.config) and step.key in (None, has_key)
    ]


def _write(
    assistant: Assistant,
    file: File,
    settings: Sequence[Setting],
    machine: Machine,
    read: Read,
    manifest: Manifest,
    has_key: bool,
) -> Write:
    path = chosen_path(file, machine, read)
    if path is None:
        raise Trouble(f"where {assistant.title} keeps its settings on {machine.system} isn't known")
    before = read(path)
    if before is None:
        for hidden in machine.paths(file.hides):
            if read(hidden) is not None:
                raise Clash(
                    f"{assistant.title} would no longer read {hidden} if there were a {path}; move it there first"
                )
    record = manifest.record(path)
    try:
        after, changes = applied(decoded(before or b""), file.format, settings)
        baseline = before if record is None else _baseline(before, record)
    except Trouble as error:
        raise type(error)(f"{path}: {error}") from None
    if record is not None:
        changes = merged(record.changes, changes)
    if not after.endswith("\n") and before is None:
        after += "\n"
    is_private = file.secret and (has_key or before is None)
    return Write(path, file, before, after.encode(), baseline, changes, is_private)


def _baseline(before: bytes | None, record: Record) -> bytes | None:
    """What the file would be without Runner, where somebody changed it since; for the other case see `acting`."""
    if before is None or digest(before) == record.after:
        return before
    return undone(decoded(before), record.format, record.changes).encode()


def _past_proxies(url: str, machine: Machine) -> dict[str, str]:
    """Runner's host beside those that are reached without the proxy, where the user has one."""
    environ = machine.environ
    if not any(environ.get(name) or environ.get(name.lower()) for name in _PROXIES):
        return {}
    host = urlsplit(url).hostname or ""
    known = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if host in known.split(",") or known == "*":
        return {}
    both = ",".join(filter(None, (known, host)))
    return {"NO_PROXY": both, "no_proxy": both}
