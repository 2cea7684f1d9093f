"""Builds kernel sources with the thread emulator: finds CUDA's headers and sets the flags of each kind of build."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.kernel_report import find_tool, write_instances
from pvlr_sdk.bundle.bundle import labels_path, manifest_path
from pvlr_sdk.workshop.compile.build import build
from tests.shared import shared_folder
from tests.tensorrt_headers import cuda_folders

from .library import cmake, gstreamer_missing, install

ROOT = Path(__file__).resolve().parents[2]
# Host compilers do not know #pragma unroll.
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wno-unknown-pragmas", "-Werror"]
CROSS = "aarch64-linux-gnu-g++"
# Of debug information, reports need the lines alone; the rest takes a fifth of the time to compile.
BASE = ["-std=c++17", "-O1", "-g1", "-fno-strict-aliasing", *WARNINGS]

# Flags of the sources under test, and flags of all files. The race check links with the emulator's own hooks, so the
# linker must not see -fsanitize=thread. "turing" emulates compute capability 7.5 (no cp.async, m16n8k16 or bfloat16),
# the others 8.0.
KINDS: dict[str, tuple[list[str], list[str]]] = {
    "plain": ([], []),
    "turing": (["-fsanitize=thread"], []),
    # -Og: the checks of undefined behaviour take most of the time to compile, less where little is optimised.
    "address": ([], ["-Og", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]),
    "race": (["-fsanitize=thread"], []),
    "module": ([], ["-fPIC", "-fvisibility=hidden", "-ffp-contract=fast", "-g0"]),  # for Python
}


@functools.cache
def cuda_include() -> tuple[Path, ...]:
    """The folders with CUDA's headers; empty if some are missing."""
    folders = cuda_folders()
    wanted = ("cuda_fp16.h", "cuda_bf16.h", "vector_types.h", "nv/target")
    whole = [folder for folder in folders if all((folder / name).is_file() for name in wanted)]
    if whole:
        return (whole[0],)
    # nvidia-cuda-runtime and nvidia-cuda-cccl of CUDA 12 have folders of their own.
    parts = [next((f for f in folders if (f / name).is_file()), None) for name in wanted]
    return tuple(dict.fromkeys(f for f in parts if f)) if all(parts) else ()


def compiler(name: str) -> list[str]:
    """The compiler's command; skips the test if it or CUDA's headers are missing."""
    if shutil.which(name) is None:
        pytest.skip(f"no {name} on this machine")
    if not cuda_include():
        pytest.skip(
            "no CUDA headers: set CUDA_HOME, or pip install nvidia-cuda-runtime nvidia-cuda-cccl"
        )
    return [name, *(f"-isystem{folder}" for folder in cuda_include())]


def python_flags() -> list[str]:
    """Where the headers of Python and pybind11 are."""
    import pybind11

    return [
        f"-isystem{folder}" for folder in (pybind11.get_include(), sysconfig.get_path("include"))
    ]


