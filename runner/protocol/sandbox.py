"""How a process that runs native code shuts itself in, and what then holds. Knows neither kernel nor model."""

from __future__ import annotations

from typing import Literal

import msgspec

Mode = Literal["on", "strict", "off"]
What = Literal["files", "programs", "network", "sockets", "processes", "system", "limits"]


class Sandbox(msgspec.Struct, frozen=True):
    """What a worker is told of its shell. `readable` are files and folders beside those that its load names; `scratch`
    is a folder for what a GPU's driver writes, of no use without one."""

    mode: Mode = "on"  # on: as far as the kernel can; strict: no load where it can't; off: none
    readable: tuple[str, ...] = ()
    scratch: str = ""


class Promise(msgspec.Struct, frozen=True):
    """One thing that the shell is to keep, whether it holds, and if not, why."""

    what: What
    holds: bool
    why: str = ""


WORDS: dict[What, str] = {
    "files": "it reads its model and the system's libraries only, and writes saved prompts only",
    "programs": "it starts no program but Python",
    "network": "it opens no connection",
    "sockets": "it talks to no other program over a local socket",
    "processes": "it neither looks into other processes nor signals them",
    "system": "it asks the kernel for nothing that a model has no use for",
    "limits": "it leaves no core dump, and no file larger than the limit for saved prompts",
}
NEEDED: frozenset[What] = frozenset({"files", "network", "system"})
"""Without these, `strict` refuses to go on."""
