"""YAML read strictly, with the place of everything in it, so that an error can name file, line and field.

Plain data only; a key given twice is an error. Knows nothing of what a file is about: `lockfile` and `project` do.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as SafeLoader  # ten times as quick
except ImportError:  # PyYAML built without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]

from modelfiles.errors import FileError
from modelfiles.near import did_you_mean

LONGEST_FILE = 4 << 20
"""Characters that a file may have."""

DEEPEST = 50
"""Levels that lists and mappings may be nested."""

_TEXT = "tag:yaml.org,2002:str"
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_BREAKS = re.compile(r"[\r\n]")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Place:
    """A value and where it stands; `field` is the way to it, as in `models[2].name`, `key` what it is the value of."""

    file: str
    field: str
    node: yaml.Node
    key: yaml.Node | None = None

    @property
    def line(self) -> int:
        """Where it begins, from 1: its key's line where it has one."""
        return int((self.key or self.node).start_mark.line) + 1

    def wrong(self, reason: str) -> FileError:
        """An error about this value, to be raised."""
        return FileError(self.file, self.line, self.field, reason)

    def entries(self, what: str = "a mapping") -> dict[str, "Place"]:
        """The entries of a mapping, by key; an empty value is an empty mapping."""
        if self.is_empty():
            return {}
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong(f"must be {what}")
        found: dict[str, Place] = {}
        for key, value in self.node.value:
            at = Place(self.file, self.field, key)
            name = at.text("a key")
            if name in found:
                raise Place(self.file, self._inside(name), key).wrong("is given twice")
            found[name] = Place(self.file, self._inside(name), value, key)
        return found

    def fields(self, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, "Place"]:
        """The entries of a mapping that has these keys and no others; optional ones without a value are left out."""
        found = self.entries()
        known = (*required, *optional)
        for name, place in found.items():
            if name not in known:
                raise place.wrong(f"there is no such field{did_you_mean(name, known)}")
        found = {name: place for name, place in found.items() if not (name in optional and place.is_empty())}
        for name in required:
            if name not in found:
                raise FileError(self.file, self.line, self._inside(name), "is missing")
        return found

    def items(self) -> tuple["Place", ...]:
        """The items of a list; an empty value is an empty list."""
        if self.is_empty():
            return ()
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.wrong("must be a list")
        return tuple(Place(self.file, f"{self.field}[{index}]", value) for index, value in enumerate(self.node.value))

    def text(self, what: str = "it") -> str:
        """A text that isn't empty and can be shown."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag != _TEXT:
            quoted = isinstance(self.node, yaml.ScalarNode) and not self.is_empty()
            raise self.wrong(f"{what} must be a text{'; put it in quotes' if quoted else ''}")
        value = str(self.node.value)
        if not value.strip():
            raise self.wrong(f"{what} must not be empty")
        if _CONTROLS.search(value):
            raise self.wrong(f"{what} holds a control character")
        return value

    def word(self) -> str:
        """A text of one line without blanks around it."""
        value = self.text()
        if _BREAKS.search(value) or value != value.strip():
            raise self.wrong("it must be one line")
        return value

    def digest(self) -> str:
        """`sha256:` and 64 hex digits."""
        value = self.text()
        if not _DIGEST.fullmatch(value):
            raise self.wrong(f"{value[:100]!r} is no digest: sha256: and 64 lower-case hex digits")
        return value

    def count(self) -> int:
        """A whole number from 0 on."""
        value = self.scalar()
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            raise self.wrong("must be a whole number from 0 on")
        return value

    def scalar(self) -> Any:
        """Whatever the value is that YAML reads: a text, a number, true or false, None."""
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.wrong("must be a single value")
        try:
            return yaml.constructor.SafeConstructor().construct_object(self.node)
        except (yaml.YAMLError, ValueError) as fault:
            raise self.wrong(f"{str(self.node.value)[:100]!r} can't be read; put it in quotes") from fault

    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.node, yaml.SequenceNode)

    def is_text(self) -> bool:
        """Whether it is a text."""
        return self.node.tag == _TEXT

    def is_empty(self) -> bool:
        """Whether nothing stands there."""
        return self.node.tag == "tag:yaml.org,2002:null"

    def _inside(self, name: str) -> str:
        return f"{self.field}.{name[:100]}" if self.field else name[:100]


def read(file: str, text: str) -> Place:
    """The top of a file. Raises FileError for what is no YAML, empty, or larger than LONGEST_FILE."""
    if len(text) > LONGEST_FILE:
        raise FileError(file, 1, "", f"{len(text)} characters are more than the {LONGEST_FILE} allowed")
    try:
        # First step by step: libyaml's composer recurses for each level, and would overrun the stack.
        depth = 0
        for event in yaml.parse(text, SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                line = event.start_mark.line + 1 if event.start_mark else 0
                raise FileError(file, line, "", "is nested too deeply")
        node = yaml.compose(text, SafeLoader)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        why = " ".join(filter(None, (fault.context, fault.problem)))
        raise FileError(file, mark.line + 1 if mark else 0, "", f"not YAML: {why}") from fault
    except (yaml.YAMLError, RecursionError, ValueError) as fault:
        raise FileError(file, 0, "", f"not YAML: {' '.join(str(fault).split())[:200]}") from fault
    if node is None:
        raise FileError(file, 1, "", "is empty")
    return Place(file, "", node)
