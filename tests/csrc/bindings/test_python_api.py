"""The Python API for device arrays, end to end: a core whose kernels run under the emulator instead of on a GPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[2] / "csrc"


@pytest.mark.slow
def test_streams_devices_and_workspaces(emulator: Any) -> None:
    """What only a build with CUDA links, on a runtime that records its calls."""
    done = emulator.run(
        emulator.build_alone([CSRC / "bindings/cuda_device.cpp", HERE / "test_cuda_device.cpp"])
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr


@pytest.mark.slow
def test_device_arrays_reach_the_kernels(emulator: Any, tmp_path: Path) -> None:
    if importlib.util.find_spec("pybind11") is None:
        pytest.skip("needs pybind11")
    kernels = [
        path
        for name in sorted(path.parent.name for path in (CSRC / "kernels").glob("*/launcher.cu"))
        for path in emulator.kernel(name)
    ]
    # One compilation for all bindings, as CMake does.
    bindings = tmp_path / "bindings.cpp"
    paths = [
        path
        for path in (CSRC / "bindings").glob("*.cpp")
        if path.stem not in ("cuda_device", "no_cuda")
    ]
    bindings.write_text("".join(f'#include "{path}"\n' for path in sorted(paths)))
    network = CSRC / "host/network/walk.cpp"
    core = emulator.build(
        [*kernels, bindings, network, HERE / "emulated_device.cpp"], kind="module"
    )
    done = subprocess.run(
        [sys.executable, str(HERE / "emulated_api.py"), str(core)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr
