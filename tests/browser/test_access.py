"""For everybody: by keyboard, by name, on a phone, in dark and light, with little motion, and with an API key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.benchmarks.daemon import Daemon
from tests.browser.chromium import Seen
from tests.browser.speaking import says

VIEWS = ("chat", "models", "live", "requests", "requests/asked", "requests/failed")
LONG = 60_000
KEY = "sk-a-key-of-tests"
FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex='0']"
NAMELESS = f"""() => [...document.querySelectorAll("{FOCUSABLE}")].filter((each) => {{
  if (!each.checkVisibility()) return false;
  const labelled = each.getAttribute('aria-labelledby');
  const label = each.getAttribute('aria-label') || (labelled && document.getElementById(labelled)?.textContent)
    || [...(each.labels ?? [])].map((one) => one.textContent).join('') || each.textContent || each.title;
  return !label.trim();
}}).map((each) => each.outerHTML)"""
WRITTEN = """# Title

Words with `code`, **bold** and [a link](https://example.org/).

| a | b |
|---|---|
| a long cell of a table that wants to be wide | another one that is as long |

```python
def quite_a_long_name(argument, another_argument, yet_another_argument): return "a line that goes on and on and on"
```
averyveryveryveryveryveryveryveryveryveryveryverylongword
"""


def show(page: Page, daemon: Daemon, view: str) -> None:
    page.goto(f"{daemon.url}/#{view}")
    expect(page.locator(f"#{view.partition('/')[0]}")).to_be_visible()
    if view.startswith("requests/"):
        page.locator(".facts > div").first.wait_for()
    if view in ("models", "live", "requests"):
        page.locator("#installed > li, #memory > div, #request-rows > li").locator("visible=true").first.wait_for()


def answered(page: Page) -> None:
    says(page, WRITTEN)
    page.locator("#prompt").fill("Show me everything")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()


@pytest.mark.parametrize("height", [500, 800])
def test_a_long_answer_leaves_the_prompt_where_it_is(page: Page, height: int) -> None:
    page.set_viewport_size({"width": 800, "height": height})
    answered(page)
    box = page.get_by_role("button", name="Send").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= height
    assert page.evaluate("document.documentElement.scrollHeight") <= height
    page.wait_for_function(
        "(its => its.scrollHeight - its.scrollTop - its.clientHeight < 2)(document.getElementById('thread'))"
    )


@pytest.mark.parametrize("view", VIEWS)
def test_every_control_has_a_name_and_every_view_its_landmarks(
    page: Page, daemon: Daemon, history: None, view: str
) -> None:
    if view == "chat":
        answered(page)
    show(page, daemon, view)
    assert page.evaluate(NAMELESS) == []
    tree = page.locator("body").aria_snapshot()
    for role in ("banner", "navigation", "main"):
        assert re.search(rf"^\s*- {role}\b", tree, re.MULTILINE), role
    assert not re.search(r"^\s*- (button|link|textbox|combobox)(?: \[.*\])?:?$", tree, re.MULTILINE), tree
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.evaluate("document.documentElement.lang") == "en"
    current = page.get_by_role("navigation").locator("[aria-current=page]")
    assert (current.inner_text() or "").lower() == view.partition("/")[0]
    identifiers = page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(identifiers) == len(set(identifiers))
    assert page.evaluate("[...document.querySelectorAll('img')].every((each) => each.hasAttribute('alt'))")


def test_a_conversation_by_keyboard_alone(page: Page) -> None:
    """Tab leads past everything once and out again; nothing holds the focus."""
    page.keyboard.type("How do I pull a model?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible(timeout=LONG)
    expect(page.locator("#prompt")).to_be_focused()
    page.locator("#skip").focus()
    seen = ["Skip to the content"]
    for _ in range(40):
        page.keyboard.press("Tab")
        at = page.evaluate(
            "document.activeElement === document.body ? '' : "
            "(document.activeElement.getAttribute('aria-label') || document.activeElement.textContent).trim()"
        )
        if at in ("", seen[0]):
            break
        ring = page.evaluate(
            "(() => { const its = getComputedStyle(document.activeElement); const box = getComputedStyle("
            "document.activeElement.closest('.box') ?? document.activeElement);"
            "return its.outlineStyle !== 'none' || box.boxShadow !== 'none'; })()"
        )
        assert ring, f"nothing shows that {at!r} has the focus"
        seen.append(at)
    else:
        raise AssertionError(f"the keyboard is trapped: {seen}")
    for name in ("Models", "New chat", "Regenerate", "Message", "Send", "Edit"):
        assert any(name in each for each in seen), (name, seen)


def test_skip_leads_past_the_navigation(page: Page) -> None:
    skip = page.get_by_role("link", name="Skip to the content")
    skip.focus()
    assert (skip.bounding_box() or {"y": -1})["y"] >= 0
    page.keyboard.press("Enter")
    expect(page.locator("#prompt")).to_be_focused()
    page.get_by_role("link", name="Models").click()
    skip.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("combobox", name="Model to pull")).to_be_focused()


def test_dialogs_give_the_focus_back(page: Page) -> None:
    opener = page.get_by_role("button", name="Options of this chat")
    opener.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Options of this chat")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(opener).to_be_focused()


class TestPhone:
    @pytest.mark.parametrize("view", VIEWS)
    def test_nothing_is_wider_than_the_screen(self, page: Page, daemon: Daemon, history: None, view: str) -> None:
        page.set_viewport_size({"width": 360, "height": 740})
        if view == "chat":
            answered(page)
        show(page, daemon, view)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        wide = """() => [...document.querySelectorAll('main *')].filter((each) => each.checkVisibility()
          && !each.closest('pre, .table, #chats, .sr, .track') && each.getBoundingClientRect().right > 361)
          .map((each) => each.outerHTML.slice(0, 120))"""
        assert page.evaluate(wide) == []

    def test_conversations_are_a_drawer(self, page: Page) -> None:
        page.set_viewport_size({"width": 360, "height": 740})
        toggle = page.get_by_role("button", name="Chats")
        expect(page.get_by_role("button", name="New chat")).to_be_hidden()
        toggle.click()
        expect(page.get_by_role("button", name="New chat")).to_be_visible()
        expect(toggle).to_have_attribute("aria-expanded", "true")
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="New chat")).to_be_hidden()
        expect(toggle).to_be_focused()


def ground(page: Page) -> list[int]:
    return [
        int(each) for each in re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[:3]
    ]


def test_dark_and_light(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    assert max(ground(page)) < 60
    page.emulate_media(color_scheme="light")
    assert min(ground(page)) > 200
    button = page.get_by_role("button", name="Colours:")
    button.click()
    expect(button).to_have_attribute("aria-label", "Colours: light")
    button.click()
    expect(button).to_have_attribute("aria-label", "Colours: dark")
    assert max(ground(page)) < 60
    page.reload()
    assert max(ground(page)) < 60
    button.click()
    assert min(ground(page)) > 200


def test_little_motion_for_those_who_want_little(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(
        "document.getElementById('messages').append(Object.assign(document.createElement('p'), {className: 'waiting'}))"
    )
    assert page.evaluate("getComputedStyle(document.querySelector('.waiting'), '::before').animationName") == "none"


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that wants a key."""
    with Daemon(tmp_path / "locked", api_key=KEY) as made:
        yield made


def test_the_key_is_asked_for_once(browser: Browser, locked: Daemon) -> None:
    seen = Seen(expected=["401 (Unauthorized)"])
    context: BrowserContext = browser.new_context()
    try:
        page = context.new_page()
        seen.watch(page)
        page.goto(locked.url + "/")
        dialog = page.get_by_role("dialog", name="An API key is needed")
        expect(dialog.get_by_label("API key")).to_be_focused()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("That is not the key")
        page.keyboard.type(KEY)
        page.keyboard.press("Enter")
        expect(page.locator("#model")).to_have_value("demo:latest")
        page.locator("#prompt").fill("How do I pull a model?")
        page.locator("#prompt").press("Enter")
        expect(page.locator(".assistant code").first).to_be_visible(timeout=LONG)
        page.reload()
        expect(page.locator("#model")).to_have_value("demo:latest")
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert page.evaluate("localStorage.length + document.cookie.length") <= 2
        assert KEY not in page.evaluate("JSON.stringify(localStorage)")
        assert seen.unexpected == []
        other = context.new_page()
        other.goto(locked.url + "/")
        expect(other.get_by_role("dialog", name="An API key is needed")).to_be_visible()
    finally:
        context.close()
