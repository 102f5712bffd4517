"""Who we are, to a container registry: its challenges answered, and tokens kept until they run out.

A credential goes to the host that it was issued for. The server that hands out tokens (the realm) is the registry's
word, so it gets the credential only if it is that host too, a known companion of it, or a host for which Docker's
config holds the very same entry. All others are asked for a token without saying who we are.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlencode, urlsplit

from registry.errors import Denied, Unreachable
from registry.oci.challenges import Challenge
from registry.oci.credentials import Credential, Credentials
from registry.resolve import called
from registry.transfer.http import SOON, Http

Scopes = tuple[str, ...]
"""What a token allows, as registries write it: ('repository:ai/smollm2:pull',)."""

_COMPANIONS = (
    (re.compile(r"registry-1\.docker\.io"), "auth.docker.io"),
    (re.compile(r"registry\.gitlab\.com"), "gitlab.com"),
    (re.compile(r"registry\.digitalocean\.com"), "api.digitalocean.com"),
    (re.compile(r"rg\.[a-z]{2}-[a-z]{3}\.scw\.cloud"), "api.scaleway.com"),
)
"""Registries whose tokens come from another host of the same owner."""
_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_TOKEN_LIMIT = 1 << 20
_LIFE = 60.0  # seconds that a token lives if it doesn't say, by the protocol
_LONGEST_LIFE = 86400.0
_CLIENT = "runner"


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    until: float


class Authority:
    """Proves to one registry who we are. Safe to use from several threads: one exchange for each scope at a time.

    `given` is a credential for this registry from elsewhere; else Docker's are asked, once the registry wants any.
    """

    def __init__(
        self,
        http: Http,
        host: str,
        repository: str,
        credentials: Credentials | None,
        *,
        given: Credential | None = None,
        insecure: bool = False,
    ) -> None:
        self._http = http
        self._host = host
        self._repository = repository
        self._credentials = credentials
        self._given = given
        self._insecure = insecure
        self._lock = threading.Lock()
        self._tokens: dict[Scopes, _Token] = {}
        self._asked: tuple[str, tuple[Challenge, ...]] | None = None
        self._withheld = ""

    def header(self, scopes: Scopes) -> str:
        """The value of the Authorization header for a request, or an empty text where none is known to be needed.

        Renews a token that has run out. Raises Denied or Unreachable.
        """
        with self._lock:
            token = self._tokens.get(scopes)
            if token is None:
                if self._given is not None and self._given.kind == "registry":
                    return f"Bearer {self._given.secret}"
                return ""
            if token.until < time.monotonic() and self._asked is not None:
                token = self._tokens[scopes] = self._answered(*self._asked, scopes)
            return token.header

    def answer(self, base: str, found: Sequence[Challenge], scopes: Scopes, refused: str) -> bool:
        """Answer the challenges of a 401, so that `header` has something new; False where there is nothing to try.

        `base` is the registry's address, `refused` the header that it didn't accept. Raises Denied or Unreachable.
        """
        with self._lock:
            token = self._tokens.get(scopes)
            if token is not None and token.header != refused:
                return True  # another thread was quicker
            known = [each for each in found if each.scheme in ("bearer", "basic")]
            if not known:
                return False
            self._asked = (base, tuple(known))
            self._tokens.pop(scopes, None)
            fresh = self._answered(base, known, scopes)
            self._tokens[scopes] = fresh
            return fresh.header != refused

    def refused(self, what: str, said: str) -> Denied:
        """The error for a registry that doesn't let us, which says what a person can do."""
        host = called(self._host)
        credential = self._credential()
        said = f" ({said})" if said else ""
        if credential is not None and not self._withheld:
            who = f"to {credential.user}" if credential.user else "with the token that it was sent"
            return Denied(f"{host} refuses {what} {who}{said}. To be known as somebody else: `{_login(host)}`")
        trouble = self._credentials.trouble(self._host) if self._credentials is not None else ""
        hint = self._withheld or trouble
        return Denied(
            f"{host} refuses {what}{said}: there is no such repository, or it is private. "
            f"For a private one: `{_login(host)}`" + (f". {hint}" if hint else "")
        )

    def _credential(self) -> Credential | None:
        if self._given is not None or self._credentials is None:
            return self._given
        return self._credentials.of(self._host)

    def _answered(self, base: str, found: Sequence[Challenge], scopes: Scopes) -> _Token:
        credential = self._credential()
        if credential is not None and credential.kind == "registry":
            return _Token(f"Bearer {credential.secret}", time.monotonic() + _LONGEST_LIFE)
        bearer = next((each for each in found if each.scheme == "bearer"), None)
        if bearer is not None:
            return self._exchanged(base, bearer, credential, scopes)
        if credential is None or credential.kind != "password":
            raise self.refused(self._repository, "it wants a user and a password")
        return _Token(credential.basic, time.monotonic() + _LONGEST_LIFE)

    def _exchanged(self, base: str, bearer: Challenge, credential: Credential | None, scopes: Scopes) -> _Token:
        """A token from the realm that a challenge names."""
        registry, realm = urlsplit(base), self._realm(base, bearer.params.get("realm", ""))
        home = base
        if credential is not None and not _belong_together(registry, realm):
            if self._has_same_entry(registry, realm, credential):
                home = realm.geturl()  # a person has named that host too, so it may be anywhere
            else:
                credential = None
                self._withheld = (
                    f"It wants the credentials of {registry.netloc} at {realm.scheme}://{realm.netloc}, where Runner "
                    f"doesn't send them; if both belong together, give {realm.netloc} the same entry in Docker's config"
                )
        method, url, secret, content = _request(realm, bearer, credential, scopes)
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if content is not None else {}
        with self._http.open(
            method,
            url,
            headers=headers,
            secret=secret,
            content=content,
            home=home,
            insecure=self._insecure,
            within=SOON,
        ) as response:
            status, data = response.status_code, _limited(response.iter_raw())
        if status in (401, 403) or (status == 400 and credential is not None):
            raise self.refused(f"a token for {self._repository}", f"{realm.netloc} answers {status}")
        if status != 200:
            raise Unreachable(f"{called(self._host)}: {realm.netloc}, which gives its tokens, answers {status}")
        return _read_token(data, realm.netloc)

    def _realm(self, base: str, text: str) -> SplitResult:
        """A realm that may be asked for tokens at all. Raises Denied."""
        try:
            realm = urlsplit(text)
            sound = realm.scheme in ("http", "https") and bool(realm.hostname) and "@" not in realm.netloc
            _port(realm)
        except ValueError:
            sound = False
        if not sound:
            raise Denied(f"{called(self._host)} wants a token from {text[:100]!r}, which is no address")
        if realm.scheme == "http" and not base.startswith("http://"):
            raise Denied(
                f"{called(self._host)} wants a token from {realm.netloc} over plain HTTP, where anybody could read it"
            )
        return realm

    def _has_same_entry(self, registry: SplitResult, realm: SplitResult, credential: Credential) -> bool:
        """Whether Docker's config says that a realm belongs to this registry.

        An entry of its own isn't enough: a registry could get itself tokens for somebody else's with that.
        """
        if self._given is not None or self._credentials is None or not _HOST.fullmatch(realm.netloc):
            return False
        if realm.scheme != "https" and realm.scheme != registry.scheme:
            return False
        return self._credentials.of(realm.netloc) == credential


