"""The numbers of system calls, compared with those of libseccomp, for both processors."""

from __future__ import annotations

import ctypes
import ctypes.util

import pytest

from pvlr_sdk.frames.isolated import sandbox


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_the_numbers_are_those_of_the_kernel(machine: str, column: int) -> None:
    name = ctypes.util.find_library("seccomp")
    if name is None:
        pytest.skip("libseccomp is not installed")
    library = ctypes.CDLL(name)
    numbers = {name: pair[column] for name, pair in {**sandbox._NUMBERS, **sandbox._COMPUTE_NUMBERS}.items()}
    numbers |= {"openat": sandbox._OPENAT[column], "clone": sandbox._CLONE[column], "clone3": sandbox._CLONE3[column]}
    numbers["seccomp"] = sandbox._SECCOMP[column]
    if machine == "x86_64":
        numbers |= sandbox._X86_64_ONLY
    architecture = ctypes.c_uint32(sandbox._MACHINES[machine][1])
    for name, number in numbers.items():
        assert library.seccomp_syscall_resolve_name_arch(architecture, name.encode()) == number, name
