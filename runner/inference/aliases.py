"""Names that stand for other models, for clients that insist on a name of their own.

Knows how a name leads to a stored model; which names there are is a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from registry.errors import BadName, NotFound
from registry.names import Name
from registry.store import Store
from registry.stored import StoredModel


@dataclass(slots=True)
class Aliases:
    """`table` maps names to models; in a name, `*` stands for any characters. Upper and lower case are one.

    A stored model's own name always weighs more than an alias, and what an alias gives is no alias again. Whoever holds
    this sees it when the daemon gives it another table.
    """

    table: Mapping[str, str] = field(default_factory=dict)

    def meant(self, asked: str) -> str | None:
        """The model that this name stands for: by the name itself, or by the pattern that says most of it."""
        name = asked.lower().removesuffix(":latest")
        fitting = [pattern for pattern in self.table if _fits(pattern.lower(), name)]
        best = max(fitting, key=lambda pattern: ("*" not in pattern, len(pattern)), default=None)
        return None if best is None else self.table[best]

    def find(self, store: Store, asked: str) -> StoredModel:
        """The model of this name, or else the one that it stands for. Raises as `Store.show` does."""
        try:
            return store.show(asked)
        except (BadName, NotFound):
            meant = self.meant(asked)
            if meant is None:
                raise
        return store.show(meant)

    def listed(self, store: Store) -> tuple[tuple[str, StoredModel], ...]:
        """The names without `*` that lead to a model, each with that model."""
        found: list[tuple[str, StoredModel]] = []
        for name in self.table:
            if "*" in name:
                continue
            try:
                model = self.find(store, name)
            except (BadName, NotFound):
                continue
            if known_as(name, model) == name:
                found.append((name, model))
        return tuple(found)


def known_as(asked: str, found: StoredModel) -> str:
    """By which name to list a model that was asked for: its own, unless another one led to it."""
    try:
        is_own = Name.parse(asked).key == found.name.key
    except BadName:
        is_own = False
    return str(found.name) if is_own else asked


def _fits(pattern: str, name: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    *middle, last = rest
    at, end = len(first), len(name) - len(last)
    if at > end or not name.startswith(first) or not name.endswith(last):
        return False
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
