"""A model that says what a test wants: /api/chat is answered in its place. What becomes of it is the page's doing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Page, Route

END = {
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 9,
    "eval_count": 12,
    "eval_duration": 10**8,
    "load_duration": 0,
}


def says(page: Page, *texts: str, thinking: str = "") -> list[Any]:
    """From now on every question is answered with these pieces. Gives the list of bodies that will have been asked."""
    asked: list[Any] = []

    def answer(route: Route) -> None:
        asked.append(route.request.post_data_json)
        route.fulfill(status=200, content_type="application/x-ndjson", body=_lines(texts, thinking))

    page.route("**/api/chat", answer)
    return asked


def _lines(texts: Sequence[str], thinking: str) -> str:
    parts: list[dict[str, Any]] = (
        [{"message": {"role": "assistant", "content": "", "thinking": thinking}}] if thinking else []
    )
    parts += [{"message": {"role": "assistant", "content": text}, "done": False} for text in texts]
    parts.append({"message": {"role": "assistant", "content": ""}, **END})
    return "".join(json.dumps(part) + "\n" for part in parts)
