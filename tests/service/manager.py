"""A real systemd user manager for an ordinary user, on a machine whose first process may be anything."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

SCRIPT = Path(__file__).with_name("manager.sh")
ROOT = Path(__file__).parents[2]
USER = 1  # `daemon` on every Linux: it has a name and no rights
_PATIENCE = 30.0  # seconds


def lacking() -> str:
    """Why there can't be one here; empty where it can."""
    if sys.platform != "linux" or not Path("/lib/systemd/systemd").exists() or not shutil.which("setpriv"):
        return "systemd is not installed"
    if os.geteuid() != 0:
        return "a manager of its own takes root: private mounts and a cgroup"
    mount = "mount -t cgroup2 none /sys/fs/cgroup && mkdir /sys/fs/cgroup/runner-try && rmdir /sys/fs/cgroup/runner-try"
    tried = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no cgroup can be made here: {tried.stderr.strip()}" if tried.returncode else ""


class Manager:
    """Started by `with`; commands run as its user, in its view of the machine. `home` is that user's folder in it,
    which goes with it; `seen` is the same from outside."""

    home = Path("/run/home")

    def __init__(self, user: int = USER) -> None:
        self._user = user
        self._name = f"runner-tests-{os.getpid()}-{user}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [
                *("unshare", "--mount", "--propagation", "private", "sh", str(SCRIPT)),
                *(self._name, str(self._user), str(self.home), sys.base_prefix),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _PATIENCE
        while (told := self("systemctl", "--user", "is-system-running").stdout.strip()) not in ("running", "degraded"):
            assert self._process.poll() is None, "the manager has ended"
            assert time.monotonic() < deadline, f"the manager is {told or 'silent'}"
            time.sleep(0.1)
        return self

    @property
    def seen(self) -> Path:
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/root{self.home}")

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGRTMIN + 24)  # exit: ends every unit first
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
        self._process.kill()
        self._process.wait()
        self._clear()

    def __call__(self, *words: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as the manager's user."""
        assert self._process is not None
        told = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": f"/run/user/{self._user}",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            **(environ or {}),
        }
        return subprocess.run(
            [
                *("nsenter", f"--mount=/proc/{self._process.pid}/ns/mnt", "--wd=/"),
                *("setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups"),
                *("env", "-i", *(f"{name}={value}" for name, value in told.items()), *words),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def _clear(self) -> None:
        """Its cgroup, from inside a mount of our own. A process that a test left behind ends with it."""
        top = f"/sys/fs/cgroup/{self._name}"
        script = (
            f"mount -t cgroup2 none /sys/fs/cgroup; echo 1 > {top}/cgroup.kill; "
            f"for try in 1 2 3 4 5 6 7 8 9; do find {top} -depth -type d -exec rmdir {{}} + 2>/dev/null; "
            f"[ -d {top} ] || exit 0; sleep 0.2; done"
        )
        subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script], capture_output=True, check=False
        )
