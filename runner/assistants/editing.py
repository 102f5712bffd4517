"""Files of any known format as text that is edited: what is set is recorded, so that it can be taken out again. Pure.

Every edit is read back and compared with what it should have become, so a text that we don't understand is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import msgspec

from runner.assistants import jsonc, places, toml, yamltext
from runner.assistants.errors import Clash, Unreadable
from runner.assistants.knowledge import Format, Key

_EDITORS: dict[Format, ModuleType] = {"json": jsonc, "yaml": yamltext, "toml": toml}
_BOM = "\ufeff"


class Change(msgspec.Struct, frozen=True):
    """What was set at a place: how many of its keys were there before, and with all of them the `old` value."""

    at: list[Key]
    value: Any
    stood: int
    old: Any = None

    @property
    def replaced(self) -> bool:
        """True when something stood there before."""
        return self.stood == len(self.at)


class Setting(msgspec.Struct, frozen=True):
    """A step with its blanks filled."""

    at: list[Key]
    value: Any
    first: bool = False
    missing: bool = False
    frame: bool = False


def decoded(content: bytes) -> str:
    """A file's text. Raises Unreadable."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"line {line}: it is not UTF-8") from None


def parsed(text: str, form: Format) -> Any:
    """Its data; None for a text that holds none. Raises Unreadable."""
    return _EDITORS[form].parse(_split(text)[1])


def applied(text: str, form: Format, settings: Sequence[Setting]) -> tuple[str, list[Change]]:
    """The text with everything set, and what that changed. Raises Unreadable and Clash; nothing in part."""
    mark, text = _split(text)
    editor, changes = _EDITORS[form], []
    data = editor.parse(text)
    for setting in settings:
        old, stood = places.found(data, setting.at), places.standing(data, setting.at)
        is_there = old is not places.ABSENT
        if is_there and (setting.missing or setting.frame):
            continue
        if not setting.frame:
            changes.append(Change(setting.at, setting.value, stood, old if is_there else None))
        if is_there and old == setting.value and type(old) is type(setting.value):
            continue
        text = editor.put(text, setting.at, setting.value, setting.first)
        data = places.put(data, setting.at, setting.value, setting.first)
        _check(editor, text, data, setting.at)
    return mark + text, changes


def undone(text: str, form: Format, changes: Sequence[Change]) -> str:
    """The text without what the changes put there. What replaced a value gives it back. A value that is another by now
    stays; containers that were made are taken away when nothing else is in them. Raises Unreadable and Clash."""
    mark, text = _split(text)
    editor = _EDITORS[form]
    data = editor.parse(text)
    for change in reversed(changes):
        now = places.found(data, change.at)
        if now is places.ABSENT or _is_another(now, change):
            continue
        if change.replaced:
            text, data = editor.put(text, change.at, change.old), places.put(data, change.at, change.old)
        else:
            at, data = change.at, places.dropped(data, change.at)
            while len(at) - 1 > change.stood and not _of_note(places.found(data, at[:-1]), at[-2]):
                at = at[:-1]
                data = places.dropped(data, at)
            text = editor.drop(text, at)
        _check(editor, text, data, change.at)
    return mark + text


def _is_another(now: Any, change: Change) -> bool:
    """True for a value that somebody else put there. Of an entry that is Runner's own, what was added is too."""
    is_entry = isinstance(now, dict | list) and isinstance(change.value, dict | list)
    return bool(now != change.value) and (change.replaced or not is_entry)


def _of_note(container: Any, key: Key) -> bool:
    """False when nothing is left in it but what it is found by."""
    return bool(container) and container != key


def merged(before: Sequence[Change], after: Sequence[Change]) -> list[Change]:
    """The changes of two runs as one: what stood there is the first's to tell, unless somebody put another value there
    in between; what was put there is the second's."""
    known = {places.written(change.at): change for change in before}
    for change in after:
        name = places.written(change.at)
        first = known.get(name, change)
        if not (change.replaced and _is_another(change.old, first)):
            change = Change(change.at, change.value, first.stood, first.old)
        known[name] = change
    return list(known.values())


def _split(text: str) -> tuple[str, str]:
    return (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)


def _check(editor: ModuleType, text: str, data: Any, at: Sequence[Key]) -> None:
    try:
        ours = editor.parse(text)
    except Unreadable:
        ours = places.ABSENT
    is_empty = data is None or (ours is None and not data)  # where nothing but comments is left
    if not is_empty and ours != data:
        raise Clash(f"is written in a way that can't be edited safely at {places.written(at)}")
