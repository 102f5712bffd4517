"""JSON Schemas before they become grammars: what is refused, by which name, and what is made definite."""

from __future__ import annotations

from typing import Any

import pytest

from runner.engine.schema import DEEPEST, LONGEST_PATTERN, at_fault, prepared
from runner.errors import InvalidRequest

REFUSED = {
    "not": {},
    "if": {},
    "then": {},
    "else": {},
    "contains": {},
    "minContains": 1,
    "maxContains": 1,
    "uniqueItems": True,
    "propertyNames": {},
    "dependentRequired": {},
    "dependentSchemas": {},
    "dependencies": {},
    "unevaluatedProperties": False,
    "unevaluatedItems": False,
    "$dynamicRef": "#a",
    "$recursiveRef": "#",
    "x-guidance": {"lenient": True},
}
OBJECT: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}


def refusal(schema: object) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        prepared(schema, "format")
    return caught.value


def test_a_schema_comes_out_as_it_is_meant() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 5}, "title": "T"}
    assert prepared(schema, "format") == schema


@pytest.mark.parametrize(("keyword", "value"), REFUSED.items())
def test_keywords_that_no_grammar_enforces_are_named_with_their_place(keyword: str, value: object) -> None:
    error = refusal({"properties": {"a": {"items": [{"type": "string"}, {keyword: value}]}}})
    assert error.field == f"format.properties.a.items[1].{keyword}"
    assert keyword in error.message


@pytest.mark.parametrize("keyword", REFUSED)
def test_a_property_may_have_the_name_of_any_keyword(keyword: str) -> None:
    schema = {"properties": {keyword: {"type": "string"}}, "required": [keyword]}
    assert prepared(schema, "format")["properties"] == {keyword: {"type": "string"}}


@pytest.mark.parametrize("value", [{"const": {"not": 1}}, {"enum": [{"if": 1}]}, {"default": {"contains": 1}}])
def test_values_are_no_schemas(value: dict[str, Any]) -> None:
    assert prepared(value, "format") == value


def test_keywords_that_ask_for_nothing_are_left_out() -> None:
    schema = {"type": "array", "uniqueItems": False, "unevaluatedItems": True, "$schema": "http://example.org/mine"}
    assert prepared(schema, "format") == {"type": "array"}


@pytest.mark.parametrize("wrong", [None, 5, "x", [], False])
def test_a_schema_is_an_object(wrong: object) -> None:
    assert refusal(wrong).field == "format"
    assert prepared(True, "format") == {}


def test_wrong_schemas_inside_are_named() -> None:
    assert refusal({"properties": {"a": 5}}).field == "format.properties.a"
    assert refusal({"items": "x"}).field == "format.items"
    assert refusal({"anyOf": [{}, None]}).field == "format.anyOf[1]"


@pytest.mark.parametrize("reference", ["http://example.org/x", "other.json#/a", 5])
def test_references_lead_nowhere_else(reference: object) -> None:
    assert refusal({"properties": {"a": {"$ref": reference}}}).field == "format.properties.a.$ref"


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth - 1):
        schema = {"items": schema}
    return schema


def test_depth_is_bounded() -> None:
    assert prepared(nested(DEEPEST), "format") == nested(DEEPEST)
    error = refusal(nested(DEEPEST + 1))
    assert str(DEEPEST) in error.message
    assert error.field is not None
    assert error.field.startswith("format.items.items")


@pytest.mark.parametrize("keyword", ["pattern", "patternProperties"])
def test_patterns_are_bounded(keyword: str) -> None:
    def schema(length: int) -> dict[str, Any]:
        return {keyword: "a" * length if keyword == "pattern" else {"a" * length: {}}}

    assert prepared(schema(LONGEST_PATTERN), "format")
    assert refusal(schema(LONGEST_PATTERN + 1)).field == f"format.{keyword}"


