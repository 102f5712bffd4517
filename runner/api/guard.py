"""Who may call: the Host allow-list, the Origin check, the API key and the body limit, in that order, on every bind.

The Host check keeps out DNS rebinding, the Origin check other people's web pages, the key other people. Nothing that is
refused here has had an effect. Knows no endpoint but the few that answer without a key.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Middleware

from runner.config import Settings
from runner.errors import BadKey, NotAllowed, TooLarge

ALLOWED_ORIGIN = web.RequestKey("allowed_origin", str)
"""The request's Origin, once it has passed: what the answer's CORS headers name."""

_KEYLESS = frozenset({"/health", "/livez"})
_PAGE = "/page/"
_PAGE_ITSELF = frozenset({"/", "/favicon.ico"})
_READING = frozenset({"GET", "HEAD"})
_UPLOADS = "/api/blobs/"  # as large as models are, so apart from the limit on bodies
_AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>\d{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#]*)")
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_TOKENS = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]*")  # header names in a list


@dataclass(frozen=True, slots=True)
class Guard:
    """The rules. `hosts` are names without port or with one, in lower case."""

    hosts: frozenset[str]
    origins: tuple[re.Pattern[str], ...]
    key: bytes | None
    max_body: int

    @classmethod
    def of(cls, settings: Settings) -> Guard:
        """The rules that the settings give."""
        hosts = {host.lower() for host in settings.allowed_hosts} | {settings.host.host.lower()}
        origins = tuple(_pattern(origin) for origin in settings.origins)
        key = settings.api_key.encode() if settings.api_key else None
        return cls(frozenset(hosts), origins, key, settings.max_body)

    def check(self, request: web.Request) -> str | None:
        """The Origin that was allowed, None when none was sent. Raises NotAllowed, BadKey or TooLarge."""
        own = _own_address(request)
        host = self._check_host(request, own)
        origin = self._check_origin(request, host)
        if not is_preflight(request):
            self._check_key(request)
            self._check_length(request)
        return origin

    def _check_host(self, request: web.Request, own: str | None) -> str:
        named = request.headers.getall("Host", [])
        if len(named) != 1:
            raise NotAllowed("a request needs exactly one Host header")
        if not self._is_own(named[0], own):
            shown = named[0][:100]
            raise NotAllowed(f"host {shown!r} is not allowed; if it is this machine, add it to RUNNER_ALLOWED_HOSTS")
        target = request.raw_path
        if not target.startswith("/") and target != "*":  # a URI in the request line counts before the header
            found = _ORIGIN.match(target.lower())
            if found is None or not self._is_own(found["authority"], own):
                raise NotAllowed("the host in the request line is not allowed")
        return named[0].lower()

    def _is_own(self, authority: str, own: str | None) -> bool:
        found = _AUTHORITY.fullmatch(authority)
        if found is None or int(found["port"] or 0) > 65535:
            return False
        name = (found["six"] or found["name"]).lower()
        return is_loopback(name) or name in self.hosts or authority.lower() in self.hosts or _same(name, own)

    def _check_origin(self, request: web.Request, host: str) -> str | None:
        origins = request.headers.getall("Origin", [])
        site = request.headers.get("Sec-Fetch-Site")
        if len(origins) > 1 or (origins and not self._may_call(origins[0], host)):
            shown = origins[0][:100]
            raise NotAllowed(f"origin {shown!r} is not allowed; if you trust it, add it to RUNNER_ORIGINS")
        if not origins and site is not None and not _from_here(site, host) and not _is_visit(request):
            raise NotAllowed("another web site may not call Runner")
        if (origins or site is not None) and not is_preflight(request):
            _check_content_type(request)
        return origins[0] if origins else None

    def _may_call(self, origin: str, host: str) -> bool:
        found = _ORIGIN.fullmatch(origin.lower())
        if found is None:
            return False  # `null`, which a sandboxed frame and a local file send alike
        if found["scheme"] in ("http", "https") and (
            found["authority"] == host or _is_loopback_authority(found["authority"])
        ):
            return True
        return found["scheme"] != "file" and any(allowed.fullmatch(origin.lower()) for allowed in self.origins)

    def _check_key(self, request: web.Request) -> None:
        if self.key is None or request.path in _KEYLESS or _is_page(request):
            return
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        offered = [request.headers.get("x-api-key", "")]
        if scheme.lower() == "bearer":
            offered.append(bearer.strip())
        matches = [hmac.compare_digest(each.encode("utf-8", "surrogateescape"), self.key) for each in offered]
        if not any(matches):
            raise BadKey("a valid API key is required: send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`")

    def _check_length(self, request: web.Request) -> None:
        if (request.content_length or 0) > self.max_body and not request.path.startswith(_UPLOADS):
            raise TooLarge(f"the request body is larger than {self.max_body} bytes, the most that max_body allows")


class Rules:
    """The rules in force: a holder, since the settings may change."""

    def __init__(self, settings: Settings) -> None:
        self.guard = Guard.of(settings)

    def take(self, settings: Settings) -> None:
        """Go by these from the next request on."""
        self.guard = Guard.of(settings)


def middleware(rules: Rules) -> Middleware:
    """Let a request through, answer a preflight, or raise."""

    @web.middleware
    async def check(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        origin = rules.guard.check(request)
        if origin is not None:
            request[ALLOWED_ORIGIN] = origin
        if is_preflight(request):
            return web.Response(status=204, headers=_preflight_headers(request))
        return await handler(request)

    return check


def is_preflight(request: web.Request) -> bool:
    """A browser asking whether it may ask."""
    return (
        request.method == "OPTIONS"
        and "Origin" in request.headers
        and "Access-Control-Request-Method" in request.headers
    )


def is_from_this_machine(request: web.Request) -> bool:
    """True for a program on this machine: over loopback, by no proxy, and not a web page.

    Such a caller could read the files that it names itself.
    """
    if any(name in request.headers for name in (*_FORWARDED, "Origin", "Sec-Fetch-Site")):
        return False
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return isinstance(peer, tuple) and is_loopback(str(peer[0]))


def is_loopback(name: str) -> bool:
    """True for `localhost` and for addresses of this machine alone; an IPv6 address comes without brackets."""
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _pattern(origin: str) -> re.Pattern[str]:
    """A setting's origin, in which `*` stands for any characters: `https://*.example.org`, `chrome-extension://*`."""
    return re.compile(".*".join(re.escape(part) for part in origin.lower().rstrip("/").split("*")))


