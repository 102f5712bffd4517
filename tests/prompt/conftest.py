"""What the prompt's tests have in common."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def without_collections() -> Iterator[None]:
    """No garbage collection meanwhile: hypothesis has Python called by it, and an interrupt that comes in there is
    dropped by Python, so that what should be interrupted never ends. The daemon and its workers have no such callbacks.
    """
    gc.disable()
    yield
    gc.enable()
