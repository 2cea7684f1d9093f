"""Extents of arrays: the C++ test under sanitizers, and the views that the module refuses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import _core

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


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, [3], [2**62]),
        (0, [5], [2**62]),
        (0, [2, 2], [2**62, 2**62]),
        (2**62, [1], [1]),
        (-(2**62), [1], [1]),
        (0, [2], [-(2**63)]),
        (-1, [2], [1]),
        (0, [13], [1]),
    ],
)
def test_a_part_outside_of_its_array_is_refused(offset: int, shape: list[int], strides: list[int]) -> None:
    tensor = _core.Tensor.from_numpy(np.zeros(12, np.float32))
    with pytest.raises(ValueError, match=r"too small|addresses"):
        tensor.part(offset, shape, strides)


def test_a_part_inside_is_another_view() -> None:
    tensor = _core.Tensor.from_numpy(np.zeros(12, np.float32))
    assert tensor.part(11, [3, 4], [-4, -1]).shape == (3, 4)
    assert tensor.part(12, [0], [2**62]).shape == (0,)
