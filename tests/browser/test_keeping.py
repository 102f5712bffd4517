"""What a browser keeps of conversations: through reloads, with two tabs, after a deletion, and without room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.benchmarks.daemon import Daemon
from tests.browser.chromium import Seen
from tests.browser.speaking import says

QUESTION = "How do I pull a model?"
LONG = 60_000
KEPT = """() => new Promise((resolve) => {
  const asked = indexedDB.open('runner', 1);
  asked.onsuccess = () => {
    const all = asked.result.transaction('conversations').objectStore('conversations').getAll();
    all.onsuccess = () => {
      asked.result.close();
      resolve(all.result.sort((a, b) => a.updated - b.updated).map((each) => each.messages));
    };
  };
})"""
STORED = f"(length) => ({KEPT})().then((all) => (all[0]?.at(-1)?.content.length ?? 0) >= length)"


@pytest.fixture(scope="module", autouse=True)
def rambling(daemon: Daemon) -> Iterator[None]:
    """It leaves memory afterwards, or the next page would choose it."""
    yield
    daemon.post("/api/generate", {"model": "rambling", "keep_alive": 0, "stream": False})


def ask(page: Page, text: str) -> None:
    page.locator("#prompt").fill(text)
    page.locator("#prompt").press("Enter")


def ended(page: Page, number: int = 1) -> None:
    expect(page.get_by_role("button", name="Regenerate")).to_have_count(number, timeout=LONG)


def coming(page: Page, length: int = 40) -> None:
    """A long answer is on its way."""
    page.locator("#model").select_option("rambling:latest")
    ask(page, QUESTION)
    page.wait_for_function("(n) => (document.querySelector('.assistant .body')?.innerText.length ?? 0) > n", arg=length)


def titles(page: Page) -> Any:
    return page.locator("#chat-list button.title")


@pytest.fixture
def other(page: Page, context: BrowserContext, seen: Seen, daemon: Daemon) -> Page:
    """Another tab, opened on the conversation of the first."""
    says(page, "First.")
    ask(page, "one")
    ended(page)
    expect(titles(page)).to_have_count(1)
    opened = context.new_page()
    seen.watch(opened)
    opened.goto(daemon.url + "/")
    opened.locator("#model option").first.wait_for(state="attached")
    titles(opened).click()
    ended(opened)
    return opened


def test_the_chat_goes_on_after_its_site_data_were_cleared(page: Page, daemon: Daemon, context: BrowserContext) -> None:
    says(page, "Words.")
    ask(page, "one")
    ended(page)
    cleared = {"origin": daemon.url, "storageTypes": "all"}
    context.new_cdp_session(page).send("Storage.clearDataForOrigin", cleared)
    ask(page, "two")
    ended(page, 2)
    expect(page.locator("#composer-notice")).to_contain_text("isn't kept any more")
    page.get_by_role("button", name="New chat").click()
    ask(page, "three")
    ended(page)
    expect(titles(page)).to_have_text(["three"])


def test_a_chat_deleted_while_its_answer_comes_stays_deleted(page: Page) -> None:
    coming(page)
    page.get_by_role("button", name=f"Delete {QUESTION}").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".message")).to_have_count(0)
    expect(page.locator("#spoken")).to_contain_text("Stopped")
    ask(page, "another")
    expect(titles(page)).to_have_text(["another"])
    page.keyboard.press("Escape")
    expect(page.locator(".figures-line")).to_have_text("stopped")
    assert [each[0]["content"] for each in page.evaluate(KEPT)] == ["another"]


def test_one_deleted_in_another_tab_stays_deleted(page: Page, other: Page) -> None:
    page.unroute_all()
    page.locator("#model").select_option("rambling:latest")
    ask(page, QUESTION)
    expect(page.get_by_role("button", name="Stop the answer")).to_be_visible()
    other.get_by_role("button", name="Delete one").click()
    other.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".message")).to_have_count(0)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(titles(page)).to_have_count(0)
    assert page.evaluate(KEPT) == []


def test_a_click_on_the_chat_that_is_shown_leaves_its_answer_alone(page: Page) -> None:
    coming(page)
    titles(page).click()
    expect(page.locator("#prompt")).to_be_focused()
    expect(page.get_by_role("button", name="Stop the answer")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".assistant .body")).to_contain_text("runner")
    expect(page.locator(".figures-line")).to_have_text("stopped")


def test_a_reload_keeps_what_has_come(page: Page) -> None:
    coming(page)
    page.wait_for_function(STORED, arg=40)
    length = len(page.evaluate(KEPT)[0][-1]["content"])
    page.wait_for_function("(n) => document.querySelector('.assistant .body').innerText.length > n", arg=length + 200)
    page.reload()
    titles(page).click()
    expect(page.locator(".figures-line")).to_have_text("stopped")
    expect(page.locator(".assistant .body")).to_contain_text("runner")


def test_what_came_since_is_kept_by_a_page_that_goes(page: Page) -> None:
    """Here the clock's turns are an age apart, so the first one has the question alone."""

    def slowly(route: Route) -> None:
        response = route.fetch()
        text = response.text()
        assert "const PACE = 1500;" in text
        route.fulfill(response=response, body=text.replace("const PACE = 1500;", "const PACE = 3_600_000;"))

    page.route("**/page/chat.js", slowly)
    page.reload()
    page.locator("#model option").first.wait_for(state="attached")
    coming(page, 200)
    assert page.evaluate(KEPT)[0][-1]["content"] == ""
    page.reload()
    titles(page).click()
    expect(page.locator(".figures-line")).to_have_text("stopped")
    assert len(page.evaluate(KEPT)[0][-1]["content"]) >= 200


