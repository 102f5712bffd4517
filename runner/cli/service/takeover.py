"""A daemon that runs where the service is to run, or with its store, is ended in order. Nothing else is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

from runner.cli import output
from runner.cli.client import Client
from runner.cli.ending import end
from runner.cli.failures import Exit, Failure
from runner.cli.service.place import Place, callable_address
from runner.config import parse_address
from runner.service.system import Standing


def take_over(place: Place, before: Standing) -> None:
    """A daemon that runs at the service's address, or elsewhere with its store, and isn't the service's own is ended in
    order."""
    if before.active in ("running", "starting"):
        return
    for client in (place.client, *_announced(place)):
        if client.is_listening():
            _end_stranger(client)


def _announced(place: Place) -> Iterator[Client]:
    """The daemon that says where it is, if that is another address: it holds the store too."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        about = json.loads((place.settings.folders.runtime / "daemon.json").read_text(encoding="utf-8"))
        client = Client(callable_address(parse_address(about["address"])), place.settings.api_key)
        if client.address != place.client.address:
            yield client


def _end_stranger(client: Client) -> None:
    url = client.address.url
    try:
        theirs = client.get("/api/version").get("runner")
    except Failure as failure:
        raise Failure(f"something answers at {url} that can't be ended: {failure.message}", failure.code) from None
    if not isinstance(theirs, str):
        raise Failure(
            f"something else than Runner answers at {url}",
            Exit.BUSY,
            "End it, or give Runner another port: RUNNER_HOST=127.0.0.1:11500 runner service install",
        )
    output.say(f"A Runner daemon that no service started runs at {url}; ending it, so that the service takes its place")
    end(client)
