"""A fake daemon, and the command line pointed at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_line import CommandLine
from tests.cli.fake_daemon import FakeDaemon


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    running = FakeDaemon().start()
    yield running
    running.stop()


@pytest.fixture
def runner(daemon: FakeDaemon, tmp_path: Path) -> CommandLine:
    return CommandLine(daemon.address, tmp_path)
