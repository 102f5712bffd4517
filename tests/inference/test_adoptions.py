"""Adoptions under way: joined by whoever asks for the same, shown by a look, and not ended by a caller who leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from modelfiles.parse import parse
from registry.adopt.found import Found
from registry.adopt.take import adopt
from registry.create import create
from registry.errors import BadSource, NotFound
from registry.names import Name
from registry.progress import Cancel, Progress, Report
from registry.store import Store
from runner.inference import adoptions as module
from runner.inference.adoptions import Adoptions
from runner.inference.jobs import Jobs
from tests import tiny_gguf
from tests.registry.layouts import ollama_model

WAIT = 20.0


class Held:
    """Adopting that goes on only when it is let go, and counts how often it began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began: list[str] = []
        self.go = threading.Event()
        self.cancelled = False
        self._real = module.adopt
        monkeypatch.setattr(module, "adopt", self)

    def __call__(self, store: Store, found: Found, report: Report, cancelled: Cancel) -> object:
        self.began.append(str(found.name))
        report(Progress("hashing", None, 100, 43))
        assert self.go.wait(WAIT)
        self.cancelled = cancelled()
        return self._real(store, found, report, cancelled)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / "theirs").mkdir(exist_ok=True)
        (tmp_path / "theirs" / f"{name}-Q8_0.gguf").write_bytes(
            tiny_gguf.model(extra={"general.version": name}).build()
        )
    return tmp_path / "theirs"


def run(tmp_path: Path, test: Callable[[Adoptions, Store], object]) -> None:
    async def main() -> None:
        with Store.open(tmp_path / "store") as store, ThreadPoolExecutor(4) as threads, ThreadPoolExecutor(4) as work:
            jobs = Jobs(store, lambda *_: None, lambda *_: None, work)
            try:
                async with asyncio.timeout(WAIT):
                    await test(Adoptions(store, jobs, threads, work), store)  # type: ignore[misc]  # a coroutine function
            finally:
                await jobs.close(5)

    asyncio.run(main())


async def states(adoptions: Adoptions, folder: Path) -> dict[str, str]:
    return {str(each.found.name): each.state for each in (await adoptions.look(str(folder))).models}


async def drained(steps: AsyncIterator[Progress]) -> list[str]:
    return [each.status async for each in steps]


async def noted(steps: AsyncIterator[Progress], said: list[str]) -> None:
    async for step in steps:
        said += [step.status]


def test_it_goes_on_when_the_caller_leaves_and_is_joined(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)

    async def test(adoptions: Adoptions, store: Store) -> None:
        both = await adoptions.choose(str(folder), (), True)
        first = adoptions.adopt(both)
        assert (await anext(first)).completed == 43
        await first.aclose()
        look = {str(each.found.name): each for each in (await adoptions.look(str(folder))).models}
        assert look["one:Q8_0"].state == "adopting"
        assert look["one:Q8_0"].step == Progress("hashing", None, 100, 43)
        assert look["two:Q8_0"].state == "new"
        # The same again is the same job; one of them alone waits for its turn, and shows where it stands.
        again = adoptions.adopt(both)
        assert (await anext(again)).completed == 43
        alone = adoptions.adopt(await adoptions.choose(str(folder), ("one-Q8_0.gguf",), False))
        assert (await anext(alone)).completed == 43
        held.go.set()
        assert "adopted two:Q8_0" in await drained(again)
        assert "adopted one:Q8_0" in await drained(alone)
        assert not held.cancelled
        assert held.began == ["one:Q8_0", "two:Q8_0"] or sorted(held.began) == ["one:Q8_0", "one:Q8_0", "two:Q8_0"]
        assert await states(adoptions, folder) == {"one:Q8_0": "here", "two:Q8_0": "here"}

    run(tmp_path, test)


def test_detached_it_is_seen_by_a_look(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)

    async def test(adoptions: Adoptions, store: Store) -> None:
        adoptions.start(await adoptions.choose(str(folder), ("two:q8_0",), False))
        watching = adoptions.adopt(await adoptions.choose(str(folder), ("two:Q8_0",), False))
        await anext(watching)
        assert (await states(adoptions, folder))["two:Q8_0"] == "adopting"
        held.go.set()
        await drained(watching)
        assert held.began == ["two:Q8_0"]
        assert [str(each.name) for each in store.list()] == ["two:Q8_0"]

    run(tmp_path, test)


def test_what_has_another_name_here_is_told_and_left(tmp_path: Path) -> None:
    data = tiny_gguf.model().build()
    ollama_model(tmp_path / "theirs", "library/tiny/latest", [("model", data)])

    async def test(adoptions: Adoptions, store: Store) -> None:
        where = str(tmp_path / "theirs")
        [tiny] = await adoptions.choose(where, ("tiny",), False)
        adopt(store, replace(tiny, name=Name.parse("mine")))
        look = await adoptions.look(where)
        assert [(each.state, each.here_as) for each in look.models] == [("here", "mine:latest")]
        assert look.places == (tmp_path / "theirs",)
        assert await adoptions.choose(where, (), True) == ()
        assert await adoptions.choose(where, ("tiny",), False) == (tiny,)  # by name it is had
        # What was made of the same weights isn't the model.
        create(store, "made", parse("FROM mine\nSYSTEM made"))
        store.remove("mine")
        assert [each.state for each in (await adoptions.look(where)).models] == ["new"]

    run(tmp_path, test)


def test_one_that_fails_doesnt_keep_the_others_out(tmp_path: Path, folder: Path) -> None:
    (folder / "bad-Q8_0.gguf").write_bytes(b"GGUF, but not for long")

    async def test(adoptions: Adoptions, store: Store) -> None:
        everything = await adoptions.choose(str(folder), (), True)
        said: list[str] = []
        with pytest.raises(BadSource, match="1 of 3 models were not adopted: bad:Q8_0"):
            await noted(adoptions.adopt(everything), said)
        [left] = [each for each in said if each.startswith("left out bad:Q8_0: ")]
        assert left.count("bad:Q8_0") == 1
        assert await states(adoptions, folder) == {"bad:Q8_0": "new", "one:Q8_0": "here", "two:Q8_0": "here"}
        [bad] = [each for each in (await adoptions.look(str(folder))).models if each.failed]
        assert str(bad.found.name) == "bad:Q8_0"
        with pytest.raises(NotFound, match="three"):
            await adoptions.choose(str(folder), ("three",), False)
        with pytest.raises(BadSource, match="no model there"):
            await adoptions.choose(str(tmp_path / "store" / "manifests"), (), True)

    run(tmp_path, test)
