"""The grammar of a call that is demanded: the frame of the model's own format, and the schemas of the tools.

What it allows, `reply` reads back as calls whose arguments keep to the schema. Text to text; runs in the trial's
process and, with the ids of the vocabulary's markers, in the worker.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from runner.conversation import ToolSpec
from runner.engine import schema
from runner.errors import InvalidRequest
from runner.formats import CallFormat, markers_in

LIMIT = 512 * 1024  # bytes of all schemas together
_SCHEMA = "function.parameters"
_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_META = frozenset("\\/.^$*+?()[]{}|")


class Offer(msgspec.Struct, frozen=True):
    """A tool that may be called, and where it stands among the request's tools."""

    place: int
    tool: ToolSpec


class Demand(msgspec.Struct, frozen=True):
    """One call of one of these tools, or with `several` one and more."""

    form: CallFormat
    offers: tuple[Offer, ...]
    several: bool


def written(demand: Demand) -> str:
    """As the text of a constraint."""
    return msgspec.json.encode(demand).decode()


def read(text: str) -> Demand:
    """What `written` wrote."""
    return msgspec.json.decode(text, type=Demand)


def field_of(offer: Offer) -> str:
    """Where the request has the schema of a tool."""
    return f"tools[{offer.place}].{_SCHEMA}"


def parameters(offer: Offer) -> schema.Schema:
    """The schema of a tool's arguments as grammars are made of it. Raises InvalidRequest naming tool and keyword."""
    own: schema.Schema = {"type": "object"} | offer.tool.parameters
    if own["type"] != "object":
        raise InvalidRequest(f"{field_of(offer)}: the parameters of a tool are an object", field=field_of(offer))
    return schema.prepared(own, field_of(offer))


def lark(demand: Demand, ids: Mapping[str, int]) -> str:
    """The grammar, with the markers that are tokens of their own (`ids`) as such. Raises InvalidRequest."""
    return _Writer(demand, ids).text()


