"""The plugins' C++: the logic under sanitizers and on AArch64, and TensorRT's calls, with each version's headers.

Also the library that CMake builds, in TensorRT's lean runtime.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pvlr_sdk import errors
from pvlr_sdk.backends.tensorrt import plugins
from tests.tensorrt_headers import NO_HEADERS, cuda_include, tensorrt_includes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[4]
TESTS = ROOT / "tests/csrc/plugin"
ADAPTER = sorted((ROOT / "csrc/plugin").glob("tensorrt_*.cpp"))
LOGIC = [source for source in sorted((ROOT / "csrc/plugin").glob("*.cpp")) if source not in ADAPTER]
# The CPU implementations replace the kernels.
TWINS = [
    source
    for name in ("dual_softmax_attention", "tag_head")
    for source in (ROOT / "csrc/host" / name).glob("*.cpp")
]
LAYERS = ["test_layers", "test_layer_results"]
COMMON = [*LOGIC, TESTS / "launchers.cpp", *TWINS]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
FLAGS = [
    "-std=c++17",
    "-O1",
    "-g",
    "-pthread",
    *WARNINGS,
    f"-I{ROOT / 'csrc'}",
    f"-I{ROOT / 'csrc/include'}",
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
CROSS = "aarch64-linux-gnu-g++"


def compile_all(compiler: str, folder: Path, sources: list[Path], *flags: str) -> list[str]:
    """The objects of the sources."""
    objects = [str(folder / f"{source.parent.name}-{source.stem}.o") for source in sources]
    for source, made in zip(sources, objects, strict=True):
        subprocess.run([compiler, *FLAGS, *flags, "-c", str(source), "-o", made], check=True)
    return objects


def link_and_run(
    compiler: str, program: Path, objects: list[str], *flags: str, runner: str | None = None
) -> None:
    subprocess.run([compiler, *flags, *objects, "-o", str(program), "-pthread"], check=True)
    # Leak detection needs ptrace, which containers often forbid.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    command = [str(program)] if runner is None else [runner, str(program)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Objects of all that needs no TensorRT, with sanitizers."""
    folder = tmp_path_factory.mktemp("common")
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    probe = folder / "probe.cpp"
    probe.write_text("int main() { return 0; }\n")
    if subprocess.run(
        ["g++", *SANITIZE, str(probe), "-o", str(folder / "probe")], capture_output=True
    ).returncode:
        pytest.skip("g++ has no sanitizer libraries")
    return compile_all("g++", folder, COMMON, *SANITIZE)


@pytest.mark.parametrize("program", LAYERS)
def test_layers(program: str, common: list[str], tmp_path: Path) -> None:
    """Fields, types, shapes, profiles; the right numbers in the right order; no allocation while running."""
    objects = compile_all("g++", tmp_path, [TESTS / f"{program}.cpp"], *SANITIZE)
    link_and_run("g++", tmp_path / program, [*objects, *common], *SANITIZE)


def test_layers_on_aarch64(tmp_path: Path) -> None:
    if shutil.which(CROSS) is None or shutil.which("qemu-aarch64") is None:
        pytest.skip(f"no {CROSS} or no qemu-aarch64 on this machine")
    common = compile_all(CROSS, tmp_path, COMMON)
    for program in LAYERS:
        objects = compile_all(CROSS, tmp_path, [TESTS / f"{program}.cpp"])
        link_and_run(
            CROSS, tmp_path / program, [*objects, *common], "-static", runner="qemu-aarch64"
        )


@pytest.mark.parametrize("include", tensorrt_includes() or [None], ids=str)
def test_as_tensorrt_calls_it(include: Path | None, common: list[str], tmp_path: Path) -> None:
    """Creation, clones, serialisation, types, shapes, formats, running; refusals have a message and a code."""
    if include is None:
        pytest.skip(NO_HEADERS)
    flags = [f"-isystem{include}", f"-isystem{cuda_include()}", "-Wno-deprecated-declarations"]
    flags += [
        f'-DPVLR_{name}="test"' for name in ("TENSORRT_VERSION", "CUDA_VERSION", "ARCHITECTURES")
    ]
    objects = compile_all(
        "g++", tmp_path, [*ADAPTER, TESTS / "test_tensorrt.cpp"], *SANITIZE, *flags
    )
    other = tmp_path / "libother.so"
    subprocess.run(
        ["g++", *flags, "-shared", "-fPIC", str(TESTS / "other_tensorrt.cpp"), "-o", str(other)],
        check=True,
    )
    link_and_run(
        "g++",
        tmp_path / "plugins",
        [*objects, *common, str(other)],
        *SANITIZE,
        f"-Wl,-rpath,{tmp_path}",
    )


# -- the library that CMake builds ------------------------------------------------------------------------------------


def cmake(folder: Path, *options: str) -> str:
    """CMake's message on the plugins."""
    command = [
        "cmake",
        "-S",
        str(ROOT),
        "-B",
        str(folder),
        "-DPVLR_PYTHON=OFF",
        "-DPVLR_WERROR=ON",
        *options,
    ]
    environment = {name: value for name, value in os.environ.items() if name != "TENSORRT_ROOT"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "TensorRT plugins" in line]
    return line


needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on this machine")


