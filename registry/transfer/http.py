"""HTTP for all that fetches or pushes models: one client, redirects followed by hand, secrets that stay at home.

The only module of the registry that talks HTTP by itself. A redirect may lead to a public address, or to the host that
was asked for in the first place; a host that a person named may be anywhere. Knows no model and no registry.
"""

from __future__ import annotations

import copy
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Self
from urllib.request import getproxies, proxy_bypass

from registry.errors import Cancelled, Unreachable

if TYPE_CHECKING:
    import httpx2

    from registry.transfer.dial import Asking

SOON: Final = 60.0
"""Seconds that an answer may take as a whole which isn't a file: a manifest, a list, a token, an error's text."""

_ANSWER = 120.0  # seconds until the bytes of a file begin to come, redirects included
_SLICE = 0.1
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
        self._cancelled: Callable[[], bool] | None = None
        self._connections = connections
        self._lock = threading.Lock()
        self._places: dict[str, threading.BoundedSemaphore] = {}
        self._clients: dict[tuple[bool, bool], httpx2.Client] = {}

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            for each in self._clients.values():
                each.close()
            self._clients.clear()

    def heeding(self, cancelled: Callable[[], bool]) -> Http:
        """The same client, with the same connections, for somebody who may change their mind.

        Its requests raise Cancelled while they wait, or while they read what isn't a file.
        """
        found = copy.copy(self)
        found._cancelled = cancelled
        return found

    def _client(self, *, lax: bool, led: bool) -> httpx2.Client:
        """The client for hosts that a person named, or for those that a server led us to: connections to those go to
        addresses that were looked at, and are never shared with the others. A `lax` one believes every certificate.
        """
        with self._lock:
            if (lax, led) not in self._clients:
                self._clients[lax, led] = _client(self._timeout, verify=not lax)
            return self._clients[lax, led]

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
        insecure: bool | None = None,
        within: float | None = None,
        bulk: bool = False,
    ) -> Iterator[httpx2.Response]:
        """The answer to a request, whatever its status, with its body still to be read.

        `secret` headers are sent to the origin of `url` (scheme, host and port) and to no other. With `follow`,
        redirects of GET and HEAD are followed. `home` is the URL that a person named, where `url` is only a server's
        word: then `url` is held to the rules for redirects. `insecure` allows the named host a certificate that nobody
        signed; None where nothing can allow it. `within` is how many seconds all of it may take, with its body.
        `bulk` is what carries a file: of those, a host has only so many at once, and the others wait. Raises
        Unreachable, also for a redirect that leads where none may, and Cancelled.
        """
        import httpx2

        from registry.transfer.dial import Asking, at

        asking = Asking(cancelled=self._cancelled)
        try:
            first = target = httpx2.URL(url)
            named = first if home is None else httpx2.URL(home)
            limit = within if within is not None or not bulk or content is not None else _ANSWER
            for _ in range(_MOST_HOPS):
                if target.scheme not in ("http", "https") or not target.host:
                    raise Unreachable(f"{_shown(target)} is no address that can be fetched")
                given = {**headers, **(secret if _origin(target) == _origin(first) else _NOTHING)}
                lax = bool(insecure) and target.host == named.host
                client = self._client(lax=lax, led=target.host != named.host)
                with self._place(target.host, bulk), at(asking):
                    if limit is not None and asking.until is None:
                        asking.until = time.monotonic() + limit
                    _find_way(asking, target, named)
                    with _sent(client, method, target, given, content) as response:
                        moved = response.headers.get("Location") if response.status_code in _REDIRECTS else None
                        if moved is None or not follow or method not in ("GET", "HEAD"):
                            if within is None:
                                asking.until = None
                            yield response
                            return
                        following = target.join(moved)
                if target.scheme == "https" and following.scheme == "http":
                    raise Unreachable(f"{_shown(target)} redirects to plain HTTP ({_shown(following)})")
                target = following
            raise Unreachable(f"{_shown(first)}: more than {_MOST_HOPS} redirects")
        except (httpx2.RequestError, httpx2.InvalidURL, httpx2.StreamError) as error:
            if asking.is_over:
                raise Unreachable(f"{_without_secrets(url)}: the answer takes longer than {limit:.0f} s") from error
            why = _why(error, target if isinstance(error, httpx2.RequestError) else None, insecure)
            raise Unreachable(f"{_without_secrets(url)}{why}") from error

    @contextmanager
    def _place(self, host: str, bulk: bool) -> Iterator[None]:
        """One of the places that a host has for files. Raises Cancelled while it waits."""
        if not bulk:
            yield
            return
        with self._lock:
            place = self._places.setdefault(host, threading.BoundedSemaphore(self._connections))
        while not place.acquire(timeout=_SLICE):
            if self._cancelled is not None and self._cancelled():
                raise Cancelled("cancelled while waiting for other downloads from the same host")
        try:
            yield
        finally:
            place.release()


@contextmanager
def _sent(
    client: httpx2.Client, method: str, target: httpx2.URL, headers: Mapping[str, str], content: Content | None
) -> Iterator[httpx2.Response]:
    try:
        response = client.send(client.build_request(method, target, headers=headers, content=content), stream=True)
    except (UnicodeError, OverflowError) as error:  # as Python says that a name or a port can't be
        raise Unreachable(f"{target.host[:100]!r} is no host, or has no such port") from error
    try:
        yield response
    finally:
        response.close()


def _find_way(asking: Asking, target: httpx2.URL, named: httpx2.URL) -> None:
    """Say which addresses a request may dial. Raises Unreachable for a host that a server named and that isn't public.

    The address that was looked at is the one that is called, lest the name mean another by then.
    """
    asking.addresses = ()
    if target.host == named.host:
        return
    if _is_proxied(target):
        # The proxy finds the address; a literal one can be looked at here.
        if _is_literal(target.host):
            _check_public(target, target.host, named)
        return
    asking.host = target.raw_host.decode("ascii")
    try:
        found = socket.getaddrinfo(asking.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(
            f"{named.host} sends us to {target.host[:100]}, and {_of_name(error, target.host)}"
        ) from error
    except (UnicodeError, OverflowError) as error:
        raise Unreachable(f"{named.host} sends us to {target.host[:100]!r}, which is no host") from error
    addresses = tuple(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        _check_public(target, address, named)
    asking.addresses = addresses


def _why(error: Exception, target: httpx2.URL | None, insecure: bool | None) -> str:
    """What went wrong, in words; begins with what joins it to the URL."""
    import httpx2

    if target is None or not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return f": {str(error) or type(error).__name__}"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    port = target.port or (443 if target.scheme == "https" else 80)
    if isinstance(cause, ssl.SSLError):
        said = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else cause.reason or "no TLS"
        hint = "" if insecure is not False else ". `--insecure` takes any certificate, for this one time"
        return f" can't be reached: {target.host} has no certificate that is trusted here ({said}){hint}"
    if isinstance(cause, socket.gaierror):
        return f" can't be reached: {_of_name(cause, target.host)}"
    told = f" ({cause.strerror})" if isinstance(cause, OSError) and cause.strerror else ""
    return f" can't be reached: nobody answers at {target.host}:{port}{told}"


def _of_name(error: OSError, host: str) -> str:
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return f"the name {host[:100]} can't be looked up now"
    return f"there is no host called {host[:100]}"


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

    from registry.transfer.dial import wire

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
    return wire(client)
