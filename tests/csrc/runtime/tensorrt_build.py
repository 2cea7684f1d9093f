"""The TensorRT runner, compiled against each version's headers, and the fakes of TensorRT and CUDA that it runs on.

The fakes are small libraries in ``fakes``. Their virtual functions are those of the real headers: what the runner calls
is implemented, and for all others a stub is generated that ends the program.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from tests.tensorrt_headers import cuda_include, tensorrt_version

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
RUNNER = sorted((ROOT / "csrc/runtime/engine/tensorrt").glob("*.cpp"))
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
FLAGS = [
    "-std=c++17",
    "-O0",
    "-g1",
    "-fPIC",
    *WARNINGS,
    f"-I{ROOT / 'csrc'}",
    f"-I{ROOT / 'csrc/include'}",
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
# A class of the headers, its stub, and the namespace of both.
STUBS = {
    "VRuntime": ("RuntimeStub", "nvinfer1::apiv"),
    "VCudaEngine": ("CudaEngineStub", "nvinfer1::apiv"),
    "VExecutionContext": ("ExecutionContextStub", "nvinfer1::apiv"),
    "IPluginRegistry": ("PluginRegistryStub", "nvinfer1"),
}


def run(*command: object) -> None:
    """Run a compiler in this folder; its messages are shown if it fails."""
    done = subprocess.run(
        [*map(str, command)], cwd=HERE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def stubs(include: Path) -> str:
    """A header with a class for each of :data:`STUBS` that overrides all of its pure virtual functions."""
    headers = (include / name for name in ("NvInferImpl.h", "NvInferRuntimeCommon.h"))
    text = re.sub(
        r"//[^\n]*|/\*.*?\*/",
        "",
        "".join(header.read_text() for header in headers),
        flags=re.DOTALL,
    )
    lines = ["#pragma GCC system_header", "#include <NvInferRuntime.h>", "#include <cstdlib>"]
    for name, (stub, namespace) in STUBS.items():
        found = re.search(rf"class {name}\b[^;{{]*\{{(.*?)\n\}};", text, re.DOTALL)
        assert found, name
        lines.append(f"namespace {namespace} {{ struct {stub} : {name} {{")
        for declaration in found[1].split(";"):
            pure = re.search(r"\bvirtual\b(.*)=\s*0\s*$", declaration, re.DOTALL)
            if pure and "~" not in pure[1]:
                lines.append(f"{pure[1]} override {{ std::abort(); }}")
        lines.append("}; }")
    return "\n".join(lines) + "\n"


def build_fakes(include: Path, folder: Path) -> list[str]:
    """Build the fakes for a version into ``folder/lib``; CMake's options that find them and the headers."""
    (folder / "lib").mkdir(parents=True)
    for name, headers in (("tensorrt", include), ("cuda", cuda_include())):
        (folder / name).mkdir()
        (folder / name / "include").symlink_to(headers)
    (folder / "tensorrt_stubs.h").write_text(stubs(include))
    flags = [
        *FLAGS,
        "-shared",
        f"-isystem{include}",
        f"-isystem{cuda_include()}",
        f"-I{folder}",
        f"-L{folder / 'lib'}",
    ]
    for library, *linked in (
        ("libcudart.so", "fake_tensorrt/cudart.cpp", "fake_tensorrt/world.cpp"),
        ("libcuda.so.1", "fake_tensorrt/cuda.cpp", "-lcudart"),
        (
            f"libnvinfer.so.{tensorrt_version(include).partition('.')[0]}",
            "fake_tensorrt/nvinfer.cpp",
            "-lcudart",
            "-ldl",
        ),
        ("plugins.so", "fake_tensorrt/plugins.cpp"),
    ):
        run("g++", *flags, *linked, f"-Wl,-soname,{library}", "-o", folder / "lib" / library)
    kernels = f"-DCMAKE_PROJECT_pvlr_INCLUDE={HERE / 'fake_tensorrt/kernels.cmake'}"
    return [f"-DTENSORRT_ROOT={folder / 'tensorrt'}", f"-DPVLR_FAKES={folder}", kernels]


class TensorRtLibrary(NamedTuple):
    """libpvlr with the runner for one version of TensorRT, but without OpenVINO, and the fakes beside it."""

    folder: Path
    version: str
    objects: tuple[Path, ...]

    def run(self, program: Path, *arguments: object, stdin: str = "", **environment: str) -> str:
        """What a test program prints that finds this library; it must succeed."""
        command = [*map(str, (program, *arguments))]
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PVLR_", "FAKE_"))
        }
        common = {"ASAN_OPTIONS": "detect_leaks=0", "LD_LIBRARY_PATH": str(self.folder / "lib")}
        pipes: dict[str, Any] = {"capture_output": True, "text": True, "input": stdin}
        done = subprocess.run(
            command, env=kept | common | environment, timeout=300, check=False, **pipes
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout


def build_common(folder: Path) -> list[Path]:
    """Objects that need no TensorRT: the test program, the fake kernel and, for the OpenVINO runner, one that fails."""
    objects = [folder / f"{name}.o" for name in ("tensorrt_runner", "no_openvino", "kernels")]
    sources = "tensorrt_runner.cpp", "fake_tensorrt/no_openvino.cpp", "fake_tensorrt/kernels.cpp"
    for source, made in zip(sources, objects, strict=True):
        run("g++", *FLAGS, *SANITIZE, f"-isystem{cuda_include()}", "-c", HERE / source, "-o", made)
    return objects


def link(objects: tuple[Path, ...], target: Path, *libraries: object) -> None:
    """Link libpvlr with TensorRT and CUDA; every symbol must have a definition."""
    options = [
        "-Wl,-soname,libpvlr.so.1",
        "-Wl,-z,defs",
        f"-Wl,--version-script={ROOT / 'csrc/pvlr.map'}",
    ]
    run(
        "g++",
        *SANITIZE,
        "-shared",
        *options,
        *objects,
        *libraries,
        "-lpng",
        "-lcrypto",
        "-ldl",
        "-o",
        target,
    )


def build_library(
    cmake_folder: Path, common: list[Path], include: Path, folder: Path
) -> TensorRtLibrary:
    """Compile the runner against the headers in ``include``, and link it with the rest of libpvlr in CMake's folder."""
    build_fakes(include, folder)
    rest = [
        path
        for path in (cmake_folder / "CMakeFiles/pvlr.dir/csrc/runtime").rglob("*.o")
        if path.parent.name not in ("openvino", "tensorrt")
        and not path.name.startswith("no_tensorrt")
    ]
    assert rest
    program, *others = common
    runner = [folder / f"{source.stem}.o" for source in RUNNER]
    for source, made in zip(RUNNER, runner, strict=True):
        run(
            "g++",
            *FLAGS,
            *SANITIZE,
            f"-isystem{include}",
            f"-isystem{cuda_include()}",
            "-c",
            source,
            "-o",
            made,
        )
    objects = (*rest, *others, *runner, cmake_folder / "libpvlr_host.a")
    lib = folder / "lib"
    link(objects, lib / "libpvlr.so.1", f"-L{lib}", "-lcudart")
    linked = [f"-L{lib}", "-l:libpvlr.so.1", "-lcudart", f"-Wl,-rpath-link,{lib}", "-pthread"]
    run("g++", *SANITIZE, program, *linked, "-o", folder / "program")
    return TensorRtLibrary(folder, tensorrt_version(include), objects)
