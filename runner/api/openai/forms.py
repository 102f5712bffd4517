"""What an answer must look like: in OpenAI's words, in vLLM's two ways, or in llama-server's. Shapes, and how they
are read.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runner.api import forms, loading
from runner.errors import InvalidRequest, Unsupported
from runner.protocol.commands import Constraint


class JSONSchema(msgspec.Struct, kw_only=True):
    """`strict` changes nothing: the schema is kept to, or refused, in either case."""

    schema: Any = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, kw_only=True):
    """What the answer is to be, by its `type`; `schema` is how some servers say it with json_object."""

    type: str | None = None
    json_schema: JSONSchema | None = None
    schema: Any = None


class StructuredOutputs(msgspec.Struct, kw_only=True):
    """vLLM's way to ask for a form: one of these."""

    json: Any = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: Any = None


class Form(loading.Loading, kw_only=True):
    """The fields of a request that ask for a form: one of these."""

    response_format: ResponseFormat | None = None
    guided_json: Any = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    structured_outputs: StructuredOutputs | None = None
    json_schema: Any = None
    grammar: str | None = None


def asked(body: Form) -> Constraint | None:
    """The one form that is asked for, if any is. Raises InvalidRequest naming the field."""
    also = body.structured_outputs or StructuredOutputs()
    if also.structural_tag is not None:
        field = "structured_outputs.structural_tag"
        raise Unsupported(f"{field} is not supported; json, regex, choice and grammar are", field=field)
    return forms.only(
        (
            _response_format(body.response_format),
            forms.schema(body.guided_json, "guided_json"),
            forms.regex(body.guided_regex, "guided_regex"),
            forms.choice(body.guided_choice, "guided_choice"),
            forms.grammar(body.guided_grammar, "guided_grammar"),
            forms.schema(also.json, "structured_outputs.json"),
            forms.regex(also.regex, "structured_outputs.regex"),
            forms.choice(also.choice, "structured_outputs.choice"),
            forms.grammar(also.grammar, "structured_outputs.grammar"),
            forms.any_object("structured_outputs.json_object") if also.json_object else None,
            forms.schema(body.json_schema, "json_schema"),
            forms.grammar(body.grammar, "grammar"),
        )
    )


def _response_format(form: ResponseFormat | None) -> Constraint | None:
    kind = form.type if form else None
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return forms.schema(form.schema, "response_format.schema") or forms.any_object("response_format")
    if kind != "json_schema":
        raise InvalidRequest(
            "response_format.type must be text, json_object or json_schema", field="response_format.type"
        )
    field = "response_format.json_schema.schema"
    found = forms.schema(form.json_schema.schema, field) if form.json_schema else None
    if found is None:
        raise InvalidRequest(f"{field} is required", field=field)
    return found
