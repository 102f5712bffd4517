"""HTTP for all that fetches or pushes models: one client, redirects followed by hand, secrets that stay at home.

The only module of the registry that talks HTTP by itself. A redirect may lead to a public address, or to the host that
was asked for in the first place; a host that a person named may be anywhere. Knows no model and no registry.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from types import MappingProxyType
from typing import TYPE_CHECKING, Self
from urllib.request import getproxies, proxy_bypass

from registry.errors import Unreachable

if TYPE_CHECKING:
    import httpx2

_MOST_HOPS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NOTHING: Mapping[str, str] = MappingProxyType({})
Content = bytes | Iterable[bytes]


class Http:
    """Safe to use from several threads. `timeout` is seconds of silence; `connections` at once to any one host.

    `patience` is seconds of silence before an answer, if more. Close it, or use it with `with`.
    """

    def __init__(self, *, timeout: float = 20.0, patience: float = 0.0, connections: int = 8) -> None:
        import httpx2  # on use: as large as the rest of the registry

        self._timeout = httpx2.Timeout(timeout, read=max(patience, timeout))
        self._client = _client(self._timeout)
        self._made_lax: httpx2.Client | None = None
        self._connections = connections
        self._lock = threading.Lock()
        self._places: dict[str, threading.BoundedSemaphore] = {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        if self._made_lax is not None:
            self._made_lax.close()

    @property
    def _lax(self) -> httpx2.Client:
        """The client that believes every certificate."""
        with self._lock:
            if self._made_lax is None:
                self._made_lax = _client(self._timeout, verify=False)
            return self._made_lax

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    @contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = _NOTHING,
        secret: Mapping[str, str] = _NOTHING,
        content: Content | None = None,
        follow: bool = True,
        home: str | None = None,
        insecure: bool = False,
    ) -> Iterator[httpx2.Response]:
        """The answer to a request, whatever its status, with its body still to be read.

        `secret` headers are sent to the origin of `url` (scheme, host and port) and to no other. With `follow`,
        redirects of GET and HEAD are followed. `home` is the URL that a person named, where `url` is only a server's
        word: then `url` is held to the rules for redirects. `insecure` allows the named host a certificate that nobody
        signed. Raises Unreachable, also for a redirect that leads where none may.
        """
        import httpx2

        try:
            first = target = httpx2.URL(url)
            named = first if home is None else httpx2.URL(home)
            for _ in range(_MOST_HOPS):
                if target.scheme not in ("http", "https") or not target.host:
                    raise Unreachable(f"{_shown(target)} is no address that can be fetched")
                given = {**headers, **(secret if _origin(target) == _origin(first) else _NOTHING)}
                client = self._lax if insecure and target.host == named.host else self._client
                with self._place(target.host), _sent(client, method, target, named, given, content) as response:
                    moved = response.headers.get("Location") if response.status_code in _REDIRECTS else None
                    if moved is None or not follow or method not in ("GET", "HEAD"):
                        yield response
                        return
                    following = target.join(moved)
                if target.scheme == "https" and following.scheme == "http":
                    raise Unreachable(f"{_shown(target)} redirects to plain HTTP ({_shown(following)})")
                target = following
            raise Unreachable(f"{_shown(first)}: more than {_MOST_HOPS} redirects")
        except httpx2.ConnectError as error:
            raise Unreachable(f"{_without_secrets(url)} can't be reached: {error}") from error
        except (httpx2.RequestError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise Unreachable(f"{_without_secrets(url)}: {str(error) or type(error).__name__}") from error

    @contextmanager
    def _place(self, host: str) -> Iterator[None]:
        with self._lock:
            place = self._places.setdefault(host, threading.BoundedSemaphore(self._connections))
        with place:
            yield


@contextmanager
def _sent(
    client: httpx2.Client,
    method: str,
    target: httpx2.URL,
    named: httpx2.URL,
    headers: Mapping[str, str],
    content: Content | None,
) -> Iterator[httpx2.Response]:
    import httpx2

    last: httpx2.ConnectError | None = None
    for each in _ways(target, named):
        request = client.build_request(
            method, each.url, headers={**headers, **each.headers}, content=content, extensions=dict(each.extensions)
        )
        try:
            response = client.send(request, stream=True)
        except httpx2.ConnectError as error:
            last = error
            continue
        try:
            yield response
            return
        finally:
            response.close()
    raise last or Unreachable(f"{target.host} has no address")


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to send a request: to a name, or to one of its addresses in particular."""

    url: httpx2.URL
    headers: Mapping[str, str] = field(default_factory=dict)
    extensions: Mapping[str, str] = field(default_factory=dict)


def _ways(target: httpx2.URL, named: httpx2.URL) -> list[_Way]:
    """How a target may be reached. Raises Unreachable for one that a server named and that isn't public.

    The address that was looked at is the one that is called, lest the name mean another by then.
    """
    if target.host == named.host:
        return [_Way(target)]
    if _is_proxied(target):
        # The proxy finds the address; a literal one can be looked at here.
        if _is_literal(target.host):
            _check_public(target, target.host, named)
        return [_Way(target)]
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(f"{target.host}: {error.strerror or error}") from error
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        _check_public(target, address, named)
    name = target.host if target.port is None else f"{target.host}:{target.port}"
    return [_Way(target.copy_with(host=each), {"Host": name}, {"sni_hostname": target.host}) for each in addresses]


def _check_public(target: httpx2.URL, address: str, named: httpx2.URL) -> None:
    if not is_public(address):
        raise Unreachable(f"{named.host} sends us to {target.host} ({address}), which is no public address")


def is_public(address: str) -> bool:
    """Whether an IP address, as text, belongs to the public internet."""
    found = ipaddress.ip_address(address.partition("%")[0])
    # Some addresses of version 6 are one of version 4 in disguise, and lead there.
    within = [_within(found)] if isinstance(found, ipaddress.IPv6Address) else []
    return all(each.is_global and not each.is_multicast for each in (found, *within) if each is not None)


def _within(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def is_loopback(host: str) -> bool:
    """Whether a host, as a person types it, is this machine: a loopback address, or localhost."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_proxied(url: httpx2.URL) -> bool:
    proxies = getproxies()
    return bool(proxies.get(url.scheme) or proxies.get("all")) and not proxy_bypass(url.host)


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _shown(url: httpx2.URL) -> str:
    """A URL for messages: without what may be secret in it."""
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace').rpartition('@')[2]}{url.path}"


def _without_secrets(url: str) -> str:
    """Any text that should be a URL, for messages: no user, no password, no query."""
    host, slash, path = re.split(r"[?#]", url.rpartition("://")[2], maxsplit=1)[0].partition("/")
    return f"{host.rpartition('@')[2]}{slash}{path}"[:300]


def _client(timeout: httpx2.Timeout, verify: bool = True) -> httpx2.Client:
    import httpx2

    client = httpx2.Client(
        verify=verify,
        timeout=timeout,
        follow_redirects=False,
        # Each host has its limit here, and what waits for it does so without a timeout.
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=32),
        # Lengths and offsets are those of the file only if nothing compresses it on the way.
        headers={"User-Agent": "runner", "Accept-Encoding": "identity"},
    )
    # Cookies know no ports, and go to siblings; no source of models needs any.
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return client