def test_cmake_says_that_they_need_cuda(tmp_path: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("no cmake on this machine")
    assert (
        cmake(tmp_path, "-DPVLR_CUDA=OFF") == "-- TensorRT plugins: left out, they need PVLR_CUDA=1"
    )


@needs_nvcc
def test_cmake_says_that_they_need_a_newer_tensorrt(tmp_path: Path) -> None:
    include = tmp_path / "include"
    include.mkdir()
    (include / "NvInferRuntime.h").touch()
    numbers = {"MAJOR": 8, "MINOR": 6, "PATCH": 1}
    lines = [
        f"#define NV_TENSORRT_{part} {number} //!< TensorRT version."
        for part, number in numbers.items()
    ]
    (include / "NvInferVersion.h").write_text("\n".join(lines))
    said = cmake(tmp_path / "build", "-DPVLR_CUDA=ON", f"-DTENSORRT_ROOT={tmp_path}")
    assert (
        said
        == f"-- TensorRT plugins: left out, {include} has TensorRT 8.6.1, and they need 10.0 or later"
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library as it is installed, with device code for one architecture."""
    includes = tensorrt_includes()
    if not includes:
        pytest.skip(NO_HEADERS)
    folder = tmp_path_factory.mktemp("cmake")
    said = cmake(
        folder,
        "-DPVLR_CUDA=ON",
        "-DPVLR_CUDA_ARCHITECTURES=87",
        f"-DPVLR_TENSORRT_INCLUDE={includes[0]}",
    )
    assert f"in {includes[0]}" in said
    subprocess.run(["cmake", "--build", str(folder), "--target", "pvlr_plugins", "-j2"], check=True)
    return folder / "libpvlr_plugins.so"


@needs_nvcc
def test_library(library: Path) -> None:
    assert plugins.find(library) == "1"
    about = ctypes.CDLL(str(library)).pvlr_plugins_about
    about.restype = ctypes.c_char_p
    assert json.loads(about())["architectures"] == "87"


@needs_nvcc
def test_lean_runtime_loads_it(library: Path) -> None:
    """Lists its creators and their fields, makes plugins from fields, and reports wrong ones."""
    needs_lean()
    done = in_lean_runtime("creators", library)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["creators"] == {
        "DualSoftmaxAttention": {"heads": "INT32"},
        "TagHead": {"scale": "FLOAT32", "alpha": "FLOAT32", "epsilon": "FLOAT32", "maps": "INT32"},
    }
    assert report["versions"] == ["1"]
    for name, part in zip(report["capabilities"], ["Core", "Build", "Runtime"] * 2, strict=True):
        assert name.startswith(f"IPluginV3One{part}")
    # There is no logger outside of a build.
    assert report["refused"] == [True, True, True]
    assert done.stderr.splitlines() == [
        "pvlr::DualSoftmaxAttention: heads: the field is missing",
        "pvlr::DualSoftmaxAttention: heads: expected an integer",
        "pvlr::TagHead: alpha: the field is missing",
    ]


def test_no_library(tmp_path: Path) -> None:
    path = tmp_path / "libpvlr_plugins.so"
    with pytest.raises(
        errors.MissingPartError,
        match=r"libpvlr_plugins\.so: expected the TensorRT plugins, got none",
    ):
        plugins.find(path)
    assert plugins.version(path) is None
    path.write_text("no library" * 100)
    with pytest.raises(
        errors.MissingPartError, match=r"got one that does not load: .*invalid ELF header"
    ):
        plugins.find(path)
    core = importlib.util.find_spec("pvlr_sdk._core")
    assert core is not None
    with pytest.raises(errors.MissingPartError, match="pvlr_plugins_about"):
        plugins.find(Path(str(core.origin)))


def test_a_library_that_tensorrt_refuses(tmp_path: Path) -> None:
    """One without creators, in the lean runtime."""
    needs_lean()
    about = json.dumps(
        {"version": "1", "tensorrt": "10.3.0", "cuda": "13.0", "architectures": "75 87"}
    )
    (tmp_path / "empty.cpp").write_text(
        f'extern "C" const char* pvlr_plugins_about() {{ return {json.dumps(about)}; }}\n'
    )
    path = tmp_path / "libempty.so"
    subprocess.run(
        ["g++", "-shared", "-fPIC", str(tmp_path / "empty.cpp"), "-o", str(path)], check=True
    )
    assert plugins.find(path) == "1"
    done = in_lean_runtime("refused", path)
    expected = (
        "expected a plugin library that TensorRT loads, with DualSoftmaxAttention, TagHead, got "
    )
    assert f"BackendError: {path}: {expected}" in done.stderr
    assert done.returncode == 1


def needs_lean() -> None:
    if importlib.util.find_spec("tensorrt_lean_bindings") is None:
        pytest.skip(
            "no TensorRT lean runtime: pip install tensorrt-lean-cu13-bindings tensorrt-lean-cu13-libs"
        )


def in_lean_runtime(check: str, library: Path) -> subprocess.CompletedProcess[str]:
    """Runs in a separate process: some of TensorRT's calls end it without a GPU."""
    script = Path(__file__).with_name("lean_check.py")
    return subprocess.run(
        [sys.executable, str(script), check, str(library)], capture_output=True, text=True
    )
