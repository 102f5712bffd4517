"""What nobody planned: odd addresses and odd numbers."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.benchmarks.daemon import Daemon
from tests.browser.chromium import Seen
from tests.browser.speaking import says


def go(page: Page, view: str) -> None:
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
    expect(page.get_by_role("heading", name=view, level=1)).to_be_visible()


def ask(page: Page, text: str) -> None:
    page.locator("#prompt").fill(text)
    page.locator("#prompt").press("Enter")


@pytest.mark.parametrize(("hash_", "view"), [("constructor", "Chat"), ("requests/%", "Requests")])
def test_any_address_shows_a_view_and_leads_on(page: Page, daemon: Daemon, seen: Seen, hash_: str, view: str) -> None:
    seen.expected.append("404 (Not Found)")
    page.goto(f"{daemon.url}/#{hash_}")
    page.reload()
    expect(page.get_by_role("navigation").locator("[aria-current=page]")).to_have_text(view)
    expect(page.locator(".view:not([hidden])")).to_have_count(1)
    go(page, "Models")


@pytest.mark.parametrize(("temperature", "tokens"), [("0.75", "1000"), ("0.333", "32000")])
def test_options_take_ordinary_numbers(page: Page, temperature: str, tokens: str) -> None:
    says(page, "Yes.")
    page.get_by_role("button", name="Options of this chat").click()
    dialog = page.get_by_role("dialog", name="Options of this chat")
    dialog.get_by_label("Temperature").fill(temperature)
    dialog.get_by_label("Context, tokens").fill(tokens)
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_be_hidden()
    with page.expect_request("**/api/chat") as sent:
        ask(page, "one")
    body: Any = sent.value.post_data_json
    assert body["options"] == {"temperature": float(temperature), "num_ctx": int(tokens)}
