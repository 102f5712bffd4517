"""What nobody planned: odd addresses and numbers, no model, a key that isn't given, a daemon that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.benchmarks.daemon import Daemon
from tests.browser.chromium import Seen
from tests.browser.speaking import says

LONG = 60_000
KEY = "sk-a-key-of-mishaps"


@pytest.fixture(scope="module", autouse=True)
def rambling(daemon: Daemon) -> Iterator[None]:
    """It leaves memory afterwards, or the next page would choose it."""
    yield
    daemon.post("/api/generate", {"model": "rambling", "keep_alive": 0, "stream": False})


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


def test_without_a_model_nothing_is_lost(page: Page) -> None:
    says(page, "Words.")
    ask(page, "one")
    again = page.get_by_role("button", name="Regenerate")
    expect(again).to_be_visible()
    page.route("**/api/tags", lambda route: route.fulfill(json={"models": []}))
    page.reload()
    expect(page.locator("#model")).to_have_text("no model installed")
    page.locator("#chat-list button.title").click()
    again.click()
    notice = page.locator("#composer-notice")
    expect(notice).to_contain_text("There is no model that could answer.")
    expect(page.locator(".message")).to_have_count(2)
    page.get_by_role("button", name="New chat").click()
    ask(page, "two")
    expect(page.locator("#prompt")).to_have_value("two")
    notice.get_by_role("link", name="Pull one under Models").click()
    expect(page.get_by_role("heading", name="Models", level=1)).to_be_visible()


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that wants a key."""
    with Daemon(tmp_path / "locked", api_key=KEY) as made:
        yield made


def test_the_question_for_the_key_can_be_put_off(browser: Browser, locked: Daemon) -> None:
    seen = Seen(expected=["401 (Unauthorized)"])
    context = browser.new_context()
    try:
        page = context.new_page()
        seen.watch(page)
        page.clock.install()
        page.goto(locked.url + "/")
        dialog = page.get_by_role("dialog", name="An API key is needed")
        dialog.get_by_role("button", name="Cancel").click()
        enter = page.get_by_role("button", name="Enter the key").locator("visible=true")
        expect(page.locator("#composer-notice")).to_contain_text("Runner answers only with its API key.")
        expect(enter).to_have_count(1)
        for view in ("Models", "Live", "Requests"):
            go(page, view)
            dialog.get_by_role("button", name="Cancel").click()
            expect(page.get_by_role("alert")).to_have_text("Runner answers only with its API key.Enter the key")
            asked = len(seen.requests)
            page.clock.run_for(5000)
            page.evaluate("fetch('/livez').then((answer) => answer.text())")
            expect(dialog).to_be_hidden()
            assert [url for url in seen.requests[asked:] if not url.endswith("/livez")] == []
        enter.click()
        expect(dialog.get_by_label("API key")).to_be_focused()
        page.keyboard.type(KEY)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(page.locator("#requests-none")).to_have_text("No request yet.")
        page.get_by_role("navigation").get_by_role("link", name="Chat").click()
        enter.click()
        expect(page.locator("#model")).to_have_value("demo:latest")
        expect(page.locator("#prompt")).to_be_focused()
        assert seen.unexpected == []
    finally:
        context.close()


def test_a_daemon_that_is_gone_is_said_to_be_once(page: Page, seen: Seen) -> None:
    """The button keeps its focus while one waits beside it."""
    seen.expected.append("ERR_FAILED")
    go(page, "Live")
    page.route("**/api/ps", lambda route: route.abort())
    again = page.get_by_role("button", name="Try again")
    again.focus()
    for _ in range(3):
        with page.expect_request("**/api/ps"):
            pass
    expect(again).to_be_focused()


def test_a_chat_whose_request_is_cancelled_says_so(page: Page) -> None:
    page.locator("#model").select_option("rambling:latest")
    ask(page, "How do I pull a model?")
    expect(page.locator(".assistant .body")).to_contain_text("runner", timeout=LONG)
    go(page, "Requests")
    page.locator("#request-rows > li").filter(has_text="answering").first.get_by_role("link").click()
    detail = page.locator("#request-detail")
    detail.get_by_role("button", name="Cancel this request").click()
    expect(detail.locator(".state")).to_have_text("cancelled", timeout=LONG)
    go_chat = page.get_by_role("navigation").get_by_role("link", name="Chat")
    go_chat.click()
    expect(page.locator(".assistant").get_by_role("alert")).to_contain_text("cancelled")
    expect(page.locator(".assistant .body")).to_contain_text("runner")
    page.wait_for_function("async () => (await (await fetch('/api/ps')).json()).models.every(m => m.running === 0)")
