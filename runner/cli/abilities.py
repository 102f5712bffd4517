"""What a model can do, by its name. It is pulled first when it isn't there.

For `run`, `launch`, and for a chat that goes on with another model. Knows nothing of what is asked then.
"""

from __future__ import annotations

from runner.cli.client import Client, Json
from runner.cli.failures import Refused
from runner.cli.transfer import pull


def of(client: Client, model: str) -> list[str]:
    """Its abilities: completion, vision, tools, thinking, embedding... Raises Failure when it is nowhere."""
    return list(shown(client, model).get("capabilities") or ())


def shown(client: Client, model: str) -> Json:
    """What the daemon shows of it. Raises Failure with the names that may have been meant when it is nowhere."""
    try:
        return client.post("/api/show", {"model": model})
    except Refused as absent:
        if absent.status != 404:
            raise
    pull(client, model)
    return client.post("/api/show", {"model": model})


def only_embeds(abilities: list[str]) -> bool:
    """True for a model that turns texts into vectors and says nothing."""
    return "embedding" in abilities and "completion" not in abilities