def _belong_together(registry: SplitResult, realm: SplitResult) -> bool:
    """Whether a credential of the registry may go to the realm, by their addresses."""
    if realm.hostname == registry.hostname:
        # The host's own https port is the same owner's as any other of its ports; the reverse isn't so.
        return _port(realm) == _port(registry) or (realm.scheme == "https" and _port(realm) == 443)
    if realm.scheme != "https" or _port(realm) != 443 or registry.scheme != "https" or _port(registry) != 443:
        return False
    return any(
        host == realm.hostname and pattern.fullmatch(registry.hostname or "") is not None
        for pattern, host in _COMPANIONS
    )


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _request(
    realm: SplitResult, bearer: Challenge, credential: Credential | None, scopes: Scopes
) -> tuple[str, str, Mapping[str, str], bytes | None]:
    """How a realm is asked: method, URL, secret headers and body."""
    service = bearer.params.get("service")
    if credential is not None and credential.kind == "identity":
        fields = {"grant_type": "refresh_token", "refresh_token": credential.secret, "client_id": _CLIENT}
        fields |= {"scope": " ".join(scopes)} | ({"service": service} if service else {})
        return "POST", realm._replace(fragment="").geturl(), {}, urlencode(fields).encode()
    query = [("service", service)] if service else []
    query += [("scope", each) for each in scopes] + [("client_id", _CLIENT)]
    if credential is not None:
        query.append(("account", credential.user))
    asked = "&".join(each for each in (realm.query, urlencode(query)) if each)
    secret = {"Authorization": credential.basic} if credential is not None else {}
    return "GET", realm._replace(query=asked, fragment="").geturl(), secret, None


def _read_token(data: bytes, realm: str) -> _Token:
    try:
        value = json.loads(data)
        token = value.get("token") or value["access_token"]
        life = value.get("expires_in") or _LIFE
        if (
            not isinstance(token, str)
            or not _TOKEN.fullmatch(token)
            or not isinstance(life, int | float)
            or life != life
        ):
            raise ValueError("no token")
    except (ValueError, RecursionError, LookupError, AttributeError) as error:
        raise Unreachable(f"{realm} gives tokens, but its answer makes no sense ({type(error).__name__})") from error
    life = float(min(max(life, 0), _LONGEST_LIFE))  # compared first: numbers of JSON may be too large for a float
    # A little earlier than it says: requests take time, and clocks differ.
    return _Token(f"Bearer {token}", time.monotonic() + max(life - 10.0, life / 2))


def _limited(chunks: Iterable[bytes]) -> bytes:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > _TOKEN_LIMIT:
            break
    return bytes(data[:_TOKEN_LIMIT])


def _login(host: str) -> str:
    return "docker login" if host == "docker.io" else f"docker login {host}"