def _is_loopback_authority(authority: str) -> bool:
    found = _AUTHORITY.fullmatch(authority)
    return found is not None and int(found["port"] or 0) <= 65535 and is_loopback(found["six"] or found["name"])


def _own_address(request: web.Request) -> str | None:
    """Where this connection arrived. A Host of exactly that address can't come from a rebound name."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return str(name[0]).partition("%")[0] if isinstance(name, tuple) else None


def _same(name: str, own: str | None) -> bool:
    try:
        return own is not None and ipaddress.ip_address(name) == ipaddress.ip_address(own)
    except ValueError:
        return False


def _from_here(site: str, host: str) -> bool:
    """A request without Origin: by the user's own hand, from our page, or between loopback ports."""
    if site in ("none", "same-origin"):
        return True
    return site == "same-site" and _is_loopback_authority(host)


def _is_page(request: web.Request) -> bool:
    """The web page's files, which are the same for everybody and hold no data; what they ask for needs the key."""
    return request.method in _READING and (request.path in _PAGE_ITSELF or request.path.startswith(_PAGE))


def _is_visit(request: web.Request) -> bool:
    """Somebody followed a link to the page, in a window of its own: the site that has the link sees nothing of it."""
    headers = request.headers
    is_window = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return is_window and request.path == "/" and request.method in _READING


def _check_content_type(request: web.Request) -> None:
    """What a form can send, a page can send without asking; so a page must send what a form can't."""
    if request.method not in _CHANGING:
        return
    upload = request.path.startswith(_UPLOADS) and request.content_type == "application/octet-stream"
    # aiohttp reads a missing content type as octet-stream; a page that sends none hasn't asked either.
    if "Content-Type" not in request.headers or not (request.content_type == "application/json" or upload):
        raise NotAllowed("a web page must send Content-Type: application/json")


def _preflight_headers(request: web.Request) -> Mapping[str, str]:
    wanted = request.headers.get("Access-Control-Request-Headers", "")
    headers = {
        "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE",
        "Access-Control-Allow-Headers": wanted if _TOKENS.fullmatch(wanted) else "",
        "Access-Control-Max-Age": "600",
    }
    if request.headers.get("Access-Control-Request-Private-Network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
    return headers
