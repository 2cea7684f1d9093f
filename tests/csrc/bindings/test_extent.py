"""Extents of arrays: the C++ test under sanitizers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FLAGS = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_arithmetic_under_sanitizers(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this machine")
    program = tmp_path / "test_extent"
    source = Path(__file__).with_name("test_extent.cpp")
    command = [compiler, *FLAGS, *SANITIZE, f"-I{ROOT / 'csrc'}", str(source), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if "libasan" in built.stderr or "libclang_rt" in built.stderr:
        pytest.skip(f"{compiler} has no sanitizer libraries")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
