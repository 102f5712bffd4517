"""Docker's credentials: what `docker login` left in config.json, or handed to a credential helper.

Knows which entry belongs to a host, and asks helper programs. Who is sent a credential, `auth` decides.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import re
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

log = logging.getLogger(__name__)

_HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HELPER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HELPER_SECONDS = 30.0
_IDENTITY_USER = "<token>"
_CONFIG_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class Credential:
    """What a person has for one host. `kind` says what the secret is.

    A `password` goes with its user; an `identity` token is exchanged for others; a `registry` token is sent as it is.
    """

    user: str
    secret: str = field(repr=False)
    kind: Literal["password", "identity", "registry"] = "password"

    @property
    def basic(self) -> str:
        """The value of an Authorization header with user and password."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode("ascii")


class Credentials:
    """Docker's credentials by host. Safe to use from several threads; a helper is asked once for each host."""

    def __init__(self, folder: Path | None = None, *, seconds: float = _HELPER_SECONDS) -> None:
        """`folder` holds config.json; without one it is DOCKER_CONFIG's, else ~/.docker."""
        self._path = (folder or _docker_folder()) / "config.json"
        self._seconds = seconds
        self._lock = threading.Lock()
        self._config: Mapping[str, Any] | None = None
        self._known: dict[str, Credential | None] = {}
        self._troubles: dict[str, str] = {}

    def of(self, host: str) -> Credential | None:
        """What there is for a host (`host` or `host:port`), or None. Raises nothing."""
        host = host.lower()
        with self._lock:
            if host not in self._known:
                self._known[host] = self._find(host)
            return self._known[host]

    def trouble(self, host: str) -> str:
        """Why nothing could be had for a host, where that is not simply because there is nothing; else empty."""
        return self._troubles.get(host.lower(), "")

    def _find(self, host: str) -> Credential | None:
        config = self._read(host)
        for helper in _helpers(config, host):
            found = self._ask(helper, host)
            if found is not None:
                return found
        auths = config.get("auths")
        if not isinstance(auths, dict):
            return None
        named = {_host_of(key): entry for key, entry in reversed(auths.items())}
        named.update({key: entry for key, entry in auths.items() if key in _keys(host)})
        found_entry = next((named[key] for key in _keys(host) if key in named), None)
        return _of_entry(found_entry)

    def _read(self, host: str) -> Mapping[str, Any]:
        if self._config is None:
            self._config = {}
            try:
                with open(self._path, "rb") as file:
                    value = json.loads(file.read(_CONFIG_LIMIT))
                if isinstance(value, dict):
                    self._config = value
            except FileNotFoundError:
                pass
            except (OSError, ValueError, RecursionError) as error:
                log.warning("%s can't be read: %s", self._path, error)
                self._troubles[host] = f"{self._path} can't be read ({type(error).__name__})"
        return self._config

    def _ask(self, helper: str, host: str) -> Credential | None:
        """One helper's answer. Its stdout may hold a secret, so no message shows it."""
        if not _HELPER_NAME.fullmatch(helper):
            self._troubles[host] = f"{self._path} names a credential helper that makes no sense"
            return None
        program = f"docker-credential-{helper}"
        for key in _asked(host):
            try:
                done = subprocess.run(
                    [program, "get"], input=key.encode(), capture_output=True, timeout=self._seconds, check=False
                )
            except subprocess.TimeoutExpired:
                self._troubles[host] = f"{program} gave no answer within {self._seconds:.0f} s"
                return None
            except OSError as error:
                self._troubles[host] = f"{program} can't be run ({error.strerror or error})"
                return None
            if done.returncode:
                if b"not found" not in done.stdout.lower() + done.stderr.lower():
                    self._troubles[host] = f"{program} failed with status {done.returncode}"
                continue
            found = _of_helper(done.stdout)
            if found is not None:
                self._troubles.pop(host, None)
                return found
        return None


def _docker_folder() -> Path:
    given = os.environ.get("DOCKER_CONFIG")
    return Path(given) if given else Path(os.path.expanduser("~")) / ".docker"


def _helpers(config: Mapping[str, Any], host: str) -> list[str]:
    """The helper programs to ask for a host: its own, else the one for all."""
    own = config.get("credHelpers")
    if isinstance(own, dict):
        for key in _keys(host):
            if isinstance(own.get(key), str):
                return [own[key]] if own[key] else []
    for_all = config.get("credsStore")
    return [for_all] if isinstance(for_all, str) and for_all else []


def _keys(host: str) -> tuple[str, ...]:
    """Under which names a host may stand in the config, the usual one first."""
    if host in _HUB_HOSTS:
        return (_HUB_KEY, "docker.io", "index.docker.io", "registry-1.docker.io")
    return (host,)


def _asked(host: str) -> tuple[str, ...]:
    """What a helper is asked for: `docker login` stores some hosts under their URL."""
    return (_HUB_KEY,) if host in _HUB_HOSTS else (host, f"https://{host}")


def _host_of(key: str) -> str:
    """The host that a key of `auths` stands for: it may be a URL."""
    return key.rpartition("://")[2].partition("/")[0].lower()


def _of_entry(entry: object) -> Credential | None:
    """An entry of `auths`. Those that a credential store keeps are empty."""
    if not isinstance(entry, dict):
        return None
    texts: dict[str, str] = {key: value for key, value in entry.items() if isinstance(value, str) and value}
    user, password = texts.get("username", ""), texts.get("password", "")
    if "auth" in texts:
        try:
            user, _, password = base64.b64decode(texts["auth"]).decode().rstrip("\0").partition(":")
        except (binascii.Error, ValueError):
            return None
    if "identitytoken" in texts:
        return Credential(user, texts["identitytoken"], "identity")
    if "registrytoken" in texts:
        return Credential(user, texts["registrytoken"], "registry")
    return Credential(user, password) if password else None


def _of_helper(answer: bytes) -> Credential | None:
    try:
        value = json.loads(answer)
        user, secret = value["Username"], value["Secret"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    if not isinstance(user, str) or not isinstance(secret, str) or not secret:
        return None
    return Credential(user, secret, "identity" if user == _IDENTITY_USER else "password")
