"""A request for a response to Runner's Chat, and to what its answer will be written with. Names the field at fault."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.api import adapters, forms, loading, values
from runner.api.body import to_json
from runner.api.openai.responses import tools, wire
from runner.api.openai.responses.store import Kept, ResponseStore
from runner.api.openai.responses.turns import Turns, with_id
from runner.conversation import Message
from runner.errors import InvalidRequest, UnknownResponse
from runner.inference.requests import MOST_ALTERNATIVES, Chat
from runner.protocol.commands import Constraint

_MOST_TOKENS = 2**31 - 1
_LOGPROBS, _THOUGHTS = "message.output_text.logprobs", "reasoning.encrypted_content"
_SUMMARIES = ("auto", "concise", "detailed")

_decoder = msgspec.json.Decoder(wire.Item)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, and what the answer depends on. `before` and `items` are the conversation up to here;
    `items`, which are this request's own, only where they are to be kept."""

    chat: Chat
    toolbox: tools.Toolbox
    before: tuple[Kept, ...]
    items: tuple[Kept, ...]
    store: bool
    wants_summary: bool
    wants_thoughts: bool  # sealed in an item, so that a client that keeps nothing else of a thought gives it back


def read(body: wire.CountRequest, store: ResponseStore) -> Asked:
    """Raises InvalidRequest naming the field; `store` is where earlier answers and items are looked up."""
    values.refuse(body, wire.FIELDS["/v1/responses"].later)
    model = values.required(body.model, "model")
    before = _before(body.previous_response_id, store)
    items = [_found(item, store, f"input[{index}].id") for index, item in enumerate(_items(body.input))]
    toolbox = tools.read(_tools(body.tools, [item for item, _ in items]))
    specs, choice = tools.choose(body.tool_choice, body.parallel_tool_calls, toolbox)
    include = frozenset(body.include or ())
    summary = body.reasoning.summary if body.reasoning else None
    if summary not in (None, "none", *_SUMMARIES):
        raise InvalidRequest("reasoning.summary must be auto, concise or detailed", field="reasoning.summary")
    keeps = body.store is not False and store.is_on
    chat = Chat(
        model=model,
        messages=_messages(body.instructions, before, [item for item, _ in items]),
        tools=specs,
        tool_choice=choice,
        think=values.think(body.reasoning.effort, "reasoning.effort") if body.reasoning else None,
        options=_options(body),
        keep_alive=values.keep_alive(body.keep_alive),
        priority=values.priority(body.service_tier, None),
        truncate=_truncates(body.truncation),
        logprobs=_logprobs(body.top_logprobs, _LOGPROBS in include),
        constraint=_form(body.text),
        lora=adapters.read(body.lora),
    )
    return Asked(
        chat=chat,
        toolbox=toolbox,
        before=before,
        items=tuple(kept or Kept(item.id or "", to_json(item)) for item, kept in items) if keeps else (),
        store=keeps,
        wants_summary=summary in _SUMMARIES,
        wants_thoughts=_THOUGHTS in include,
    )


def _before(previous: str | None, store: ResponseStore) -> tuple[Kept, ...]:
    if not previous:
        return ()
    record = store.find(previous)
    if record is None:
        raise UnknownResponse(previous)
    return record.conversation


def _items(given: str | list[wire.Item] | None) -> list[wire.Item]:
    if isinstance(given, str):
        return [wire.Item(role="user", content=given)]
    if not given:
        raise InvalidRequest("input must be a text or a list of at least one item", field="input")
    return given


def _found(item: wire.Item, store: ResponseStore, field: str) -> tuple[wire.Item, Kept | None]:
    """An item with an id; for a reference, what it refers to, and how that is kept."""
    if item.type != "item_reference" and (item.type or item.role or not item.id):
        return with_id(item), None
    kept = store.item(item.id or "")
    if kept is None:
        raise InvalidRequest(f"{field}: there is no item {(item.id or '')[:100]!r}", field=field)
    return _decoder.decode(kept.json), kept


def _tools(given: list[wire.Tool] | None, items: Iterable[wire.Item]) -> Iterable[tuple[str, wire.Tool]]:
    """Those of the request, and those that items bring along, each with its field."""
    for index, tool in enumerate(given or ()):
        yield f"tools[{index}]", tool
    for place, item in enumerate(items):
        if item.type == "additional_tools":
            for index, tool in enumerate(item.tools or ()):
                yield f"input[{place}].tools[{index}]", tool


def _messages(instructions: str | None, before: Iterable[Kept], items: Iterable[wire.Item]) -> tuple[Message, ...]:
    turns = Turns()
    if instructions:
        turns.add(wire.Item(role="system", content=instructions), "instructions")
    for kept in before:
        item = _decoder.decode(kept.json)
        # What was cut short can be shown as text, but a call whose arguments are no JSON can't be rendered.
        if item.type != "function_call" or item.status != "incomplete":
            turns.add(item, "previous_response_id")
    for index, item in enumerate(items):
        turns.add(item, f"input[{index}]")
    return turns.take()


def _options(body: wire.CountRequest) -> Mapping[str, Any]:
    given = {ours: getattr(body, theirs) for theirs, ours in wire.OPTIONS.items()}
    options = loading.options(body) | {name: value for name, value in given.items() if value is not None}
    if body.stop:
        options["stop"] = [body.stop] if isinstance(body.stop, str) else body.stop
    if body.max_output_tokens is not None:
        options["num_predict"] = values.between(body.max_output_tokens, "max_output_tokens", 1, _MOST_TOKENS)
    return options


def _truncates(value: str | None) -> bool:
    if value not in (None, "auto", "disabled"):
        raise InvalidRequest("truncation must be auto or disabled", field="truncation")
    return value == "auto"


def _logprobs(top: int | None, included: bool) -> int | None:
    top = values.between(top, "top_logprobs", 0, MOST_ALTERNATIVES) or 0
    return top if top or included else None


def _form(text: wire.TextConfig | None) -> Constraint | None:
    form = text.format if text else None
    if form is None or form.type in (None, "text"):
        return None
    if form.type == "json_object":
        return forms.any_object("text.format")
    if form.type != "json_schema":
        raise InvalidRequest("text.format.type must be text, json_object or json_schema", field="text.format.type")
    found = forms.schema(form.schema, "text.format.schema")
    if found is None:
        raise InvalidRequest("text.format.schema is required", field="text.format.schema")
    return found
