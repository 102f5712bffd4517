"""Images that a request only names the place of: fetched before anything else is done, or refused.

How they are fetched, and from where, is the business of whoever gives `fetch`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import msgspec

from runner.conversation import RemoteImage
from runner.errors import InvalidRequest, Unsupported
from runner.inference.prompts import pictures_of
from runner.inference.requests import Chat, Complete
from runner.protocol.image_file import MOST

Fetch = Callable[[RemoteImage], Awaitable[bytes]]
"""Gets an image. Raises InvalidRequest naming its field."""

Asked = TypeVar("Asked", bound=Chat | Complete)


async def with_images(request: Asked, fetch: Fetch | None) -> Asked:
    """The request with every image in it. Raises Unsupported without a `fetch`, and what that raises."""
    images = [image for image, _ in pictures_of(request)]
    remote = [image for image in images if isinstance(image, RemoteImage)]
    if not remote:
        return request
    if fetch is None:
        field = remote[0].field
        raise Unsupported(f"{field} is elsewhere, and Runner fetches nothing: send it as a data: URI", field=field)
    if len(images) > MOST:
        raise InvalidRequest(f"{len(images)} images are too many; a request may have {MOST}", field=remote[0].field)
    # One after the other: they are few, and may be large.
    fetched = {image: await fetch(image) for image in dict.fromkeys(remote)}

    def here(image: bytes) -> bytes:
        return fetched[image] if isinstance(image, RemoteImage) else image

    if isinstance(request, Complete):
        return replace(request, images=tuple(map(here, request.images)))
    messages = tuple(msgspec.structs.replace(each, images=tuple(map(here, each.images))) for each in request.messages)
    return replace(request, messages=messages)
