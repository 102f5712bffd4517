"""What `runner doctor` looks at of the shell it is typed in: variables that send clients elsewhere, proxies in the way
of the loopback, limits; and who has Ollama's port. Changes nothing.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from runner.cli.doctor.checks import holder_of
from runner.config import Address
from runner.protocol.checkup import Finding

_OLLAMA = 11434
_PORTS = {"http": 80, "https": 443}
_FEW_FILES = 1024
_BUILT = 1_760_000_000  # a clock before this stands: certificates would seem to be of the future
# Variable to what is behind the address of Runner there.
_CLIENTS = {
    "OLLAMA_HOST": "",
    "OPENAI_BASE_URL": "/v1",
    "OPENAI_API_BASE": "/v1",
    "ANTHROPIC_BASE_URL": "",
}
_KINDS = {"OLLAMA_HOST": "Ollama's", "ANTHROPIC_BASE_URL": "Anthropic's"}


def of_shell(address: Address, environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """`address` is where Runner is called."""
    yield from clients(address, environ)
    yield from _ollama(address)
    yield from proxies(address, environ)
    yield from _limits()
    if time.time() < _BUILT:
        said = f"this machine's clock says {time.strftime('%Y-%m-%d', time.gmtime())}: downloads will fail"
        yield Finding("clock", "warn", said, "set the clock")


def clients(address: Address, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Where variables send the clients that read them."""
    for name, path in _CLIENTS.items():
        given = environ.get(name, "").strip()
        if not given:
            continue
        whose = _KINDS.get(name, "OpenAI's")
        want = f"{address.url}{path}"
        fix = f"for Runner: export {name}={want}; for none: unset {name}"
        there = place_of(given, name)
        if there is None:
            yield Finding("clients", "warn", f"{name} is no address: {whose} clients will fail", fix)
            continue
        host, port, below, shown = there
        if not is_same(host, port, address):
            said = f"{name} sends {whose} clients to {shown}, not to Runner at {address.url}"
            yield Finding("clients", "warn", said, fix)
        elif below.rstrip("/") != path:
            yield Finding("clients", "warn", f"{name} is {shown}, where {whose} clients find nothing", fix)
        else:
            yield Finding("clients", "ok", f"{name} sends {whose} clients to Runner")


def place_of(given: str, name: str = "") -> tuple[str, int, str, str] | None:
    """Host, port and path of what was given, and how to show it: without a password. None for what is no address."""
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ("127.0.0.1" if name == "OLLAMA_HOST" else "")
    if not host:
        return None
    if port is None:
        port = _PORTS.get(parts.scheme, 80) if "://" in given or name != "OLLAMA_HOST" else _OLLAMA
    return host, port, parts.path, f"{parts.scheme}://{Address(host, port)}{parts.path}"


def is_same(host: str, port: int, address: Address) -> bool:
    """True where both are one place: this machine has several names."""
    if port != address.port:
        return False
    return host == address.host or (_is_here(host) and _is_here(address.host))


def _is_here(host: str) -> bool:
    if host in ("localhost", "0.0.0.0", "::"):
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _ollama(address: Address) -> Iterator[Finding]:
    """Who answers where clients of Ollama look first, if anybody does."""
    if address.is_loopback and address.port == _OLLAMA:
        yield Finding("ollama", "ok", "Runner has Ollama's port: its clients need no other address")
        return
    said = _asked(_OLLAMA)
    if said is None:
        return
    if isinstance(said.get("runner"), str):
        yield Finding("ollama", "ok", f"another Runner, {said['runner']}, has Ollama's port, 11434")
        return
    who = (
        f"Ollama {said['version']}" if isinstance(said.get("version"), str) else holder_of(_OLLAMA) or "something else"
    )
    words = f"{who} has Ollama's port, 11434: its clients reach that unless told otherwise"
    yield Finding("ollama", "ok", words, f"for Runner: export OLLAMA_HOST={address.url}")


def _asked(port: int) -> dict[str, object] | None:
    """What answers on a port of this machine says of its version: nothing where it is odd, None where nobody is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.connect()
    except OSError:
        return None
    try:
        connection.request("GET", "/api/version")
        said = json.loads(connection.getresponse().read(65536))
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    finally:
        connection.close()
    return said if isinstance(said, dict) else {}


def proxies(address: Address, environ: Mapping[str, str]) -> Iterator[Finding]:
    """A proxy that clients would ask for what is on this machine."""
    if not _is_here(address.host):
        return
    # As most clients read them: in small letters first.
    through, spared = (
        next((each for name in names if (each := environ.get(name, "").strip())), "")
        for names in (("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"), ("no_proxy", "NO_PROXY"))
    )
    left_out = [each.strip().lower() for each in spared.split(",") if each.strip()]
    if not through or _is_left_out(address.host, left_out):
        return
    try:
        host = urlsplit(through if "://" in through else f"http://{through}").hostname
    except ValueError:
        host = None
    said = f"{host or 'a proxy'} is set as proxy, and {address.host} isn't left out: clients ask it for Runner"
    hosts = dict.fromkeys([*left_out, "localhost", "127.0.0.1", "::1"])
    yield Finding("proxies", "warn", said, f"export NO_PROXY={','.join(hosts)}")


def _is_left_out(host: str, left_out: Sequence[str]) -> bool:
    for each in left_out:
        if each == "*" or each.partition(":")[0].lstrip(".") == host or each.strip("[]") == host:
            return True
        with suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(each):
                return True
    return False


def _limits() -> Iterator[Finding]:
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FEW_FILES:
        most = "" if hard == resource.RLIM_INFINITY else f", at most {hard}"
        said = f"a process may open {soft} files here: a daemon started from this shell may refuse connections"
        yield Finding("limits", "warn", said, f"ulimit -n 4096{most}; for a service LimitNOFILE=4096")
