"""What went wrong, as HTTP says it: exception to status, code and retry headers, in one table.

Dialects only word it. Knows no path and no JSON shape.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong
from aiohttp.typedefs import Middleware

from modelfiles.errors import ModelfileError, ParameterError
from registry import errors as registry
from runner import errors as runner
from runner.api.inflight import IN_FLIGHT, note_failure
from runner.log import request_id

log = logging.getLogger(__name__)

_LONGEST_WAIT = 60  # seconds; some clients give up for good on more


class ClientGone(ConnectionResetError):
    """Nobody is left to answer: the client closed its connection, or stopped reading."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure, ready for a dialect to word. `field` is the request field at fault, if one is; `overflow` the tokens
    of a prompt that is too long, and how many there may be."""

    status: int
    code: str
    message: str
    field: str | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    overflow: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Row:
    """`retry` goes out as x-should-retry, by which clients decide; None leaves it to their own rules."""

    status: int
    code: str
    retry: bool | None = False


_TABLE: Mapping[type[BaseException], _Row] = MappingProxyType(
    {
        error: _Row(status, error.code, retry)
        for error, status, retry in (
            (runner.RunnerError, 500, None),
            (runner.InvalidRequest, 400, False),
            (runner.ContextOverflow, 400, False),
            (runner.UnknownResponse, 400, False),
            (runner.Unsupported, 400, False),
            (runner.TemplateFailed, 400, False),
            (runner.UnknownModel, 404, False),
            (runner.NotAllowed, 403, False),
            (runner.BadKey, 401, False),
            (runner.TooLarge, 413, False),
            (runner.Unavailable, 503, None),
            (runner.ServerBusy, 503, None),
            (runner.ShuttingDown, 503, None),
            (runner.InsufficientMemory, 503, False),
            (runner.LoadFailed, 500, False),
            (runner.WorkerCrashed, 500, True),
            (runner.Quarantined, 500, False),
            (runner.Cancelled, 499, False),
            (runner.RequestCancelled, 499, False),
        )
    }
    | {
        ModelfileError: _Row(400, "invalid_request_error"),
        ParameterError: _Row(400, "invalid_request_error"),
        registry.RegistryError: _Row(500, "internal_error"),
        registry.BadName: _Row(400, "invalid_request_error"),
        registry.BadDigest: _Row(400, "invalid_request_error"),
        registry.BadSource: _Row(400, "invalid_request_error"),
        registry.Unreadable: _Row(400, "unreadable_file"),
        registry.BadGGUF: _Row(400, "bad_gguf"),
        registry.UnsupportedModel: _Row(400, "unsupported_model"),
        registry.NotFound: _Row(404, "model_not_found"),
        registry.BadManifest: _Row(500, "model_broken"),
        registry.Corrupt: _Row(500, "model_broken"),
        registry.BadBlob: _Row(500, "model_broken"),
        registry.HashMismatch: _Row(502, "hash_mismatch"),
        registry.QuantizeFailed: _Row(500, "quantize_failed"),
        registry.NotAsLocked: _Row(409, "not_as_locked"),
        registry.Unreachable: _Row(502, "source_unreachable", None),
        registry.Denied: _Row(403, "source_denied"),
        registry.Locked: _Row(423, "store_locked"),
        registry.StoreTooNew: _Row(500, "store_too_new"),
        registry.StorageFault: _Row(500, "storage_fault"),
        registry.NoSpace: _Row(507, "no_space"),
        registry.Unwritable: _Row(507, "store_read_only"),
        registry.Cancelled: _Row(499, "cancelled"),
    }
)
_HTTP_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "request_too_large",
    415: "unsupported_encoding",
    431: "request_too_large",
    501: "not_implemented",
}


def failure_of(error: BaseException) -> Failure:
    """The failure that an exception stands for. What nobody expected is logged with its traceback, and told without."""
    if isinstance(error, web.HTTPException):
        return _of_http(error)
    row = next((_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE), None)
    if row is None:
        log.error("unexpected failure", exc_info=error)
        text = f"internal error; `runner logs --request {request_id.get()}` tells more"
        return Failure(500, "internal_error", text)
    if row.status >= 500 and not isinstance(error, runner.Unavailable):  # a full queue says so ten thousand times
        log.warning("%s: %s", row.code, error)
    overflow = (error.tokens, error.limit) if isinstance(error, runner.ContextOverflow) else None
    return Failure(row.status, row.code, str(error), _field(error), _headers(error, row), overflow)


def _field(error: BaseException) -> str | None:
    if isinstance(error, ParameterError):
        return error.name
    if isinstance(error, registry.BadName | registry.NotFound):
        return "model"
    return error.field if isinstance(error, runner.RunnerError) else None


def _headers(error: BaseException, row: _Row) -> Mapping[str, str]:
    headers = {} if row.retry is None else {"x-should-retry": "true" if row.retry else "false"}
    if isinstance(error, runner.Unavailable):
        # Whole seconds for those who read only that; a header in milliseconds for OpenAI's own clients.
        seconds = min(max(1, math.ceil(error.retry_after)), _LONGEST_WAIT)
        headers |= {"Retry-After": str(seconds), "retry-after-ms": str(1000 * seconds)}
    if isinstance(error, runner.BadKey):
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def _of_http(error: web.HTTPException) -> Failure:
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    if error.status == 408:
        headers["Connection"] = "close"  # the rest of a body that dawdles is not waited for
    elif 400 <= error.status < 500:
        headers["x-should-retry"] = "false"
    code = _HTTP_CODES.get(error.status, "invalid_request_error")
    return Failure(error.status, code, error.text or "", headers=headers)


def unreadable(status: int, error: BaseException | None, message: str | None) -> Failure:
    """The failure of a request whose head could not be read, so that it came to no path, or whose handling broke."""
    if status >= 500 or message is None:
        return Failure(500, "internal_error", "internal error; Runner's log tells more")
    text = message.partition("\n")[0].rstrip(":")
    if isinstance(error, LineTooLong) or text.startswith("Too many headers"):
        status, text = 431, "a line of the request's head is too long, or its lines are too many"
    elif isinstance(error, ContentEncodingError):
        status, text = 415, "its Content-Encoding is unknown here; gzip, deflate and zstd are known"
    code = _HTTP_CODES.get(status, "invalid_request_error")
    return Failure(status, code, f"the request cannot be read: {text}", headers={"x-should-retry": "false"})


Wording = Callable[[Failure], bytes]
"""A failure as the JSON body of one dialect."""


def middleware(
    wording: Callable[[web.Request], Wording], statuses: Callable[[web.Request], Mapping[str, int]]
) -> Middleware:
    """Answer every exception of the handlers below in the words of the request's dialect.

    `statuses` are those that the dialect gives to some codes in place of ours.
    """

    @web.middleware
    async def answer(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except asyncio.CancelledError:
            told = request.app[IN_FLIGHT].accept_expulsion()
            if told is None:
                raise
            failure = failure_of(told)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - the edge: everything is answered, and the unexpected is logged
            failure = failure_of(error)
        note_failure(request, failure.code, failure.message)
        return web.Response(
            body=wording(request)(failure),
            status=statuses(request).get(failure.code, failure.status),
            headers=failure.headers,
            content_type="application/json",
            charset="utf-8",
        )

    return answer