class TestMadeDefinite:
    def test_objects_that_name_their_properties_get_no_others(self) -> None:
        schema = prepared({**OBJECT, "properties": {"a": OBJECT}}, "format")
        assert schema["additionalProperties"] is False
        assert schema["properties"]["a"]["additionalProperties"] is False

    @pytest.mark.parametrize(
        "more",
        [
            {"additionalProperties": True},
            {"additionalProperties": {"type": "integer"}},
            {"patternProperties": {"^x": {}}},
            {"required": ["b"]},
            {"minProperties": 2},
        ],
    )
    def test_unless_the_schema_wants_others(self, more: dict[str, Any]) -> None:
        schema = prepared({**OBJECT, **more}, "format")
        assert schema.get("additionalProperties", True) is not False

    @pytest.mark.parametrize(
        "schema",
        [
            {"allOf": [OBJECT, {"type": "object", "properties": {"b": {}}}]},
            {**OBJECT, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            {**OBJECT, "$ref": "#/$defs/b", "$defs": {"b": {"properties": {"b": {}}}}},
        ],
    )
    def test_unless_another_schema_may_want_others(self, schema: dict[str, Any]) -> None:
        assert prepared(schema, "format") == schema

    def test_what_tools_write_for_one_reference_is_no_combination(self) -> None:
        schema = {"properties": {"a": {"allOf": [{"$ref": "#/$defs/b"}], "title": "A"}}, "$defs": {"b": OBJECT}}
        assert prepared(schema, "format")["$defs"]["b"]["additionalProperties"] is False

    @pytest.mark.parametrize("kind", ["integer", ["integer", "null"]])
    def test_integers_end(self, kind: object) -> None:
        assert prepared({"type": kind}, "format") == {"type": kind, "minimum": 1 - 2**53, "maximum": 2**53 - 1}

    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "integer", "minimum": 0},
            {"type": "integer", "enum": [2**60]},
            {"type": ["integer", "number"]},
            {"type": "number"},
            {"allOf": [{"type": "integer"}, {"minimum": 2**60}]},
        ],
    )
    def test_unless_the_schema_says_how_far_they_go(self, schema: dict[str, Any]) -> None:
        assert prepared(schema, "format") == schema

    def test_not_so_many_that_it_takes_long(self) -> None:
        schema = {"prefixItems": [{"type": "integer"} for _ in range(1000)]}
        assert prepared(schema, "format") == schema

    def test_a_discriminator_makes_its_alternatives_exclusive(self) -> None:
        schema = {"oneOf": [{"$ref": "#/$defs/a"}], "discriminator": {"propertyName": "kind"}, "$defs": {"a": {}}}
        assert list(prepared(schema, "format")) == ["anyOf", "discriminator", "$defs"]
        del schema["discriminator"]
        assert prepared(schema, "format") == schema


class TestAtFault:
    """`error_of` of a made-up engine that can't do `x`, nor `y` beside `z`."""

    @staticmethod
    def error_of(schema: dict[str, Any]) -> str:
        def wrong(node: Any) -> bool:
            if isinstance(node, dict):
                return "x" in node or {"y", "z"} <= node.keys() or any(map(wrong, node.values()))
            return isinstance(node, list) and any(map(wrong, node))

        reached = schema if "$ref" in schema else {key: value for key, value in schema.items() if key != "$defs"}
        return "can't" if wrong(reached) else ""

    @pytest.mark.parametrize(
        ("schema", "place", "keyword"),
        [
            ({"x": 1}, "f", "x"),
            ({"properties": {"a": {}, "b": {"items": {"x": 1}}}}, "f.properties.b.items", "x"),
            ({"anyOf": [{}, {"x": 1}]}, "f.anyOf[1]", "x"),
            ({"$defs": {"d": {"x": 1}}, "$ref": "#/$defs/d"}, "f.$defs.d", "x"),
            ({"items": {"y": 1, "z": 1}}, "f.items", "y"),
            ({"enum": [{"x": 1}]}, "f", "enum"),
        ],
    )
    def test_the_innermost_schema_and_its_keyword(
        self, schema: dict[str, Any], place: str, keyword: str | None
    ) -> None:
        assert at_fault(schema, "f", self.error_of) == (place, keyword)
