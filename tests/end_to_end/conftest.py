"""A real daemon with the real demo model, and two more models cut from the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfiles.embedded import demo_gguf
from tests.benchmarks.daemon import Daemon
from tests.fakes.callbacks import Callbacks, watched


@pytest.fixture(scope="session", autouse=True)
def callbacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callbacks]:
    """Every daemon of these tests is watched for callbacks that take too long."""
    with watched(tmp_path_factory.mktemp("callbacks") / "report.jsonl") as watching:
        yield watching


@pytest.fixture(autouse=True)
def no_callback_takes_long(callbacks: Callbacks) -> Iterator[None]:
    """Set up before a test's own daemon, so that it is asked after that one's end."""
    before = len(callbacks.offenders())
    yield
    late = callbacks.offenders()[before:]
    assert not late, "\n".join(late)


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
