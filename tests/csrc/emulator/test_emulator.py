"""The emulator follows CUDA's specification, and each planted bug ends the program with a message that names it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
BUILDS = [
    ("plain", "g++"),
    ("address", "g++"),
    ("race", "g++"),
    ("race", "clang++"),
    ("turing", "g++"),
    ("plain", "aarch64-linux-gnu-g++"),
]

# What must be caught, by which kind of build, and the words of the report.
BUGS = [
    ("divergent_barrier", "plain", "divergence: this thread is at __syncthreads"),
    ("other_barrier", "plain", "divergence: this thread is at __syncthreads"),
    ("divergent_shuffle", "plain", "divergence: this thread is at __shfl_xor_sync"),
    ("early_exit", "plain", "is at the end"),
    ("shared_bounds", "address", "AddressSanitizer: heap-buffer-overflow"),
    ("global_bounds", "address", "AddressSanitizer: heap-buffer-overflow"),
    ("shared_bounds", "race", "out of bounds: 4 bytes at offset 264 of 264 bytes of shared memory"),
    (
        "uninitialised",
        "race",
        "uninitialised: byte 256 of shared memory is read, but nobody wrote it",
    ),
    ("missing_barrier", "race", "race: byte 4 of shared memory was written by thread 0"),
    ("write_after_read", "race", "race: byte 128 of shared memory was written by thread 31"),
    ("missing_syncwarp", "race", "race: byte 16 of shared memory was read by thread 0"),
    (
        "missing_wait",
        "race",
        "async: byte 0 of shared memory is read while a cp.async to it is under way",
    ),
    ("missing_wait", "plain", "async: the thread ends without having waited"),
    (
        "async_overwrite",
        "race",
        "async: byte 0 of shared memory is written while a cp.async to it is under way",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cxx"), BUILDS)
@pytest.mark.parametrize("program", ["test_intrinsics", "planted_bugs"])
def test_correct_kernels_pass(emulator: Any, program: str, kind: str, cxx: str) -> None:
    done = emulator.run(emulator.build([HERE / f"{program}.cpp"], kind=kind, cxx=cxx))
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("bug", "kind", "words"), BUGS)
def test_planted_bug_is_caught(emulator: Any, bug: str, kind: str, words: str) -> None:
    done = emulator.run(emulator.build([HERE / "planted_bugs.cpp"], kind=kind), bug)
    assert done.returncode not in (0, 2)
    assert words in done.stderr, done.stdout + done.stderr


@pytest.mark.slow
def test_reports_name_the_source_line(emulator: Any) -> None:
    done = emulator.run(
        emulator.build([HERE / "planted_bugs.cpp"], kind="plain"), "divergent_barrier"
    )
    lines = (HERE / "planted_bugs.cpp").read_text().splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "thread < 40" in line)
    assert f"planted_bugs.cpp:{number})" in done.stderr


@pytest.mark.slow
def test_static_shared_memory_is_refused(emulator: Any, tmp_path: Path) -> None:
    """The emulator could not watch it."""

    source = tmp_path / "static_shared.cpp"
    source.write_text(
        '#include "emulator/simt.h"\n__global__ void kernel() { __shared__ float x[4]; }\nint main() {}\n'
    )
    with pytest.raises(subprocess.CalledProcessError):
        emulator.build([source], kind="plain")
