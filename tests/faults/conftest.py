"""The counts that fault tests print at the end of a run, and what they share."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.transfer.http import Http
from tests.faults.scenes import World, publish
from tests.faults.sweeping import Sweep
from tests.hub import Hub, running

_TOLD: list[str] = []


@pytest.fixture(scope="session")
def tally() -> Callable[[str], None]:
    """Have a line printed at the end of the run, whatever is captured."""
    return _TOLD.append


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder for thousands of small stores: in memory, where the system has such a place."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="runner-faults-", dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One hub for all."""
    with running(Hub()) as hub, Http() as http:
        publish(hub)
        yield World(hub, http)


@pytest.fixture
def sweep(request: pytest.FixtureRequest, world: World, scratch: Path) -> Iterator[Sweep]:
    """The scene that the test is given, ready to be played."""
    made = Sweep(request.param, world, scratch / "sweep")
    yield made
    made.close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A running hub with no repositories yet."""
    with running(Hub()) as served:
        yield served


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was counted."""
    if _TOLD:
        terminalreporter.section("faults survived")
        for line in _TOLD:
            terminalreporter.write_line(line)
