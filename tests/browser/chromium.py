"""The system's Chromium, driven by Playwright; and what a page did: its console, its requests, its CSP's complaints."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def found() -> str | None:
    """Where Chromium is; None where it isn't installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def started(path: str) -> Iterator[Browser]:
    """A browser without a window. Its sandbox needs another user than root."""
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@dataclass
class Seen:
    """What happened in a page. `expected` are parts of console lines that a test provokes: a refusal is one."""

    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._line)
        page.on("pageerror", lambda error: self.console.append(f"error: {error}"))
        page.on("request", self._request)
        # Complaints of the policy that only a frame or a report would tell.
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.violatedDirective))"
        )

    def _line(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)

    @property
    def unexpected(self) -> list[str]:
        return [line for line in self.console if not any(part in line for part in self.expected)]

    def strangers(self, own: str) -> set[str]:
        """Hosts that were asked beside the daemon; pictures that the page holds itself are none."""
        hosts = {urlsplit(url).netloc for url in self.requests if not url.startswith(("data:", "blob:"))}
        return hosts - {urlsplit(own).netloc}
