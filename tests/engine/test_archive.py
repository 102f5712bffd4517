"""Files of saved states: what is read back is what was written, or nothing."""

from __future__ import annotations

import os
import queue
import stat
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine.archive import Archive
from runner.engine.clerk import Clerk, Fetched, Filed, Listed, News
from runner.engine.shelf import Saved
from runner.llama.state import Data

TOKENS = array("i", [5, 6, 2**31 - 1, 0])
STATE = np.arange(1000, dtype=np.uint8)


def archive(tmp_path: Path, *, key: str = "model/kind", limit: int = 1 << 20) -> Archive:
    root = tmp_path / "prefixes"
    return Archive(root, root / "model" / "kind", key, limit)


def written(kept: Archive, tokens: array[int] = TOKENS, state: Data = STATE) -> str:
    name = kept.write(tokens, state)
    assert name is not None
    return name


def path_of(tmp_path: Path, name: str) -> Path:
    return tmp_path / "prefixes" / "model" / "kind" / name


def test_what_is_written_is_read_by_the_next(tmp_path: Path) -> None:
    name = written(archive(tmp_path))
    again = archive(tmp_path)
    assert list(again.listed()) == [(name, TOKENS, ())]
    read = again.read(name, TOKENS)
    assert read is not None
    assert np.array_equal(read, STATE)


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = path_of(tmp_path, written(archive(tmp_path)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in list(path.parents)[:3]:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_changed_byte_anywhere_is_a_miss_and_the_file_goes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    tmp_path = tmp_path_factory.mktemp("changed")
    kept = archive(tmp_path)
    path = path_of(tmp_path, written(kept))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert kept.read(path.name, TOKENS) is None
    assert not path.exists()


@pytest.mark.parametrize("size", [0, 1, 11, 12, 50, 150, 500, -1])
def test_a_cut_file_is_a_miss(tmp_path: Path, size: int) -> None:
    kept = archive(tmp_path)
    path = path_of(tmp_path, written(kept))
    os.truncate(path, size if size >= 0 else path.stat().st_size - 1)
    assert list(kept.listed()) == []
    assert kept.read(path.name, TOKENS) is None
    assert not path.exists()


def test_a_longer_file_is_a_miss(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    path = path_of(tmp_path, written(kept))
    with path.open("ab") as file:
        file.write(b"x")
    assert kept.read(path.name, TOKENS) is None


def test_a_head_that_promises_too_much_is_a_miss(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    path = path_of(tmp_path, written(kept))
    path.write_bytes(b"RUNNERKV\xff\xff\xff\xff" + b"\0" * 100)
    assert list(kept.listed()) == []


def test_other_tokens_another_key_or_no_file_are_misses(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    name = written(kept)
    assert kept.read(name, array("i", [1])) is None
    name = written(kept)
    assert list(archive(tmp_path, key="model/other").listed()) == []
    assert archive(tmp_path, key="model/other").read(name, TOKENS) is None
    assert kept.read("none.kv", TOKENS) is None


def test_the_files_used_longest_ago_make_room(tmp_path: Path) -> None:
    kept = archive(tmp_path, limit=5000)
    names = []
    for age in range(4, 0, -1):
        names.append(written(kept, array("i", [age])))
        os.utime(path_of(tmp_path, names[-1]), (1_000_000 - age, 1_000_000 - age))
    assert kept.read(names[0], array("i", [4])) is not None  # used now
    last = written(kept, array("i", [0]))
    assert {name for name, _, _ in kept.listed()} == {names[0], names[2], names[3], last}
    assert sum(path.stat().st_size for path in (tmp_path / "prefixes").rglob("*.kv")) <= 5000


def test_what_is_larger_than_the_limit_is_not_kept_and_costs_nobody_his_place(tmp_path: Path) -> None:
    kept = archive(tmp_path, limit=5000)
    name = written(kept)
    assert kept.write(array("i", [1]), np.zeros(6000, np.uint8)) is None
    assert [kept_name for kept_name, _, _ in kept.listed()] == [name]


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prefixes").write_text("a file where the folder should be")
    assert archive(tmp_path).write(TOKENS, STATE) is None
    assert list(archive(tmp_path).listed()) == []
    assert "could not be written" in capfd.readouterr().err


def test_what_a_dead_worker_left_unfinished_goes(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    written(kept)
    old, new = path_of(tmp_path, "a.kv.1.part"), path_of(tmp_path, "b.kv.2.part")
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (1, 1))
    list(kept.listed())
    assert (old.exists(), new.exists()) == (False, True)


# -- the clerk


def news(inbox: queue.SimpleQueue[News]) -> News:
    return inbox.get(timeout=30)


def test_the_clerk_lists_writes_and_reads(tmp_path: Path) -> None:
    first = written(archive(tmp_path), array("i", [1, 2]))
    inbox: queue.SimpleQueue[News] = queue.SimpleQueue()
    clerk = Clerk(archive(tmp_path), inbox.put)
    listed = news(inbox)
    assert isinstance(listed, Listed)
    assert [(saved.file, saved.tokens, saved.data) for saved in listed.saved] == [(first, array("i", [1, 2]), None)]
    clerk.write(Saved(TOKENS, STATE))
    filed = news(inbox)
    assert isinstance(filed, Filed)
    filed.saved.file, filed.saved.data = filed.file, None
    clerk.read(filed.saved)
    fetched = news(inbox)
    assert isinstance(fetched, Fetched)
    assert fetched.data is not None
    assert np.array_equal(fetched.data, STATE)
    clerk.close(10)


def test_the_clerk_says_so_when_a_file_is_gone(tmp_path: Path) -> None:
    inbox: queue.SimpleQueue[News] = queue.SimpleQueue()
    clerk = Clerk(archive(tmp_path), inbox.put)
    assert news(inbox) == Listed(())
    saved = Saved(TOKENS, None, "gone.kv")
    clerk.read(saved)
    assert news(inbox) == Fetched(saved, None)
    clerk.close(10)


class Broken(Archive):
    """A disk that raises what nobody thought of."""

    def listed(self) -> None:  # type: ignore[override]
        raise ValueError

    def read(self, name: str, tokens: array[int]) -> Data | None:
        raise ValueError

    def write(self, tokens: array[int], data: Data) -> str | None:
        raise ValueError


def test_whatever_happens_the_clerk_answers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    inbox: queue.SimpleQueue[News] = queue.SimpleQueue()
    clerk = Clerk(Broken(tmp_path, tmp_path, "", 1), inbox.put)
    assert news(inbox) == Listed(())
    clerk.write(Saved(TOKENS, STATE))
    saved = Saved(TOKENS, None, "a.kv")
    clerk.read(saved)
    assert news(inbox) == Fetched(saved, None)
    clerk.close(10)
    assert "ValueError" in capfd.readouterr().err


def test_at_the_end_what_was_ordered_is_written(tmp_path: Path) -> None:
    clerk = Clerk(archive(tmp_path), lambda _news: None)
    for token in range(20):
        clerk.write(Saved(array("i", [token]), STATE))
    clerk.close(30)
    assert len(list(archive(tmp_path).listed())) == 20


def test_an_end_without_time_writes_nothing_more(tmp_path: Path) -> None:
    clerk = Clerk(archive(tmp_path), lambda _news: None)
    clerk.close(-1)
    assert list(archive(tmp_path).listed()) == []
