"""Chatting in a real browser with the real demo model."""

from __future__ import annotations

import re
import urllib.request
from typing import ClassVar

import pytest
from playwright.sync_api import FilePayload, Page, expect

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.browser.chromium import Seen
from tests.browser.speaking import says
from tests.engine.vision_models import png

QUESTION = "How do I pull a model?"
LONG = 60_000


def ask(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


def ended(page: Page, number: int = 1) -> None:
    expect(page.get_by_role("button", name="Regenerate")).to_have_count(number, timeout=LONG)


def test_it_opens_on_the_prompt_with_a_model_chosen(page: Page) -> None:
    assert page.title() == "Runner"
    first = page.get_by_role("textbox").first
    expect(first).to_be_focused()
    assert first.get_attribute("id") == "prompt"
    expect(page.locator("#model")).to_have_value("demo:latest")
    expect(page.get_by_role("heading", name="What would you like to ask?")).to_be_visible()


def test_enter_asks_and_the_answer_comes(page: Page) -> None:
    page.keyboard.type(QUESTION)
    page.keyboard.press("Shift+Enter")
    expect(page.locator("#prompt")).to_have_value(QUESTION + "\n")
    page.keyboard.press("Enter")
    ended(page)
    answer = page.locator(".assistant .body")
    expect(answer).to_contain_text("runner pull")
    expect(answer.locator("code").first).to_be_visible()
    expect(page.locator(".user .bubble")).to_have_text(QUESTION)
    expect(page.locator(".figures-line summary")).to_have_text(re.compile(r"\d+ tokens · [\d.,]+ tokens/s"))
    expect(page.locator("#spoken")).to_contain_text("runner pull")
    expect(page.locator("#prompt")).to_be_focused()
    expect(page.locator("#prompt")).to_have_value("")


@pytest.mark.parametrize("way", ["Escape", "button"])
def test_stop_keeps_what_has_come(page: Page, daemon: Daemon, way: str) -> None:
    page.locator("#model").select_option("rambling")
    ask(page, QUESTION)
    expect(page.locator(".assistant .body")).to_contain_text("runner", timeout=LONG)
    if way == "Escape":
        page.keyboard.press("Escape")
    else:
        page.get_by_role("button", name="Stop the answer").click()
    expect(page.locator(".figures-line")).to_have_text("stopped")
    expect(page.locator(".assistant .body")).to_contain_text("runner")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    page.wait_for_function("async () => (await (await fetch('/api/ps')).json()).models.every(m => m.running === 0)")


def test_edit_asks_anew_and_regenerate_asks_again(page: Page) -> None:
    ask(page, "How do I stop a model?")
    ended(page)
    ask(page, QUESTION)
    ended(page, 2)
    page.get_by_role("button", name="Edit").first.click()
    field = page.get_by_role("textbox", name="Edit the message")
    expect(field).to_be_focused()
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    page.get_by_role("button", name="Edit").first.click()
    field.fill(QUESTION)
    page.keyboard.press("Enter")
    ended(page, 1)
    expect(page.locator(".message")).to_have_count(2)
    expect(page.locator(".assistant .body")).to_contain_text("runner pull")
    page.get_by_role("button", name="Regenerate").click()
    ended(page, 1)
    expect(page.locator(".message")).to_have_count(2)


def test_conversations_are_kept_and_deleted(page: Page) -> None:
    ask(page, QUESTION)
    ended(page)
    answer = page.locator(".assistant .body").inner_text()
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".message")).to_have_count(0)
    expect(page.locator("#prompt")).to_be_focused()
    page.reload()
    page.locator("#chat-list").get_by_role("button", name=QUESTION, exact=True).click()
    expect(page.locator(".assistant .body")).to_have_text(answer, use_inner_text=True)
    page.get_by_role("button", name=f"Delete {QUESTION}").click()
    expect(page.get_by_role("button", name="Keep")).to_be_focused()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#chat-list li")).to_have_count(0)
    page.reload()
    expect(page.locator("#chat-list li")).to_have_count(0)


def test_options_go_with_the_question(page: Page) -> None:
    page.get_by_role("button", name="Options of this chat").click()
    dialog = page.get_by_role("dialog", name="Options of this chat")
    dialog.get_by_label("System prompt").fill("Be brief.")
    dialog.get_by_label("Temperature").fill("0.5")
    dialog.get_by_label("Context, tokens").fill("1024")
    dialog.get_by_label("Thinking").select_option("off")
    dialog.get_by_role("button", name="Done").click()
    with page.expect_request("**/api/chat") as sent:
        ask(page, QUESTION)
    body = sent.value.post_data_json
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body["options"] == {"temperature": 0.5, "num_ctx": 1024}
    assert body["think"] is False
    ended(page)


def test_an_error_is_said_where_it_happened_and_can_be_tried_again(page: Page, daemon: Daemon, seen: Seen) -> None:
    seen.expected.append("404 (Not Found)")
    daemon.create("fleeting", demo_gguf())
    page.reload()
    page.locator("#model").select_option("fleeting")
    removed = urllib.request.Request(daemon.url + "/api/delete", b'{"model": "fleeting"}', method="DELETE")
    urllib.request.urlopen(removed).close()
    ask(page, QUESTION)
    problem = page.locator(".assistant").get_by_role("alert")
    expect(problem).to_contain_text("fleeting", timeout=LONG)
    page.locator("#model").select_option("demo")
    problem.get_by_role("button", name="Try again").click()
    ended(page)
    expect(problem).to_have_count(0)


