"""Landlock: which files a process reaches, by paths that are there when the shell closes, and which TCP ports.

Rights and structs are those of the kernel's `linux/landlock.h`. What this kernel can hold is asked from it.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

from runner.engine.sandbox.kernel import LANDLOCK_ADD, LANDLOCK_CREATE, LANDLOCK_RESTRICT, Kernel

_ASK_VERSION = 1
_BENEATH = 1
_TCP = 0b11  # bind, connect
_SCOPES = 0b11  # abstract sockets, signals
REFER, TRUNCATE, NETWORK, DEVICES, SCOPED = 2, 3, 4, 5, 6
"""Versions of the interface: from which on it knows moving, cutting files, TCP, ioctl, and what stays inside."""


class Right(IntFlag):
    """What may be done with files beneath a path."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15

    READ = READ_FILE | READ_DIR
    WRITE = WRITE_FILE | TRUNCATE
    KEEP = READ | WRITE | MAKE_REG | MAKE_DIR | REMOVE_FILE | REMOVE_DIR | REFER
    DEVICE = READ | WRITE | IOCTL_DEV


_OF_FILES = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE | Right.IOCTL_DEV
_SINCE = ((REFER, Right.REFER), (TRUNCATE, Right.TRUNCATE), (DEVICES, Right.IOCTL_DEV))


@dataclass(frozen=True, slots=True)
class Rule:
    """What is allowed at a path and beneath it."""

    path: Path
    rights: Right


def version(kernel: Kernel) -> int:
    """Which version of the interface this kernel has. Raises OSError where it has none or it is switched off."""
    return kernel.call(LANDLOCK_CREATE, None, 0, _ASK_VERSION)


def restrict(kernel: Kernel, abi: int, rules: Sequence[Rule]) -> None:
    """Allow this thread, and what it starts, nothing but these. Paths that aren't there are passed over.

    Raises OSError. `kernel.no_new_privileges` comes before.
    """
    handled = _handled(abi)
    words = [int(handled)]
    if abi >= NETWORK:
        words.append(_TCP)
    if abi >= SCOPED:
        words.append(_SCOPES)
    described = struct.pack(f"={len(words)}Q", *words)
    ruleset = kernel.call(LANDLOCK_CREATE, ctypes.create_string_buffer(described, len(described)), len(described), 0)
    try:
        for rule in rules:
            _allow(kernel, ruleset, rule, handled)
        kernel.call(LANDLOCK_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _handled(abi: int) -> Right:
    everything = Right((1 << 16) - 1)
    for since, right in _SINCE:
        if abi < since:
            everything &= ~right
    return everything


def _allow(kernel: Kernel, ruleset: int, rule: Rule, handled: Right) -> None:
    try:
        place = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not there: nothing to allow, and opening it later says so in its own words
        return
    try:
        rights = rule.rights & handled
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        packed = struct.pack("=Qi", int(rights), place)
        kernel.call(LANDLOCK_ADD, ruleset, _BENEATH, ctypes.create_string_buffer(packed, len(packed)), 0)
    finally:
        os.close(place)
