"""The file of names for shell completion: right after each change, written once for many, and never in the way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.embedded import ensure_demo
from registry.store import Store
from runner.inference.names_file import NamesFile


def test_many_changes_are_one_write_and_the_last_names(tmp_path: Path) -> None:
    due: list[Callable[[], None]] = []
    path = tmp_path / "cache" / "names"
    with Store.open(tmp_path / "models") as store:
        ensure_demo(store)
        NamesFile(store, path, due.append).keep()
        for name in ("b", "a:q4", "hf.co/org/repo:Q4_K_M"):
            store.copy("demo", name)
        store.remove("b")
        store.copy("demo", "a:q4")  # nothing new
        assert len(due) == 1
        assert not path.exists()
        due.pop()()
        assert path.read_text() == "a:q4\ndemo\nhf.co/org/repo:Q4_K_M\n"
        written = path.stat().st_mtime_ns
        store.copy("demo", "c")
        store.remove("c")
        [write] = due
        write()
        assert path.stat().st_mtime_ns == written, "what says the same isn't written again"


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    with Store.open(tmp_path / "models") as store, caplog.at_level(logging.WARNING):
        NamesFile(store, tmp_path / "cache" / "names", lambda write: write()).keep()
        ensure_demo(store)
    assert "shell completion" in caplog.text


def test_an_ending_daemon_writes_no_more(tmp_path: Path) -> None:
    def refuse(write: Callable[[], None]) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    with Store.open(tmp_path / "models") as store:
        NamesFile(store, tmp_path / "names", refuse).keep()
        ensure_demo(store)
        assert store.has("demo")