def test_code_is_copied_as_it_was_written(page: Page) -> None:
    code = 'def f(x):\n\treturn "<b>" + x  # &amp;\n'
    says(page, "Here:\n\n```py\n", code, "```\n\nDone.")
    ask(page, "code")
    ended(page)
    expect(page.locator(".code .k").first).to_have_text("def")
    page.get_by_role("button", name="Copy code").click()
    expect(page.get_by_role("button", name="Copy code")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == code
    page.locator(".assistant .acts").get_by_role("button", name="Copy", exact=True).click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).startsWith('Here:')")


def test_thoughts_are_folded(page: Page) -> None:
    says(page, "Four.", thinking="Two and two.")
    ask(page, "2+2?")
    ended(page)
    expect(page.get_by_text("Two and two.")).to_be_hidden()
    page.locator(".thoughts summary").click()
    expect(page.get_by_text("Two and two.")).to_be_visible()


HOSTILE = [
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 1'>",
    "<svg onload='window.hit = 1'>",
    "[x](javascript:window.hit=1)",
    "![x](https://tracker.invalid/pixel.png)",
    "<iframe src='https://tracker.invalid'></iframe>",
    '<a href="javascript:window.hit=1" style="color:red">x</a>',
    "```<img src=x onerror=window.hit=1>\n<script>window.hit = 1</script>\n```",
    "| <img src=x onerror=window.hit=1> | b |\n|:-:|--:|\n| <b> | 2 |",
]


def test_what_a_model_writes_does_nothing(page: Page) -> None:
    """No script runs, nothing is fetched (see `seen`), and the policy has nothing to complain of."""
    text = "\n\n".join(HOSTILE)
    asked = says(page, *[text[at : at + 40] for at in range(0, len(text), 40)], thinking=HOSTILE[1])
    ask(page, HOSTILE[1])
    ended(page)
    ask(page, "again")
    ended(page, 2)
    assert asked[1]["messages"][1]["content"] == text
    assert page.evaluate("window.hit") is None
    assert (
        page.locator(
            ":is(.message, #chat-list) :is(script, img, svg, iframe, [style], [onerror], [href^=javascript])"
        ).count()
        == 0
    )
    expect(page.locator(".assistant .body").first).to_contain_text("<script>window.hit = 1</script>")
    expect(page.locator(".user .bubble").first).to_have_text(HOSTILE[1])
    link = page.get_by_role("link", name="x", exact=True).first
    assert link.get_attribute("rel") == "noopener noreferrer"


def test_the_policy_holds_even_against_the_page_itself(page: Page, seen: Seen) -> None:
    seen.expected += ["CSP", "TrustedHTML", "Content Security Policy", "trusted-types", "require-trusted-types-for"]
    tried = page.evaluate(
        """() => {
          const said = [];
          try { document.body.innerHTML = '<b>x</b>'; said.push('html'); } catch (error) { said.push(error.name); }
          try { trustedTypes.createPolicy('mine', {}); said.push('policy'); } catch (error) { said.push(error.name); }
          return said;
        }"""
    )
    assert tried == ["TypeError", "TypeError"]
    assert page.evaluate("fetch('https://tracker.invalid').then(() => 'sent', () => 'refused')") == "refused"
    assert any("connect-src" in line for line in seen.console)
    seen.requests = [url for url in seen.requests if "tracker.invalid" not in url]


class TestPictures:
    """Only for models that can see."""

    PICTURE: ClassVar[FilePayload] = {"name": "cat.png", "mimeType": "image/png", "buffer": png(1, 8, 8)}

    def test_a_model_without_eyes_says_so(self, page: Page) -> None:
        page.get_by_role("button", name="Add an image").click()
        expect(page.locator("#composer-notice")).to_contain_text("demo can't see pictures")
        page.locator("#image-file").set_input_files(self.PICTURE)
        expect(page.locator("#thumbs li")).to_have_count(0)

    def test_a_picture_goes_along(self, page: Page) -> None:
        def with_eyes(route: object) -> None:
            response = route.fetch()  # type: ignore[attr-defined]
            listing = response.json()
            for each in listing["models"]:
                each["capabilities"] = [*each["capabilities"], "vision"]
            route.fulfill(response=response, json=listing)  # type: ignore[attr-defined]

        page.route("**/api/tags", with_eyes)
        asked = says(page, "A cat.")
        page.reload()
        page.locator("#model option").first.wait_for(state="attached")
        page.locator("#image-file").set_input_files(self.PICTURE)
        expect(page.get_by_role("button", name="Remove cat.png")).to_be_visible()
        ask(page, "What is it?")
        ended(page)
        assert asked[0]["messages"][0]["images"][0].startswith("iVBOR")
        expect(page.locator(".user img")).to_have_attribute("alt", "cat.png")
        self.give(page, "drop")
        self.give(page, "paste")
        expect(page.get_by_role("button", name="Remove given.png")).to_have_count(2)
        page.get_by_role("button", name="Remove given.png").first.click()
        expect(page.get_by_role("button", name="Remove given.png")).to_have_count(1)
        page.locator("#image-file").set_input_files({"name": "bad.png", "mimeType": "image/png", "buffer": b"no"})
        expect(page.locator("#composer-notice")).to_contain_text("bad.png is no picture")

    def give(self, page: Page, kind: str) -> None:
        """Drag a picture in, or paste it."""
        page.evaluate(
            """([kind, bytes]) => {
              const data = new DataTransfer();
              data.items.add(new File([new Uint8Array(bytes)], 'given.png', {type: 'image/png'}));
              const more = {bubbles: true, cancelable: true};
              const event = kind === 'drop' ? new DragEvent('drop', {...more, dataTransfer: data})
                : new ClipboardEvent('paste', {...more, clipboardData: data});
              document.getElementById('prompt').dispatchEvent(event);
            }""",
            [kind, list(self.PICTURE["buffer"])],
        )
