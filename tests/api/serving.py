"""The real server on a free loopback port, in a thread of its own, over the fakes; and the plainest ways to call it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from runner.api.app import Front, Services, build_app
from runner.api.inflight import IN_FLIGHT
from runner.api.openai.responses.store import ResponseStore
from runner.api.server import listen, serve
from runner.api.streams import Patience
from runner.config import Address, load
from runner.inference.ledger import Ledger
from tests.api.fakes import (
    FakeAdoptions,
    FakeCheckup,
    FakeDiscovery,
    FakeJobs,
    FakeModels,
    FakePlans,
    FakeService,
    FakeUpdates,
)

WAIT = 20.0  # seconds until a test counts as stuck


@dataclass(frozen=True)
class Reply:
    """One whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        """NDJSON, held to its rules: every line an object, none of them blank, the last one ended."""
        assert self.headers["Content-Type"] == "application/x-ndjson"
        assert self.body.endswith(b"\n")
        return [json.loads(line) for line in self.body[:-1].split(b"\n")]

    @property
    def events(self) -> list[Any]:
        """The data of server-sent events; `[DONE]` as it stands, comments left out. Where events have names, all do."""
        assert self.headers["Content-Type"] == "text/event-stream"
        assert self.body.endswith(b"\n\n")
        blocks = [block for block in self.body[:-2].split(b"\n\n") if not block.startswith(b":")]
        if blocks and blocks[0].startswith(b"event: "):
            names, blocks = zip(*(block.split(b"\n", 1) for block in blocks), strict=True)
            assert names == tuple(b"event: " + json.loads(block[6:])["type"].encode() for block in blocks)
        assert all(block.startswith(b"data: ") and b"\n" not in block for block in blocks)
        return [json.loads(block[6:]) if block != b"data: [DONE]" else "[DONE]" for block in blocks]


class Served:
    """A running server. Use with `with`."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        said: str | None = None,
        patience: Patience | None = None,
        grace: float = 5.0,
        service: FakeService | None = None,
        front: Front | None = None,
        **flags: object,
    ) -> None:
        """`said` is the host that the settings give where it differs from the one that is listened on."""
        self.service, self.models, self.jobs = service or FakeService(), FakeModels(), FakeJobs()
        self.updates = FakeUpdates(self.models)
        self.adoptions = FakeAdoptions()
        self.discovery = FakeDiscovery()
        self.checkup = FakeCheckup()
        self.plans = FakePlans()
        self.sockets = listen(Address(host, 0))
        self.port: int = self.sockets[0].getsockname()[1]
        self.settings = load({"host": str(Address(said or host, self.port)), **flags})
        self.shutdowns = 0
        self.ledger = Ledger(self.settings.request_log, bodies=self.settings.request_bodies)
        self._host, self._patience, self._grace, self._front = host, patience, grace, front
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="server")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.responses = ResponseStore(self.settings.stored_responses, self.settings.stored_responses_size)
        services = Services(
            self.service,  # type: ignore[arg-type]
            self.models,  # type: ignore[arg-type]
            self.jobs,  # type: ignore[arg-type]
            self.responses,
            self.settings,
            self._shutdown,
            self.updates,  # type: ignore[arg-type]
            self.adoptions,  # type: ignore[arg-type]
            self.discovery,  # type: ignore[arg-type]
            self.plans,  # type: ignore[arg-type]
            checkup=self.checkup,  # type: ignore[arg-type]
            ledger=self.ledger,
        )
        self._app = build_app(services, self._patience, self._front)
        await serve(
            self._app,
            self.settings.host,
            stop=self._stop,
            on_ready=self._ready.set,
            grace=self._grace,
            sockets=self.sockets,
        )

    def _shutdown(self) -> None:
        self.shutdowns += 1

    def stop(self) -> None:
        """Ask the server to end; `join` waits for it."""
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)

    def join(self) -> None:
        self._thread.join(WAIT)
        assert not self._thread.is_alive(), "the server did not end"

    @property
    def is_closing(self) -> bool:
        """Whether the stop has begun."""
        return self._app[IN_FLIGHT].closing

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(WAIT), "the server did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.service.release.set()
        if self._thread.is_alive():
            self.stop()
        self.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """One request; a body that isn't bytes goes as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self._host, self.port, timeout=WAIT)
        try:
            connection.request(method, path, data, dict(headers or {}))
            response = connection.getresponse()
            return Reply(response.status, dict(response.headers.items()), response.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        return self.ask("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    @contextmanager
    def connect(self) -> Iterator[socket.socket]:
        """A bare connection, for what no decent client would send."""
        with socket.create_connection((self._host, self.port), timeout=WAIT) as connection:
            yield connection

    def raw(self, request: bytes) -> Reply:
        """Send these bytes and read one answer."""
        with self.connect() as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection, method=request.partition(b" ")[0].decode())
            response.begin()
            return Reply(response.status, dict(response.headers.items()), response.read())
