"""Values that mean the same in every dialect: durations, thinking, images, and fields that are not served yet.

Each function takes what the wire struct holds and the field's name, and raises InvalidRequest with that name.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from runner.config import parse_duration
from runner.conversation import RemoteImage, ThinkLevel
from runner.errors import InvalidRequest, Unsupported
from runner.inference.requests import MOST_ALTERNATIVES, MOST_CHOICES
from runner.scheduler.ticket import Priority

_CENTURY = 100 * 365 * 86400.0  # seconds; beyond it, "for ever" is what was meant
_TIERS = (None, "auto", "default", "flex", "priority", "scale")
_LEVELS = {
    "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high", "ultra": "high",
}  # fmt: skip
_EMPTY: tuple[object, ...] = (None, False, "", [], {})
_IMAGE = "base64, with or without `data:image/…;base64,` before it"
NOTES: Mapping[str, str] = {
    "keep_alive": "seconds, or a duration such as `5m`; below zero for ever",
    "think": "true, false, `low`, `medium` or `high`",
    "reasoning_effort": "`none`, `minimal`, `low`, `medium`, `high`, or another word for the last",
    "top_logprobs": f"0 to {MOST_ALTERNATIVES}, with `logprobs`",
    "service_tier": "`flex` counts as batch: it goes behind others, for half a minute at most",
    "priority": "above 0 counts as batch: it goes behind others, for half a minute at most",
    "n": f"1 to {MOST_CHOICES}",
    "format": '`"json"` or a JSON Schema',
    "images": _IMAGE,
    "messages[].images": _IMAGE,
    "json_schema": "a JSON Schema, as an object or as text",
    "guided_json": "a JSON Schema, as an object or as text",
    "options": "see below",
    "quantize": "a type such as `Q4_K_M`, see [quantize.md](quantize.md)",
    "imatrix": "the digest of an uploaded blob; from Runner's machine, a path",
    "dimensions": "at least 1",
}
"""What the docs say of fields that mean the same wherever they stand."""


def required(value: str | None, field: str) -> str:
    """A text that must be there and not be empty."""
    if not value:
        raise InvalidRequest(f"{field} is required", field=field)
    return value


def keep_alive(value: object, field: str = "keep_alive") -> float | None:
    """Seconds (inf for ever) from a number of seconds or a text like `5m`; None when not given."""
    if value is None:
        return None
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise InvalidRequest(f"{field} {error}", field=field) from None
    return float("inf") if seconds > _CENTURY else seconds


def priority(tier: str | None, number: int | None) -> Priority | None:
    """Whether somebody waits: by OpenAI's `service_tier` (flex is the batch), or vLLM's `priority` (above 0 comes after
    the others). None when neither says so."""
    if tier not in _TIERS:
        raise InvalidRequest("service_tier must be auto, default, flex, priority or scale", field="service_tier")
    if tier == "flex":
        return "batch"
    return None if number is None else "batch" if number > 0 else "interactive"


def think(value: object, field: str = "think") -> bool | ThinkLevel | None:
    """Whether, or how long, to think: true, false or a level; None when not given."""
    if value is None or isinstance(value, bool):
        return value
    if value == "none":
        return False
    level = _LEVELS.get(value) if isinstance(value, str) else None
    if level is None:
        raise InvalidRequest(f"{field} must be true, false, low, medium or high", field=field)
    return cast("ThinkLevel", level)


def between(value: int | None, field: str, least: int, most: int) -> int | None:
    """A whole number within bounds; None when not given."""
    if value is not None and not least <= value <= most:
        raise InvalidRequest(f"{field} must be between {least} and {most}", field=field)
    return value


def logprobs(wanted: bool | None, top: int | None) -> int | None:
    """How many alternatives to tell beside each token, None for no log-probabilities at all."""
    between(top, "top_logprobs", 0, MOST_ALTERNATIVES)
    if wanted:
        return top or 0
    if top:
        raise InvalidRequest("top_logprobs needs logprobs to be true", field="top_logprobs")
    return None


def image_at(url: str, field: str) -> bytes:
    """The image that a URL holds, or is the place of: that one is fetched later, if it may be."""
    if url[:8].lower().startswith(("http://", "https://")):
        return RemoteImage.at(url, field)
    if not url.startswith("data:"):
        raise Unsupported(f"{field} must be a data: URI, or one with http: or https:", field=field)
    return image(url, field)


def image(text: str, field: str) -> bytes:
    """An encoded image from base64, with or without `data:image/…;base64,` before it."""
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise InvalidRequest(f"{field} must be a data: URI with ;base64", field=field)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"{field} is not base64", field=field) from None
    if not data:
        raise InvalidRequest(f"{field} is empty", field=field)
    return data


def refuse(body: msgspec.Struct, later: Mapping[str, tuple[object, ...]]) -> None:
    """Raise Unsupported, by name, for a field of `later` that asks for something.

    `later` maps the wire's field names to the values, beside the empty ones, that ask for nothing.
    """
    for field in msgspec.structs.fields(body):
        neutral = later.get(field.encode_name)
        if neutral is None:
            continue
        value: Any = getattr(body, field.name)
        if not any(type(value) is type(empty) and value == empty for empty in (*_EMPTY, *neutral)):
            raise Unsupported(f"{field.encode_name} is not supported yet", field=field.encode_name)
