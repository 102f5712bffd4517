"""JSON Schemas before they become grammars: bounded, checked keyword by keyword, and made definite.

Pure functions on plain JSON values. What a keyword of the known ones means is llguidance's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from runner.errors import InvalidRequest

Schema = dict[str, Any]

DEEPEST = 32  # schemas within schemas
LONGEST_PATTERN = 1024  # characters of one regular expression

# Keywords that a grammar cannot enforce, or not yet, in every draft alike. What stands neither here nor among those
# that llguidance knows is an annotation, which changes nothing.
_REFUSED = frozenset(
    "$dynamicRef $recursiveRef contains dependencies dependentRequired dependentSchemas else if maxContains "
    "minContains not propertyNames then unevaluatedItems unevaluatedProperties uniqueItems x-guidance".split()
)
_ASKS_NOTHING: dict[str, tuple[object, ...]] = {
    "uniqueItems": (False,),
    "unevaluatedItems": (True,),
    "unevaluatedProperties": (True,),
}
_BEARING = ("type", "properties", "items")
_BOUNDING = frozenset("const enum exclusiveMaximum exclusiveMinimum maximum minimum multipleOf".split())
_LARGEST = 2**53 - 1
_MOST_BOUNDED = 64  # a range of integers takes a millisecond to compile
_COMBINING = ("$ref", "allOf", "anyOf", "oneOf")
_OF_OBJECTS = ("additionalProperties", "patternProperties", "properties", "required")

_MAPS = ("$defs", "definitions", "properties", "patternProperties")  # of names to schemas
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLE = ("additionalItems", "additionalProperties", "items")


def prepared(schema: object, field: str) -> Schema:
    """The schema as the grammar is made of it. `field` is where the request has it.

    A small model goes on where it can. So objects that name their properties get no others, and integers no more
    digits than every reader of JSON can hold, unless the schema says so. Where schemas are combined, that could
    contradict, and they stay as they are. Draft 2020-12 holds whatever `$schema` says: under an older one, newer
    keywords would be passed over in silence.

    Raises InvalidRequest naming the keyword and its place.
    """
    if schema is True:
        return {}
    if not isinstance(schema, dict):
        raise InvalidRequest(f"{field} must be a JSON Schema, which is an object", field=field)
    copy = _copied(schema, field, 1)
    assert isinstance(copy, dict)
    nodes = list(_nodes(copy))
    if not any(_is_combined(node) for node in nodes):
        for node in filter(_names_all, nodes):
            node.setdefault("additionalProperties", False)
        unbounded = [node for node in nodes if _is_unbounded(node)]
        for node in unbounded if len(unbounded) <= _MOST_BOUNDED else ():
            node |= {"minimum": -_LARGEST, "maximum": _LARGEST}
    return copy


def at_fault(schema: Schema, field: str, error_of: Callable[[Schema], str]) -> tuple[str, str | None]:
    """Where the error of a schema comes from: the place of the innermost schema that has it by itself, and the keyword
    without which it wouldn't, if it is one alone."""
    definitions = {key: value for key, value in schema.items() if key in ("$defs", "definitions")}
    error, place, node = error_of(schema), field, schema

    def inside() -> tuple[str, Schema] | None:
        for where, each in _children(node, place):
            if isinstance(each, dict) and error_of(definitions | each) == error:
                return where, each
        return None

    while inner := inside():
        place, node = inner
    # First the one that the error names, last those without which nothing much is left.
    for keyword in sorted(node, key=lambda keyword: (keyword in _BEARING, keyword not in error)):
        left = {key: value for key, value in node.items() if key != keyword}
        if keyword not in definitions and error_of(definitions | left) != error:
            return place, keyword
    return place, None


