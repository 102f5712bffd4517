"""`runner plan`: where a model would go and what that takes, before it is loaded."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from runner.cli import output
from runner.cli.arguments import AsJson, Host, Model, options
from runner.cli.cards import memory as memorycard
from runner.cli.client import Client, Json
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure, Refused

EXAMPLES = """
runner plan demo
runner plan qwen3:8b --num-ctx 32768
runner plan qwen3:8b --option kv_cache_type=q8_0 --json
"""

_FAILURES = {
    "no": "{model} does not fit on this machine",
    "pinned": "{model} cannot be loaded beside the models that are pinned",
}


def command(
    model: Model,
    num_ctx: Annotated[int | None, typer.Option("--num-ctx", metavar="TOKENS", help="With this context.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="NAME=VALUE", help="With this option; repeatable.")
    ] = None,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Tell where a model would go, and what that takes.

    And who would be unloaded for it. Nothing is loaded. Exit code 1 if it doesn't fit on this machine at all,
    or not beside the models that are pinned.
    """
    asked: dict[str, Any] = options(option or ())
    if num_ctx is not None:
        asked["num_ctx"] = num_ctx
    found = _planned(daemon(host), model, asked)
    if as_json:
        output.data(found)
    else:
        for line in memorycard.card(found, model):
            output.line(line)
        output.line("")
        output.table(*memorycard.pools(found))
    if (why := _FAILURES.get(str(found.get("verdict")))) is not None:
        raise Failure(why.format(model=model), Exit.FAILED)


def _planned(client: Client, model: str, asked: Json) -> Json:
    try:
        return client.post("/runner/plan", {"model": model, "options": asked})
    except Refused as absent:
        if absent.status == 404:
            absent.detail = f"`runner pull --dry-run {model}` tells its size and whether it would run here"
        raise
