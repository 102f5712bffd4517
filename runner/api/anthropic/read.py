"""Anthropic's JSON to Runner's requests. Checks shapes and names the field at fault; what options mean, others know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from runner.api import adapters, forms, loading, values
from runner.api.anthropic import tools, turns, wire
from runner.conversation import ThinkLevel
from runner.errors import InvalidRequest
from runner.inference.requests import Chat
from runner.protocol.commands import Constraint

_OPEN = ("adaptive", "between_tools")  # whether to think is left to the model


def messages(body: wire.MessagesRequest, *, can_think: bool) -> Chat:
    """`can_think` says whether the model can, for requests that leave it to the model. Raises InvalidRequest naming
    the field."""
    asked = prompt(body, can_think=can_think)
    if body.max_tokens is None:
        raise InvalidRequest("max_tokens is required", field="max_tokens")
    if body.max_tokens < 1:
        raise InvalidRequest("max_tokens must be at least 1", field="max_tokens")
    options = loading.options(body)
    options |= {name: value for name in wire.OPTIONS if (value := getattr(body, name)) is not None}
    options["num_predict"] = body.max_tokens
    if body.stop_sequences:
        options["stop"] = body.stop_sequences
    return replace(asked, options=options)


def prompt(body: wire.CountRequest, *, can_think: bool) -> Chat:
    """What a prompt is made of; with `messages`, of the whole request. Raises as it does."""
    values.refuse(body, wire.FIELDS["/v1/messages"].later)
    model = values.required(body.model, "model")
    if not body.messages:
        raise InvalidRequest("messages must hold at least one message", field="messages")
    offered = tools.specs(body.tools)
    level = _effort(body)
    return Chat(
        model=model,
        messages=(*turns.system(body.system), *turns.spoken(body.messages)),
        tools=offered,
        tool_choice=tools.choice(body.tool_choice, offered),
        think=_think(body.thinking, level, can_think=can_think),
        options=loading.options(body),
        keep_alive=values.keep_alive(body.keep_alive),
        variables={} if body.thinking or level is None else {"reasoning_effort": level},
        constraint=forms.only(_formats(body)),
        lora=adapters.read(body.lora),
    )


def is_up_to_the_model(body: wire.CountRequest) -> bool:
    """Whether it depends on the model if there is to be a thought."""
    return body.thinking is not None and body.thinking.type in _OPEN


def _effort(body: wire.CountRequest) -> ThinkLevel | None:
    given = body.output_config.effort if body.output_config else None
    if given is None:
        return None
    level = values.think(given, "output_config.effort")
    return level if isinstance(level, str) else None


def _think(given: wire.Thinking | None, level: ThinkLevel | None, *, can_think: bool) -> bool | ThinkLevel | None:
    if given is None:
        return None
    values.between(given.budget_tokens, "thinking.budget_tokens", 1, 2**31)
    if given.type == "disabled":
        return False
    if given.type == "enabled":
        return level or True
    if given.type not in _OPEN:
        raise InvalidRequest("thinking.type must be enabled, disabled or adaptive", field="thinking.type")
    return (level or True) if can_think else None


def _formats(body: wire.CountRequest) -> Iterator[Constraint | None]:
    config = body.output_config
    yield _format(config.format if config else None, "output_config.format")
    yield _format(body.output_format, "output_format")


def _format(form: wire.Format | None, at: str) -> Constraint | None:
    if form is None:
        return None
    if form.type != "json_schema":
        raise InvalidRequest(f"{at}.type must be json_schema", field=f"{at}.type")
    found = forms.schema(form.schema, f"{at}.schema")
    if found is None:
        raise InvalidRequest(f"{at}.schema is required", field=f"{at}.schema")
    return found


def hides_thoughts(body: wire.CountRequest) -> bool:
    """Whether thoughts are to be carried unseen."""
    return body.thinking is not None and body.thinking.display == "omitted"
