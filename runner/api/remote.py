"""Images from other places: fetched only from where the settings allow, and never from inside by way of outside.

A name is resolved once, every address that comes of it is checked, and the connection goes to these very addresses, so
no second answer of the name server counts. Redirects are followed by hand, each checked like the first. Knows nothing
of what is in an image.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from runner.config import Places
from runner.conversation import RemoteImage
from runner.errors import InvalidRequest
from runner.inference.elsewhere import Fetch
from runner.protocol.image_file import MOST_BYTES

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

SECONDS = 15.0  # for all of an image, redirects included
_REDIRECTS = 3
_MOVED = frozenset({301, 302, 303, 307, 308})
_KINDS = ("image/", "application/octet-stream", "binary/octet-stream")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MOST_URL = 4096  # characters


class _Refused(Exception):
    """What is asked for may not be fetched, or isn't there. Its text ends a sentence."""


def fetching(allowed: Places) -> Fetch | None:
    """What gets images from these places, if there are any."""
    return Remote(allowed).fetch if allowed else None


class Remote:
    """Fetches from `allowed` places, at most `most` bytes in `seconds`."""

    def __init__(self, allowed: Places, *, seconds: float = SECONDS, most: int = MOST_BYTES) -> None:
        self._allowed = allowed
        self._seconds = seconds
        self._most = most

    async def fetch(self, image: RemoteImage) -> bytes:
        """The image's file. Raises InvalidRequest naming its field, which repeats nothing of what was answered."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._fetch(image.decode())
        except _Refused as error:
            raise InvalidRequest(f"{image.field} cannot be fetched: {error}", field=image.field) from None
        except TimeoutError:
            said = f"{image.field} cannot be fetched: it took more than {self._seconds:g} s"
            raise InvalidRequest(said, field=image.field) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            said = f"{image.field} cannot be fetched: {type(error).__name__}"
            raise InvalidRequest(said, field=image.field) from None

    async def _fetch(self, text: str) -> bytes:
        if len(text) > _MOST_URL:
            raise _Refused("the URL is too long")
        url = text
        connector = aiohttp.TCPConnector(
            resolver=_Checked(self._may_ask, self._may_reach),
            socket_factory=self._socket,
            use_dns_cache=False,
            force_close=True,
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "Runner"},
            auto_decompress=False,  # a small answer could be a large one
            trust_env=False,  # a proxy would resolve names by itself
        ) as session:
            for _ in range(_REDIRECTS + 1):
                self._check(url)
                async with session.get(url, allow_redirects=False) as response:
                    if response.status not in _MOVED:
                        return await self._body(response)
                    place = response.headers.get("Location", "")
                    if not place or len(place) > _MOST_URL:
                        raise _Refused("it is redirected to nowhere")
                    url = urljoin(url, place)
        raise _Refused(f"it is redirected more than {_REDIRECTS} times")

    def _check(self, url: str) -> None:
        """Whether this URL may be asked for, as far as can be told before its name is resolved."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _Refused("only http: and https: are")
        if "@" in parts.netloc:
            raise _Refused("its URL holds credentials")
        try:
            address = ipaddress.ip_address(parts.hostname)
        except ValueError:
            self._may_ask(parts.hostname)
            return
        if not self._is_listed(address) and ("*" not in self._allowed.hosts or not is_public(address)):
            raise _Refused("its address is not among RUNNER_IMAGE_URLS")

    def _may_ask(self, host: str) -> None:
        """Whether this name may be resolved."""
        if "*" not in self._allowed.hosts and host.lower().rstrip(".") not in self._allowed.hosts:
            raise _Refused("its host is not among RUNNER_IMAGE_URLS")

    def _may_reach(self, address: str) -> None:
        """Whether this address may be connected to."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if not self._is_listed(found) and not is_public(found):
            raise _Refused("its name leads to an address that is not public")

    def _socket(self, info: AddrInfoType) -> socket.socket:
        """A socket for this address and no other: the last look before the connection is made."""
        family, kind, proto, _, place = info
        self._may_reach(str(place[0]))
        return socket.socket(family, kind, proto)

    def _is_listed(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._allowed.networks)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise _Refused(f"the server answered {response.status}")
        kind = response.headers.get("Content-Type", "application/octet-stream").lower()
        if not kind.startswith(_KINDS):
            raise _Refused("it is no image")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _Refused("it is sent packed")
        data = bytearray()
        async for piece in response.content.iter_chunked(1 << 16):
            data += piece
            if len(data) > self._most:
                raise _Refused(f"it has more than {self._most} bytes")
        if not data:
            raise _Refused("it is empty")
        return bytes(data)


class _Checked(AbstractResolver):
    """Resolves a name and gives its addresses, of which one is connected to. If any may not be reached, none is given:
    a name that leads inside and outside is one that was made to."""

    def __init__(self, may_ask: Callable[[str], None], may_reach: Callable[[str], None]) -> None:
        self._may_ask = may_ask
        self._may_reach = may_reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self._may_ask(host)
        found = await self._look_up(host, port, family)
        for each in found:
            self._may_reach(each["host"])
        return found

    async def close(self) -> None:
        """There is nothing to close."""

    async def _look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        infos: Sequence[tuple[int, int, int, str, tuple[object, ...]]] = await loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family
        )
        return [
            ResolveResult(
                hostname=host, host=str(place[0]), port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST
            )
            for kind, _, proto, _, place in infos
        ]


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet, also by the ways in which IPv6 writes those of IPv4."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
