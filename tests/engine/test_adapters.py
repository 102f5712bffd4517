"""Adapters in memory: which are loaded when, and that none is freed under a context that applies it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.engine import adapters as loading
from runner.engine.adapters import Loaded
from runner.errors import InsufficientMemory, LoadFailed
from runner.protocol.commands import Adapter, Adapters


class Memory:
    """Adapters by address; one that is freed may not be applied, nor freed again. `room` files of 4 bytes fit."""

    def __init__(self, folder: Path, room: int = 1000) -> None:
        self.folder = folder
        self.paths: dict[int, str] = {}
        self.loads: list[str] = []
        self.room = room

    def load(self, path: str) -> int:
        if path.endswith("bad"):
            raise LoadFailed("no adapter")
        self.loads.append(Path(path).name)
        address = min(set(range(1, 99)) - set(self.paths))  # as malloc does, it gives the same ones again
        self.paths[address] = path
        return address

    def free(self, address: int) -> None:
        del self.paths[address]

    def available(self) -> int:
        return 4 * (self.room - len(self.paths))

    def set(self, *names: str) -> Adapters:
        for name in names:
            (self.folder / name).write_bytes(b"lora")
        return tuple(Adapter(str(self.folder / name), 1.0) for name in sorted(names))


class Applied:
    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.adapters: Mapping[int, float] = {}

    def apply_adapters(self, adapters: Mapping[int, float]) -> None:
        assert set(adapters) <= set(self.memory.paths)
        self.adapters = dict(adapters)

    @property
    def names(self) -> set[str]:
        return {Path(self.memory.paths[address]).name for address in self.adapters}


def test_one_is_loaded_when_it_is_needed_and_stays(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    loaded, one, other = Loaded(memory.load, memory.free, memory.available), Applied(memory), Applied(memory)
    loaded.apply(one, ())
    assert memory.loads == []
    loaded.apply(one, memory.set("a"))
    loaded.apply(other, memory.set("a", "b"))
    loaded.apply(one, ())
    loaded.apply(one, memory.set("b"))
    assert memory.loads == ["a", "b"]
    assert (one.names, other.names) == ({"b"}, {"a", "b"})


def test_a_file_that_is_gone_or_bad_is_told_and_harms_nobody(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    loaded, one = Loaded(memory.load, memory.free, memory.available), Applied(memory)
    loaded.apply(one, memory.set("a"))
    for path in (tmp_path / "absent", tmp_path / "bad"):
        if path.name == "bad":
            path.write_bytes(b"GGUF")
        with pytest.raises(LoadFailed):
            loaded.apply(one, (Adapter(str(path)),))
    assert one.names == {"a"}


def test_where_memory_is_short_idle_ones_go_first(tmp_path: Path) -> None:
    memory = Memory(tmp_path, room=2)
    loaded, one = Loaded(memory.load, memory.free, memory.available), Applied(memory)
    for name in ("a", "b", "c"):
        loaded.apply(one, memory.set(name))
    assert {Path(path).name for path in memory.paths.values()} == {"b", "c"}
    with pytest.raises(InsufficientMemory):
        loaded.apply(one, memory.set("a", "b", "c"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.sets(st.sampled_from("abcdef"), max_size=3)), max_size=40))
def test_none_is_freed_under_a_context(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, set[str]]]
) -> None:
    memory = Memory(tmp_path_factory.mktemp("loras"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "MOST", 3)
        loaded = Loaded(memory.load, memory.free, memory.available)
        contexts = [Applied(memory), Applied(memory)]
        for number, names in steps:
            loaded.apply(contexts[number], memory.set(*names))
            assert contexts[number].names == names
            assert all(set(context.adapters) <= set(memory.paths) for context in contexts)
            assert len(memory.paths) <= 3
