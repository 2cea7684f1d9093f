"""Where CMake builds the CUDA kernels without being asked: with a driver and a complete toolkit."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("cmake") or not shutil.which("nvcc"), reason="no cmake or no nvcc"
    ),
]


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """A file that stands for NVIDIA's driver, which no test machine needs."""
    path = tmp_path / "libcuda.so.1"
    path.touch()
    return path


def builds_kernels(folder: Path, driver: Path | None, **variables: str) -> bool:
    """What CMake decides, from its messages."""
    options = [
        "-DPVLR_PYTHON=OFF",
        "-DPVLR_CUDA_ARCHITECTURES=87",
        f"-DPVLR_CUDA_DRIVER={driver or 'OFF'}",
    ]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("CUDACXX", "PVLR_CUDA")
    }
    command = ["cmake", "-S", str(ROOT), "-B", str(folder / "build"), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**environment, **variables}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return "CUDA kernels for compute capabilities 87" in done.stdout


@pytest.mark.parametrize(
    ("has_driver", "asked", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"PVLR_CUDA": "0"}, False),
        (False, {"PVLR_CUDA": "1"}, True),
    ],
)
def test_a_driver_and_a_toolkit_decide_unless_they_are_asked_for_or_refused(
    tmp_path: Path, driver: Path, has_driver: bool, asked: dict[str, str], expected: bool
) -> None:
    assert builds_kernels(tmp_path, driver if has_driver else None, **asked) == expected


def test_a_compiler_without_the_rest_of_the_toolkit_is_not_enough(
    tmp_path: Path, driver: Path
) -> None:
    """As the package nvidia-cuda-nvcc from PyPI without those that it needs."""
    found = Path(shutil.which("nvcc") or "")
    script = found.read_bytes()[:2] == b"#!"
    real = Path(found.read_text().split()[2]) if script else found.resolve()
    (tmp_path / "cuda/bin").mkdir(parents=True)
    shutil.copy(real, tmp_path / "cuda/bin/nvcc")
    assert not builds_kernels(tmp_path, driver, CUDA_HOME=str(tmp_path / "cuda"))
