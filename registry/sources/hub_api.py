"""The hub's API over the registry's own client: one request, or a list in pages, and what its errors mean.

huggingface_hub tells the endpoint, the token and which error an answer is; it asks nothing by itself, since it would
send the token wherever a page says that the list goes on, and wait for as long as the hub says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from registry.errors import Denied, NotFound, RegistryError, Unreachable
from registry.transfer.http import SOON, Http
from registry.transfer.ranges import limited, next_page, refuse_passing

if TYPE_CHECKING:
    import httpx2

_MOST_PAGES = 100
_LARGEST = 64 << 20  # bytes of one answer
_SAID_LIMIT = 1 << 16
_TELLING = ("x-error-code", "x-error-message", "content-type")
_LOG_IN = (
    "log in with `hf auth login`, or end the daemon (`runner shutdown`), set HF_TOKEN and start it again: "
    "the environment that counts is the daemon's"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """How to reach the hub. None leaves a value to huggingface_hub and its environment variables.

    `timeout` is how many seconds the hub may be silent.
    """

    endpoint: str | None = None
    token: str | None = None
    cache: Path | None = None
    timeout: float = 20.0


class HubApi:
    """A hub, as somebody may use it. Methods raise Unreachable, Denied or NotFound, which name `what` was asked for."""

    def __init__(self, http: Http, settings: HubSettings) -> None:
        from huggingface_hub import constants

        self.endpoint = (settings.endpoint or constants.ENDPOINT).rstrip("/")
        self._http = http
        self._token = settings.token

    def headers(self) -> dict[str, str]:
        """What goes with every request to the hub, and to nobody else: the token is among it."""
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported lazily

        headers: dict[str, str] = build_hf_headers(token=self._token, library_name="runner")
        return headers

    def one(self, path: str, what: str) -> Any:
        """The value that a path below the endpoint answers with."""
        return self._get(f"{self.endpoint}{path}", what)[0]

    def pages(self, path: str, what: str) -> Iterator[Any]:
        """All entries of a list, from as many answers as it takes, a hundred at the most."""
        url = f"{self.endpoint}{path}"
        for _ in range(_MOST_PAGES):
            page, following = self._get(url, what)
            if not isinstance(page, list):
                raise Unreachable(f"{what}: the hub's answer makes no sense (no list)")
            yield from page
            if following is None:
                return
            before, url = url, urljoin(url, following)
            if _origin(url) != _origin(self.endpoint):
                raise Unreachable(f"{what}: the hub says that its list goes on at {_origin(url)}, which isn't the hub")
            if url == before:
                raise Unreachable(f"{what}: the hub's list goes on where it began")
        raise Unreachable(f"{what}: the hub's list has more than {_MOST_PAGES} pages")

    @contextmanager
    def translated(self, what: str) -> Iterator[None]:
        """Turn the hub's errors into ours."""
        from huggingface_hub import errors as hub

        try:
            yield
        except hub.GatedRepoError as error:
            raise Denied(f"{what} is gated: accept its terms on huggingface.co. {self._how()}") from error
        except hub.DisabledRepoError as error:
            raise Denied(f"{what}: the hub has disabled it") from error
        except hub.RepositoryNotFoundError as error:
            raise NotFound(what, hint=f"No such repository, or a private one. {self._how()}") from error
        except (hub.RevisionNotFoundError, hub.EntryNotFoundError) as error:
            raise NotFound(what, hint="The repository has changed; try again.") from error
        except hub.HFValidationError as error:
            raise NotFound(what, hint=f"Not a repository's name: {error}") from error
        except hub.HfHubHTTPError as error:
            raise self._of_status(what, error.response.status_code) from error

    def check(self, response: httpx2.Response, url: str, what: str) -> None:
        """Raise the error that an answer is, if it is one. To be called within `translated`."""
        from huggingface_hub import hf_raise_for_status

        refuse_passing(response, url, what)
        if response.status_code < 400:
            return
        said = bytearray()
        for chunk in response.iter_raw():
            said += chunk
            if len(said) > _SAID_LIMIT:
                break
        headers = {name: response.headers[name] for name in _TELLING if name in response.headers}
        kept = type(response)(
            response.status_code, headers=headers, content=bytes(said[:_SAID_LIMIT]), request=response.request
        )
        hf_raise_for_status(kept)

    def _get(self, url: str, what: str) -> tuple[Any, str | None]:
        """A value, and where the list goes on of which it is a page."""
        from huggingface_hub import constants

        if constants.is_offline_mode():
            raise Unreachable(f"{what}: HF_HUB_OFFLINE is set, so the hub isn't asked")
        try:
            with (
                self.translated(what),
                self._http.open("GET", url, secret=self.headers(), within=SOON) as response,
            ):
                self.check(response, url, what)
                data, following = limited(response, _LARGEST, what), next_page(response)
        except Unreachable as error:
            if what in str(error):
                raise
            raise Unreachable(f"{what}: {error}", error.after) from error
        with sensible(what):
            return json.loads(data), following

    def _how(self) -> str:
        """What a person can do who isn't let in."""
        if "authorization" in {name.lower() for name in self.headers()}:
            return f"A token was sent, and it isn't enough or isn't valid. For another: {_LOG_IN}"
        return f"No token was sent. To be known: {_LOG_IN}"

    def _of_status(self, what: str, status: int) -> RegistryError:
        if status in (401, 403):
            return Denied(f"{what}: the hub refuses us ({status}). {self._how()}")
        return Unreachable(f"{what}: the hub answers with status {status}")


@contextmanager
def sensible(what: str) -> Iterator[None]:
    """Turn what an answer of the wrong shape does to its reader into an error that says so."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        said = str(error)[:200]
        raise Unreachable(f"{what}: the hub's answer makes no sense ({type(error).__name__}: {said})") from error


def count(value: object) -> int:
    """A size or a count, as JSON has it. Raises ValueError for what can be none."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError("no count")
    return value


def licence_of(card: Mapping[str, Any]) -> str:
    """The licence that a repository's card tells, whatever form it takes there."""
    told = card.get("license")
    if told == "other":
        told = card.get("license_name") or told
    if isinstance(told, list):
        told = ", ".join(str(each) for each in told)
    return str(told or "")[:100]


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
