"""What a model can do, by its name. It is pulled first when it isn't there.

For `run`, `launch`, and for a chat that goes on with another model. Knows nothing of what is asked then.
"""

from __future__ import annotations

import re

from runner.cli.client import Client, Json
from runner.cli.failures import Failure, Refused
from runner.cli.transfer import pull


def of(client: Client, model: str) -> list[str]:
    """Its abilities: completion, vision, tools, thinking, embedding... Raises Failure when it is nowhere."""
    return list(shown(client, model).get("capabilities") or ())


def shown(client: Client, model: str) -> Json:
    """What the daemon knows of it. Raises Failure when it is nowhere, with the names that are near."""
    try:
        return client.post("/api/show", {"model": model})
    except Refused as absent:
        if absent.status != 404:
            raise
        try:
            pull(client, model)
        except Failure as failure:
            failure.message += _meant(absent.message, failure.message)
            raise
    return client.post("/api/show", {"model": model})


def only_embeds(abilities: list[str]) -> bool:
    """True for a model that turns texts into vectors and says nothing."""
    return "embedding" in abilities and "completion" not in abilities


def _meant(absent: str, failed: str) -> str:
    """The near names that the store knows, when the source that was asked next didn't name any."""
    hint = re.search(r"\(did you mean [^()]*\)", absent)
    return f" {hint.group()}" if hint and "did you mean" not in failed else ""
