"""/runner/doctor: is everything as it should be, and what to do where it isn't."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiohttp import web

from runner import __version__
from runner.api.body import json_response, to_json
from runner.api.fields import Answers
from runner.inference.checkup import Checkup
from runner.protocol.checkup import State


class Found(msgspec.Struct, kw_only=True):
    """What one check found: `state` is ok, warn or fail; `advice` the next step, empty where there is none."""

    check: str
    state: State
    said: str
    advice: str


class Examined(msgspec.Struct, kw_only=True):
    """`ok` is false where a check failed; warnings are no failures."""

    runner: str
    ok: bool
    findings: list[Found]


ANSWERS: Mapping[str, Answers] = {"/runner/doctor": Answers(Examined)}
"""What comes back, endpoint by endpoint."""


class Doctor:
    """The endpoint."""

    def __init__(self, checkup: Checkup) -> None:
        self._checkup = checkup

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (web.get("/runner/doctor", self.examine),)

    async def examine(self, request: web.Request) -> web.Response:
        """Look at store, settings, memory, workers, and try llama.cpp and the sandbox out; takes a second or two."""
        found = await self._checkup.findings()
        rows = [Found(check=each.check, state=each.state, said=each.said, advice=each.advice) for each in found]
        ok = all(each.state != "fail" for each in found)
        return json_response(to_json(Examined(runner=__version__, ok=ok, findings=rows)))