class _Writer:
    """Puts the grammar together, rule by rule."""

    def __init__(self, demand: Demand, ids: Mapping[str, int]) -> None:
        self._demand = demand
        self._form = demand.form
        self._ids = ids
        self._rules: list[str] = []

    def text(self) -> str:
        form = self._form
        shapes: dict[str, Callable[[str, Offer], str]] = {
            "json": self._object,
            "named": self._named,
            "tagged": self._tagged,
            "python": self._python,
            "braces": self._braces,
            "channels": self._message,
        }
        calls = [shapes[form.shape](f"call{number}", offer) for number, offer in enumerate(self._demand.offers)]
        self._rule("call", " | ".join(calls))
        self._rule("start", self._start())
        return "\n".join(self._rules) + "\n"

    # -- the frame

    def _start(self) -> str:
        form = self._form
        if form.shape == "json":
            return self._objects()
        if form.shape == "python":
            return f"{self._spelt(form.opening + '[')} {self._more('call', ', ')} {self._spelt(']' + form.closing)}"
        if form.shape == "channels":
            return "thought? call"
        first, last, *_ = (*form.section, "", "")
        if form.is_each:
            self._rule("framed", f"{self._spelt(first + chr(10))} call {self._spelt(chr(10) + last)}")
            return self._more("framed", "\n")
        pad = "\n" if form.shape == "tagged" and first else ""
        calls = self._more("call", form.separator)
        if form.is_first_open:
            self._rule("opened", f"{self._spelt(form.opening)} call")
            calls = "call opened*" if self._demand.several else "call"
        return f"{self._spelt(first + pad)} {calls} {self._spelt(pad + last)}"

    def _objects(self) -> str:
        form = self._form
        pad = "\n" if form.is_padded or form.opening.endswith("json") else ""
        opening, closing = self._spelt(form.opening + pad), self._spelt(pad + form.closing)
        if form.is_list:
            return f"{opening} {_quoted('[')} {self._more('call', ', ')} {_quoted(']')} {closing}"
        if form.may_be_bare and not form.closing:
            return "call"
        if form.separator:
            return f"{opening} {self._more('call', form.separator)} {closing}"
        self._rule("framed", f"{opening} call {closing}")
        return self._more("framed", "\n") if form.closing else "framed"

    def _more(self, rule: str, separator: str) -> str:
        if not self._demand.several:
            return rule
        return f"{rule} ({_quoted(separator)} {rule})*" if separator else f"{rule}+"

    # -- the call of one tool

    def _object(self, rule: str, offer: Offer) -> str:
        form, name = self._form, json.dumps(offer.tool.name, ensure_ascii=False)
        arguments = self._json(f"{rule}_arguments", parameters(offer))
        head = f'{{"{form.name_key}": {name}, "{form.arguments_key}": ' if form.name_key else f"{{{name}: "
        return self._rule(rule, f"{_quoted(head)} {arguments} {_quoted('}')}")

    def _named(self, rule: str, offer: Offer) -> str:
        form = self._form
        opening = "" if form.is_first_open else form.opening
        arguments = self._json(f"{rule}_arguments", parameters(offer))
        number = "/[0-9]{1,3}/ " if form.ids == "heading" else ""
        after = form.after_name if form.ids == "heading" else ""
        head = self._spelt(f"{opening}{form.lead}{form.before_name}{offer.tool.name}{after}")
        return self._rule(rule, f"{head} {number}{self._spelt(form.name_end)} {arguments} {self._spelt(form.closing)}")

    def _message(self, rule: str, offer: Offer) -> str:
        if not any(line.startswith("thought:") for line in self._rules):
            before = self._spelt("<|channel|>analysis<|message|>")
            self._rule("thought", f"{before} {self._text_before('<|end|>')} {self._spelt('<|start|>assistant')}")
        head = f"<|channel|>commentary to=functions.{offer.tool.name} <|constrain|>json<|message|>"
        return self._rule(rule, f"{self._spelt(head)} {self._json(f'{rule}_arguments', parameters(offer))}")

    def _tagged(self, rule: str, offer: Offer) -> str:
        form = self._form
        inner = "\n" if form.is_padded else ""
        gap = self._gap()

        def element(name: str, key: str, node: Any, defined: dict[str, Any]) -> str:
            head = self._spelt(f"{form.key_open}{key}{form.key_end}{self._attributes(node)}")
            if form.value_open:
                between = gap if form.value_open.startswith("<") else ""  # of two elements
                head = f"{head} {between} {self._spelt(form.value_open)}"
            if inner:
                head = f"{head} {_quoted(inner)}"
            close = f"{inner}{form.value_close}"
            if _types(node) == {"string"}:
                return f"{head} {self._plain(name, node, close)} {gap}"
            return f"{head} {self._json(name, node, defined)} {self._spelt(close)} {gap}"

        head = self._spelt(f"{form.opening}{offer.tool.name}{form.name_end}")
        elements = self._arguments(rule, offer, element, "")
        return self._rule(rule, f"{head} {gap} {elements} {self._spelt(form.closing)}")

    def _gap(self) -> str:
        """A line break between elements, where the model writes one."""
        if not any(rule.startswith("gap:") for rule in self._rules):
            self._rule("gap", '("\\n")?')
        return "gap"

    def _attributes(self, node: Any) -> str:
        """What an element says of its value, where the format wants it to."""
        if not self._form.has_types:
            return ""
        return ' string="true"' if _types(node) == {"string"} else ' string="false"'

    def _python(self, rule: str, offer: Offer) -> str:
        def argument(name: str, key: str, node: Any, defined: dict[str, Any]) -> str:
            return f"{_quoted(f'{key}=')} {self._json(name, node, defined)}"

        for key in _properties(offer):
            if not key.isidentifier():
                self._refuse(offer, f'the name "{key}" is no word that can be written before an equals sign')
        arguments = self._arguments(rule, offer, argument, ", ")
        return self._rule(rule, f"{_quoted(f'{offer.tool.name}(')} {arguments} {_quoted(')')}")

    def _braces(self, rule: str, offer: Offer) -> str:
        form = self._form

        def argument(name: str, key: str, node: Any, defined: dict[str, Any]) -> str:
            head = _quoted(f"{key}:")
            if _types(node) == {"string"}:
                return f"{head} {self._spelt(form.quote)} {self._plain(name, node, form.quote)}"
            return f"{head} {self._json(name, node, defined)}"

        arguments = self._arguments(rule, offer, argument, ",")
        head = self._spelt(f"{form.opening}{offer.tool.name}{form.name_end}")
        return self._rule(rule, f"{head} {arguments} {self._spelt('}' + form.closing)}")

    def _arguments(
        self, rule: str, offer: Offer, one: Callable[[str, str, Any, dict[str, Any]], str], separator: str
    ) -> str:
        """The arguments one by one, in the schema's order, those that aren't required with a choice."""
        node = parameters(offer)
        required = node.get("required", [])
        defined: dict[str, Any] = {key: value for key, value in node.items() if key in ("$defs", "definitions")}
        first, further = [f"{rule}_first{len(_properties(offer))}"], [f"{rule}_further{len(_properties(offer))}"]
        self._rule(first[0], '""')
        self._rule(further[0], '""')
        keys = list(_properties(offer).items())
        for index, (key, value) in reversed(list(enumerate(keys))):
            name = f"{rule}_value{index}"
            self._rule(f"{rule}_argument{index}", one(name, key, value, defined))
            after = f"{rule}_argument{index} {further[0]}"
            skip_first, skip_further = ("", "") if key in required else (f" | {first[0]}", f" | {further[0]}")
            sep = f"{_quoted(separator)} " if separator else ""
            first.insert(0, self._rule(f"{rule}_first{index}", after + skip_first))
            further.insert(0, self._rule(f"{rule}_further{index}", sep + after + skip_further))
        return first[0]

    # -- values

    def _json(self, rule: str, node: Any, defined: Mapping[str, Any] | None = None) -> str:
        body = dict(node) if isinstance(node, dict) else {}
        if node is False:
            body = {"enum": []}
        body = dict(defined or {}) | body | {"x-guidance": _STYLE}
        return self._rule(rule, f"%json {json.dumps(body, ensure_ascii=True)}")

    def _plain(self, rule: str, node: Any, close: str) -> str:
        """A text as it stands, with what closes it."""
        if known := [each for each in _known(node) if isinstance(each, str)]:
            return f"({' | '.join(map(_quoted, known))}) {self._spelt(close)}"
        most = node.get("maxLength")
        return self._text_before(close, f"{{{node.get('minLength', 0)},{'' if most is None else most}}}")

    def _text_before(self, close: str, times: str = "*") -> str:
        """Any text up to what closes it, and that. A line break before the closing is up to the model."""
        bare = close.lstrip("\n")
        first = next(iter(markers_in(bare)), "")
        rule = f"text{len(self._rules)}"
        if first in self._ids and bare.startswith(first):
            return f"{self._rule(rule, f'/(?s:.{times})/')} {self._spelt(bare)}"
        marker = bare.rstrip("\n")
        pad = r"\n?" if self._form.is_padded else ""
        pattern = f"/(?s:.{times}){pad}{_regex(marker)}/"
        if self._form.has_cdata:
            pattern += r" & ~/<!\[CDATA\[(?s:.*)/"
        self._rule(f"{rule}[lazy]", pattern)
        return f"{rule} {self._spelt(bare[len(marker) :])}"

    # -- spelling

    def _rule(self, name: str, body: str) -> str:
        self._rules.append(f"{name}: {body}")
        return name

    def _spelt(self, text: str) -> str:
        """A fixed text: what is a token of its own as such."""
        return " ".join(self._pieces(text)) or '""'

    def _pieces(self, text: str) -> Iterator[str]:
        rest = text
        for marker in markers_in(text):
            if marker in self._ids:
                before, _, rest = rest.partition(marker)
                if before:
                    yield _quoted(before)
                yield f"<[{self._ids[marker]}]>"
        if rest:
            yield _quoted(rest)

    def _refuse(self, offer: Offer, why: str) -> None:
        field = field_of(offer)
        raise InvalidRequest(f"{field}: {why}, as this model's calls would need it", field=field)


