"""Builds the C++ programs that test preprocessing and extents of arrays, with sanitizers and warnings as errors."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import CROSS, KINDS, need_sanitizers
from ..library import ROOT

FLAGS = [
    "-std=c++17",
    "-O1",
    "-g",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wshadow",
    "-Werror",
    "-pthread",
]
_, SANITIZE = KINDS["address"]


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which(CROSS) or not shutil.which("qemu-aarch64"),
    reason=f"no {CROSS} or no qemu-aarch64",
)
def test_core_on_aarch64(tmp_path: Path) -> None:
    """NEON instead of AVX; without sanitizers, which qemu does not run."""
    program = tmp_path / "test_preprocess"
    # The program's own new and delete count allocations; GCC 14 takes them for a mismatch.
    _build(CROSS, ["-static", "-Wno-mismatched-new-delete"], program)
    done = subprocess.run(["qemu-aarch64", str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("ok\n")


def _build(compiler: str, flags: list[str], program: Path, csrc: Path = ROOT / "csrc") -> None:
    main = next((ROOT / "tests/csrc").glob(f"*/{program.name}.cpp"))
    sources = [main]
    if main.stem != "test_extent":  # which tests a header
        sources += sorted((csrc / "host/preprocess").glob("*.cpp"))
    includes = [f"-I{csrc}", f"-I{csrc / 'include'}", f"-I{main.parent}"]
    subprocess.run(
        [compiler, *FLAGS, *flags, *includes, *map(str, sources), "-o", str(program)], check=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("name", ["test_preprocess", "test_extent"])
def test_core_under_sanitizers(name: str, compiler: str, tmp_path: Path) -> None:
    need_sanitizers(compiler, tmp_path)
    program = tmp_path / name
    _build(compiler, SANITIZE, program)

    # Leak detection needs ptrace, which containers often forbid.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([str(program)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("ok\n")


@pytest.mark.slow
def test_fuzzing_frames_finds_no_crash(run_fuzzer: Callable[..., str], tmp_path: Path) -> None:
    need_sanitizers("g++", tmp_path)
    program = tmp_path / "fuzz_preprocess"
    _build("g++", SANITIZE, program)
    assert "DONE" in run_fuzzer(
        program, "-runs=100000", "-max_total_time=10", ASAN_OPTIONS="detect_leaks=0"
    )


@pytest.mark.slow
def test_fuzzing_frames_finds_a_planted_bug_within_a_minute(
    run_fuzzer: Callable[..., str], tmp_path: Path
) -> None:
    """Crops that begin inside a frame and end outside are accepted."""
    need_sanitizers("g++", tmp_path)
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    check = tmp_path / "csrc/host/preprocess/check.cpp"
    whole = check.read_text()
    check.write_text(whole.replace("r.width <= width - r.left", "r.width <= width"))
    assert check.read_text() != whole
    program = tmp_path / "fuzz_preprocess"
    _build("g++", SANITIZE, program, tmp_path / "csrc")
    with pytest.raises(AssertionError, match="AddressSanitizer"):
        run_fuzzer(
            program, "-max_total_time=60", ASAN_OPTIONS="detect_leaks=0", PVLR_PLANTED_BUG="1"
        )
