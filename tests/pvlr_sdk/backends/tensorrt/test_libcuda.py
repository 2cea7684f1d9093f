"""The SDK's CUDA calls on a driver in the host's memory: tests/csrc/driver/stub.cpp."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STUB = Path(__file__).parents[3] / "csrc" / "driver" / "stub.cpp"
CUDA = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stub as libcuda.so.1."""
    if shutil.which("g++") is None or not (CUDA / "cuda.h").is_file():
        pytest.skip("no g++ or no cuda.h on this machine")
    folder = tmp_path_factory.mktemp("driver")
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-shared", "-fPIC", f"-I{CUDA}", str(STUB)]
    subprocess.run([*command, "-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1")], check=True)
    return folder


def test_every_call(stub: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "libcuda_check.py")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_LIBRARY_PATH": str(stub)},
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr
