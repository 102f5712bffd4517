"""TOML, edited by tomlkit, which keeps comments and order. Pure. Knows tables; entries of lists aren't edited."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError
from tomlkit.items import Comment, Table

from runner.assistants import places
from runner.assistants.errors import Clash, Unreadable
from runner.assistants.knowledge import Key


def parse(text: str) -> Any:
    """The data as plain values; an empty text is an empty mapping. Raises Unreadable with the line."""
    return _read(text).unwrap()


def put(text: str, at: Sequence[Key], value: Any, first: bool = False) -> str:
    """The text with `value` at that place. Raises Unreadable and Clash."""
    document = _read(text)
    reach = places.standing(document, at[:-1])
    table = _table(document, at[:reach])
    name, inner = (at[-1], value) if reach == len(at) - 1 else (at[reach], places.nested(at[reach + 1 :], value))
    assert isinstance(name, str), "a list in TOML"
    if not isinstance(table, MutableMapping):
        raise Clash(f"holds another kind of value where a table with {name!r} belongs")
    comments = _comments_after(table[name]) if name in table else ""
    table[name] = inner
    return _with_comments(tomlkit.dumps(document), comments)


def drop(text: str, at: Sequence[Key]) -> str:
    """The text without what stands at that place. Raises Unreadable and Clash."""
    document = _read(text)
    if places.found(document, at) is places.ABSENT:
        return text
    owner = _table(document, at[:-1])
    comments = _comments_after(owner[at[-1]])
    del owner[at[-1]]
    return _with_comments(tomlkit.dumps(document), comments)


def _with_comments(text: str, comments: str) -> str:
    return text + ("\n" if comments and text.strip() else "") + comments


def _comments_after(item: Any) -> str:
    """The comments below a table's last value: tomlkit counts them as its own, and whoever wrote them may not."""
    kept: list[str] = []
    for key, part in reversed(item.value.body if isinstance(item, Table) else []):
        if key is not None:
            return _comments_after(part) + "".join(kept)
        if isinstance(part, Comment):
            kept.insert(0, part.as_string().strip() + "\n")
    return "".join(kept)


def _table(document: Any, at: Sequence[Key]) -> Any:
    for key in at:
        document = document[key]
    return document


def _read(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except ParseError as error:
        said = str(error).partition(" at line ")[0]
        raise Unreadable(f"line {error.line}: {said}") from None
    except TOMLKitError as error:
        raise Unreadable(str(error)) from None
