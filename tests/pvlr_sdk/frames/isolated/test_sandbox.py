"""What restricted processes can do and what they cannot: every system call, with hostile arguments."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import json
import os
import platform
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.frames.isolated import sandbox
from pvlr_sdk.frames.isolated.process import IsolatedProcess, ProcessFailedError

Attempt = Callable[..., Any]
ROOT = Path(__file__).parents[4]
NUMBERS = [*range(1024), *range(2**30, 2**30 + 1024), 2**31 - 1]
"""All system calls, those of the x32 interface included."""
ENDS = {"exit", "exit_group", "rt_sigreturn"}
"""Permitted calls that end or divert the caller, and only the caller: not tried."""
PROBES = {"x86_64": {"335", "336"}, "aarch64": set()}
"""uretprobe and uprobe, which Linux 6.14 and later permit whatever a filter says. Called by a program itself, the first
ends it with SIGILL and the second fails."""
HARMLESS = {"brk", "close", "getcpu", "getpid", "getrandom", "gettid", "gettimeofday"}
HARMLESS |= {"madvise", "mprotect", "sched_yield"}
HARMLESS |= {"read", "write"}  # /dev/null
HARMLESS_IN_A_RUNTIME = HARMLESS | {"sigaltstack"}
"""What succeeds if all arguments are -1, the number of the parent, beyond 32 bits, or 0. Nothing affects others."""


@pytest.fixture(params=["decoder", "runtime"])
def attempt(request: pytest.FixtureRequest, functions: Any, tmp_path: Path) -> Iterator[Attempt]:
    """Tries an action in a restricted process, in a folder with the file ``old``: its result, or its exception."""
    (tmp_path / "old").write_text("old")
    process = IsolatedProcess(f"functions:as_{request.param}", 2**29)
    process.wait_until_ready()

    def attempt(action: str, *arguments: Any) -> Any:
        process.send(json.dumps([action, str(tmp_path), os.getpid(), *arguments]).encode(), [])
        return json.loads(process.receive(0.5 if action == "forever" else 10))

    yield attempt
    process.close()


def test_actions_that_are_not_permitted(attempt: Attempt, tmp_path: Path) -> None:
    for action in (
        *("connect", "write", "append", "change", "remove", "rename"),
        *("folder", "link", "program", "fork", "kill", "read", "pin"),
    ):
        assert attempt(action) == "PermissionError", action
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "old")]


def test_the_parent_cannot_be_read(attempt: Attempt) -> None:
    for file in ("mem", "environ", "maps", "cmdline", "fd/0", "root/etc/passwd"):
        assert attempt("parent", file) == "PermissionError", file


@pytest.mark.slow
def test_actions_that_only_a_runtime_may_take(
    attempt: Attempt, request: pytest.FixtureRequest
) -> None:
    results = attempt("thread"), attempt("pin itself")
    decoder = "decoder" in request.node.name
    assert results == (("RuntimeError", "PermissionError") if decoder else (None, None))


@pytest.mark.parametrize("libraries", [None, "/opt/lib"])
def test_the_environment_is_empty(
    libraries: str | None, functions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Except for the folders of libraries that the interpreter itself may need."""
    monkeypatch.setenv("PVLR_TOKEN", "secret")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    if libraries:
        monkeypatch.setenv("LD_LIBRARY_PATH", libraries)
    process = IsolatedProcess("functions:as_decoder", 2**29)
    process.wait_until_ready()
    environment = Path(f"/proc/{process._process.pid}/environ").read_bytes()
    process.close()
    assert environment == (f"LD_LIBRARY_PATH={libraries}\0".encode() if libraries else b"")


@pytest.mark.slow
def test_no_other_process_gets_a_signal(attempt: Attempt) -> None:
    """fcntl(2) would let a descriptor send any signal to any process of the user."""
    victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    number, channel = sandbox._COMPUTE["fcntl"][sandbox._MACHINES[platform.machine()][0]], range(16)
    owner, kind, flags, notify = 8, 10, 4, 1026
    attacks = [
        *[(number, one, owner, victim.pid) for one in channel],
        *[(number, one, kind, signal.SIGKILL) for one in channel],
        *[(number, one, flags, os.O_ASYNC | os.O_RDWR) for one in channel],
        *[(number, one, notify, 0x80000001) for one in channel],
    ]
    assert set(attempt("calls", *attacks)) == {errno.EPERM}
    attempt("pin itself")  # messages that would fire it
    attempt("pin itself")
    assert victim.poll() is None
    victim.communicate(b"\n")
    assert victim.returncode == 0


def name_of(number: int, column: int) -> str:
    """The name of a permitted system call, or the number of any other."""
    names = {numbers[column]: name for name, numbers in sandbox._COMPUTE.items()}
    return names.get(number, str(number))


def documented(kind: str) -> set[str]:
    """The system calls that docs/isolation.md lists for a decoder or for a runtime, which has all."""
    page = (ROOT / "docs/isolation.md").read_text()
    rows = re.findall(r"^\| (`[a-z].*) \| (both|isolated load) \|", page, re.MULTILINE)
    rows = [calls for calls, who in rows if kind == "runtime" or who == "both"]
    return set(re.findall(r"`(\w+)`", " ".join(rows)))


