"""Constraints of every kind as what llguidance compiles: one grammar text, of bounded size.

Text to text. Runs in the trial's process (`runner.engine.trial`), never on a stranger's text in the worker itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from llguidance import LLMatcher, LLParserLimits
from llguidance.gbnf_to_lark import gbnf_to_lark

from runner.engine import demand, schema
from runner.errors import InvalidRequest, Unsupported
from runner.protocol.commands import CONSTRAINT_LIMIT, Constraint

LIMITS = LLParserLimits(max_lexer_states=50_000, verbose_errors=False)  # 2 kB a state
MOST_CHOICES = 10_000
MOST_RULES = 500

# One way to write each value. With blanks at will, a small model drifts off into them; this is how most JSON that
# models have seen on one line is written.
_STYLE: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}

# A text that can only go on, and for ever, is one that llguidance would follow without end to see what must come next.
# Schemas and regular expressions always come to an end; of grammars nobody knows.
_ASK = '\n%llguidance {"no_forcing": true}\n'

# What may hold any character without meaning anything: strings, regular expressions, comments.
_LITERALS = re.compile(r'"(?:\\.|[^"\\\n])*"|/(?:\\.|[^/\\\n])+/|(?://|#)[^\n]*')
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|.)", re.DOTALL)


def source(constraint: Constraint) -> str:
    """The grammar as text for llguidance. Raises InvalidRequest naming the field, for what can be seen in the text."""
    text, field = constraint.text, constraint.field
    check_size(constraint)
    match constraint.kind:
        case "json":
            return of_schema({"type": "object"})
        case "schema":
            return of_schema(schema.prepared(decoded_schema(constraint), field))
        case "regex":
            if not text:
                raise InvalidRequest(f"{field} must not be empty", field=field)
            return LLMatcher.grammar_from_regex(text)
        case "choice":
            return _of_choice(text, field)
        case "lark":
            return _of_lark(text, field)
        case "gbnf":
            return _of_gbnf(text, field)
        case "calls":
            return of_calls(demand.read(text), {})


def check_size(constraint: Constraint) -> None:
    """Raise InvalidRequest for a text that is too long to look at."""
    size = len(constraint.text.encode("utf-8", "replace"))
    limit = demand.LIMIT if constraint.kind == "calls" else CONSTRAINT_LIMIT
    if size > limit:
        raise InvalidRequest(f"{constraint.field} has {size} bytes, and {limit} are allowed", field=constraint.field)


def decoded_schema(constraint: Constraint) -> object:
    """The schema as a value. Raises InvalidRequest when the text is no JSON."""
    try:
        return msgspec.json.decode(constraint.text)
    except RecursionError:
        raise InvalidRequest(f"{constraint.field} is nested too deeply", field=constraint.field) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{constraint.field} is not JSON: {error}", field=constraint.field) from None


def of_schema(prepared: schema.Schema) -> str:
    """The grammar of a schema's values. Raises ValueError when a number in it is none that can be written."""
    return LLMatcher.grammar_from_json_schema(msgspec.json.encode(prepared).decode(), overrides=_STYLE)


def of_calls(demanded: demand.Demand, ids: Mapping[str, int]) -> str:
    """The grammar of calls; `ids` are the tokens of the markers that are tokens of their own."""
    return LLMatcher.grammar_from_lark(demand.lark(demanded, ids))


def _of_choice(text: str, field: str) -> str:
    try:
        choices = msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError:
        raise InvalidRequest(f"{field} must be a list of strings", field=field) from None
    if not 1 <= len(choices) <= MOST_CHOICES:
        raise InvalidRequest(f"{field} must hold 1 to {MOST_CHOICES} choices, not {len(choices)}", field=field)
    written = " | ".join(json.dumps(choice, ensure_ascii=False) for choice in dict.fromkeys(choices))
    return LLMatcher.grammar_from_lark(f"start: CHOICE\nCHOICE: {written}")


def _of_lark(text: str, field: str) -> str:
    if "<" in _LITERALS.sub("", text):
        raise Unsupported(f"{field}: a grammar describes text; special tokens (<...>) have no place in it", field=field)
    return LLMatcher.grammar_from_lark(text + _ASK)


def _of_gbnf(text: str, field: str) -> str:
    if text.count("::=") > MOST_RULES:
        raise InvalidRequest(f"{field}: a GBNF grammar may have {MOST_RULES} rules", field=field)
    try:
        lark = gbnf_to_lark(_ESCAPED.sub(_plain_escape, text))
    except RecursionError:
        raise InvalidRequest(f"{field} is nested too deeply", field=field) from None
    except Exception as error:  # noqa: BLE001 -- the converter raises nothing narrower for a rule that isn't there
        raise InvalidRequest(f"{field} is no GBNF grammar: {error}", field=field) from None
    return LLMatcher.grammar_from_lark(lark + _ASK)


def _plain_escape(escape: re.Match[str]) -> str:
    """`\\u0041` as a character that the converter takes as it stands; every other escape as it is."""
    digits = escape[1] or escape[2]
    if digits is None:
        return escape[0]
    code = int(digits, 16)
    if code < 0x80:
        return f"\\x{code:02x}"
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else escape[0]
