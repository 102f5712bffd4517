"""A request's JSON as the ledger may keep it: images cut to a note, keys and passwords left out, long things shortened.

What a user wrote as text stays. Knows no dialect: images and keys are known by their names and by their looks.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec

from runner.inference.entry import Entry
from runner.inference.texts import MOST_OF_A_KIND

_LARGE = 32 * 1024  # bytes: more than these are looked through on a thread
_LONGEST = 32 * 1024  # characters of one text
_AHEAD = 16 * 1024  # characters behind those, where a key that begins within them is looked for
_MOST_ITEMS = 2048  # of a list
_SMALL = 2048  # bytes of a field that is kept where all of them are too much
_ENCODED = re.compile(r"(?:data:[\w/+.;=-]*,)?[A-Za-z0-9+/_=\r\n-]{256,}")
_DATA = re.compile(r"data:[^,]{0,100};base64,", re.IGNORECASE)
_IMAGES = frozenset({"images", "image", "image_url", "image_data", "b64_json", "file_data"})
_SECRET = re.compile(
    r"api[_-]?key|apikey|authorization|password|passwd|secret|credential|private[_-]?key|(?:^|[_-])token$|bearer|cookie",
    re.IGNORECASE,
)
# Nothing here may take longer than the text is long: each run of characters is gone through once or twice, whatever is
# in it, since `re` lets nobody else run meanwhile.
_KEY = re.compile(
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|\bhf_[A-Za-z0-9]{16,}|\bgh[opsur]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}"
    r"|\bAKIA[0-9A-Z]{16}\b|\bxox[abprs]-[A-Za-z0-9-]{10,}|(?<![\w-])eyJ[\w-]{10,}+\.[\w-]{10,}+\.[\w-]*"
    r"|(?i:\bbearer\s++)[A-Za-z0-9._~+/=-]{12,}"
    r"|(?<=[?&])[\w.%-]{0,40}(?i:token|key|sig|signature|secret|password|passwd|credential|auth)=[^\s&#\"'<>]+"
    r"|(?<=://)[^\s/?#@:]{1,64}:[^\s/?#@]{1,256}(?=@)"
)
_LEFT_OUT = "(left out)"


async def keep(entry: Entry, data: bytes) -> None:
    """Keep a request's body with its entry. What isn't JSON isn't kept."""
    if len(data) > _LARGE:  # the loop has others to serve meanwhile
        body = await asyncio.to_thread(redacted, data)
    else:
        body = redacted(data)
    if body is None or entry.texts is None:  # it may have been switched off meanwhile
        return
    entry.texts.put("body", body)


def redacted(data: bytes, most: int = MOST_OF_A_KIND) -> str | None:
    """The body as JSON text of at most so many bytes; None for what is no JSON object."""
    try:
        value = msgspec.json.decode(data)
        if not isinstance(value, dict):
            return None
        value = _object(value)
        text = msgspec.json.encode(value)
        if len(text) > most:
            text = msgspec.json.encode({name: _small(each) for name, each in list(value.items())[:64]})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # the endpoint says what is wrong with it
        return None
    return text.decode() if len(text) <= most else None


def _small(value: Any) -> Any:
    size = len(msgspec.json.encode(value))
    return value if size <= _SMALL else f"({size} bytes, not kept)"


def _object(value: dict[str, Any]) -> dict[str, Any]:
    is_encoded = value.get("type") == "base64"  # Anthropic's images
    if value.get("type") == "object" and isinstance(fields := value.get("properties"), dict):
        return {_text(name): _schema(fields) if each is fields else _field(name, each) for name, each in value.items()}
    return {_text(name): _field(name, each, is_encoded and name == "data") for name, each in value.items()}


def _schema(fields: dict[str, Any]) -> dict[str, Any]:
    """A tool's parameters: what is called as a secret is described there, and isn't one."""
    return {
        _text(name): _object(each) if isinstance(each, dict) else _field(name, each) for name, each in fields.items()
    }


def _field(name: str, value: Any, is_image: bool = False) -> Any:
    if value and value is not True and _SECRET.search(name):
        return _LEFT_OUT
    if not is_image and name not in _IMAGES:
        return _value(value)
    if isinstance(value, list):
        return [_image(each) if isinstance(each, str) else _value(each) for each in value[:_MOST_ITEMS]]
    return _image(value) if isinstance(value, str) else _value(value)


def _image(text: str) -> str:
    """What stands where images do, unless it says where one is."""
    return _text(text) if text[:8].lower().startswith(("http://", "https://")) else _note(text)


def _note(text: str) -> str:
    return f"(an image or other data: {len(text)} characters)"


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return _object(value)
    if isinstance(value, list):
        kept = [_value(each) for each in value[:_MOST_ITEMS]]
        return kept if len(value) <= _MOST_ITEMS else [*kept, f"({len(value) - _MOST_ITEMS} more, not kept)"]
    return value


def _text(text: str) -> str:
    """A text without what looks like a key; base64 as a note; a long one as its beginning."""
    head = text[: _LONGEST + _AHEAD]
    if _DATA.match(head) or (len(head) >= 256 and _ENCODED.fullmatch(head)):
        return _note(text)
    parts, at = [], 0
    for found in _KEY.finditer(head):
        if found.start() >= _LONGEST:
            break
        parts += [head[at : found.start()], _LEFT_OUT]
        at = found.end()
    parts.append(head[at:_LONGEST])
    missing = len(text) - max(at, _LONGEST)
    if missing > 0:
        parts.append(f" ({missing} more characters, not kept)")
    return "".join(parts)