class Emulator:
    """Builds programs from kernel sources and runs them; each source is compiled once a kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._built: dict[object, Path] = {}
        self._objects: dict[object, Path] = {}
        self._kernels: dict[str, list[Path]] = {}

    def kernel(self, name: str) -> list[Path]:
        """The sources of a kernel: launcher, instances as CMake generates them, and the CPU version with its checks."""
        if name not in self._kernels:
            device = [
                ROOT / f"csrc/kernels/{name}/launcher.cu",
                *write_instances(name, self.folder),
            ]
            self._kernels[name] = device + sorted((ROOT / "csrc/host" / name).glob("*.cpp"))
        return self._kernels[name]

    def build(
        self, sources: list[Path], *, kind: str, cxx: str = "g++", csrc: Path = ROOT / "csrc"
    ) -> Path:
        """The program of ``sources`` and the emulator, in one of :data:`KINDS`; headers are from ``csrc``."""
        key = (tuple(sources), kind, cxx, csrc)
        if key not in self._built:
            self._built[key] = self._compile(sources, kind, cxx, csrc)
        return self._built[key]

    def _compile(self, sources: list[Path], kind: str, cxx: str, csrc: Path) -> Path:
        own, common = KINDS[kind]
        folder = self.folder / f"{kind}-{cxx}"
        folder.mkdir(exist_ok=True)
        capability = 75 if kind == "turing" else 80
        command = [*compiler(cxx), *BASE, f"-DPVLR_SIMT={capability}", *common]
        if kind == "module":
            command += python_flags()
        if kind == "address":
            need_sanitizers(cxx, folder)
        # The emulator itself is the same beside a changed copy of the kernels.
        jobs = [
            (source, [], ROOT / "csrc")
            for source in sorted((ROOT / "tests/emulator").glob("*.cpp"))
        ]
        jobs += [(source, own, csrc) for source in sources]
        missing, objects = [], []
        for source, extra, headers in jobs:
            key = (source, kind, cxx, headers)
            if key not in self._objects:
                self._objects[key] = folder / f"{source.name}-{len(self._objects)}.o"
                folders = [f"-I{headers}", f"-I{headers / 'include'}", f"-I{ROOT / 'tests'}"]
                missing.append(
                    [
                        *command,
                        *extra,
                        *folders,
                        "-xc++",
                        "-c",
                        str(source),
                        "-o",
                        str(self._objects[key]),
                    ]
                )
            objects.append(str(self._objects[key]))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(functools.partial(subprocess.run, check=True), missing))
        program = folder / f"{sources[-1].stem}-{len(self._built)}"
        link = ["-static"] if cxx == CROSS else ["-shared"] if kind == "module" else []
        subprocess.run([cxx, *common, *link, *objects, "-o", str(program)], check=True)
        return program

    def for_all(
        self, check: Callable[[Any, Path], None], cases: Iterable[Any], folder: Path
    ) -> None:
        """Calls check(case, a folder of its own) for each case, several at a time."""

        def one(numbered: tuple[int, Any]) -> None:
            own = folder / str(numbered[0])
            own.mkdir(parents=True)
            check(numbered[1], own)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, enumerate(cases)))

    def build_alone(self, sources: list[Path]) -> Path:
        """A program without the emulator, with sanitizers."""
        _, sanitize = KINDS["address"]
        need_sanitizers("g++", self.folder)
        program = self.folder / sources[-1].stem
        folders = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}"]
        command = [
            *compiler("g++"),
            *BASE,
            *sanitize,
            *folders,
            *map(str, sources),
            "-o",
            str(program),
        ]
        subprocess.run(command, check=True)
        return program

    def run(self, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a program that ``build`` made; those for AArch64 under qemu."""
        command = [str(program), *arguments]
        if program.parent.name.endswith(CROSS):
            if shutil.which("qemu-aarch64") is None:
                pytest.skip("no qemu-aarch64 on this machine")
            command.insert(0, "qemu-aarch64")
        # Leak detection needs ptrace, which containers often forbid.
        environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)


def need_sanitizers(cxx: str, folder: Path) -> None:
    """Skip the test without the compiler, or if it has no sanitizers."""
    if shutil.which(cxx) is None:
        pytest.skip(f"no {cxx} on this machine")
    probe = folder / "probe.cpp"
    probe.write_text("int main() { return 0; }\n")
    command = [cxx, *KINDS["address"][1], str(probe), "-o", str(folder / "probe")]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"{cxx} has no sanitizer libraries")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Emulator:
    return Emulator(tmp_path_factory.mktemp("simt"))


@pytest.fixture(scope="session")
def libpvlr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix where libpvlr is installed, with the GStreamer element where this machine has what it needs."""
    with shared_folder(tmp_path_factory, "libpvlr") as folder:
        return install(folder, gstreamer=gstreamer_missing() is None)


@pytest.fixture(scope="session")
def closed_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plan of a shipped model with its labels as a part of it; one for all workers."""
    pytest.importorskip("onnx", reason="closes a network")
    shipped = ROOT / "models/pvlr-lite0-open/engine.plan"
    with shared_folder(tmp_path_factory, "closed-plan") as folder:
        path = folder / "bundle" / "engine.plan"
        if not manifest_path(path).exists():
            build(shipped, path, bank=labels_path(shipped))
    return path


@pytest.fixture(scope="session")
def cuda_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where CMake has built everything with nvcc for sm_87, the kernels also as PTX, with warnings as errors."""
    nvcc = find_tool("nvcc")
    parts = {
        "nvcc": nvcc,
        "cmake": shutil.which("cmake"),
        "pybind11": importlib.util.find_spec("pybind11"),
    }
    if missing := [name for name, found in parts.items() if not found]:
        pytest.skip(f"no {' and no '.join(missing)} on this machine")
    import pybind11

    options = [
        "-DCMAKE_BUILD_TYPE=Debug",  # of the C++; sooner built
        "-DPVLR_CUDA=ON",
        "-DPVLR_CUDA_ARCHITECTURES=87",
        "-DPVLR_WERROR=ON",
        f"-DCMAKE_CUDA_COMPILER={nvcc}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        f"-DPython_EXECUTABLE={sys.executable}",
        "-DPYBIND11_FINDPYTHON=ON",
    ]
    with shared_folder(tmp_path_factory, "cuda") as folder:
        cmake("-S", ROOT, "-B", folder / "build", *options)
        cmake("--build", folder / "build", "--parallel", os.cpu_count() or 1)
    return folder / "build"
