"""Clients of a daemon, each in a thread of its own: what Live and Requests then show has really been asked."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from tests.benchmarks.daemon import Daemon

PATIENCE = 120.0  # seconds
ENDED = frozenset(("done", "failed", "cancelled"))


class Traffic:
    """Requests are known by their id, as the daemon knows them. Those under way at the end are cancelled."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._clients: dict[str, threading.Thread] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for name in self._clients:
            self.cancel(name)
        for client in self._clients.values():
            client.join(PATIENCE)

    def ask(self, path: str, body: dict[str, Any], name: str = "") -> str:
        """Ask without waiting for the answer; its id."""
        name = name or uuid4().hex
        client = threading.Thread(target=self._read, args=(name, path, body), daemon=True)
        self._clients[name] = client
        client.start()
        return name

    def asked(self, path: str, body: dict[str, Any], name: str = "") -> str:
        """Ask and wait for the end, whatever it is; its id."""
        name = self.ask(path, body, name)
        self.until(name, *ENDED)
        return name

    def until(self, name: str, *states: str) -> None:
        """Wait until a request is in one of the states. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE
        while (state := self.state(name)) not in states:
            if time.monotonic() > deadline:
                raise TimeoutError(f"request {name} is {state}, not {' or '.join(states)}")
            time.sleep(0.02)

    def state(self, name: str) -> str | None:
        """What the daemon says of it; None where it doesn't know it (yet)."""
        try:
            return str(self._daemon.get(f"/runner/requests/{name}")["state"])
        except urllib.error.HTTPError as error:
            with error:
                return None

    def cancel(self, name: str) -> None:
        """End it, if it hasn't ended."""
        wanted = urllib.request.Request(f"{self._daemon.url}/runner/requests/{name}", method="DELETE")
        try:
            urllib.request.urlopen(wanted, timeout=PATIENCE).close()
        except urllib.error.HTTPError as error:
            error.close()  # 404 or 409: it has ended

    def _read(self, name: str, path: str, body: dict[str, Any]) -> None:
        head = {"Content-Type": "application/json", "X-Request-Id": name}
        wanted = urllib.request.Request(self._daemon.url + path, json.dumps(body).encode(), head)
        try:
            with urllib.request.urlopen(wanted, timeout=PATIENCE) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()
        except (OSError, http.client.HTTPException):
            pass  # an answer that breaks off: the daemon tells how it ended
