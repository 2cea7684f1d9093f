"""Builds the C++ test program of tests/csrc with sanitizers and warnings as errors, and runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-pthread"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


CROSS = "aarch64-linux-gnu-g++"


@pytest.mark.skipif(
    not shutil.which(CROSS) or not shutil.which("qemu-aarch64"), reason=f"no {CROSS} or no qemu-aarch64"
)
def test_core_on_aarch64(tmp_path: Path) -> None:
    """NEON instead of AVX; without sanitizers, which qemu does not run."""
    program = tmp_path / "test_preprocess"
    # The program's own new and delete count allocations; GCC 14 takes them for a mismatch.
    _build(CROSS, ["-static", "-Wno-mismatched-new-delete"], program)
    done = subprocess.run(["qemu-aarch64", str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("ok\n")


def _build(compiler: str, flags: list[str], program: Path) -> None:
    sources = [*sorted((ROOT / "csrc/host").glob("*.cpp")), ROOT / "tests/csrc/test_preprocess.cpp"]
    includes = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}"]
    subprocess.run([compiler, *FLAGS, *flags, *includes, *map(str, sources), "-o", str(program)], check=True)


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_core_under_sanitizers(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this machine")
    probe = tmp_path / "probe.cpp"
    probe.write_text("int main() { return 0; }\n")
    if subprocess.run([compiler, *SANITIZE, str(probe), "-o", str(tmp_path / "probe")], capture_output=True).returncode:
        pytest.skip(f"{compiler} has no sanitizer libraries")

    program = tmp_path / "test_preprocess"
    _build(compiler, SANITIZE, program)

    # Leak detection needs ptrace, which containers often forbid.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([str(program)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("ok\n")
