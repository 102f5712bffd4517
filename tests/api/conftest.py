"""Servers for the API's tests."""

from collections.abc import Iterator

import pytest

from tests.api.serving import Served


@pytest.fixture
def server() -> Iterator[Served]:
    """A server with default settings."""
    with Served() as served:
        yield served
