"""Restricts the calling process for good: its memory, its files, and the system calls that it may make."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import sys

_DECODE: dict[str, tuple[int, int]] = {
    "brk": (12, 214),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "close": (3, 57),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "fcntl": (72, 25),
    "fstat": (5, 80),
    "futex": (202, 98),
    "getcpu": (309, 168),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "gettid": (186, 178),
    "gettimeofday": (96, 169),
    "lseek": (8, 62),
    "madvise": (28, 233),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "newfstatat": (262, 79),
    "read": (0, 63),
    "recvmsg": (47, 212),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "sendto": (44, 206),
    "setitimer": (38, 103),
    "write": (1, 64),
}
"""Permitted for a decoder once it is loaded: memory, and its open channel. Numbers of x86-64 and AArch64."""
_COMPUTE: dict[str, tuple[int, int | None]] = {
    **_DECODE,
    "access": (21, None),
    "arch_prctl": (158, None),  # how a runtime asks for AMX, for itself only
    "clock_getres": (229, 114),
    "clone": (56, 220),
    "clone3": (435, 435),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "fstatfs": (138, 44),
    "get_mempolicy": (239, 236),
    "getcwd": (79, 17),
    "getdents64": (217, 61),
    "getegid": (108, 177),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getrusage": (98, 165),
    "getuid": (102, 174),
    "lstat": (6, None),
    "membarrier": (324, 283),
    "openat": (257, 56),
    "prctl": (157, 167),
    "pread64": (17, 67),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "rseq": (334, 293),
    "sched_getaffinity": (204, 123),
    "sched_setaffinity": (203, 122),
    "set_robust_list": (273, 99),
    "sigaltstack": (131, 132),
    "stat": (4, None),
    "statfs": (137, 43),
    "statx": (332, 291),
    "sysinfo": (99, 179),
    "uname": (63, 160),
}
"""Permitted for a runtime: threads, and files that it opens for reading. None: AArch64 has no such call."""

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the numbers, and AUDIT_ARCH of linux/audit.h."""
_SECCOMP = (317, 277)
_SET_MODE_FILTER, _ALL_THREADS, _NO_NEW_PRIVILEGES = 1, 1, 38
_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CLONE_THREAD = 0x10000

_Line = tuple[int, int, int, int]
"""Of classic BPF: the operation, how many lines to skip if a test holds and if it fails, and a constant."""
_PERMIT: _Line = _RETURN, 0, 0, _ALLOW
_REFUSE: _Line = _RETURN, 0, 0, _ERROR | errno.EPERM
_RULES: dict[str, list[_Line]] = {
    "openat": [(_LOAD, 0, 0, _ARGUMENTS + 16), (_IF_ANY_BIT, 0, 1, _WRITING), _REFUSE, _PERMIT],
    "clone": [(_LOAD, 0, 0, _ARGUMENTS), (_IF_ANY_BIT, 1, 0, _CLONE_THREAD), _REFUSE, _PERMIT],
    # A filter cannot see the flags of clone3; without it the C library calls clone.
    "clone3": [(_RETURN, 0, 0, _ERROR | errno.ENOSYS)],
}
"""Calls whose arguments decide. A rule ends in a return; it loads the low four of an argument's eight bytes."""


def restrict(memory_bytes: int, *, compute: bool = False, cpu_seconds: int | None = None) -> bool:
    """Restrict this process and all of its threads. It cannot be undone.

    Afterwards the process has at most ``memory_bytes`` more memory, creates, changes and opens no files, makes no
    network connection, and starts no process and no program. With ``compute`` it can open files for reading and start
    threads.

    Returns:
        Whether the kernel filters its system calls. Otherwise only the limits of memory, file size, descriptors and
        processor time hold: another operating system or processor, or a kernel without seccomp.
    """
    most = {
        resource.RLIMIT_AS: _address_space() + memory_bytes,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 256 if compute else 16,
    }
    if cpu_seconds is not None:
        most[resource.RLIMIT_CPU] = cpu_seconds
    for kind, value in most.items():
        hard = resource.getrlimit(kind)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (allowed, allowed))
    return _filter_system_calls(compute)


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _filter_system_calls(compute: bool) -> bool:
    machine = platform.machine()
    if not sys.platform.startswith("linux") or machine not in _MACHINES:
        return False
    column, _ = _MACHINES[machine]
    program = _program(machine, compute)
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program, len(program))

    class _Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    loaded = _Program(len(program) // 8, ctypes.addressof(code))
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    return not libc.syscall(_SECCOMP[column], _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(loaded))


def _program(machine: str, compute: bool) -> bytes:
    """The filter for seccomp(2): calls that are not permitted fail with EPERM."""
    column, architecture = _MACHINES[machine]
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_IF_EQUAL, 1, 0, architecture), _REFUSE, (_LOAD, 0, 0, _NUMBER)]
    for name, numbers in (_COMPUTE if compute else _DECODE).items():
        if (number := numbers[column]) is not None:
            rule = _RULES.get(name, [_PERMIT])
            lines += [(_IF_EQUAL, 0, len(rule), number), *rule]
    return b"".join(struct.pack("=HBBI", *line) for line in [*lines, _REFUSE])