def test_an_answer_that_never_came_is_not_said_to_the_model(page: Page, seen: Seen) -> None:
    seen.expected.append("500 (Internal Server Error)")
    page.route("**/api/chat", lambda route: route.fulfill(status=500, json={"error": "broken", "code": "internal"}))
    ask(page, "one")
    expect(page.locator(".assistant").get_by_role("alert")).to_contain_text("broken")
    page.unroute_all()
    asked = says(page, "Yes.")
    ask(page, "two")
    ended(page)
    assert asked[0]["messages"] == [{"role": "user", "content": "one\n\ntwo"}]  # templates want turns that alternate


def test_another_tab_follows(page: Page, other: Page) -> None:
    ask(page, "two")
    ended(page, 2)
    ended(other, 2)
    expect(other.locator(".user .bubble")).to_have_text(["one", "two"])


def test_two_tabs_that_ask_at_once_both_keep_their_turns(page: Page, other: Page) -> None:
    """The other didn't hear of it: it was writing."""
    says(other, "Third.")
    other.get_by_role("button", name="Edit").first.click()
    ask(page, "two")
    ended(page, 2)
    expect(other.locator(".user .bubble")).to_have_count(1)
    ask(other, "three")
    ended(other, 2)
    expect(other.locator("#composer-notice")).to_contain_text("went on in another tab")
    expect(titles(other)).to_have_count(2)
    questions = [[each["content"] for each in row if each["role"] == "user"] for row in page.evaluate(KEPT)]
    assert questions == [["one", "two"], ["one", "three"]]


def test_a_browser_without_room_is_said_to_be_full_once(page: Page, daemon: Daemon, context: BrowserContext) -> None:
    says(page, "Words.")
    full = {"origin": daemon.url, "quotaSize": 1000}
    context.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", full)
    ask(page, "one " * 2000)
    expect(page.locator("#composer-notice")).to_have_text("This browser has no room; this chat won't be kept.")
    ended(page)
    page.evaluate("document.getElementById('composer-notice').replaceChildren()")
    ask(page, "two")
    ended(page, 2)
    expect(page.locator("#composer-notice")).to_have_text("")
