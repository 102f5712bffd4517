"""Tools that are offered to the model, and the calls it makes: read from a file, told to the user.

Runs none of them; the user types what they give.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runner.cli.client import Json
from runner.cli.failures import Failure


def offered(path: Path) -> list[Json]:
    """The tools that a JSON file describes: a list, or `tools` of an object; each as the APIs take it, or bare."""
    try:
        given = json.loads(path.read_bytes())
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise Failure(f"{path} is no JSON: {error}") from None
    if isinstance(given, dict):
        given = given.get("tools", [given])
    if not isinstance(given, list) or not given:
        raise Failure(f"{path} holds no tools; it must be a list of functions")
    return [_tool(each, f"{path}: tool {place}") for place, each in enumerate(given, 1)]


def _tool(given: Any, at: str) -> Json:
    function = given.get("function", given) if isinstance(given, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise Failure(f"{at} has no name; a tool is a function with name, description and parameters")
    return {"type": "function", "function": function}


def name_of(call: Json) -> str:
    """The function that is called."""
    return str((call.get("function") or {}).get("name") or "")


def told(call: Json) -> str:
    """A call on one line."""
    arguments = (call.get("function") or {}).get("arguments") or {}
    return f"Calls {name_of(call)} {json.dumps(arguments, ensure_ascii=False)}"


def result(call: Json, text: str) -> Json:
    """The message that answers a call."""
    message: Json = {"role": "tool", "content": text, "tool_name": name_of(call)}
    if call.get("id"):
        message["tool_call_id"] = call["id"]
    return message
