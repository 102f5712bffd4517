"""What an assistant is to be pointed at: which model, and how Runner serves it. Asks the daemon; knows no assistant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from runner.assistants.fill import Target
from runner.cli import abilities, output
from runner.cli.client import Client, Json
from runner.cli.failures import Exit, Failure, Refused
from runner.config import Settings

PLACEHOLDER = "MODEL"  # in a dry run that nobody named a model for
_DEMO = "demo"
_SUGGESTED = ("qwen3:8b", "qwen3:4b", "gpt-oss:20b")
_MOST_OUTPUT = 16384
_PREDICT = re.compile(r"^num_predict\s+(\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Needs:
    """What an assistant needs of a model: calls of tools, and so many tokens of context."""

    title: str
    tools: bool
    context: int


def target(client: Client, settings: Settings, needs: Needs, named: str | None, last: str) -> Target:
    """The model that was named, else the one used last, else one that will do, as it is served. Raises Failure.

    A named model that isn't there is pulled.
    """
    if named is not None:
        return _served(client, settings, named, abilities.shown(client, named))
    if last:
        try:
            return _served(client, settings, last, client.post("/api/show", {"model": last}))
        except Refused as absent:
            if absent.status != 404:
                raise
            output.say(f"{last!r}, which {needs.title} used last, isn't here any more")
    chosen = _choice(client, needs)
    output.say(f"{needs.title} gets {chosen!r}; --model takes another")
    return _served(client, settings, chosen, client.post("/api/show", {"model": chosen}))


def assumed(settings: Settings, needs: Needs, named: str | None, last: str) -> Target:
    """What a dry run shows where no daemon can be asked."""
    context = settings.context_length or needs.context
    url = Client(settings.host, None).address.url
    return Target(named or last or PLACEHOLDER, url, context, _output(context, ""), settings.api_key)


def warnings(found: Target, needs: Needs, trained: int) -> list[str]:
    """What the assistant will not like about the model, each with what to do."""
    said = []
    if needs.tools and not found.tools:
        said.append(f"{found.model!r} can't call tools, which is how {needs.title} works: choose another with --model")
    if found.context < needs.context:
        words = f"{found.model!r} is served with {found.context} tokens of context; {needs.title} wants {needs.context}"
        if trained and trained < needs.context:
            said.append(f"{words}, and the model was made for {trained}: choose another with --model")
        else:
            said.append(
                f"{words}: `runner config set context_length {needs.context}`, or PARAMETER num_ctx in its Modelfile"
            )
    return said


def trained(client: Client, model: str) -> int:
    """The longest context that a model was made for, 0 when it doesn't say."""
    return _trained(client.post("/api/show", {"model": model}))


def _choice(client: Client, needs: Needs) -> str:
    """A loaded model that will do, else the largest installed one; the demo never does."""
    installed = client.get("/api/tags").get("models") or []
    loaded = [str(each.get("name")) for each in client.get("/api/ps").get("models") or []]
    fitting = {str(each.get("name")): int(each.get("size") or 0) for each in installed if _fits(each, needs)}
    for name in (*(name for name in loaded if name in fitting), *sorted(fitting, key=lambda name: -fitting[name])):
        return name.removesuffix(":latest")
    which = "that can call tools" if needs.tools else "that can chat"
    raise Failure(
        f"no model is here {which}, which {needs.title} needs; pull one, or name it with --model",
        detail="\n".join(f"  runner pull {name}" for name in _SUGGESTED),
    )


def _fits(model: Json, needs: Needs) -> bool:
    can = model.get("capabilities") or ()
    is_demo = str(model.get("name")).partition(":")[0] == _DEMO
    return "completion" in can and ("tools" in can or not needs.tools) and not is_demo


def _served(client: Client, settings: Settings, model: str, shown: Json) -> Target:
    can = shown.get("capabilities") or ()
    if "completion" not in can:
        raise Failure(f"{model!r} can't chat: it can {', '.join(map(str, can)) or 'do nothing'}", Exit.USAGE)
    context = _context(client, settings, model, shown)
    return Target(
        model,
        client.address.url,
        context,
        _output(context, str(shown.get("parameters") or "")),
        settings.api_key,
        tools="tools" in can,
        vision="vision" in can,
        thinking="thinking" in can,
    )


def _context(client: Client, settings: Settings, model: str, shown: Json) -> int:
    """The tokens of one request: as it is loaded, else as it would be."""
    names = {model, f"{model}:latest"}
    for each in client.get("/api/ps").get("models") or []:
        if each.get("name") in names and int(each.get("context_length") or 0):
            return int(each["context_length"])
    try:
        planned = int(client.post("/runner/plan", {"model": model}, timeout=None).get("context") or 0)
    except Refused:  # what can't be planned now may be loaded all the same
        planned = 0
    bounds: Iterable[int] = filter(None, (settings.context_length, _trained(shown)))
    return planned or min(bounds, default=4096)


def _trained(shown: Json) -> int:
    info = shown.get("model_info") or {}
    return next((int(value) for name, value in info.items() if str(name).endswith(".context_length") and value), 0)


def _output(context: int, parameters: str) -> int:
    """The tokens of one answer: what num_predict says, and no more than leaves room for a prompt."""
    most = max(1, min(context // 4, _MOST_OUTPUT))
    named = _PREDICT.search(parameters)
    return min(most, int(named[1])) if named and int(named[1]) else most
