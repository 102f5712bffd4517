"""The page's files as they are served: media type, tag and headers, read when they are first asked for.

They are part of the package and the same for everybody, so they need no key. Knows nothing of what they say.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from aiohttp import web

FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types rendered",  # one place, markdown.js, may turn text into elements
)
HEADERS = MappingProxyType(
    {
        "Content-Security-Policy": "; ".join(_POLICY),
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cache-Control": "no-cache",  # kept, and asked for by its tag each time: an upgrade is seen at once
    }
)
"""What every file of the page is served with."""


@dataclass(frozen=True, slots=True)
class File:
    """One file; `tag` changes with its bytes."""

    body: bytes
    media_type: str
    tag: str


class Files:
    """The files by name. Reads a known name only, so no path leads out of the folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._read: dict[str, File] = {}
        self._names = frozenset(path.name for path in folder.iterdir() if path.suffix in _TYPES)

    def get(self, name: str) -> File | None:
        """The file of that name, None if the page has no such file."""
        if name not in self._names:
            return None
        if name not in self._read:
            path = self._folder / name
            body = path.read_bytes()
            self._read[name] = File(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:20])
        return self._read[name]


def answer(request: web.Request, file: File) -> web.Response:
    """The file, or 304 to who has it already."""
    headers = {**HEADERS, "ETag": f'"{file.tag}"'}
    if any(tag.value in (file.tag, "*") for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=file.body, headers=headers, content_type=file.media_type, charset="utf-8")
