"""Settings that change under a running daemon: what differs, when it counts, and what a broken file does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.config import SETTINGS, Change, ConfigError, Settings, changed, config_file, load
from runner.config import live as module
from runner.config.live import Live


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    return {"RUNNER_HOME": str(tmp_path)}


class Home:
    """A file of settings, and a Live over it that remembers what it told."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.told: list[tuple[Settings, Settings]] = []
        self.live = Live(self.read(), self.read, self.check)
        self.live.tell(self.hear)
        self.heard = asyncio.Event()
        self.objection: str | None = None

    def read(self) -> Settings:
        return load({}, self._environ)

    def check(self, settings: Settings) -> None:
        if self.objection:
            raise ConfigError(self.objection)

    async def hear(self, old: Settings, new: Settings) -> None:
        self.told.append((old, new))
        self.heard.set()

    def write(self, text: str) -> None:
        path = config_file(self.live.settings.folders)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.fixture
def home(environ: Mapping[str, str]) -> Home:
    return Home(environ)


def test_a_change_is_named_by_when_it_counts(home: Home) -> None:
    before = home.read()
    home.write("keep_alive: 1h\nmodels: /elsewhere\ncontext_length: 4096\nper_model: {demo: {pin: true}}\n")
    assert changed(before, before) == Change()
    assert not changed(before, before)
    assert changed(before, home.read()) == Change(("keep_alive",), ("context_length", "per_model"), ("models",))


def test_every_row_says_when_it_counts() -> None:
    assert {row.name for row in SETTINGS if row.applies == "start"} == {
        "host", "models", "max_body", "download_connections", "spare_worker",
    }  # fmt: skip
    assert {row.name for row in SETTINGS if row.applies == "load"} == {
        "context_length", "num_parallel", "prefix_ram", "prefix_disk", "options", "per_model", "sandbox",
    }  # fmt: skip


async def test_what_can_be_is_in_force_and_the_rest_waits(home: Home) -> None:
    models = home.live.settings.models
    home.write("keep_alive: 1h\nmodels: /elsewhere\n")
    assert await home.live.reload() == Change(now=("keep_alive",), start=("models",))
    assert (home.live.settings.keep_alive, home.live.settings.models) == (3600.0, models)
    assert home.live.settings.sources["keep_alive"].startswith("file")
    assert home.live.settings.sources["models"] == "default"
    assert home.live.waiting == ("models",)
    ((old, new),) = home.told
    assert (old.keep_alive, new.keep_alive) == (300.0, 3600.0)
    assert await home.live.reload() == Change()
    assert home.live.waiting == ("models",)
    home.write("keep_alive: 1h\n")
    await home.live.reload()
    assert home.live.waiting == ()
    assert len(home.told) == 1, "nothing in force has changed since"


@pytest.mark.parametrize("text", ["keep_alive: soon\n", "keep_aliv: 1h\n", "{", "options: {num_ctx: -1}\n"])
async def test_a_broken_file_changes_nothing_and_says_why(home: Home, text: str) -> None:
    before = home.live.settings
    home.write(text)
    with pytest.raises(ConfigError):
        await home.live.reload()
    assert home.live.settings is before
    assert home.live.refused
    assert not home.told
    home.write("max_queue: 7\n")
    await home.live.reload()
    assert home.live.refused is None
    assert home.live.settings.max_queue == 7


async def test_what_cannot_go_together_is_refused(home: Home) -> None:
    home.objection = "not like this"
    home.write("max_queue: 7\n")
    with pytest.raises(ConfigError, match="not like this"):
        await home.live.reload()
    assert home.live.settings.max_queue == 512


async def test_a_file_that_changes_is_seen(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK", 0.01)
    watching = asyncio.create_task(home.live.watch())
    for text, queue in (("max_queue: 7\n", 7), ("max_queue: 80\n", 80), ("", 512)):
        home.heard.clear()
        home.write(text)
        await asyncio.wait_for(home.heard.wait(), 10)
        assert home.live.settings.max_queue == queue
    watching.cancel()


async def test_one_who_cannot_take_it_keeps_nobody_from_hearing(home: Home) -> None:
    live = Live(home.read(), home.read)

    async def fail(old: Settings, new: Settings) -> None:
        raise RuntimeError("a fault of ours")

    live.tell(fail)
    live.tell(home.hear)
    home.write("max_queue: 7\n")
    assert await live.reload() == Change(now=("max_queue",))
    assert len(home.told) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("options: {num_ctxx: 5}", "num_ctxx"),
        ("options: [1]", "options"),
        ("per_model: {demo: {colour: red}}", "colour"),
        ("per_model: {demo: {keep_alive: soon}}", "demo"),
        ("per_model: {demo: {options: {temperature: hot}}}", "temperature"),
        ("per_model: [demo]", "per_model"),
        ("per_model: {'*': {}}", "per_model"),
    ],
)
def test_a_bad_entry_is_named(home: Home, text: str, said: str) -> None:
    home.write(text)
    with pytest.raises(ConfigError, match=said):
        home.read()
