"""docs/fields.md, made from the dialects' tables: `python -m runner.api.reference > docs/fields.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

from msgspec import inspect as types

from modelfiles.parameters import DEPRECATED, PARAMETERS, Spec
from runner.api import adapters, values
from runner.api.body import to_json
from runner.api.dialects import DIALECTS
from runner.api.fields import Dialect, Fields

_HEAD = """\
# Request fields

Every field of every endpoint, and what becomes of it. This page is generated from the tables that the code itself goes
by (`python -m runner.api.reference > docs/fields.md`), and a test holds it to them.

- *honoured*: it does what its dialect says. A value of the wrong type, or out of its bounds, is a 400 that names the
  field.
- *rejected*: a 400 that names the field, unless its value asks for nothing: null, false, an empty text, list or object,
  and what is listed.
- *ignored*: it has no effect, for the reason given.

Any field may be null, which is as good as left out. A field that isn't listed is ignored; those at the top of a body
are counted in the metric `runner_api_unknown_fields_total`, by endpoint and name. `[]` stands for each item of a list,
`{}` for each value of an object.
"""
_OPTIONS = """\
## Options

What `options` of Ollama's dialect may hold, and PARAMETER of a Modelfile. The fields of other dialects that go by these
names, or by others of the same meaning, have the same bounds. `logit_bias` (token ids to numbers from -100 to 100) is
taken in requests only. An option that isn't listed is ignored, with a line in the log.
"""
_WORDS: dict[type[types.Type], str] = {
    types.StrType: "text",
    types.IntType: "whole number",
    types.FloatType: "number",
    types.BoolType: "true or false",
    types.BytesType: "base64",
    types.AnyType: "any",
    types.NoneType: "null",
}


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for dialect in DIALECTS:
        if dialect.fields:
            parts.append(f"## {dialect.title} dialect\n")
            parts += [_endpoint(dialect, path, fields) for path, fields in dialect.fields.items()]
    parts += [_OPTIONS, _table(("option", "takes", "meaning"), map(_option, PARAMETERS.values()))]
    parts.append(f"Without effect any more: {', '.join(f'`{name}`' for name in sorted(DEPRECATED))}.\n")
    return "\n".join(parts)


def _endpoint(dialect: Dialect, path: str, fields: Fields) -> str:
    also = [alias for alias, own in dialect.aliases.items() if own == path]
    paths = ", ".join(f"`{each}`" for each in (path, *also))
    said = " ".join((fields.body.__dict__.get("__doc__") or "").split())
    text = f"### {paths}\n\n" + (f"{said}\n\n" if said else "")
    return text + _table(("field", "takes", "what becomes of it"), _rows(fields))


def _rows(fields: Fields) -> Iterator[tuple[str, ...]]:
    info = types.type_info(fields.body)
    assert isinstance(info, types.StructType)
    for name, kind in _fields(info, "", (fields.body,), fields.later.keys() | fields.ignored.keys()):
        note = fields.notes.get(name) or values.NOTES.get(name) or adapters.NOTES.get(name)
        if name in fields.later:
            passing = ", ".join(f"`{to_json(value).decode()}`" for value in fields.later[name])
            yield f"`{name}`", "", f"rejected{f', but for {passing}' if passing else ''}"
        elif name in fields.ignored:  # one of a nested struct, beside others that are honoured
            yield f"`{name}`", kind, f"ignored: {fields.ignored[name]}"
        else:
            yield f"`{name}`", kind, f"honoured: {note}" if note else "honoured"
    for name, reason in fields.ignored.items():
        if "." not in name:
            yield f"`{name}`", "any", f"ignored: {reason}"


def _fields(
    info: types.StructType, at: str, above: tuple[type, ...], closed: AbstractSet[str]
) -> Iterator[tuple[str, str]]:
    """Names and kinds, those of nested structs after the field that holds them; not inside of what is `closed`."""
    for field in info.fields:
        name = at + field.encode_name
        yield name, _kind(field.type)
        if name in closed:
            continue
        for inner, path in _structs(field.type, name):
            if inner.cls not in above:
                yield from _fields(inner, f"{path}.", (*above, inner.cls), closed)


def _structs(kind: types.Type, path: str) -> Iterator[tuple[types.StructType, str]]:
    """The structs that a value may hold, and where."""
    match kind:
        case types.StructType():
            yield kind, path
        case types.UnionType():
            for each in kind.types:
                yield from _structs(each, path)
        case types.CollectionType():
            yield from _structs(kind.item_type, f"{path}[]")
        case types.DictType():
            yield from _structs(kind.value_type, f"{path}{{}}")


def _kind(kind: types.Type) -> str:
    """A type in words; that it may be null is understood."""
    match kind:
        case types.UnionType():
            return " or ".join(
                dict.fromkeys(_kind(each) for each in kind.types if not isinstance(each, types.NoneType))
            )
        case types.CollectionType():
            return f"list of {_plural(_kind(kind.item_type))}"
        case types.StructType() | types.DictType():
            return "object"
        case types.LiteralType():
            return " or ".join(f"`{value}`" for value in kind.values)
    return _WORDS.get(type(kind), "any")


def _plural(words: str) -> str:
    return " or ".join("anything" if word == "any" else f"{word}s" for word in words.split(" or "))


def _option(spec: Spec) -> tuple[str, ...]:
    kind = {bool: "true or false", int: "whole number", float: "number", str: "text"}[spec.type]
    if spec.choices:
        kind = ", ".join(f"`{choice}`" for choice in spec.choices)
    elif spec.repeatable:
        kind = "text or list of texts"
    elif spec.minimum is not None and spec.maximum is not None:
        kind += f" from {spec.minimum:,} to {spec.maximum:,}"
    return f"`{spec.name}`", kind, spec.help


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(page())
