"""A real daemon with the real demo model, and two more models cut from the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Shared by the tests that only ask; at most two models stay loaded."""
    home = tmp_path_factory.mktemp("daemon")
    with Daemon(home, max_loaded_models=2) as running:
        yield running


@pytest.fixture
def own_daemon(tmp_path: Path) -> Iterator[Daemon]:
    """For tests that stop, crash or fill a daemon: not started yet, settings may still be put into `environment`."""
    running = Daemon(tmp_path / "own")
    yield running
    running.stop()


@pytest.fixture
def second_model(daemon: Daemon) -> str:
    """Another name that wants to be loaded in another way, so that it has a worker of its own."""
    daemon.create(
        "second",
        demo_gguf(),
        'FROM {path}\nPARAMETER num_batch 256\nPARAMETER temperature 0\nSYSTEM "You are Runner."\n',
    )
    return "second"
