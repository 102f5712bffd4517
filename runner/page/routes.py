"""The page's own paths: `/` for browsers, its files, and /page/render, which turns Markdown into HTML.

Everything else that the page asks for is what any client may ask the daemon.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import msgspec
from aiohttp import web

from runner.api.body import json_response, read, to_json
from runner.errors import TooLarge
from runner.page.files import Files, answer

LONGEST = 262_144
"""Characters of one text to render."""


class RenderRequest(msgspec.Struct, kw_only=True):
    """`final`: nothing follows on this text."""

    text: str
    final: bool = True


class RenderedText(msgspec.Struct, kw_only=True):
    """The first `settled` UTF-16 units of the text are done: `html` is theirs, `rest` that of what follows them."""

    settled: int
    html: str
    rest: str
    plain: bool


class Page:
    """The paths and what they stand on. Text is rendered on one thread, one after another."""

    def __init__(self) -> None:
        self._files = Files()
        self._threads = ThreadPoolExecutor(1, "render")

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (
            web.get("/favicon.ico", self.icon),
            web.post("/page/render", self.render),
            web.get("/page/{name}", self.file),
        )

    async def front(self, request: web.Request) -> web.StreamResponse:
        """The page itself."""
        return self._named(request, "index.html")

    async def icon(self, request: web.Request) -> web.StreamResponse:
        """The sign that browsers show in a tab."""
        return self._named(request, "icon.svg")

    async def file(self, request: web.Request) -> web.StreamResponse:
        """One of the page's files."""
        return self._named(request, request.match_info["name"])

    async def render(self, request: web.Request) -> web.Response:
        """Markdown as HTML."""
        body = await read(request, RenderRequest)
        if len(body.text) > LONGEST:
            raise TooLarge(f"text has {len(body.text)} characters; at most {LONGEST} are rendered at once")
        loop = asyncio.get_running_loop()
        return json_response(await loop.run_in_executor(self._threads, _rendered, body.text, body.final))

    def _named(self, request: web.Request, name: str) -> web.StreamResponse:
        file = self._files.get(name)
        if file is None:
            raise web.HTTPNotFound(text=f"the page has no file {name[:100]!r}")
        return answer(request, file)


def _rendered(text: str, final: bool) -> bytes:
    from runner.page.markdown import rendered  # megabytes of libraries, for those who look at the page

    made = rendered(text, final=final)
    return to_json(RenderedText(settled=made.settled, html=made.html, rest=made.rest, plain=made.plain))
