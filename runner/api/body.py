"""Request bodies: read with bounds on size and time, and decoded into wire structs with errors that name the field.

Knows no endpoint and no dialect.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from runner.api.inflight import RECORD
from runner.api.redact import keep
from runner.api.unknown import UNKNOWN
from runner.errors import InvalidRequest, TooLarge

_T = TypeVar("_T", bound=msgspec.Struct)
_R = TypeVar("_R")
_LENGTH = web.RequestKey("body_length", int)

_GRACE = 15.0  # seconds a body may take whatever its length
_SLOWEST = 4096  # bytes a second after that: slower senders hold a socket for nothing
_CHUNK = 1 << 20

_KINDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
# Fields for which "a list" would not say enough.
_LISTS = {
    "content": "a list of parts",
    "messages": "a list of messages",
    "stop": "a list of strings",
    "license": "a list of strings",
    "images": "a list of base64 strings",
    "tools": "a list of tools",
    "functions": "a list of functions",
    "tool_calls": "a list of tool calls",
    "context": "a list of whole numbers",
}
_ENCODINGS = frozenset({"", "identity", "gzip", "deflate", "br", "zstd"})  # the last two where aiohttp can read them
_LARGE = 1 << 20  # bytes: more than these are decoded on a thread
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_EXPECTED = re.compile(r"Expected `([^`]+)`")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_PATH = re.compile(r" - at `\$\.?(.*)`$")


async def read(request: web.Request, shape: type[_T]) -> _T:
    """The request's JSON body as `shape`. Fields that the endpoint's tables don't have are counted.

    Raises InvalidRequest naming the field at fault, TooLarge past the application's limit, and HTTPRequestTimeout for
    a sender that dawdles.
    """
    data = await _whole(request)
    request[_LENGTH] = len(data)
    if (entry := request.get(RECORD)) is not None and entry.texts is not None:
        await keep(entry, data)
    if len(data) > _LARGE:  # the loop has others to serve meanwhile
        value = await asyncio.to_thread(decode, data, shape)
    else:
        value = decode(data, shape)
    resource = request.match_info.route.resource
    if resource is not None:
        request.app[UNKNOWN].look(resource.canonical, data, shape)
    return value


async def meant(request: web.Request, understand: Callable[[_T], _R], body: _T) -> _R:
    """What `understand` makes of a request's body; on a thread where that is large, as with `read`."""
    if request.get(_LENGTH, 0) > _LARGE:
        return await asyncio.to_thread(understand, body)
    return understand(body)


async def chunks(request: web.Request) -> AsyncIterator[bytes]:
    """A body of any length, piece by piece, as it arrives; errors as with `read`, but for the limit.

    Raises HTTPUnsupportedMediaType for an encoding that would come as it is.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise web.HTTPUnsupportedMediaType(
            text=f"Content-Encoding {encoding[:40]!r} cannot be read; gzip, deflate and zstd can"
        )
    loop = asyncio.get_running_loop()
    start, received = loop.time(), 0
    while True:
        try:
            async with asyncio.timeout_at(start + _GRACE + received / _SLOWEST):
                chunk = await request.content.read(_CHUNK)
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="the request body arrives too slowly") from None
        except web.RequestPayloadError as error:
            why = str(error).rpartition("\n")[2].strip()
            raise InvalidRequest(f"the request body cannot be read: {why}") from None
        if not chunk:
            return
        received += len(chunk)
        yield chunk


def decode(data: bytes, shape: type[_T]) -> _T:
    """JSON text as `shape`.

    Raises InvalidRequest: not JSON, nested too deeply, or a field of the wrong type, which is named.
    """
    if not data.strip():
        raise InvalidRequest("missing request body")
    try:
        value: _T = _decoder(shape).decode(data)
    except msgspec.ValidationError as error:
        raise _fault(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the request body is not JSON: {_why(data, error)}") from None
    except RecursionError:
        raise InvalidRequest("the request body is nested too deeply") from None
    return value


async def _whole(request: web.Request) -> bytes:
    limit = request.client_max_size
    body = bytearray()
    async for chunk in chunks(request):
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"the request body is larger than {limit} bytes, the most that max_body allows")
    return bytes(body)


@functools.cache
def _decoder(shape: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape)


def _why(data: bytes, error: Exception) -> str:
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return "it opens with a byte order mark; send UTF-8 without one"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if _SURROGATE.search(data) and "surrogate" not in str(error):
        return "it is cut short, or a string holds half of a surrogate pair"
    return str(error).removeprefix("JSON is malformed: ")


def _fault(message: str) -> InvalidRequest:
    """msgspec's words as ours: `messages[0].content must be a string or a list of parts`."""
    found = _PATH.search(message)
    path = found[1] if found else ""
    if missing := _MISSING.search(message):
        field = f"{path}.{missing[1]}" if path else missing[1]
        return InvalidRequest(f"{field} is required", field=field)
    if expected := _EXPECTED.search(message):
        kinds = _kinds(expected[1], path.rpartition(".")[2])
        return InvalidRequest(f"{path or 'the request body'} must be {kinds}", field=path or None)
    what = _PATH.sub("", message)
    return InvalidRequest(f"{path}: {what}" if path else what, field=path or None)


def _kinds(expected: str, field: str) -> str:
    names = [name for name in expected.split(" | ") if name != "null"]
    words = [_LISTS.get(field, "a list") if name == "array" else _KINDS.get(name, name) for name in names]
    return " or ".join(words)


def json_response(content: bytes) -> web.Response:
    """JSON text as a successful answer."""
    return web.Response(body=content, content_type="application/json", charset="utf-8")


_encoder = msgspec.json.Encoder()
# Line ends by Unicode's rules, which JSON need not escape: widely used clients split streams at them all the same.
_LINE_ENDS = ((b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"), (b"\xc2\x85", rb"\u0085"))


def to_json(value: Any) -> bytes:
    """A wire struct, or plain values, as JSON text: one line, however lines are told apart."""
    text = _encoder.encode(value)
    for raw, escaped in _LINE_ENDS:
        if raw in text:
            text = text.replace(raw, escaped)
    return text
