"""The page as the docs show it: `python -m tests.browser.screenshots FOLDER` writes page-*.png there.

With a real daemon and the demo model under several names; only the long answer is given, for the demo writes no code.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.browser import requests_stub
from tests.browser.chromium import found, started
from tests.browser.speaking import says

LARGEST = 150_000
QUESTION = "How do I read a large CSV file in Python, a part at a time?"
ANSWER = """Use `csv` from the standard library and yield one part after another, so that only a part is in memory:

```python
import csv
from itertools import islice

def parts(path, size=10_000):
    \"\"\"Rows of a file, `size` at a time.\"\"\"
    with open(path, newline="") as file:
        rows = csv.DictReader(file)
        while part := list(islice(rows, size)):
            yield part
```

| Size | Memory | Time for 1 GB |
|-----:|-------:|--------------:|
| 1,000 | 12 MB | 31 s |
| 10,000 | 19 MB | 28 s |

Larger parts hardly help, since **parsing** takes the time.
"""


def take(folder: Path) -> list[Path]:
    """Write all pictures; their paths."""
    path = found()
    if path is None:
        raise SystemExit("Chromium is not installed")
    with tempfile.TemporaryDirectory() as home, Daemon(Path(home) / "home") as daemon, started(path) as browser:
        for name, text in (("coder", "PARAMETER num_ctx 2048\n"), ("writer", "PARAMETER temperature 0\n")):
            daemon.create(name, demo_gguf(), "FROM {path}\n" + text)
            daemon.post("/api/chat", {"model": name})
        taken = _desktop(browser, daemon, folder, "light") + _desktop(browser, daemon, folder, "dark")
        return taken + _phone(browser, daemon, folder)


def _open(browser: Browser, daemon: Daemon, width: int, height: int, scheme: str) -> Page:
    context = browser.new_context(viewport={"width": width, "height": height}, locale="en-GB", reduced_motion="reduce")
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    for row in requests_stub.ROWS:
        if row["error"]:
            row["error"]["message"] = row["error"]["message"].removesuffix(requests_stub.HOSTILE).strip()
    requests_stub.put(page, daemon)
    page.goto(daemon.url + "/")
    page.locator("#model option").first.wait_for(state="attached")
    return page


def _ask(page: Page) -> None:
    for model, question in (("writer", "How do I pull a model?"), ("demo", "What is a Modelfile?")):
        page.locator("#model").select_option(model)
        page.locator("#prompt").fill(question)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Regenerate").wait_for()
        page.evaluate("document.getElementById('new-chat').click()")
    says(page, *[ANSWER[at : at + 50] for at in range(0, len(ANSWER), 50)])
    page.locator("#model").select_option("coder")
    page.locator("#prompt").fill(QUESTION)
    page.locator("#prompt").press("Enter")
    page.get_by_role("button", name="Regenerate").wait_for()


def _desktop(browser: Browser, daemon: Daemon, folder: Path, scheme: str) -> list[Path]:
    page = _open(browser, daemon, 1200, 800, scheme)
    ending = "-dark" if scheme == "dark" else ""
    _ask(page)
    taken = [_shoot(page, folder / f"page-chat{ending}.png")]
    for view, ready in (("models", "#installed > li"), ("live", "#memory > div"), ("requests", "#request-rows > li")):
        page.goto(f"{daemon.url}/#{view}")
        page.locator(ready).first.wait_for()
        taken.append(_shoot(page, folder / f"page-{view}{ending}.png"))
    page.locator("#request-rows > li a").last.click()
    page.locator(".facts > div").first.wait_for()
    taken.append(_shoot(page, folder / f"page-request{ending}.png"))
    page.context.close()
    return taken


def _phone(browser: Browser, daemon: Daemon, folder: Path) -> list[Path]:
    page = _open(browser, daemon, 360, 740, "light")
    _ask(page)
    taken = [_shoot(page, folder / "page-phone.png")]
    page.goto(f"{daemon.url}/#models")
    page.locator("#installed > li").first.wait_for()
    taken.append(_shoot(page, folder / "page-phone-models.png"))
    page.context.close()
    return taken


def _shoot(page: Page, path: Path) -> Path:
    page.mouse.move(0, 0)
    page.screenshot(path=path)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {LARGEST}")
    return path


if __name__ == "__main__":
    os.environ.setdefault("NO_PROXY", "localhost,127.0.0.1")
    into = Path(sys.argv[1])
    into.mkdir(parents=True, exist_ok=True)
    for each in take(into):
        print(each)
