"""The SDK's CUDA calls, on pycuda and without it, on a driver in the host's memory: tests/csrc/driver/stub.cpp."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STUB = Path(__file__).parents[3] / "csrc" / "driver" / "stub.cpp"


def _headers() -> Path | None:
    """The folder with the driver's headers: of the CUDA toolkit or of NVIDIA's wheels."""
    folders = [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"]
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folders += sorted(Path(place).glob("*/include"), reverse=True)
    wanted = ("cuda.h", "cudaProfiler.h")
    return next(
        (folder for folder in folders if all((folder / name).is_file() for name in wanted)), None
    )


@pytest.fixture(scope="module")
def headers() -> Path:
    found = _headers()
    if shutil.which("g++") is None or found is None:
        pytest.skip("no g++ or no cuda.h: pip install nvidia-cuda-runtime nvidia-cuda-profiler-api")
    return found


@pytest.fixture(scope="module")
def stub(headers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stub as libcuda.so.1."""
    folder = tmp_path_factory.mktemp("driver")
    command = [
        "g++",
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-shared",
        "-fPIC",
        f"-I{headers}",
        str(STUB),
    ]
    subprocess.run(
        [*command, "-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1")], check=True
    )
    return folder


@pytest.fixture(scope="module")
def pycuda(headers: Path, stub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pycuda, compiled from its source distribution and linked to the stub; takes minutes."""
    folder = tmp_path_factory.mktemp("pycuda")
    download = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "--no-binary",
        "pycuda",
        "pycuda",
    ]
    got = subprocess.run(
        [*download, "--no-build-isolation"], cwd=folder, capture_output=True, text=True, check=False
    )
    if got.returncode != 0:
        pytest.skip(f"no source distribution of pycuda: {got.stderr.strip()[-200:]}")
    shutil.unpack_archive(next(folder.glob("*.tar.gz")), folder, filter="data")
    source = next(path for path in folder.iterdir() if path.is_dir())
    # One compilation for Boost.Python: its headers cost more than its thirty files.
    boost = source / "bpl-subset/bpl_subset/libs/python/src"
    parts = [path.rename(path.with_suffix(".inc")) for path in sorted(boost.rglob("*.cpp"))]
    (boost / "all.cpp").write_text("".join(f'#include "{part}"\n' for part in parts))
    (stub / "libcuda.so").symlink_to("libcuda.so.1")
    options = [
        f"--cuda-inc-dir={headers}",
        f"--cudadrv-lib-dir={stub}",
        "--no-cuda-enable-curand",
        "--cxxflags=-O0,-g0,-w",
    ]
    # The stub lacks calls that pycuda can make: each is looked up when it is made.
    lazy = {**os.environ, "LDFLAGS": "-Wl,-z,lazy"}
    for step in (["configure.py", *options], ["setup.py", "build_ext", "--inplace"]):
        done = subprocess.run(
            [sys.executable, *step],
            cwd=source,
            env=lazy,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return source


def _check(path: str, stub: Path, *folders: Path) -> str:
    """Make every call; the result is what was logged."""
    places = [*map(str, folders), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, str(HERE / "libcuda_check.py"), path],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(stub),
            "PYTHONPATH": os.pathsep.join(filter(None, places)),
        },
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr
    return done.stderr


@pytest.mark.slow
def test_every_call_on_pycuda(stub: Path, pycuda: Path) -> None:
    _check("pycuda", stub, pycuda)


@pytest.mark.slow
def test_every_call_without_pycuda(stub: Path) -> None:
    assert _check("libcuda", stub) == ""


@pytest.mark.slow
def test_a_pycuda_that_cannot_be_imported_is_said(stub: Path, tmp_path: Path) -> None:
    (tmp_path / "pycuda").mkdir()
    (tmp_path / "pycuda" / "__init__.py").touch()
    (tmp_path / "pycuda" / "driver.py").write_text(
        "raise ImportError('undefined symbol: cuCtxCreate_v4')\n"
    )
    assert "undefined symbol: cuCtxCreate_v4" in _check("libcuda", stub, tmp_path)
