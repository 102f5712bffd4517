"""A real daemon with the demo model, a loopback hub to pull from, and a real Chromium whose every page is watched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.browser.chromium import Seen, found, started
from tests.browser.traffic import Traffic
from tests.engine import random_models
from tests.hub import File, Hub, running

pytestmark = pytest.mark.browser
PARROT = "hf.co/tiny/parrot-GGUF:Q8_0"
ENDLESS = 65_536  # tokens: more than a test waits for
HOSTILE = "<img src=x onerror=alert(1)>"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is of the browser suite."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = found()
    if path is None:
        pytest.skip("Chromium is not installed: Debian's package `chromium` has it")
    with started(path) as chromium:
        yield chromium


def weights(number: int) -> bytes:
    """The demo's file with one weight changed: bytes that no store has yet."""
    data = bytearray(demo_gguf().read_bytes())
    data[-1 - number] ^= 1
    return bytes(data)


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    hub = Hub()
    files: dict[str, bytes | File] = {
        "parrot-Q8_0.gguf": weights(0),
        "parrot-Q4_0.gguf": weights(1),
        "params": json.dumps({"temperature": 0}).encode(),
    }
    hub.add("tiny/parrot-GGUF", files)
    with running(hub):
        yield hub


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory, hub: Hub) -> Iterator[Daemon]:
    """Shared by all. `rambling` answers at length; `endless` and `as-endless` don't end while a test lasts."""
    home = tmp_path_factory.mktemp("daemon")
    made = Daemon(home, max_loaded_models=2)
    made.environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home / "hf")}
    with made:
        made.create("rambling", demo_gguf(), "FROM {path}\nPARAMETER ignore_eos true\nPARAMETER num_predict 3500\n")
        endless = random_models.write(home / "endless.gguf", "llama", context=ENDLESS)
        for name, batch in (("endless", 512), ("as-endless", 256)):
            made.create(
                name,
                endless,
                f"FROM {{path}}\nPARAMETER ignore_eos true\nPARAMETER num_predict {ENDLESS - 1000}\n"
                f"PARAMETER num_ctx {ENDLESS}\nPARAMETER num_batch {batch}\n",
            )
        yield made
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def traffic(daemon: Daemon) -> Iterator[Traffic]:
    """Other clients of the daemon. What they kept busy is let go, or the next page would choose it."""
    with Traffic(daemon) as made:
        yield made
    for name in ("endless", "as-endless"):
        daemon.post("/api/generate", {"model": name, "keep_alive": 0, "stream": False})


@pytest.fixture(scope="session")
def history(daemon: Daemon) -> None:
    """Requests `asked` and `again`, which are done, and `failed`, whose error repeats what looks like markup."""
    said = {"model": "demo", "messages": [{"role": "user", "content": "How do I remove a model?"}], "stream": False}
    with Traffic(daemon) as traffic:
        traffic.asked("/v1/chat/completions", said, "asked")
        traffic.asked("/v1/chat/completions", said, "again")
        traffic.asked("/v1/chat/completions", said | {"model": HOSTILE}, "failed")


@pytest.fixture
def seen(daemon: Daemon) -> Iterator[Seen]:
    """What the test's pages do. Nothing may be left on the console, and nobody else be asked."""
    seen = Seen()
    yield seen
    assert seen.unexpected == []
    assert seen.strangers(daemon.url) == set()


@pytest.fixture
def context(browser: Browser, seen: Seen) -> Iterator[BrowserContext]:
    """A browser that has never been here."""
    made = browser.new_context(viewport={"width": 1200, "height": 800}, locale="en-GB")
    made.grant_permissions(["clipboard-read", "clipboard-write"])
    made.set_default_timeout(20_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, seen: Seen, daemon: Daemon) -> Page:
    """The page, open on the chat, with a model chosen."""
    opened = context.new_page()
    seen.watch(opened)
    opened.goto(daemon.url + "/")
    opened.locator("#model option").first.wait_for(state="attached")
    return opened
