"""What something evil in a worker would try. Each attempt gives "done" or the name of the error that stopped it."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ATTEMPTS: dict[str, Callable[[dict[str, str]], object]] = {
    "read a canary": lambda at: Path(at["canary"]).read_bytes(),
    "list the home": lambda at: os.listdir(at["home"]),
    "read the daemon's environment": lambda _: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "read the daemon's memory": lambda _: os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY),
    "write into the store": lambda at: Path(at["store"], "new").write_bytes(b"x"),
    "change the model": lambda at: os.open(at["model"], os.O_RDWR),
    "cut the model": lambda at: os.truncate(at["model"], 0),
    "remove the model": lambda at: os.unlink(at["model"]),
    "rename the model into the prefixes": lambda at: os.rename(at["model"], Path(at["prefixes"], "stolen")),
    "write elsewhere": lambda at: Path(at["home"], "new").write_bytes(b"x"),
    "make a folder elsewhere": lambda at: os.mkdir(Path(at["home"], "folder")),
    "connect by TCP": lambda at: socket.create_connection(("127.0.0.1", int(at["port"]))),
    "send by UDP": lambda at: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
    "listen": lambda _: socket.create_server(("127.0.0.1", 0)),
    "ask netlink": lambda _: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "connect to a local socket": lambda at: socket.socket(socket.AF_UNIX).connect(at["socket"]),
    "start a shell": lambda _: subprocess.run(["/bin/sh", "-c", "true"], check=True),
    "signal the daemon": lambda _: os.kill(os.getppid(), 0),
    "trace the daemon": lambda _: _call(101 if os.uname().machine == "x86_64" else 117, 16, os.getppid()),
    "set up io_uring": lambda _: _call(425, 1, 0),
    "leave a core dump": lambda _: _limit("RLIMIT_CORE"),
    # These are what a worker is for.
    "read the model": lambda at: Path(at["model"]).read_bytes(),
    "keep a prefix": lambda at: _keep(Path(at["prefixes"])),
    "start Python": lambda _: subprocess.run([sys.executable, "-P", "-c", "import numpy"], check=True, timeout=60),
    "look at the memory": lambda _: Path("/proc/meminfo").read_bytes(),
}
HARMLESS = frozenset({"read the model", "keep a prefix", "start Python", "look at the memory"})


def _call(number: int, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def _limit(name: str) -> None:
    import resource

    resource.setrlimit(getattr(resource, name), (1, 1))


def _keep(folder: Path) -> None:
    made = folder / "model" / "kind"
    made.mkdir(parents=True)
    (made / "aside").write_bytes(b"x")
    (made / "aside").replace(made / "kept")
    (made / "kept").unlink()


def attempt(places: dict[str, str]) -> str:
    """All attempts but those that `places` says to skip, as JSON."""
    found: dict[str, str] = {}
    for name, act in ATTEMPTS.items():
        if name in places.get("skip", "").split(","):
            continue
        try:
            act(places)
        except Exception as error:  # noqa: BLE001 -- whatever stops it is the answer
            found[name] = type(error).__name__
        else:
            found[name] = "done"
    return json.dumps(found)
