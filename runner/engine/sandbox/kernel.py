"""The few calls to the Linux kernel that have no face in Python. Knows numbers, and not what they are for."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

MACHINE = platform.machine().lower()
# landlock_* have the same numbers everywhere.
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
_SECCOMP = {"x86_64": 317, "amd64": 317, "aarch64": 277, "arm64": 277}
_CAPABILITIES = {"x86_64": (125, 126), "amd64": (125, 126), "aarch64": (90, 91), "arm64": (90, 91)}  # get, set
_CAPABILITY_VERSION = 0x20080522
_FILTER, _ALL_THREADS = 1, 1
_NO_NEW_PRIVILEGES = 38


class Kernel:
    """System calls by number. Each raises OSError, also for one that this kernel hasn't got."""

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise OSError("only Linux has it")
        self._libc = ctypes.CDLL(None, use_errno=True)

    def call(self, number: int, *arguments: object) -> int:
        """A system call."""
        words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
        result = int(self._libc.syscall(ctypes.c_long(number), *words))
        return self._checked(result)

    def no_new_privileges(self) -> None:
        """From here on nothing that is executed gains any, which the rest asks for."""
        words = (ctypes.c_ulong(each) for each in (1, 0, 0, 0))
        self._checked(int(self._libc.prctl(_NO_NEW_PRIVILEGES, *words)))

    def keep_capabilities(self, kept: int) -> None:
        """Give up what root may beyond others, apart from these bits. Nothing changes for anybody else."""
        numbers = _CAPABILITIES.get(MACHINE)
        if numbers is None:
            raise OSError(f"capabilities are not known for {MACHINE}")
        header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
        sets = ctypes.create_string_buffer(24)  # effective, permitted, inheritable; the low words, then the high ones
        self.call(numbers[0], ctypes.create_string_buffer(header, 8), sets)
        low, high = kept & 0xFFFFFFFF, kept >> 32
        held = struct.unpack("=6I", sets.raw)
        wanted = struct.pack("=6I", held[0] & low, held[1] & low, 0, held[3] & high, held[4] & high, 0)
        self.call(numbers[1], ctypes.create_string_buffer(header, 8), ctypes.create_string_buffer(wanted, 24))

    def install(self, program: bytes) -> None:
        """Put a filter before every system call of every thread."""
        number = _SECCOMP.get(MACHINE)
        if number is None:
            raise OSError(f"there is no filter for {MACHINE}")
        held = ctypes.create_string_buffer(program, len(program))
        described = _Program(len(program) // 8, ctypes.cast(held, ctypes.c_void_p))
        if stray := self.call(number, _FILTER, _ALL_THREADS, ctypes.byref(described)):
            raise OSError(f"thread {stray} has a filter of its own")

    def _checked(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))