def _copied(node: object, place: str, depth: int) -> Schema | bool:
    if isinstance(node, bool):
        return node
    if not isinstance(node, dict):
        raise InvalidRequest(f"{place} must be a JSON Schema: an object, true or false", field=place)
    if depth > DEEPEST:
        short = f"{place[:60]}..."
        raise InvalidRequest(f"{short}: schemas may be nested {DEEPEST} deep, and this one is deeper", field=short)
    copy: Schema = {}
    for keyword, value in node.items():
        where = f"{place}.{keyword}"
        _check(keyword, value, where)
        if keyword in _MAPS and isinstance(value, dict):
            copy[keyword] = {name: _copied(each, f"{where}.{name}", depth + 1) for name, each in value.items()}
        elif isinstance(value, list) and (keyword in _LISTS or keyword == "items"):
            copy[keyword] = [_copied(each, f"{where}[{index}]", depth + 1) for index, each in enumerate(value)]
        elif keyword in _SINGLE:
            copy[keyword] = _copied(value, where, depth + 1)
        elif keyword not in ("$schema", *_ASKS_NOTHING):
            copy[keyword] = value
    if isinstance(copy.get("discriminator"), dict) and "oneOf" in copy and "anyOf" not in copy:
        # The discriminator sees to it that no two of them fit, which a grammar could not see by itself.
        copy = {"anyOf" if keyword == "oneOf" else keyword: value for keyword, value in copy.items()}
    return copy


def _check(keyword: str, value: object, place: str) -> None:
    """Raise InvalidRequest for a keyword that can't be honoured, wherever it stands as one."""
    if keyword in _REFUSED and value not in _ASKS_NOTHING.get(keyword, ()):
        raise InvalidRequest(f"the schema keyword {keyword} is not supported (at {place})", field=place)
    if keyword == "$ref" and not (isinstance(value, str) and value.startswith("#")):
        raise InvalidRequest(
            f"the schema keyword $ref must point into the schema itself, as #/$defs/name does (at {place})", field=place
        )
    patterns = value if keyword == "patternProperties" and isinstance(value, dict) else [value]
    for pattern in patterns if keyword in ("pattern", "patternProperties") else ():
        if isinstance(pattern, str) and len(pattern) > LONGEST_PATTERN:
            raise InvalidRequest(
                f"the schema keyword {keyword} may have {LONGEST_PATTERN} characters, not {len(pattern)} (at {place})",
                field=place,
            )


def _names_all(node: Schema) -> bool:
    """Whether an object can do with the properties that its schema names."""
    named, required, least = node.get("properties"), node.get("required", []), node.get("minProperties", 0)
    return (
        isinstance(named, dict)
        and isinstance(required, list)
        and all(name in named for name in required)
        and isinstance(least, int)
        and least <= len(named)
        and "patternProperties" not in node
    )


def _is_unbounded(node: Schema) -> bool:
    """Whether these are integers of any size."""
    types = node.get("type")
    return (types == "integer" or (isinstance(types, list) and "integer" in types and "number" not in types)) and not (
        _BOUNDING & node.keys()
    )


def _is_combined(node: Schema) -> bool:
    """Whether what is allowed here depends on more than one schema."""
    together = node.get("allOf")
    if isinstance(together, list) and len(together) > 1:
        return True
    return any(key in node for key in _COMBINING) and any(key in node for key in _OF_OBJECTS)


def _nodes(schema: Schema) -> Iterator[Schema]:
    yield schema
    for _, child in _children(schema, ""):
        if isinstance(child, dict):
            yield from _nodes(child)


def _children(schema: Schema, place: str) -> Iterator[tuple[str, object]]:
    """The schemas right inside this one, with their places."""
    for keyword, value in schema.items():
        where = f"{place}.{keyword}"
        if keyword in _MAPS and isinstance(value, dict):
            yield from ((f"{where}.{name}", each) for name, each in value.items())
        elif keyword in (*_LISTS, "items") and isinstance(value, list):
            yield from ((f"{where}[{index}]", each) for index, each in enumerate(value))
        elif keyword in _SINGLE:
            yield where, value
