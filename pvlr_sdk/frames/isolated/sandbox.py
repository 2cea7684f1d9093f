"""Restricts the calling process for good: its resources, its system calls, and their arguments."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
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
    "read": (0, 63),
    "recvmsg": (47, 212),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "sendto": (44, 206),
    "write": (1, 64),
}
"""Permitted for a decoder once it is loaded: memory, and its open channel. Numbers of x86-64 and AArch64."""
_COMPUTE: dict[str, tuple[int, int | None]] = {
    **_DECODE,
    "arch_prctl": (158, None),  # how a runtime asks for AMX, for itself only
    "clone": (56, 220),
    "clone3": (435, 435),
    "prctl": (157, 167),
    "rseq": (334, 293),
    "sched_getaffinity": (204, 123),
    "sched_setaffinity": (203, 122),
    "set_robust_list": (273, 99),
    "sigaltstack": (131, 132),
}
"""Permitted for a runtime once it is loaded: threads too. None: AArch64 has no such call."""

_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the numbers, and AUDIT_ARCH of linux/audit.h."""
_SECCOMP = (317, 277)
_SET_MODE_FILTER = 1
_ALL_THREADS = 1
_NO_NEW_PRIVILEGES = 38
_PARENT_DEATH_SIGNAL = 1
_LOAD = 0x20
_AND = 0x54
_IF_EQUAL = 0x15
_RETURN = 0x06
_ALLOW = 0x7FFF0000
_ERROR = 0x00050000
_NUMBER = 0
_ARCHITECTURE = 4
_ARGUMENTS = 16
"""Offsets in struct seccomp_data."""

_Line = tuple[int, int, int, int]
"""Of classic BPF: the operation, how many lines to skip if a test holds and if it fails, and a constant."""
_PERMIT: _Line = _RETURN, 0, 0, _ALLOW
_REFUSE: _Line = _RETURN, 0, 0, _ERROR | errno.EPERM

_Condition = tuple[int, int, tuple[int, ...]]
"""A word of a call's arguments, the bits of it that count, and their permitted values. Argument n consists of words 2n,
which is all that the kernel reads of an ``int``, and 2n + 1."""
_ALL = 0xFFFFFFFF
_OWN = -1
_RULES: dict[str, list[_Condition]] = {
    "arch_prctl": [(0, _ALL, (0x1021, 0x1022, 0x1023))],  # features of the processor, such as AMX
    "clone": [
        (0, _ALL ^ 0x400000, (0x3D0F00,))
    ],  # exactly as pthread_create, with or without a bit that musl adds
    # The clocks of other processes are below zero. From 8 on are clocks that wake the machine.
    **{name: [(0, _ALL ^ 7, (0,))] for name in ("clock_gettime", "clock_nanosleep")},
    # F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC. With F_SETOWN, F_SETFL or F_NOTIFY the kernel sends signals to others.
    "fcntl": [(2, _ALL, (1, 2, 3, 1030))],
    # Wait, wake, requeue. Locks with priority inheritance take the number of a thread, of any process.
    "futex": [(2, _ALL ^ 0x180, (0, 1, 3, 4, 5, 9, 10))],
    "getrandom": [
        (4, 2, (0,))
    ],  # no GRND_RANDOM: before Linux 5.6 it exhausts what all processes share
    # What allocators use. Others mark physical memory as broken, for all processes.
    "madvise": [(4, _ALL, (0, 1, 2, 3, 4, 8, 14, 15, 16, 17, 102, 103))],
    "mmap": [(6, 0x42000, (0,))],  # no MAP_HUGETLB and MAP_LOCKED, which take memory that all share
    "prctl": [(0, _ALL, (15, 16, 0x53564D41))],  # the names of threads and of memory
    **{name: [(0, _ALL, (0, _OWN))] for name in ("sched_getaffinity", "sched_setaffinity")},
    "sendto": [(8, _ALL, (0,)), (9, _ALL, (0,))],  # no address: to the other end of the channel
}
"""Calls whose arguments decide. ``_OWN`` stands for the number of this process."""
_NO_NEW_CODE: dict[str, list[_Condition]] = {"mmap": [(4, 4, (0,))], "mprotect": [(4, 4, (0,))]}
"""A runtime compiles, a decoder does not: no memory with PROT_EXEC."""


def end_with(parent: int) -> None:
    """End this process with SIGKILL as soon as the thread that started it ends, and now if ``parent`` has ended."""
    if ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL) or os.getppid() != parent:
        sys.exit(1)


def restrict(memory_bytes: int, cpu_seconds: int, *, compute: bool = False) -> bool:
    """Restrict this process and all of its threads. It cannot be undone.

    Afterwards the process has at most ``memory_bytes`` more memory and ``cpu_seconds`` of processor time in all, opens
    and changes no files, makes no network connection, affects no other process, and starts none. With ``compute`` it
    can start threads and create code.

    Returns:
        Whether the kernel filters its system calls. Otherwise only the limits of memory, file size, descriptors and
        processor time hold: another operating system or processor, or a kernel without seccomp.
    """
    most = {
        resource.RLIMIT_AS: _address_space() + memory_bytes,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 16,
    }
    for kind, value in most.items():
        allowed = min(value, resource.getrlimit(kind)[1] % 2**64)  # infinity is -1
        resource.setrlimit(kind, (allowed, allowed))
    return _filter_system_calls(compute)


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _filter_system_calls(compute: bool) -> bool:
    machine = platform.machine()
    if not sys.platform.startswith("linux") or machine not in _MACHINES:
        return False
    program = _program(machine, compute)
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(program, len(program))
    loaded = struct.pack("HP", len(program) // 8, ctypes.addressof(code))  # struct sock_fprog
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    return not libc.syscall(_SECCOMP[_MACHINES[machine][0]], _SET_MODE_FILTER, _ALL_THREADS, loaded)


def _program(machine: str, compute: bool) -> bytes:
    """The filter for seccomp(2): calls that are not permitted fail with EPERM."""
    column, architecture = _MACHINES[machine]
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, architecture),
        _REFUSE,
        (_LOAD, 0, 0, _NUMBER),
    ]
    for name, numbers in (_COMPUTE if compute else _DECODE).items():
        if (number := numbers[column]) is not None:
            rule = _rule(_RULES.get(name, []) + ([] if compute else _NO_NEW_CODE.get(name, [])))
            # A filter cannot see the flags of clone3; without it the C library calls clone.
            rule = [(_RETURN, 0, 0, _ERROR | errno.ENOSYS)] if name == "clone3" else rule
            lines += [(_IF_EQUAL, 0, len(rule), number), *rule]
    return b"".join(struct.pack("=HBBI", *line) for line in [*lines, _REFUSE])


def _rule(conditions: list[_Condition]) -> list[_Line]:
    """Permit a call if all conditions hold. A rule ends in a return, as it replaces the number that was loaded."""
    lines: list[_Line] = []
    for word, mask, values in conditions:
        lines += [(_LOAD, 0, 0, _ARGUMENTS + 4 * word), (_AND, 0, 0, mask)]
        for left, value in zip(range(len(values), 0, -1), values, strict=True):
            lines.append((_IF_EQUAL, left, 0, os.getpid() if value == _OWN else value))
        lines.append(_REFUSE)
    return [*lines, _PERMIT]
