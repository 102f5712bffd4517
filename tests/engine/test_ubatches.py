"""How many passes a batch takes: worked out here, and as llama.cpp's own log tells it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

import llama_cpp.llama_cpp as lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelfiles.embedded import demo_gguf
from runner.engine import ubatches
from runner.llama import library
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.protocol.options import LoadOptions

SEQUENCES, MOST = 6, 16
Decode = Callable[[list[tuple[int, int]]], int]


@pytest.mark.parametrize(("rows", "passes"), [(0, 0), (1, 1), (16, 1), (17, 2), (33, 3)])
def test_a_pool_is_cut_where_a_pass_is_full(rows: int, passes: int) -> None:
    assert ubatches.pooled(rows, 16) == passes


@pytest.mark.parametrize(
    ("rows", "passes"),
    [
        ([], 0),
        ([(0, 1), (1, 1), (2, 1)], 1),
        ([(3, 1), (4, 1), (5, 1)], 1),
        ([(0, 1), (2, 1)], 2),  # a gap
        ([(0, 1), (1, 1), (3, 1), (5, 1)], 3),
        ([(1, 1), (0, 1)], 2),  # not in order
        ([(0, 1), (1, 7)], 2),  # the same number of each
        ([(0, 5), (1, 5), (2, 5)], 1),
        ([(0, 5), (1, 6), (2, 7)], 3),
        ([(0, 17)], 2),
        ([(0, 9), (1, 9)], 2),
    ],
)
def test_a_split_cache(rows: list[tuple[int, int]], passes: int) -> None:
    assert ubatches.split(rows, 16) == passes


@pytest.fixture(scope="module")
def decode() -> Iterator[Decode]:
    """Decode rows in a split context; how many passes llama.cpp said it made of them."""
    library.start()  # before its log goes elsewhere
    model = Model([str(demo_gguf())], LoadOptions(num_ctx=8, num_parallel=1), library.start())
    lines: list[str] = []
    listener = lib.llama_log_callback(lambda _level, text, _data: lines.append(text.decode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLAMA_BATCH_DEBUG", "1")
        context = Context(
            model, LoadOptions(num_ctx=256, num_parallel=SEQUENCES), library.start(),
            cells=256 * SEQUENCES, sequences=SEQUENCES, batch=64, split=True,
        )  # fmt: skip
    batch = Batch(64)

    def passes(rows: list[tuple[int, int]]) -> int:
        context.clear()
        batch.clear()
        for seq, count in rows:
            batch.add(seq, 0, [7] * count, outputs=1)
        lines.clear()
        assert context.decode(batch) is Outcome.DONE
        return "".join(lines).count("added ubatch to split")

    lib.llama_log_set(listener, ctypes.c_void_p(0))
    yield passes
    lib.llama_log_set(library.start().callback, ctypes.c_void_p(0))
    context.close()
    model.close()


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, SEQUENCES - 1), st.integers(1, 20), min_size=1))
def test_the_count_is_llama_cpps(decode: Decode, counts: dict[int, int]) -> None:
    rows = sorted(counts.items())
    if sum(counts.values()) > 64:
        rows = [(seq, 1 + count // 2) for seq, count in rows]
    assert ubatches.split(rows, 64) == decode(rows)
