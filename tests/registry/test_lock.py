"""The store's lock: one process at a time, and none after a violent death."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from registry.errors import Locked, StoreTooNew
from registry.store import Store
from tests.registry.trees import contents

HOLDER = """
import sys
from pathlib import Path
from registry.store import Store
store = Store.open(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def _holder(root: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_a_second_process_is_told_who_holds_the_store(root: Path) -> None:
    with _holder(root) as process:
        with pytest.raises(Locked) as caught:
            Store.open(root)
        assert caught.value.pid == process.pid
        assert caught.value.host == socket.gethostname()
        assert caught.value.since
        assert str(process.pid) in str(caught.value)
        process.communicate()
    Store.open(root).close()


def test_a_killed_process_leaves_no_lock(root: Path) -> None:
    with _holder(root) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with Store.open(root):
        pass


def test_twice_in_one_process_is_refused_too(root: Path) -> None:
    with Store.open(root):
        with pytest.raises(Locked) as caught:
            Store.open(root)
        assert caught.value.pid == os.getpid()
    Store.open(root).close()


def test_nonsense_in_the_lock_file_is_no_obstacle(root: Path) -> None:
    root.mkdir()
    (root / "lock").write_bytes(b"\xff not json")
    with Store.open(root):
        pass


def test_closing_twice_is_fine(root: Path) -> None:
    store = Store.open(root)
    store.close()
    store.close()


def test_a_store_of_a_later_version_is_not_touched(root: Path) -> None:
    root.mkdir()
    (root / "store.json").write_text('{"format_version": 999}')
    (root / "ingest").mkdir()
    (root / "ingest" / "unknown.part").write_bytes(b"x")
    before = contents(root, ())
    with pytest.raises(StoreTooNew, match="999"):
        Store.open(root)
    assert contents(root, ()) == before
