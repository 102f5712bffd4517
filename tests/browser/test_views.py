"""Models, live and requests in a real browser: what is there, pulls, removal, and what is said when something fails."""

from __future__ import annotations

import re
import urllib.request

from playwright.sync_api import Locator, Page, expect

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.browser.chromium import Seen
from tests.browser.conftest import HOSTILE, PARROT
from tests.browser.traffic import Traffic
from tests.hub import Hub

LONG = 60_000
ASKED = {"messages": [{"role": "user", "content": "How do I pull a model?"}], "keep_alive": 0}


def go(page: Page, view: str) -> None:
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
    expect(page.get_by_role("heading", name=view, level=1)).to_be_visible()


def row(page: Page, name: str) -> Locator:
    """The request of that id in the list."""
    return page.locator(f"#request-rows a[href='#requests/{name}']")


def pull(page: Page, name: str) -> None:
    page.get_by_role("combobox", name="Model to pull").fill(name)
    page.keyboard.press("Enter")


class TestModels:
    def test_installed_and_loaded(self, page: Page, daemon: Daemon) -> None:
        daemon.post("/api/chat", {"model": "demo"})
        go(page, "Models")
        installed = page.locator("#installed > li").filter(has_text=re.compile("^demo"))
        for words in ("4.7 MB", "Q8_0", "chat", "tokens of context"):
            expect(installed).to_contain_text(words)
        loaded = page.locator("#loaded > li").filter(has_text=re.compile("^demo"))
        for words in ("loaded", "on CPU", "weights", "left"):
            expect(loaded).to_contain_text(words)
        page.get_by_role("button", name="Pin demo", exact=True).click()
        expect(loaded).to_contain_text("pinned")
        page.get_by_role("button", name="Unpin demo", exact=True).click()
        expect(loaded).to_contain_text("left")
        page.get_by_role("button", name="Unload demo", exact=True).click()
        expect(loaded).to_have_count(0, timeout=LONG)

    def test_a_pull_from_its_name_to_an_answer_and_away_again(self, page: Page) -> None:
        go(page, "Models")
        pull(page, PARROT)
        installed = page.locator("#installed > li").filter(has_text="parrot")
        expect(installed).to_have_count(1, timeout=LONG)
        expect(page.locator("#pulls > li")).to_have_count(0)
        installed.get_by_role("button", name="Chat with").click()
        expect(page.locator("#prompt")).to_be_focused()
        expect(page.locator("#model").locator("option:checked")).to_contain_text("parrot")
        page.keyboard.type("How do I pull a model?")
        page.keyboard.press("Enter")
        expect(page.locator(".assistant .body")).to_contain_text("runner pull", timeout=LONG)
        expect(page.get_by_role("button", name="Regenerate")).to_be_visible(timeout=LONG)
        go(page, "Models")
        installed.get_by_role("button", name="Remove").click()
        expect(page.get_by_role("button", name="Keep")).to_be_focused()
        page.keyboard.press("Escape")
        expect(installed).to_have_count(1)
        installed.get_by_role("button", name="Remove").click()
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        expect(installed).to_have_count(0)
        go_chat = page.get_by_role("navigation").get_by_role("link", name="Chat")
        go_chat.click()
        expect(page.locator("#model").locator("option", has_text="parrot")).to_have_count(0)

    def test_a_pull_is_cancelled(self, page: Page, hub: Hub) -> None:
        hub.rate = 200_000
        try:
            go(page, "Models")
            pull(page, PARROT.replace("Q8_0", "Q4_0"))
            pulling = page.locator("#pulls > li")
            expect(pulling).to_contain_text("of 4.7 MB", timeout=LONG)
            expect(pulling.get_by_role("progressbar")).to_be_visible()
            pulling.get_by_role("button", name="Cancel").click()
            expect(pulling).to_contain_text("cancelled")
            pulling.get_by_role("button", name="Close").click()
            expect(pulling).to_have_count(0)
        finally:
            hub.rate = 0.0

    def test_a_name_that_is_none_is_said_to_be_and_shown_as_text(self, page: Page, seen: Seen) -> None:
        seen.expected.append("400 (Bad Request)")
        go(page, "Models")
        pull(page, HOSTILE)
        problem = page.locator("#pulls").get_by_role("alert")
        expect(problem).to_be_visible()
        expect(page.locator("#pulls h3")).to_have_text(HOSTILE)
        assert page.locator("#pulls img").count() == 0

    def test_the_catalog_is_suggested(self, page: Page) -> None:
        go(page, "Models")
        expect(page.locator("#catalog option[value='bge-m3']")).to_have_count(1)


