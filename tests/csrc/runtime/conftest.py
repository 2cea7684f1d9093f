"""Builds and installs libpvlr, and the test programs as a user builds one: outside of the tree, with find_package."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.csrc.runtime import tensorrt_build
from tests.tensorrt_headers import find_cuda_include, tensorrt_includes

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all"
# Leak detection needs ptrace, which containers often forbid. TBB must not load its parts with RTLD_DEEPBIND.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "TBB_ENABLE_SANITIZERS": "1"}


class Runtime(NamedTuple):
    """Where libpvlr is installed, and where the test programs are built."""

    prefix: Path
    programs: Path
    cmake_folder: Path

    def run(self, program: str, *arguments: object, status: int = 0) -> str:
        """What a test program prints, after checking its exit status."""
        path = self.prefix / "bin" / program if program == "pvlr-tag" else self.programs / program
        command = [path, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=600, check=False)
        assert done.returncode == status, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout if status == 0 else done.stderr


def cmake(*arguments: object) -> None:
    """Run CMake; its output is shown if it fails."""
    done = subprocess.run(["cmake", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def build(folder: Path, flags: str = "", *programs: str, tensorrt: Path | None = None) -> Runtime:
    """Install libpvlr, with TensorRT if there are headers for it, and build test programs, all of them by default."""
    for tool in ("cmake", "c++", "cc"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} on this machine")
    headers = ("nlohmann/json.hpp", "openssl/evp.h", "png.h")
    source = "".join(f"#include <{header}>\n" for header in headers) + "int main() { return 0; }\n"
    probe = ["c++", "-std=c++17", *flags.split(), "-xc++", "-", "-o", str(folder / "probe")]
    if subprocess.run(probe, input=source, text=True, capture_output=True, check=False).returncode:
        pytest.skip("the C++ compiler lacks a header or sanitizers; .ci/run lists the Debian packages")
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("no openvino, whose package has the headers")
    ninja = ["-GNinja"] if shutil.which("ninja") else []
    kind = "Sanitized" if flags else "Release"  # CMake knows the first only by its flags
    common = [*ninja, f"-DCMAKE_BUILD_TYPE={kind}", f"-DCMAKE_CXX_FLAGS={flags}", f"-DCMAKE_C_FLAGS={flags}"]
    prefix = folder / "prefix"
    options = ["-DPVLR_RUNTIME=ON", "-DPVLR_PYTHON=OFF", "-DPVLR_WERROR=ON", f"-DPython3_EXECUTABLE={sys.executable}"]
    options += ["-DPVLR_TENSORRT=OFF"] if tensorrt is None else fakes_once(tensorrt, folder / "fakes")
    cmake("-S", ROOT, "-B", folder / "library", *common, *options, f"-DCMAKE_INSTALL_PREFIX={prefix}")
    cmake("--build", folder / "library")
    cmake("--install", folder / "library")
    cmake("-S", HERE, "-B", folder / "programs", *common, f"-DCMAKE_PREFIX_PATH={prefix}")
    cmake("--build", folder / "programs", *(["--target", *programs] if programs else []))
    return Runtime(prefix, folder / "programs", folder / "library")


def fakes_once(include: Path, folder: Path) -> list[str]:
    """The fakes of TensorRT and CUDA; CMake's options that find them."""
    if folder.exists():
        return []  # CMake knows them
    return tensorrt_build.build_fakes(include, folder)


def build_once(
    factory: pytest.TempPathFactory, name: str, flags: str = "", *programs: str, tensorrt: Path | None = None
) -> Runtime:
    """The same for all workers of pytest-xdist: the others find everything up to date."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build(folder, flags, *programs, tensorrt=tensorrt)


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """libpvlr as it is installed, without TensorRT."""
    return build_once(tmp_path_factory, "libpvlr")


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """libpvlr under AddressSanitizer and UndefinedBehaviorSanitizer, with TensorRT if there are headers for it."""
    flags = f"-O0 -g1 {SANITIZE}"
    includes = tensorrt_includes() if find_cuda_include() else []
    tensorrt = includes[-1] if includes else None
    programs = "bad_input", "many_threads", "open_each", "tag_frames"
    return build_once(tmp_path_factory, "sanitized", flags, *programs, tensorrt=tensorrt)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The plan of a bundle that a test may change."""
    for path in (ROOT / "models/pvlr-lite0-voc20").glob("engine.*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "engine.plan"
