"""Models against their sources, as the daemon finds them. Shared by the verbs that look and the one that acts."""

from __future__ import annotations

from collections.abc import Sequence

from runner.cli.client import Client, Json


def look(client: Client, models: Sequence[str] | None, insecure: bool = False) -> list[Json]:
    """How the named models stand, or all that were pulled, by name. Raises Failure."""
    body: Json = {"insecure": insecure}
    if models:
        body["models"] = list(models)
    found = client.post("/runner/outdated", body, timeout=None).get("models", [])
    return [each for each in found if models or each.get("status") != "local"]
