"""What an answer must look like, as any dialect may say it: values of the wire to constraints.

Each function takes what the wire struct holds and the field's name, and raises InvalidRequest with that name. What a
schema or a grammar means is found out in the worker; here only what would be wrong for any of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from runner.errors import InvalidRequest
from runner.protocol.commands import CONSTRAINT_LIMIT, Constraint, ConstraintKind

_GBNF = re.compile(r"^[ \t]*[\w-]+[ \t]*::=", re.MULTILINE)


def any_object(field: str) -> Constraint:
    """JSON, an object of any shape."""
    return Constraint("json", field=field)


def schema(value: object, field: str) -> Constraint | None:
    """A JSON Schema, as a value or as JSON text; None when not given."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return _constraint("schema", value, field)
    if not isinstance(value, dict | bool):
        raise InvalidRequest(f"{field} must be a JSON Schema, which is an object", field=field)
    return _constraint("schema", _encoded(value, field), field)


def regex(value: str | None, field: str) -> Constraint | None:
    """A regular expression for the whole answer; None when not given."""
    return _constraint("regex", value, field) if value else None


def choice(value: list[str] | None, field: str) -> Constraint | None:
    """Texts of which the answer is one; None when not given."""
    return _constraint("choice", _encoded(value, field), field) if value else None


def grammar(value: str | None, field: str) -> Constraint | None:
    """A grammar, by its looks GBNF or Lark; None when not given."""
    if not value:
        return None
    return _constraint("gbnf" if _GBNF.search(value) else "lark", value, field)


def only(given: Iterable[Constraint | None]) -> Constraint | None:
    """The one that was given, if any was. Two would have to be met at once, so they are refused by their names."""
    found = [each for each in given if each is not None]
    if len(found) > 1:
        first, second = found[:2]
        raise InvalidRequest(f"{first.field} and {second.field} can't both be given", field=second.field)
    return found[0] if found else None


def _encoded(value: object, field: str) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError:
        raise InvalidRequest(f"{field} is nested too deeply", field=field) from None


def _constraint(kind: ConstraintKind, text: str, field: str) -> Constraint:
    size = len(text.encode())
    if size > CONSTRAINT_LIMIT:
        raise InvalidRequest(f"{field} has {size} bytes, and {CONSTRAINT_LIMIT} are allowed", field=field)
    return Constraint(kind, text, field)
