"""Images that a request only names the place of."""

from __future__ import annotations

import pytest

from runner.conversation import Message, RemoteImage
from runner.errors import InvalidRequest, Unsupported
from runner.inference.elsewhere import with_images
from runner.inference.requests import Chat, Complete
from runner.protocol.image_file import MOST

HERE = b"here"
THERE = RemoteImage.at("https://example.com/a.png", "messages[0].content[0].image_url")


async def fetch(image: RemoteImage) -> bytes:
    return b"fetched from " + image


async def test_they_are_put_in_their_places() -> None:
    chat = Chat("m", (Message("user", "x", images=(HERE, THERE)), Message("user", "y")))
    messages = (await with_images(chat, fetch)).messages
    assert messages[0].images == (HERE, b"fetched from https://example.com/a.png")
    assert not any(isinstance(image, RemoteImage) for image in messages[0].images)
    assert (messages[0].content, messages[1]) == ("x", chat.messages[1])
    completion = await with_images(Complete("m", "x", images=(THERE,)), fetch)
    assert completion.images == (b"fetched from https://example.com/a.png",)


async def test_without_them_nothing_is_changed() -> None:
    chat = Chat("m", (Message("user", "x", images=(HERE,)),))
    assert await with_images(chat, None) is chat


async def test_none_are_fetched_where_that_is_not_allowed_nor_too_many() -> None:
    with pytest.raises(Unsupported, match="fetches nothing") as caught:
        await with_images(Chat("m", (Message("user", "x", images=(THERE,)),)), None)
    assert caught.value.field == THERE.field
    with pytest.raises(InvalidRequest, match="too many"):
        await with_images(Complete("m", "x", images=(THERE,) * (MOST + 1)), fetch)
