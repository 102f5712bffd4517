"""/openapi.json: an OpenAPI 3.1 document, made from the structs that validate and the application's own routes.

Knows no endpoint by name; what is said of one stands in its dialect's tables.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from runner import __version__
from runner.api.body import json_response, to_json
from runner.api.dialects import DIALECTS, dialect_of
from runner.api.fields import Answers, Dialect, Fields

_PARAMETER = re.compile(r"\{(\w+)\}")
_EMPTY = "null, false, an empty text, list or object"
_UPLOADS = frozenset({"/api/blobs/{digest}"})
_KEYLESS = frozenset({"/", "/health", "/livez"})
_PAGE = ("/page/", "/favicon.ico")  # the web page's own, which change with it
_HEADERS = {
    "x-should-retry": ("whether another try may end better: true or false", "string"),
    "Retry-After": ("seconds after which to try again", "integer"),
    "retry-after-ms": ("the same in milliseconds", "integer"),
}
_DESCRIPTION = (
    "One server in several dialects. Fields that a body does not list are ignored and counted. A request without "
    "`stream` has the dialect's own default."
)


class OpenAPI:
    """The endpoint. The document is made when somebody first asks for it."""

    def __init__(self) -> None:
        self._made: bytes | None = None

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (web.get("/openapi.json", self.openapi),)

    async def openapi(self, request: web.Request) -> web.Response:
        """Every endpoint, field and answer, as OpenAPI 3.1."""
        if self._made is None:
            routes = list(request.app.router.routes())
            self._made = await asyncio.to_thread(lambda: to_json(document(routes)))
        return json_response(self._made)


def document(routes: Iterable[web.AbstractRoute]) -> dict[str, Any]:
    """The whole document, for these routes."""
    written = {dialect.name: _Written(dialect) for dialect in DIALECTS}
    paths: dict[str, dict[str, Any]] = {}
    for path, method, route in _operations(routes):
        dialect = dialect_of(path) or DIALECTS[-1]
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, route, written[dialect.name])
    return {
        "openapi": "3.1.0",
        "info": {"title": "Runner", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"key": []}, {}],
        "tags": [{"name": dialect.name, "description": f"{dialect.title} endpoints"} for dialect in DIALECTS],
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "where RUNNER_API_KEY is set"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "the same key"},
            },
            "schemas": {name: schema for each in written.values() for name, schema in each.schemas.items()},
            "responses": {f"{name}.Error": _failure(each) for name, each in written.items()},
        },
    }


class _Written:
    """A dialect's structs as JSON Schema. `schemas` are all of them, each by its dialect's name and its own."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        kinds: list[Any] = [dialect.error, *(fields.body for fields in dialect.fields.values())]
        for answers in dialect.answers.values():
            kinds += [*_each(answers.whole), *_each(answers.event)]
        template = f"#/components/schemas/{dialect.name}." + "{name}"
        written, components = msgspec.json.schema_components(kinds, ref_template=template)
        self._references = dict(zip(kinds, written, strict=True))
        self.schemas = {f"{dialect.name}.{name}": schema for name, schema in components.items()}
        for schema in self.schemas.values():
            if "description" in schema:
                schema["description"] = inspect.cleandoc(schema["description"])
        for fields in dialect.fields.values():
            _annotate(self.schemas[self.of(fields.body)["$ref"].rpartition("/")[2]], fields)

    def of(self, kinds: Any) -> dict[str, Any]:
        """The schema of a type, or of any of several: for structs a reference."""
        found = [self._references[kind] for kind in _each(kinds)]
        return found[0] if len(found) == 1 else {"anyOf": found}


def _each(kinds: Any) -> tuple[Any, ...]:
    """The types that JSON of an answer may have; none where it isn't JSON."""
    if kinds is None or isinstance(kinds, str):
        return ()
    return kinds if isinstance(kinds, tuple) else (kinds,)


def _annotate(schema: dict[str, Any], fields: Fields) -> None:
    """Say of a body's fields what becomes of them."""
    properties = schema["properties"]
    for name, note in fields.notes.items():
        if name in properties:
            properties[name] = properties[name] | {"description": note}
    for name, neutral in fields.later.items():
        also = "".join(f", {to_json(value).decode()}" for value in neutral)
        properties[name] = {"description": f"not supported yet: refused unless {_EMPTY}{also}"}
    for name, reason in fields.ignored.items():
        if "." not in name:  # others are of a nested struct, which other bodies may share
            properties[name] = {"description": f"ignored: {reason}"}


def _operations(routes: Iterable[web.AbstractRoute]) -> Iterable[tuple[str, str, web.AbstractRoute]]:
    """Path patterns and methods; not the HEAD that every GET brings along."""
    found = {(route.resource.canonical, route.method): route for route in routes if route.resource is not None}
    for (path, method), route in found.items():
        if not path.startswith(_PAGE) and (method != "HEAD" or (path, "GET") not in found):
            yield path, method, route


def _operation(path: str, method: str, route: web.AbstractRoute, written: _Written) -> dict[str, Any]:
    dialect = written.dialect
    own = dialect.aliases.get(path, path)
    fields, answers = dialect.fields.get(own), dialect.answers.get(own, Answers())
    summary, _, more = (inspect.getdoc(route.handler) or "").partition("\n\n")
    said: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_"),
        "summary": " ".join(summary.split()),
        "tags": [dialect.name],
    }
    if more:
        said["description"] = more
    if path in _KEYLESS:
        said["security"] = []
    if names := _PARAMETER.findall(path):
        said["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if fields is not None:
        said["requestBody"] = _body("application/json", written.of(fields.body))
    elif method == "POST" and path in _UPLOADS:
        said["requestBody"] = _body("application/octet-stream", {"type": "string", "format": "binary"})
    content = {} if method == "HEAD" else _content(written, answers)
    success = {"description": "success", "content": content} if content else {"description": "success"}
    failure = {"$ref": f"#/components/responses/{dialect.name}.Error"}
    return said | {"responses": {**{str(status): success for status in answers.status}, "default": failure}}


def _body(media_type: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"required": True, "content": {media_type: {"schema": schema}}}


def _content(written: _Written, answers: Answers) -> dict[str, Any]:
    if isinstance(answers.whole, str):
        return {answers.whole: {"schema": {"type": "string"}}}
    content = {"application/json": _each(answers.whole)} if answers.whole is not None else {}
    if answers.event is not None:  # or an error, where the answer breaks off
        content[written.dialect.streams] = (*_each(answers.event), written.dialect.error)
    return {media_type: {"schema": written.of(kinds)} for media_type, kinds in content.items()}


def _failure(written: _Written) -> Mapping[str, Any]:
    return {
        "description": "what went wrong",
        "headers": {name: {"description": text, "schema": {"type": kind}} for name, (text, kind) in _HEADERS.items()},
        "content": {"application/json": {"schema": written.of(written.dialect.error)}},
    }
