"""The filter before system calls: a short list of those that running a model has no use for answers EPERM.

A list of what is allowed would be tighter and would break with every new libc and driver. These are what an attacker
wants and neither Python, llama.cpp nor a GPU's driver calls.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

_EPERM = 1
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | _EPERM
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _ANSWER = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # bytes into struct seccomp_data
_X32 = 0x40000000  # calls of the other ABI on x86-64 begin there
_UNIX = 1  # AF_UNIX

ARCHITECTURES: Mapping[str, int] = {
    "x86_64": 0xC000003E, "amd64": 0xC000003E, "aarch64": 0xC00000B7, "arm64": 0xC00000B7,
}  # fmt: skip
_DENIED: Mapping[str, tuple[int, int | None]] = {  # numbers on x86-64 and on aarch64
    # Sockets of every family; they would lead around the filter through io_uring.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # Into other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "perf_event_open": (298, 241),
    # Out of the paths that Landlock holds.
    "open_by_handle_at": (304, 265),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    # What most holes in the kernel were reached by.
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # The machine itself, for a worker that runs as root.
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "iopl": (172, None),
    "ioperm": (173, None),
}
_SOCKET = (41, 198)


def program(machine: str, *, local_sockets: bool) -> bytes | None:
    """The filter's code for this kind of machine, None where there is none. With `local_sockets` those stay."""
    architecture = ARCHITECTURES.get(machine)
    if architecture is None:
        return None
    which = 0 if architecture == ARCHITECTURES["x86_64"] else 1
    code = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_IF_EQUAL, architecture, yes=1),
        _step(_ANSWER, _DENY),  # as of a 32-bit program, whose numbers mean something else
        _step(_LOAD, _NUMBER),
    ]
    if which == 0:
        code += [_step(_IF_AT_LEAST, _X32, no=1), _step(_ANSWER, _DENY)]
    for numbers in _DENIED.values():
        number = numbers[which]
        if number is not None:
            code += [_step(_IF_EQUAL, number, no=1), _step(_ANSWER, _DENY)]
    if local_sockets:
        code += [
            _step(_IF_EQUAL, _SOCKET[which], no=3),
            _step(_LOAD, _FIRST_ARGUMENT),
            _step(_IF_EQUAL, _UNIX, yes=1),
            _step(_ANSWER, _DENY),
        ]
    else:
        code += [_step(_IF_EQUAL, _SOCKET[which], no=1), _step(_ANSWER, _DENY)]
    return b"".join([*code, _step(_ANSWER, _ALLOW)])


def _step(what: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """One instruction; `yes` and `no` are how many it jumps over."""
    return struct.pack("=HBBI", what, yes, no, value)
