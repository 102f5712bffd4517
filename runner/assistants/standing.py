"""Whether what `--config` wrote still leads to Runner: its address and its key, as they stand in the files now. Decides
and changes nothing; what the files hold is handed to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runner.assistants import places
from runner.assistants.editing import decoded, parsed
from runner.assistants.errors import Clash, Trouble
from runner.assistants.fill import Target, filled
from runner.assistants.knowledge import Assistant, File, Key, Step
from runner.assistants.ledger import Manifest
from runner.assistants.paths import Machine
from runner.assistants.plan import Read, chosen_path


@dataclass(frozen=True, slots=True)
class Stray:
    """What isn't as a launch would write it today. `found` is None where no text stands."""

    path: Path
    kind: Literal["address", "key"]
    wanted: str
    found: str | None


def strays(assistant: Assistant, target: Target, machine: Machine, read: Read, manifest: Manifest) -> list[Stray]:
    """Addresses and keys in the assistant's own files, of those that Runner wrote. Raises Trouble naming the file."""
    found: list[Stray] = []
    for file in assistant.files:
        path = chosen_path(file, machine, read)
        if path is None or path.is_relative_to(machine.state) or manifest.record(path) is None:
            continue
        data = _data(path, file, read)
        for step in file.set:
            if step.key in (None, target.key is not None):
                found.extend(_of_step(step, path, data, target))
    return found


def value(assistant: Assistant, at: list[str], machine: Machine, read: Read) -> tuple[Path, str] | None:
    """The text that stands in one of the assistant's files where a step of its knowledge would set one, and where."""
    for file in assistant.files:
        path = chosen_path(file, machine, read)
        if path is not None and any(step.at == at for step in file.set):
            now = _standing(_data(path, file, read), at)
            return (path, now) if isinstance(now, str) and now else None
    return None


def _data(path: Path, file: File, read: Read) -> Any:
    try:
        return parsed(decoded(read(path) or b""), file.format)
    except Trouble as error:
        raise type(error)(f"{path}: {error}") from None


def _standing(data: Any, at: Any) -> Any:
    try:
        return places.found(data, at)
    except Clash:
        return places.ABSENT


def _of_step(step: Step, path: Path, data: Any, target: Target) -> Iterator[Stray]:
    blanks = target.blanks()
    there = _standing(data, filled(step.at, blanks))
    if there is places.ABSENT:
        there = _standing(data, filled([_without_address(key) for key in step.at], blanks))
    for name, wanted, now in _leaves(step.value, there, str(step.at[-1])):
        is_key = "<key>" in wanted or (step.key is True and name.lower().endswith("key"))
        if "<url>" not in wanted and not (is_key and target.key):
            continue
        text = str(filled(wanted, blanks))
        if now != text:
            yield Stray(path, "key" if is_key else "address", text, now if isinstance(now, str) else None)


def _without_address(key: Key) -> Key:
    """What else tells an entry of a list, where its address does and may be another by now."""
    if isinstance(key, str):
        return key
    return {name: text for name, text in key.items() if "<url>" not in text} or key


def _leaves(wanted: Any, now: Any, name: str) -> Iterator[tuple[str, str, Any]]:
    """Each text with blanks, the name that it is under, and what stands there."""
    if isinstance(wanted, dict):
        for key, inner in wanted.items():
            yield from _leaves(inner, now.get(key, places.ABSENT) if isinstance(now, dict) else places.ABSENT, key)
    elif isinstance(wanted, list):
        for index, inner in enumerate(wanted):
            is_there = isinstance(now, list) and index < len(now)
            yield from _leaves(inner, now[index] if is_there else places.ABSENT, name)
    elif isinstance(wanted, str):
        yield name, wanted, now