@pytest.mark.slow
def test_every_system_call_with_hostile_arguments(
    attempt: Attempt, request: pytest.FixtureRequest
) -> None:
    """What the kernel does not refuse is on the list of the documentation, which says what each call can do."""
    column = sandbox._MACHINES[platform.machine()][0]
    kind = "decoder" if "decoder" in request.node.name else "runtime"
    skipped = ENDS | PROBES[platform.machine()]
    reached, succeeded = set(), set()
    for argument in (2**64 - 1, os.getpid(), 2**31 + 2**62, 0):
        calls = [
            (number, *[argument] * 6)
            for number in NUMBERS
            if name_of(number, column) not in skipped
        ]
        for start in range(0, len(calls), 256):  # a message has a limited length
            part = calls[start : start + 256]
            for (number, *_), error in zip(part, attempt("calls", *part), strict=True):
                reached |= (
                    {name_of(number, column)} if error not in (errno.EPERM, errno.ENOSYS) else set()
                )
                succeeded |= {name_of(number, column)} if not error else set()
    assert reached <= documented(kind)
    assert HARMLESS <= succeeded <= (HARMLESS if kind == "decoder" else HARMLESS_IN_A_RUNTIME)


def verdict(program: bytes, machine: str, number: int, arguments: list[int]) -> int:
    """What the kernel would return: 0 to permit a call, or the number of its error."""
    data = struct.pack("=IIQ6Q", number, sandbox._MACHINES[machine][1], 0, *arguments)
    position = value = 0
    while True:
        code, hit, miss, constant = struct.unpack_from("=HBBI", program, 8 * position)
        position += 1
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, constant)
        elif code == 0x54:
            value &= constant
        elif code == 0x15:
            position += hit if value == constant else miss
        else:
            assert code == 0x06
            return 0 if constant == 0x7FFF0000 else constant & 0xFFFF


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "reason"), [("crash", "crashed"), ("forever", "took more than 0.5 s")]
)
def test_processes_that_do_not_answer(attempt: Attempt, action: str, reason: str) -> None:
    assert attempt("memory") == "MemoryError"
    with pytest.raises(ProcessFailedError, match=reason):
        attempt(action)


PERMITTED = {
    ("arch_prctl", 0): [0x1021, 0x1022, 0x1023],
    ("clock_gettime", 0): [*range(8)],
    ("clock_nanosleep", 0): [*range(8)],
    ("clone", 0): [0x3D0F00, 0x7D0F00],
    ("fcntl", 1): [1, 2, 3, 1030],
    ("futex", 1): sorted(
        one + flags for one in (0, 1, 3, 4, 5, 9, 10) for flags in (0, 128, 256, 384)
    ),
    ("madvise", 2): [0, 1, 2, 3, 4, 8, 14, 15, 16, 17, 102, 103],
    ("prctl", 0): [15, 16, 0x53564D41],
    ("sched_getaffinity", 0): [0, os.getpid()],
    ("sched_setaffinity", 0): [0, os.getpid()],
    ("sendto", 4): [0],
}
"""All permitted values of the arguments that decide, by call and argument."""
VALUES = {*range(2048), *(2**bit for bit in range(32)), *range(2**32 - 64, 2**32)}
VALUES = sorted(VALUES.union(*PERMITTED.values()))


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("kind", ["decoder", "runtime"])
def test_the_filter_of_each_architecture(machine: str, kind: str) -> None:
    """The program that the kernel runs, run here: every number, and every value of an argument that decides."""
    column = sandbox._MACHINES[machine][0]
    program = sandbox._program(machine, kind == "runtime")
    usual = {name: (position, values[0]) for (name, position), values in PERMITTED.items()}

    def permitted(number: int, position: int = 0, value: int = 0) -> bool:
        arguments = [0] * 6
        arguments[position] = value
        return not verdict(program, machine, number, arguments)

    names = {
        name_of(one, column)
        for one in NUMBERS
        if permitted(one, *usual.get(name_of(one, column), ()))
    }
    missing = {name for name, numbers in sandbox._COMPUTE.items() if numbers[column] is None}
    assert names == documented(kind) - missing
    for (name, position), values in PERMITTED.items():
        number = sandbox._COMPUTE[name][column]
        if number is not None and name in names:
            found = [value for value in VALUES if permitted(number, position, value)]
            assert found == sorted(values), name
    memory = {
        name: sandbox._DECODE[name][column] for name in ("mmap", "mprotect", "getrandom", "sendto")
    }
    assert (
        permitted(memory["mmap"], 2, 4)
        == permitted(memory["mprotect"], 2, 4)
        == (kind == "runtime")
    )
    # LOCKED, HUGETLB
    assert [bit for bit in range(32) if not permitted(memory["mmap"], 3, 2**bit)] == [
        13,
        18,
    ]
    # GRND_RANDOM
    assert [bit for bit in range(32) if not permitted(memory["getrandom"], 2, 2**bit)] == [1]
    assert not permitted(memory["sendto"], 4, 2**32)
    other = next(one for one in sandbox._MACHINES if one != machine)
    assert verdict(program, other, memory["mmap"], [0] * 6) == errno.EPERM


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_the_numbers_are_those_of_the_kernel(machine: str, column: int) -> None:
    name = ctypes.util.find_library("seccomp")
    if name is None:
        pytest.skip("libseccomp is not installed")
    library = ctypes.CDLL(name)
    architecture = ctypes.c_uint32(sandbox._MACHINES[machine][1])
    for name, numbers in {**sandbox._COMPUTE, "seccomp": sandbox._SECCOMP}.items():
        number = library.seccomp_syscall_resolve_name_arch(architecture, name.encode())
        # libseccomp numbers calls that a processor does not have below zero.
        assert numbers[column] == (number if number >= 0 else None), name