class TestLive:
    def test_memory_and_figures(self, page: Page, daemon: Daemon) -> None:
        daemon.post("/api/chat", {"model": "demo"})
        go(page, "Live")
        expect(page.locator("#memory")).to_contain_text(re.compile(r"This machine: [\d.]+ GB free of [\d.]+ GB"))
        expect(page.locator("#memory")).to_contain_text(re.compile(r"demo\b.* \d+ MB"))
        expect(page.locator("#totals")).to_contain_text("of 512 at most")

    def test_who_waits_and_who_is_answered(self, page: Page, traffic: Traffic) -> None:
        busy = [traffic.ask("/api/chat", ASKED | {"model": name}) for name in ("endless", "as-endless")]
        for each in busy:
            traffic.until(each, "generating")
        for each in ("first", "second"):
            traffic.until(traffic.ask("/api/chat", ASKED | {"model": "demo"}, each), "waiting")
        go(page, "Live")
        expect(page.locator("#running")).to_contain_text(
            re.compile(r"answering · [\d,]+ tokens · [\d.,]+ tokens/s · for ")
        )
        waiting = page.locator("#waiting > li")
        expect(waiting.nth(0)).to_contain_text("1st in the queue")
        expect(waiting.nth(1)).to_contain_text("2nd in the queue")
        waiting.nth(1).get_by_role("link", name="Look").click()
        expect(page.locator("#request-detail .state")).to_have_text("waiting, 2nd")

    def test_it_rests_where_nobody_looks(self, page: Page, seen: Seen) -> None:
        go(page, "Live")
        with page.expect_request("**/api/ps"):
            pass
        go(page, "Requests")
        with page.expect_request("**/runner/requests**"):
            pass
        count = len([url for url in seen.requests if url.endswith("/api/ps")])
        with page.expect_request("**/runner/requests**"):
            pass
        assert len([url for url in seen.requests if url.endswith("/api/ps")]) == count

    def test_a_daemon_that_is_gone(self, page: Page, seen: Seen) -> None:
        seen.expected.append("ERR_FAILED")
        go(page, "Live")
        page.route("**/api/ps", lambda route: route.abort())
        expect(page.locator("#live-error").get_by_role("alert")).to_contain_text("Runner doesn't answer")
        page.unroute("**/api/ps")
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#live-error").get_by_role("alert")).to_have_count(0)


class TestRequests:
    def test_the_list(self, page: Page, history: None, traffic: Traffic) -> None:
        traffic.until(traffic.ask("/api/chat", ASKED | {"model": "endless"}, "long"), "generating")
        go(page, "Requests")
        expect(row(page, "long")).to_contain_text("answering")
        expect(row(page, "asked")).to_contain_text(re.compile(r"done.*\d+ → \d+ tokens"))
        expect(row(page, "failed")).to_contain_text(HOSTILE)
        assert page.locator("#request-rows img").count() == 0
        page.get_by_label("State").select_option("failed")
        expect(row(page, "asked")).to_have_count(0)
        expect(row(page, "failed")).to_have_count(1)

    def test_one_of_them(self, page: Page, history: None) -> None:
        go(page, "Requests")
        row(page, "again").click()
        detail = page.locator("#request-detail")
        expect(detail).to_contain_text(re.compile(r"\d+, \d+ of them cached"))
        expect(detail).to_contain_text(re.compile(r"\d+, [\d.,]+ tokens/s"))
        for words in ("POST /v1/chat/completions", "OpenAI's API", "stop, 200", "RUNNER_REQUEST_BODIES"):
            expect(detail).to_contain_text(words)
        expect(detail.get_by_role("button", name="Cancel this request")).to_be_hidden()
        page.get_by_role("link", name="All requests").click()
        row(page, "failed").click()
        expect(detail.locator(".state")).to_have_text("failed")
        expect(detail).to_contain_text(HOSTILE)
        assert detail.locator("img").count() == 0

    def test_one_is_cancelled(self, page: Page, traffic: Traffic) -> None:
        traffic.until(traffic.ask("/api/chat", ASKED | {"model": "endless"}, "too-long"), "generating")
        go(page, "Requests")
        row(page, "too-long").click()
        detail = page.locator("#request-detail")
        detail.get_by_role("button", name="Cancel this request").click()
        expect(detail.locator(".state")).to_have_text("cancelled")
        expect(detail.get_by_role("button", name="Cancel this request")).to_be_hidden()
        traffic.until("too-long", "cancelled")

    def test_one_that_is_not_kept(self, page: Page, daemon: Daemon, seen: Seen) -> None:
        seen.expected.append("404 (Not Found)")
        page.goto(daemon.url + "/#requests/gone")
        expect(page.get_by_role("alert")).to_contain_text("isn't kept any more")

    def test_own_request(self, page: Page, daemon: Daemon) -> None:
        page.keyboard.type("How do I pull a model?")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Regenerate")).to_be_visible(timeout=LONG)
        go(page, "Requests")
        own = page.locator("#request-rows > li").filter(has_text="done").filter(has_text="demo").first
        own.get_by_role("link").click()
        detail = page.locator("#request-detail")
        for words in ("POST /api/chat", "tokens in", "tokens out", "Where the time went"):
            expect(detail).to_contain_text(words)


def test_an_older_daemon_is_said_to_be_one(page: Page, seen: Seen) -> None:
    seen.expected.append("404 (Not Found)")
    missing = {"error": "there is no /runner/queue", "code": "not_found"}
    page.route("**/runner/requests**", lambda route: route.fulfill(status=404, json=missing))
    page.route("**/runner/queue", lambda route: route.fulfill(status=404, json=missing))
    go(page, "Requests")
    expect(page.get_by_role("alert")).to_contain_text("This Runner keeps no requests")
    go(page, "Live")
    expect(page.locator("#waiting-none")).to_contain_text("doesn't list its requests")


def test_models_that_come_and_go_elsewhere(page: Page, daemon: Daemon) -> None:
    go(page, "Models")
    daemon.create("brief", demo_gguf())
    listed = page.locator("#installed > li").filter(has_text="brief")
    expect(listed).to_have_count(1, timeout=LONG)
    removed = urllib.request.Request(daemon.url + "/api/delete", b'{"model": "brief"}', method="DELETE")
    urllib.request.urlopen(removed).close()
    expect(listed).to_have_count(0, timeout=LONG)
