"""A conversation that outlives its prompt: as a model, as a file to go on from, or as a file to read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from runner.cli import abilities, answer
from runner.cli.answer import Answer
from runner.cli.chat.calls import told
from runner.cli.chat.session import Session
from runner.cli.client import Client, Json
from runner.cli.failures import Failure, Refused

_ROLES = {"system": "System", "user": "You", "assistant": "Model", "tool": "Result"}
_KEPT = ("model", "system", "options", "think", "form", "tools", "messages")
_VERSION = 1
_SPOKEN = ("system", "user", "assistant")  # what a Modelfile's MESSAGE can hold


def save(client: Client, session: Session, name: str) -> str:
    """Make the model `name` of the session's model and of what was set and said; gives the sentence to show."""
    parent = client.post("/api/show", {"model": session.model})
    earlier = [{"role": each["role"], "content": each["content"]} for each in parent.get("messages") or ()]
    said = [
        {"role": each["role"], "content": each["content"]}
        for each in session.messages
        if each["role"] in _SPOKEN and each["content"]
    ]
    chosen = {"system": session.system, "parameters": session.options, "messages": [*earlier, *said]}
    body: Json = {"model": name, "from": session.model, "stream": True} | {key: it for key, it in chosen.items() if it}
    with client.stream("/api/create", body, lambda update: update.get("status") == "success") as updates:
        for _ in updates:
            pass
    left = len(session.messages) - len(said) + sum(bool(each.get("images")) for each in session.messages)
    note = "; pictures and tool calls are left out" if left else ""
    return f"Created {name}, which goes on from here{note}."


def use(client: Client, session: Session, model: str) -> str:
    """Talk with `model` from now on; it is pulled when it isn't there, and loaded. Gives the sentence to show.

    Raises Failure, and then nothing is changed.
    """
    _change(client, session, model)
    return f"Talking with {model}.{_fit(session)}"


def _change(client: Client, session: Session, model: str) -> None:
    can = abilities.of(client, model)
    if abilities.only_embeds(can):
        raise Failure(f"{model!r} turns texts into vectors; it can't chat")
    request = {**session.load(), "model": model}
    if "thinking" not in can:
        request.pop("think", None)
    with client.stream("/api/chat", request, answer.is_last) as updates:
        answer.collect(updates, Answer())
    session.model, session.abilities, session.think = model, can, request.get("think")


def _fit(session: Session) -> str:
    """Take away what the model can't be given, and say so; pictures are kept for a model that sees them."""
    notes = ""
    if session.tools and session.abilities and "tools" not in session.abilities:
        session.tools = []
        notes += " It calls no tools, so none are offered any more."
    if not session.shows_pictures and any(each.get("images") for each in session.messages):
        notes += " It sees no pictures, so those that were shown are left out."
    return notes


def is_file(name: str) -> bool:
    """True for what names a session in a file and no model."""
    return name.endswith(".json")


def load(client: Client, session: Session, name: str) -> str:
    """Go on with a session from a file, or begin anew with a model; gives the sentence to show."""
    if not is_file(name):
        if Path(name).expanduser().is_file() and not _is_stored(client, name):
            raise Failure(f"{name} is a file that can't be loaded; only what /export wrote as .json can be")
        _change(client, session, name)
        session.messages.clear()
        session.unanswered = None
        return f"Talking with {name}.{_fit(session)}"
    kept = _read(Path(name).expanduser())
    _change(client, session, kept["model"])
    for part in _KEPT[1:]:
        if part != "think" or "thinking" in session.abilities:
            setattr(session, part, kept[part])
    session.unanswered = None
    return f"Talking with {session.model}; {len(session.messages)} messages were said before.{_fit(session)}"


def _is_stored(client: Client, name: str) -> bool:
    """True for a model that is there: a file that happens to have its name doesn't hide it."""
    try:
        client.post("/api/show", {"model": name})
    except Refused:
        return False
    return True


def export(session: Session, name: str) -> str:
    """Write the conversation to a new file: `.json` can be loaded again, all else is Markdown."""
    path = Path(name).expanduser()
    text = _as_json(session) if is_file(name) else _as_markdown(session)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Failure(f"{path} is there already; nothing is written over it") from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}") from None
    return f"Wrote {len(session.messages)} messages to {path}."


def _as_json(session: Session) -> str:
    kept = {part: getattr(session, part) for part in _KEPT}
    return json.dumps({"version": _VERSION, **kept}, ensure_ascii=False, indent=2) + "\n"


def _as_markdown(session: Session) -> str:
    parts = [f"# Chat with {session.model}"]
    if session.system:
        parts += ["## System", session.system]
    for message in session.messages:
        parts.append(f"## {_ROLES[message['role']]}")
        if message.get("images"):
            parts.append(f"*({len(message['images'])} image(s))*")
        parts += [part for part in (message["content"], *map(told, message.get("tool_calls") or ())) if part]
    return "\n\n".join(parts) + "\n"


def _read(path: Path) -> Json:
    """A session as `_as_json` wrote it. Raises Failure naming what is wrong."""
    try:
        kept = json.loads(path.read_bytes())
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise Failure(f"{path} is no JSON: {error}") from None
    if not isinstance(kept, dict) or kept.get("version") != _VERSION or not isinstance(kept.get("model"), str):
        raise Failure(f"{path} is no session that /export wrote")
    found = {part: kept.get(part) for part in _KEPT}
    found["options"], found["tools"] = found["options"] or {}, found["tools"] or []
    messages = found["messages"] or []
    if not _fits(found) or not isinstance(messages, list) or not all(map(_is_message, messages)):
        raise Failure(f"{path} is no session that /export wrote")
    found["messages"] = messages
    return found


def _fits(found: Json) -> bool:
    return (
        isinstance(found["system"], str | None)
        and isinstance(found["options"], dict)
        and isinstance(found["think"], bool | str | None)
        and isinstance(found["form"], str | dict | None)
        and isinstance(found["tools"], list)
    )


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") in _ROLES and isinstance(message.get("content"), str)
