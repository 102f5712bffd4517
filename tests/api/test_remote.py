"""Images from other places, against a server on loopback that the settings allow, and the ways around that."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from runner.api import remote
from runner.api.remote import Remote, is_public
from runner.config import parse_places
from runner.conversation import RemoteImage
from runner.errors import InvalidRequest

IMAGE = b"\x89PNG\r\n\x1a\n and so on"
MOST = 4096
Place = Callable[[str], str]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """A server with images good and bad; gives the URL of each path."""
    moves: dict[str, str] = {}

    async def answer(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/image":
                return web.Response(body=IMAGE, content_type="image/png")
            case "/page":
                return web.Response(text="<html>", content_type="text/html")
            case "/large":
                return web.Response(body=b"x" * (MOST + 1), content_type="image/png")
            case "/endless":
                response = web.StreamResponse(headers={"Content-Type": "image/png"})
                await response.prepare(request)
                while True:
                    await response.write(b"x" * 1000)
            case "/packed":
                return web.Response(body=b"x", headers={"Content-Type": "image/png", "Content-Encoding": "gzip"})
            case "/empty":
                return web.Response(body=b"", content_type="image/png")
            case "/never":
                await asyncio.Event().wait()
            case "/round":
                raise web.HTTPFound("/round")
            case "/moved":
                raise web.HTTPMovedPermanently(request.query["to"])
        raise web.HTTPNotFound

    app = web.Application()
    app.router.add_get("/{rest:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    moves["port"] = str(port)
    yield lambda path: f"http://127.0.0.1:{port}{path}"
    await runner.cleanup()


async def fetch(url: str, allowed: str = "127.0.0.1", seconds: float = 10.0) -> bytes:
    return await Remote(parse_places(allowed), seconds=seconds, most=MOST).fetch(RemoteImage.at(url, "here"))


async def refusal(fetching: Awaitable[bytes]) -> str:
    with pytest.raises(InvalidRequest) as caught:
        await fetching
    assert caught.value.field == "here"
    return caught.value.message


async def test_an_image_comes_from_an_allowed_address(place: Place) -> None:
    assert await fetch(place("/image")) == IMAGE
    assert await fetch(place("/image"), "10.0.0.1, 127.0.0.0/8") == IMAGE
    assert await fetch(place("/moved?to=/image")) == IMAGE


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/page", "no image"),
        ("/large", "more than 4096 bytes"),
        ("/endless", "more than 4096 bytes"),
        ("/packed", "packed"),
        ("/empty", "empty"),
        ("/round", "more than 3 times"),
        ("/nothing", "answered 404"),
        ("/moved?to=file:///etc/passwd", "only http"),
        ("/moved?to=http://10.1.2.3/image", "RUNNER_IMAGE_URLS"),
    ],
)
async def test_what_is_no_image_of_its_place_is_refused(place: Place, path: str, said: str) -> None:
    assert said in await refusal(fetch(place(path)))


async def test_who_never_answers_is_left_alone_in_time(place: Place) -> None:
    assert "more than 0.2 s" in await refusal(fetch(place("/never"), seconds=0.2))


@pytest.mark.parametrize("allowed", ["*", "example.com", "10.0.0.0/8", "localhost"])
async def test_an_address_inside_has_to_be_named(place: Place, allowed: str) -> None:
    assert "RUNNER_IMAGE_URLS" in await refusal(fetch(place("/image"), allowed))


async def test_a_name_that_leads_inside_is_no_way_in(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the name server says the second time: the address that was checked is the one that is connected to."""
    port = place("").rpartition(":")[2]
    asked: list[str] = []
    answers = ["127.0.0.1"]

    async def look_up(self: object, host: str, port: int, family: object) -> list[dict[str, object]]:
        asked.append(host)
        address = answers.pop(0)
        return [{"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 6, "flags": 0}]

    monkeypatch.setattr(remote._Checked, "_look_up", look_up)
    assert "not public" in await refusal(fetch(f"http://rebound.example:{port}/image", "*"))
    assert "not public" in await refusal(fetch_with(answers, f"http://rebound.example:{port}/image", "rebound.example"))
    # Allowed by its network, the same name is asked for once, and the server is reached by that one answer.
    answers[:] = ["127.0.0.1", "192.0.2.1"]
    asked.clear()
    assert await fetch(f"http://rebound.example:{port}/image", "rebound.example, 127.0.0.1") == IMAGE
    assert asked == ["rebound.example"]


async def fetch_with(answers: list[str], url: str, allowed: str) -> bytes:
    answers[:] = ["127.0.0.1"]
    return await fetch(url, allowed)


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "0"])
async def test_other_spellings_of_this_machine_are_the_same(place: Place, host: str) -> None:
    port = place("").rpartition(":")[2]
    assert await refusal(fetch(f"http://{host}:{port}/image", "*"))


@pytest.mark.parametrize("url", ["http://me:secret@127.0.0.1/", "http:///image", "http://127.0.0.1:99999/", "https://"])
async def test_a_url_that_is_none_is_named(url: str) -> None:
    assert "secret" not in await refusal(fetch(url))


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("2001:0:1::1", False),
        ("ff02::1", False),
    ],
)
def test_what_is_public(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public
