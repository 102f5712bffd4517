"""HTTP to the daemon, over the standard library's client: it starts quickly, and every command pays for the start.

Turns each way a request can fail into a Failure with its exit code. Knows paths and JSON, not what they mean, nor how
a daemon is started: it is handed a `start` to call when nobody answers.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, TypeAlias

from runner import __version__
from runner.cli.failures import Exit, Failure, Refused, Unavailable
from runner.config import Address

Json: TypeAlias = dict[str, Any]

_CONNECT = 5.0  # seconds
_ANSWER = 60.0  # seconds; for what doesn't stream. A stream may be silent while a model loads
_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where to listen isn't always where to call
_BLOCK = 256 * 1024  # bytes of an upload sent at once
_EXCERPT = 200  # characters of an answer that isn't Runner's


class Client:
    """The daemon at `address`. A connection lives for one request, so closing it is how a request is cancelled.

    `start` is called, once, when the connection is refused; it returns when the daemon is ready, or raises Failure.
    """

    def __init__(self, address: Address, api_key: str | None, start: Callable[[], None] | None = None) -> None:
        self.address = Address(_UNSPECIFIED.get(address.host, address.host), address.port)
        self._key = api_key
        self._start = start

    def get(self, path: str, timeout: float = _ANSWER) -> Json:
        """The JSON object at `path`. Raises Failure."""
        return self._ask("GET", path, None, timeout)

    def post(self, path: str, body: Json, timeout: float | None = _ANSWER) -> Json:
        """The JSON object that answers `body`; an empty answer is an empty object. Raises Failure."""
        return self._ask("POST", path, body, timeout)

    def delete(self, path: str, body: Json) -> Json:
        """As `post`, with the DELETE method."""
        return self._ask("DELETE", path, body)

    def exists(self, path: str) -> bool:
        """True when HEAD finds `path`. Raises Failure for every answer but 404."""
        try:
            with self._exchange("HEAD", path, None, {}, _ANSWER):
                return True
        except Refused as refusal:
            if refusal.status == 404:
                return False
            raise

    @contextmanager
    def stream(self, path: str, body: Json, is_last: Callable[[Json], bool]) -> Iterator[Iterator[Json]]:
        """The objects of an NDJSON answer as they arrive. Leaving the context closes the connection.

        Raises Failure: an `error` object ends the stream as one, and so does its end before an object that `is_last`.
        """
        headers = {"Content-Type": "application/json"}
        with self._exchange("POST", path, _encoded(body), headers, None) as response:
            yield self._lines(response, is_last)

    def upload(self, path: str, content: BinaryIO, length: int) -> None:
        """POST `length` bytes read from `content`. Raises Failure."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        with self._exchange("POST", path, content, headers, None) as response:
            self._read(response)

    def is_ready(self) -> bool:
        """True when a daemon answers and says that it is ready. Never starts one; raises nothing."""
        try:
            with self._exchange("GET", "/readyz", None, {}, _CONNECT, may_start=False):
                return True
        except Failure:
            return False

    def is_listening(self) -> bool:
        """True while something accepts connections at the address. Raises nothing."""
        try:
            self._connect(may_start=False).close()
        except Failure:
            return False
        return True

    def _ask(self, method: str, path: str, body: Json | None, timeout: float | None = _ANSWER) -> Json:
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._exchange(method, path, None if body is None else _encoded(body), headers, timeout) as response:
            content = self._read(response)
        if not content.strip():
            return {}
        return self._decoded(content)

    @contextmanager
    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | BinaryIO | None,
        headers: dict[str, str],
        timeout: float | None,
        may_start: bool = True,
    ) -> Iterator[http.client.HTTPResponse]:
        """One request and its successful answer, whose body is still to be read."""
        connection = self._connect(may_start)
        try:
            with self._failures():
                if connection.sock is not None:
                    connection.sock.settimeout(timeout)
                connection.request(method, path, body, {**self._headers(), **headers})
                response = connection.getresponse()
            if response.status >= 400:
                raise self._refusal(method, path, response)
            yield response
        finally:
            connection.close()

    def _connect(self, may_start: bool) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(
            self.address.host, self.address.port, timeout=_CONNECT, blocksize=_BLOCK
        )
        try:
            try:
                connection.connect()
            except ConnectionRefusedError:
                if self._start is None or not may_start:
                    raise
                self._start()
                connection.connect()
        except ConnectionRefusedError:
            raise Unavailable(f"no Runner daemon answers at {self.address.url}") from None
        except TimeoutError:
            raise Unavailable(f"nothing answers at {self.address.url} within {_CONNECT:.0f} seconds") from None
        except OSError as error:
            raise Unavailable(f"cannot reach {self.address.url}: {error.strerror or error}") from None
        return connection

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": f"runner/{__version__}", "Connection": "close"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return headers

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What goes wrong on an open connection, as Failure. Wrap nothing but the connection's own calls in it."""
        try:
            yield
        except TimeoutError:
            raise Unavailable(f"the daemon at {self.address.url} does not answer") from None
        except (http.client.IncompleteRead, ConnectionError):  # RemoteDisconnected is a ConnectionError
            raise self._lost() from None
        except http.client.HTTPException as error:
            raise self._stranger(str(error) or type(error).__name__) from None
        except OSError as error:
            raise Unavailable(f"the connection to {self.address.url} failed: {error.strerror or error}") from None

    def _lost(self) -> Unavailable:
        return Unavailable(f"the daemon at {self.address.url} closed the connection before it had answered")

    def _stranger(self, what: str) -> Unavailable:
        return Unavailable(f"what answers at {self.address.url} is not Runner: {what[:_EXCERPT]}")

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        with self._failures():
            return response.read()

    def _lines(self, response: http.client.HTTPResponse, is_last: Callable[[Json], bool]) -> Iterator[Json]:
        while True:
            with self._failures():
                raw = response.readline()
            if not raw:
                # A connection that breaks between two chunks looks like the end of the body to http.client.
                raise self._lost()
            if not raw.strip():
                continue
            content = self._decoded(raw)
            if "error" in content:
                raise Refused(str(content["error"]), response.status, content.get("code"))
            yield content
            if is_last(content):
                return

    def _decoded(self, content: bytes) -> Json:
        try:
            value = json.loads(content)
        except ValueError:
            raise self._stranger(content[:_EXCERPT].decode("utf-8", "replace")) from None
        if not isinstance(value, dict):
            raise self._stranger(content[:_EXCERPT].decode("utf-8", "replace"))
        return value

    def _refusal(self, method: str, path: str, response: http.client.HTTPResponse) -> Failure:
        content = b""
        with suppress(Failure):  # the status says enough when the body is lost
            content = self._read(response)
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            body = {}
        said = body.get("error")
        if not isinstance(said, str) or not said:
            said = f"the daemon at {self.address.url} answered {response.status} {response.reason} to {method} {path}"
        return Refused(said, response.status, body.get("code"))


def _encoded(body: Json) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Failure("the text holds half of a surrogate pair, which is not text", Exit.USAGE) from None
