"""A radix tree over token ids: who holds the longest beginning of a prompt?

Holders are any values that can be hashed: sequence ids, saved states. Each stands at the end of its tokens and so holds
every beginning of them. Pure: knows neither cells nor bytes, and nothing is ever dropped by itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

_LOOKED_AT = 8  # of those who hold the same beginning

Holder = TypeVar("Holder", bound=Hashable)


@dataclass(slots=True, eq=False)
class _Node(Generic[Holder]):
    """The tokens of one edge and what comes behind them. Only roots and nodes that hold or branch are kept."""

    edge: array[int]
    parent: _Node[Holder] | None
    children: dict[int, _Node[Holder]] = field(default_factory=dict)  # by the first token of their edge
    holders: dict[Holder, None] = field(default_factory=dict)  # in the order of their coming
    space: Hashable = None  # of a root


@dataclass(frozen=True, slots=True)
class Match(Generic[Holder]):
    """What the tree has of a prompt. `length` of its first tokens are held by whoever is in `holders()`.

    `ends` are those who hold a beginning of the prompt and nothing else, shortest first, with its length.
    """

    length: int
    ends: tuple[tuple[int, Holder], ...]
    _below: _Node[Holder] | None

    def holders(self) -> Iterator[Holder]:
        """Who holds the first `length` tokens, whatever else: nearest to their end first. Nobody if that is none."""
        waiting = [self._below] if self.length and self._below is not None else []
        for node in waiting:
            yield from node.holders
            waiting.extend(node.children.values())

    def near(self) -> list[Holder]:
        """The first few of them: to choose one, not all need be looked at."""
        return list(islice(self.holders(), _LOOKED_AT))


class Prefixes(Generic[Holder]):
    """Holders by their tokens, in separate spaces: what was computed under one adapter is no prefix under another."""

    def __init__(self) -> None:
        self._roots: dict[Hashable, _Node[Holder]] = {}
        self._at: dict[Holder, _Node[Holder]] = {}

    def __contains__(self, holder: Holder) -> bool:
        return holder in self._at

    def __len__(self) -> int:
        return len(self._at)

    def add(self, holder: Holder, tokens: Sequence[int], space: Hashable = None) -> None:
        """`holder`, which is not in the tree, holds these tokens."""
        assert holder not in self._at
        root = self._roots.get(space)
        if root is None:
            root = self._roots[space] = _Node(array("i"), None, space=space)
        self._put(holder, root, array("i", tokens))

    def advance(self, holder: Holder, tokens: Sequence[int]) -> None:
        """`holder` holds these as well, behind those that it held."""
        node = self._at[holder]
        if node.parent is not None and not node.children and len(node.holders) == 1:  # the tip of a branch of its own
            node.edge.extend(tokens)
            return
        del node.holders[holder]
        self._put(holder, node, array("i", tokens))
        self._tidy(node)

    def remove(self, holder: Holder) -> None:
        """`holder` holds nothing any more."""
        node = self._at.pop(holder)
        del node.holders[holder]
        self._tidy(node)

    def clear(self) -> None:
        """Nobody holds anything."""
        self._roots.clear()
        self._at.clear()

    def match(self, tokens: Sequence[int], space: Hashable = None) -> Match[Holder]:
        """The longest beginning of `tokens` that somebody holds, in time proportional to its length."""
        wanted = tokens if isinstance(tokens, array) else array("i", tokens)
        node = self._roots.get(space)
        ends: list[tuple[int, Holder]] = []
        length = 0
        while node is not None:
            if length:
                ends += [(length, holder) for holder in node.holders]
            child = node.children.get(wanted[length]) if length < len(wanted) else None
            if child is None:
                break
            shared = common(child.edge, wanted[length : length + len(child.edge)])
            length += shared
            node = child
            if shared < len(child.edge):
                break
        return Match(length, tuple(ends), node)

    def covered(self, holder: Holder) -> int:
        """How many of the first tokens of `holder` somebody else holds too."""
        node = self._at[holder]
        if len(node.holders) > 1 or node.children:
            return _depth(node)
        parent = node.parent
        return _depth(parent) if parent is not None else 0

    def _put(self, holder: Holder, node: _Node[Holder], tokens: array[int]) -> None:
        """Let `holder` stand behind these tokens, counted from the end of `node`."""
        at = 0
        while at < len(tokens):
            child = node.children.get(tokens[at])
            if child is None:
                child = node.children[tokens[at]] = _Node(tokens[at:], node)
                node = child
                break
            shared = common(child.edge, tokens[at : at + len(child.edge)])
            node = child if shared == len(child.edge) else self._split(child, shared)
            at += shared
        node.holders[holder] = None
        self._at[holder] = node

    @staticmethod
    def _split(node: _Node[Holder], at: int) -> _Node[Holder]:
        """A new node in the middle of this one's edge."""
        parent = node.parent
        assert parent is not None
        upper: _Node[Holder] = _Node(node.edge[:at], parent, {node.edge[at]: node})
        parent.children[node.edge[0]] = upper
        del node.edge[:at]
        node.parent = upper
        return upper

    def _tidy(self, node: _Node[Holder]) -> None:
        """Take out what neither holds nor branches, from here upwards."""
        while node.parent is not None and not node.holders and not node.children:
            del node.parent.children[node.edge[0]]
            node = node.parent
        if node.parent is None and not node.holders and not node.children:
            self._roots.pop(node.space, None)
        if node.parent is None or node.holders or len(node.children) != 1:
            return
        (child,) = node.children.values()
        child.edge[:0] = node.edge
        child.parent = node.parent
        node.parent.children[child.edge[0]] = child


def common(one: array[int], other: array[int]) -> int:
    """The length of the common beginning, by comparisons that C does."""
    if one == other:
        return len(one)
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _depth(node: _Node[Holder] | None) -> int:
    """Tokens from the root to the end of this node."""
    length = 0
    while node is not None:
        length += len(node.edge)
        node = node.parent
    return length
