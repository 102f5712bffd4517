"""The page as the docs show it: `python -m tests.browser.screenshots [FOLDER]` writes page-*.png there.

All of it is real: a daemon, what the demo model answers, and requests that were asked, wait, fail or are cancelled as
the pictures are taken. Where several models are needed, the others have random weights and are called so.
`--every FOLDER` takes each view in light, in dark and on a phone, for those who change the page.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.benchmarks import random_gguf
from tests.benchmarks.daemon import Daemon
from tests.browser.chromium import found, started
from tests.browser.traffic import Traffic
from tests.docs.markdown import ROOT

LARGEST = 150_000
LONG = 60_000
# Chats, oldest first: what is asked, and a word that a right answer has. The last one is shown.
CHATS = (
    (("Which port does Runner use?", "11435"),),
    (("How do I remove a model?", "runner rm"),),
    (
        ("How do I pull a model?", "runner pull"),
        ("What is a Modelfile?", "FROM"),
        ("How do I see what is loaded?", "runner ps"),
    ),
)
EXTRACT = "Extract name and city: Anna is 31 and lives in Oslo."
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "city": {"type": "string"}},
    "required": ["name", "city"],
}
# What the docs show: a file's name, the view, the colours, and the width and height of the window.
SHOWN = (
    ("page-requests", "requests", "light", 1200, 900),
    ("page-request", "request", "light", 1200, 1190),
    ("page-live", "live", "light", 1200, 900),
    ("page-models", "models", "light", 1200, 860),
    ("page-chat", "chat", "light", 1200, 840),
    ("page-chat-dark", "chat", "dark", 1200, 840),
    ("page-phone", "chat", "light", 360, 775),
)
EVERY = tuple(
    (f"{view}-{colours}-{width}", view, colours, width, height)
    for width, height in ((1200, 800), (360, 740))
    for colours in ("light", "dark")
    for view in ("chat", "models", "live", "requests", "request")
)


def take(folder: Path, shots: tuple[tuple[str, str, str, int, int], ...] = SHOWN) -> list[Path]:
    """Write all pictures; their paths."""
    path = found()
    if path is None:
        raise SystemExit("Chromium is not installed")
    expect.set_options(timeout=LONG)
    taken = []
    with tempfile.TemporaryDirectory() as scratch, started(path) as browser:
        settings = {"num_parallel": 2, "max_loaded_models": 2, "request_bodies": 1}
        with Daemon(Path(scratch, "home"), **settings) as daemon:
            make(daemon, Path(scratch))
            for name, view, colours, width, height in shots:
                with opened(browser, daemon, colours, width, height) as page, Traffic(daemon) as traffic:
                    prepare(page, daemon, traffic, view)
                    taken.append(shoot(page, folder / f"{name}.png"))
    return taken


def make(daemon: Daemon, scratch: Path) -> None:
    """Models beside the demo, and requests that have ended: in each dialect, one that fails, one that is cancelled."""
    for shape in ("42m", "0.5b"):
        weights = scratch / f"{shape}.gguf"
        random_gguf.write(random_gguf.SHAPES[shape], weights)
        daemon.create(f"random-{shape}", weights, "FROM {path}\nPARAMETER num_ctx 4096\n")
        weights.unlink()
    said = [{"role": "user", "content": EXTRACT}]
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    with Traffic(daemon) as traffic:
        traffic.asked("/v1/chat/completions", {"model": "demo", "messages": said, "response_format": form})
        hello = [{"role": "user", "content": "How do I list my models?"}]
        traffic.asked("/v1/messages", {"model": "demo", "messages": hello, "max_tokens": 200})
        much = [{"role": "user", "content": "How do I pull a model? " * 1000}]
        traffic.asked("/api/chat", {"model": "demo", "messages": much, "truncate": False})
        left = traffic.ask("/v1/completions", long("random-42m"))
        traffic.until(left, "generating")
        traffic.cancel(left)
        traffic.until(left, "cancelled")


def long(model: str, tokens: int = 3000) -> dict[str, object]:
    """A body that a random model is busy with for a while."""
    return {"model": model, "prompt": "Once upon a time", "max_tokens": tokens, "stream": True, "ignore_eos": True}


@contextmanager
def opened(browser: Browser, daemon: Daemon, colours: str, width: int, height: int) -> Iterator[Page]:
    """The page in a browser that has never been here."""
    window = ViewportSize(width=width, height=height)
    phone = width < 500
    context = browser.new_context(
        viewport=window, locale="en-GB", reduced_motion="reduce", is_mobile=phone, has_touch=phone
    )
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if colours == "dark" else "light")
    page.goto(daemon.url + "/")
    page.locator("#model option").first.wait_for(state="attached")
    yield page
    context.close()


def prepare(page: Page, daemon: Daemon, traffic: Traffic, view: str) -> None:
    """Bring the page to what is shown."""
    talk(page)
    if view == "chat":
        page.locator(".thoughts summary").last.click()
        page.locator("#thread").evaluate("each => each.scrollTo(0, each.scrollHeight)")
    elif view == "models":
        page.goto(f"{daemon.url}/#models")
        page.locator("#installed > li").first.wait_for()
    elif view == "request":
        rows = daemon.get("/runner/requests")["requests"]
        chats = (row["id"] for row in rows if row["path"] == "/api/chat" and row["state"] == "done")
        own = next(each for each in chats if daemon.get(f"/runner/requests/{each}")["thinking"])
        page.goto(f"{daemon.url}/#requests/{own}")
        page.get_by_role("heading", name="Prompt").wait_for()
    else:
        crowd(traffic)
        watch(page, daemon, view)


def talk(page: Page) -> None:
    """Ask all questions, with thinking on."""
    page.locator("#model").select_option("demo:latest")
    page.get_by_role("button", name="Options of this chat").click()
    page.locator("#option-think").select_option("on")
    page.get_by_role("button", name="Done").click()
    for number, chat in enumerate(CHATS):
        if number:
            page.evaluate("document.getElementById('new-chat').click()")
        for turn, (question, word) in enumerate(chat):
            page.locator("#model").select_option("demo:latest")
            page.locator("#prompt").fill(question)
            page.locator("#prompt").press("Enter")
            expect(page.get_by_role("button", name="Regenerate")).to_have_count(turn + 1)
            expect(page.locator(".assistant .body").last).to_contain_text(word)


def crowd(traffic: Traffic) -> None:
    """Two models answer, and two clients wait for a third that has no room until one of them is done."""
    busy = [traffic.ask("/v1/completions", long("random-0.5b")) for _ in range(2)]
    busy.append(traffic.ask("/v1/completions", long("random-42m")))
    for each in busy:
        traffic.until(each, "generating")
    said = [{"role": "user", "content": EXTRACT}]
    for path in ("/api/chat", "/v1/chat/completions"):
        traffic.until(traffic.ask(path, {"model": "demo", "messages": said}), "waiting")


def watch(page: Page, daemon: Daemon, view: str) -> None:
    """Live or the list, once it shows them."""
    page.goto(f"{daemon.url}/#{view}")
    if view == "live":
        expect(
            page.locator("#running > li").filter(has_text=re.compile(r"\d\d tokens · [\d.,]+ tokens/s"))
        ).to_have_count(3)
        expect(page.locator("#waiting > li").filter(has_text="in the queue")).to_have_count(2)
        expect(page.locator("#totals > div").last).to_contain_text(re.compile("[1-9]"))
    else:
        expect(page.locator("#request-rows > li").filter(has_text=re.compile(r"answering.*\d\d tokens"))).to_have_count(
            3
        )


def shoot(page: Page, path: Path) -> Path:
    page.mouse.move(0, 0)
    page.screenshot(path=path)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {LARGEST}")
    return path


def main() -> None:
    os.environ.setdefault("NO_PROXY", "localhost,127.0.0.1")
    arguments = [each for each in sys.argv[1:] if each != "--every"]
    into = Path(arguments[0]) if arguments else ROOT / "docs" / "images"
    into.mkdir(parents=True, exist_ok=True)
    for each in take(into, EVERY if "--every" in sys.argv else SHOWN):
        print(each)


if __name__ == "__main__":
    main()