def _properties(offer: Offer) -> dict[str, Any]:
    """The properties of a tool whose arguments are written one by one. Raises InvalidRequest where that can't be."""
    node = parameters(offer)
    field = field_of(offer)
    for keyword in ("$ref", "allOf", "anyOf", "oneOf", "enum", "const", "patternProperties", "minProperties"):
        if keyword in node:
            raise InvalidRequest(
                f"{field}.{keyword} cannot be honoured in the way in which this model writes calls",
                field=f"{field}.{keyword}",
            )
    properties, required = node.get("properties", {}), node.get("required", [])
    if (
        not isinstance(properties, dict)
        or not isinstance(required, list)
        or not all(isinstance(each, str) and each in properties for each in required)
    ):
        raise InvalidRequest(f"{field} requires what is none of its properties", field=field)
    for name, each in properties.items():
        for keyword in ("pattern", "format") if _types(each) == {"string"} else ():
            if keyword in each:
                raise InvalidRequest(
                    f"{field}.properties.{name}.{keyword} cannot be honoured in the way in which this model writes "
                    "texts",
                    field=f"{field}.properties.{name}.{keyword}",
                )
    return properties


def _types(node: Any) -> set[str]:
    if not isinstance(node, dict):
        return set()
    types = node.get("type")
    if types is None:
        known = _known(node)
        return {"string"} if known and all(isinstance(each, str) for each in known) else set()
    return {each for each in (types if isinstance(types, list) else [types]) if isinstance(each, str)}


def _known(node: dict[str, Any]) -> list[Any]:
    """The values that a schema lists, if it does."""
    if "const" in node:
        return [node["const"]]
    return node["enum"] if isinstance(node.get("enum"), list) else []


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _regex(text: str) -> str:
    return "".join(f"\\{char}" if char in _META else char for char in text)
