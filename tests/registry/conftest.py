"""Stores, hubs and sound files for the registry's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.origins import Reach
from registry.pull import PullSettings
from registry.store import Store
from tests.hub import Hub, running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The store's folder; it doesn't exist yet."""
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    """An open, empty store."""
    with Store.open(root) as opened:
        yield opened


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A running hub with no repositories yet."""
    with running(Hub()) as served:
        yield served


@pytest.fixture
def settings(hub: Hub, tmp_path: Path) -> PullSettings:
    """Pull from that hub, with a cache of its own and no waiting."""
    reach = Reach(hf_endpoint=hub.endpoint, hub_cache=tmp_path / "hub", timeout=5.0)
    return PullSettings(reach=reach, waits=(0.0,) * 5)
