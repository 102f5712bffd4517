"""What /runner/requests and /runner/queue answer, for a daemon that lacks them; and every state, for those who look."""

from __future__ import annotations

import json
import urllib.error
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Route

from tests.benchmarks.daemon import Daemon

HOSTILE = "<img src=x onerror=alert(1)>"


def row(identity: str, state: str, **more: Any) -> dict[str, Any]:
    timings = {
        "queue_ms": 12.0,
        "load_ms": 640.0,
        "first_token_ms": 830.0,
        "prefill_ms": 178.0,
        "decode_ms": 2310.0,
        "total_ms": 3150.0,
    }
    return {
        "id": identity,
        "at": "2026-01-05T10:20:30Z",
        "method": "POST",
        "path": "/v1/chat/completions",
        "dialect": "openai",
        "model": "demo:latest",
        "client": "opencode",
        "priority": "interactive",
        "stream": True,
        "state": state,
        "status": 200,
        "error": None,
        "stop": "stop",
        "prompt_tokens": 1840,
        "cached_tokens": 1792,
        "completion_tokens": 212,
        "position": None,
        "eta_ms": None,
        "tokens_per_second": 91.7,
        "timings": timings,
    } | more


ROWS = [
    row("r-4", "generating", status=None, stop=None, completion_tokens=87, tokens_per_second=93.1),
    row(
        "r-3",
        "waiting",
        status=None,
        stop=None,
        prompt_tokens=None,
        completion_tokens=None,
        position=2,
        eta_ms=4200,
        timings=dict.fromkeys(("queue_ms", "load_ms", "first_token_ms", "prefill_ms", "decode_ms", "total_ms")),
    ),
    row(
        "r-2",
        "failed",
        model="coder:latest",
        status=400,
        stop=None,
        completion_tokens=0,
        error={"code": "context_overflow", "message": f"the prompt has 9,120 tokens; 4,096 fit {HOSTILE}"},
    ),
    row("r-1", "done", path="/api/chat", dialect="ollama", client="the page"),
]
QUEUE = {
    "waiting": [
        {
            "id": "r-3",
            "model": "demo:latest",
            "client": "opencode",
            "priority": "interactive",
            "position": 2,
            "eta_ms": 4200,
            "waited_ms": 900,
        }
    ],
    "running": [
        {
            "id": "r-4",
            "model": "demo:latest",
            "state": "generating",
            "completion_tokens": 87,
            "tokens_per_second": 93.1,
            "elapsed_ms": 1800,
        }
    ],
    "limit": 512,
}


def is_missing(daemon: Daemon) -> bool:
    """Whether the daemon lacks the endpoints."""
    try:
        daemon.get("/runner/queue")
    except urllib.error.HTTPError as error:
        with error:
            return error.code == 404
    return False


def put(page: Page, daemon: Daemon, *, always: bool = False) -> None:
    """Answer in the daemon's place, if need be."""
    if always or is_missing(daemon):
        page.route("**/runner/queue", lambda route: _fulfil(route, QUEUE))
        page.route("**/runner/requests**", _requests)


def _requests(route: Route) -> None:
    parts = urlsplit(route.request.url)
    identity = parts.path.removeprefix("/runner/requests").strip("/")
    if not identity:
        asked = parse_qs(parts.query)
        state = asked.get("state", [""])[0]
        rows = [each for each in ROWS if not state or each["state"] == state]
        return _fulfil(route, {"requests": rows, "kept": len(ROWS), "most": 200, "bodies": False})
    found = next((each for each in ROWS if each["id"] == identity), None)
    if found is None:
        return route.fulfill(status=404, json={"error": "no such request", "code": "not_found"})
    if route.request.method == "DELETE":
        return _fulfil(route, {"cancelled": identity})
    return _fulfil(route, found | {"prompt": None, "answer": None, "thinking": None, "body": None, "bodies_off": True})


def _fulfil(route: Route, value: Any) -> None:
    route.fulfill(status=200, content_type="application/json", body=json.dumps(value))
