"""States of sequences, moved between contexts of the demo model: unified pools and split streams."""

from __future__ import annotations

from collections.abc import Iterator

import llama_cpp.llama_cpp as lib
import numpy as np
import pytest

from modelfiles.embedded import demo_gguf
from runner.llama import library
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.cores import Cores
from runner.llama.model import Model
from runner.llama.state import States, rewrapped
from runner.protocol.options import LoadOptions

OPTIONS = LoadOptions(num_ctx=256, num_parallel=4)
PROMPT, NEXT = list(range(300, 350)), 7


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = Model([str(demo_gguf())], OPTIONS, library.start())
    yield model
    model.close()


@pytest.fixture
def unified(model: Model) -> Iterator[Context]:
    context = Context(model, OPTIONS, library.start(), cells=1024, sequences=4, batch=256)
    yield context
    context.close()


@pytest.fixture
def split(model: Model) -> Iterator[Context]:
    """The same with a stream of cells for each sequence."""
    context = Context(model, OPTIONS, library.start(), cells=1024, sequences=4, batch=256, split=True)
    yield context
    context.close()


def decode(context: Context, seq: int, start: int, tokens: list[int]) -> np.ndarray:  # type: ignore[type-arg]
    batch = Batch(256)
    batch.add(seq, start, tokens, outputs=1)
    assert context.decode(batch) is Outcome.DONE
    return context.logits(1)[0].copy()


def test_a_context_computes_with_its_part_of_the_cores(model: Model) -> None:
    cores = Cores(OPTIONS)
    context = Context(model, OPTIONS, library.start(), cells=256, sequences=1, batch=256, cores=cores)
    try:
        for cores.now in (2, 1, 2):
            decode(context, 0, 0, PROMPT)
            assert (lib.llama_n_threads(context.handle), lib.llama_n_threads_batch(context.handle)) == (cores.now,) * 2
            context.clear()
    finally:
        context.close()


def test_a_restored_sequence_goes_on_as_the_saved_one(unified: Context) -> None:
    states = States(unified, cuttable=True)
    decode(unified, 1, 0, PROMPT)
    saved = states.save(1)
    assert saved is not None
    expected = decode(unified, 1, len(PROMPT), [NEXT])
    assert states.restore(3, saved)
    assert np.array_equal(decode(unified, 3, len(PROMPT), [NEXT]), expected)


def test_it_can_be_cut(unified: Context) -> None:
    states = States(unified, cuttable=True)
    decode(unified, 0, 0, [*PROMPT, *range(900, 950)])
    saved = states.save(0)
    assert saved is not None
    assert states.restore(2, saved)
    assert unified.forget(2, len(PROMPT))
    decode(unified, 1, 0, PROMPT)
    expected = decode(unified, 1, len(PROMPT), [NEXT])
    assert np.abs(decode(unified, 2, len(PROMPT), [NEXT]) - expected).max() < 0.2


def test_a_state_moves_between_layouts_and_back(unified: Context, split: Context) -> None:
    decode(unified, 0, 0, PROMPT)
    saved = States(unified, cuttable=True).save(0)
    assert saved is not None
    expected = decode(unified, 0, len(PROMPT), [NEXT])
    assert States(split, cuttable=True).restore(2, saved)
    moved = States(split, cuttable=True).save(2)
    assert moved is not None
    assert np.allclose(decode(split, 2, len(PROMPT), [NEXT]), expected, atol=0.2)
    assert States(unified, cuttable=True).restore(3, moved)
    assert np.array_equal(decode(unified, 3, len(PROMPT), [NEXT]), expected)
    for state in (saved, moved):
        assert np.array_equal(rewrapped(rewrapped(state, 9), 1), rewrapped(state, 1))


def test_a_state_of_another_layout_is_refused_and_leaves_nothing(unified: Context, split: Context) -> None:
    decode(unified, 0, 0, PROMPT)
    saved = States(unified, cuttable=True).save(0)
    assert saved is not None
    decode(split, 1, 0, PROMPT)
    assert not States(split, cuttable=False).restore(1, saved)
    decode(split, 1, 0, PROMPT)  # from the beginning: llama.cpp would refuse it otherwise


def test_without_room_it_is_refused_and_leaves_nothing(model: Model, unified: Context) -> None:
    decode(unified, 0, 0, PROMPT)
    decode(unified, 0, len(PROMPT), list(range(250)))
    saved = States(unified, cuttable=True).save(0)
    assert saved is not None
    small = Context(model, OPTIONS, library.start(), cells=256, sequences=2, batch=256)
    assert not States(small, cuttable=True).restore(1, saved)
    decode(small, 1, 0, PROMPT)
    small.close()
