"""The C interface: bad input, threads, memory, and how a program finds the installed library."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from pvlr_sdk import Tagger
from pvlr_sdk._util.cores import available_cores

from ..library import ROOT, cmake
from .conftest import Runtime
from .tensorrt_bundle import write_plan

pytestmark = pytest.mark.slow

PLAN = ROOT / "models/pvlr-lite0-open/engine.plan"
OPENINGS = int(os.environ.get("PVLR_OPENINGS", "100"))


@pytest.mark.parametrize("kind", ["runtime", "sanitized"])
def test_bad_input_is_an_error_that_names_it(
    kind: str, request: pytest.FixtureRequest, bundle: Path, tmp_path: Path
) -> None:
    shutil.copy(PLAN.with_suffix(".sig"), bundle.parent)  # of another plan: keys are read first
    (tmp_path / "empty").mkdir()
    printed = request.getfixturevalue(kind).run("bad_input", bundle, tmp_path / "empty")
    assert printed.endswith(" refused, ok\n")


@pytest.mark.parametrize("kind", ["runtime", "sanitized"])
def test_threads_share_a_tagger(kind: str, request: pytest.FixtureRequest) -> None:
    assert request.getfixturevalue(kind).run("many_threads", PLAN) == "0 wrong\n"


def test_frames_are_read_within_their_planes(sanitized: Runtime, tmp_path: Path) -> None:
    """Every format at odd sizes, with planes that end at their last pixel."""
    lines = []
    for width, height in ((1, 1), (2, 3), (5, 4), (31, 17)):
        half = (width + 1) // 2, (height + 1) // 2
        for code, planes in {
            **{
                code: [(code_bytes * width, height)]
                for code, code_bytes in ((1, 3), (2, 3), (3, 4), (4, 4), (5, 1))
            },
            6: [(width, height), (2 * half[0], half[1])],
            7: [(width, height), half, half],
        }.items():
            numbers, size = [], 0
            for pitch, rows in planes:
                numbers += [size, pitch]
                size += pitch * rows
            path = tmp_path / str(len(lines))
            path.write_bytes(bytes(size))
            numbers += [0] * (6 - len(numbers))
            lines.append(f"{code} 0 0 {width} {height} {' '.join(map(str, numbers))} {path}\n")
    (tmp_path / "list").write_text("".join(lines))
    sanitized.run("tag_frames", PLAN, tmp_path / "list", tmp_path / "out")


def test_opening_and_closing_does_not_grow(runtime: Runtime, plan: Path) -> None:
    """PVLR_OPENINGS times: memory, threads and descriptors."""
    lines = runtime.run("open_close", plan, OPENINGS, timeout=None).splitlines()
    resident, threads, descriptors = (
        list(column) for column in zip(*(map(int, line.split()) for line in lines), strict=True)
    )
    print(f"{OPENINGS} openings, KiB {resident[:: len(resident) // 10]}")
    print(f"{threads[-1]} threads, {descriptors[-1]} descriptors")
    warm = len(resident) // 4
    assert max(resident[-warm:]) - max(resident[warm : 2 * warm]) < 256
    # TBB may start the workers of its pool late
    assert max(threads) <= threads[0] + available_cores()
    assert max(descriptors) == descriptors[0]


def test_a_large_plan_is_freed(runtime: Runtime) -> None:
    resident = [int(line.split()[0]) for line in runtime.run("open_close", PLAN, 10).splitlines()]
    assert max(resident[-3:]) - min(resident[2:5]) < 1024  # KiB; the plan has 9 MB


def test_nothing_is_allocated_once_warm(runtime: Runtime) -> None:
    assert runtime.run("allocations", PLAN).startswith("own 0, engine ")
    assert runtime.run("allocations", PLAN, "planted").startswith("own 1, engine ")


def test_only_the_interface_is_exported(runtime: Runtime) -> None:
    header = (ROOT / "csrc/include/pvlr/pvlr.h").read_text()
    command = [
        "nm",
        "-D",
        "--defined-only",
        "--format=just-symbols",
        runtime.prefix / "lib/libpvlr.so",
    ]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert sorted(listed) == sorted(re.findall(r"PVLR_API [\w* ]+?(pvlr_\w+)\(", header))


@pytest.mark.parametrize(
    "quota", ["150000 100000", "250000 100000", "1000 100000", "max 100000", "", "0 0", None]
)
def test_cores_are_counted_as_in_python(
    quota: str | None, cores_program: Path, tmp_path: Path
) -> None:
    (tmp_path / "root/a/b").mkdir(parents=True)
    if quota is not None:
        (tmp_path / "root/a/cpu.max").write_text(quota)
    (tmp_path / "membership").write_text("1:cpu:/other\n0::/a/b\n")
    arguments = tmp_path / "root", tmp_path / "membership"
    got = subprocess.run(
        [cores_program, *arguments], capture_output=True, text=True, check=True
    ).stdout
    assert int(got) == available_cores(*arguments)


@pytest.fixture(scope="module")
def cores_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cores")
    main = '#include "runtime/cores.h"\n#include <cstdio>\n'
    main += 'int main(int, char** v) { std::printf("%d", pvlr::runtime::available_cores(v[1], v[2])); }\n'
    (folder / "main.cpp").write_text(main)
    sources = [ROOT / "csrc/runtime/cores.cpp", folder / "main.cpp"]
    subprocess.run(
        ["c++", "-std=c++17", f"-I{ROOT / 'csrc'}", *sources, "-o", folder / "cores"], check=True
    )
    return folder / "cores"


@pytest.mark.parametrize("way", ["cmake", "pkg-config"])
def test_the_example_builds_outside_of_the_tree(way: str, runtime: Runtime, tmp_path: Path) -> None:
    """As the page builds it."""
    shutil.copy(ROOT / "csrc/examples/tag.c", tmp_path)
    page = (ROOT / "docs/cpp.md").read_text()
    (script,) = re.findall(r"^```cmake\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (command,) = re.findall(r"^cc csrc/examples/(tag\.c \$\(pkg-config.*)$", page, re.MULTILINE)
    (tmp_path / "CMakeLists.txt").write_text(script)
    if way == "cmake":
        cmake("-S", tmp_path, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={runtime.prefix}")
        cmake("--build", tmp_path)
    else:
        if not shutil.which("pkg-config"):
            pytest.skip("no pkg-config on this machine")
        folder = {"PKG_CONFIG_PATH": str(runtime.prefix / "lib/pkgconfig")}
        subprocess.run(
            f"cc {command}", shell=True, cwd=tmp_path, check=True, env=os.environ | folder
        )
    image = cv2.imread(str(ROOT / "docs/images/chelsea.jpg"))
    cv2.imwrite(str(tmp_path / "cat.ppm"), image)
    run = [tmp_path / "tag", PLAN, "cat.ppm"]
    out = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert out.startswith("cat.ppm: cat 0.9")


def test_the_example_tags_photos_and_reports_what_it_cannot_read(
    runtime: Runtime, tmp_path: Path
) -> None:
    image = cv2.imread(str(ROOT / "docs/images/chelsea.jpg"))
    cv2.imwrite(str(tmp_path / "cat.ppm"), image)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "deep.ppm").write_bytes(b"P6 2 2 65535\n" + bytes(24))
    (tmp_path / "cut.ppm").write_bytes(b"P6 2 2 255\n" + bytes(11))
    (tmp_path / "large.ppm").write_bytes(b"P6 16385 1 255\n" + bytes(3 * 16385))
    with Tagger(PLAN) as tagger:
        tags = "".join(
            f"{tmp_path}/cat.ppm: {tag.label} {tag.score:.4f}\n" for tag in tagger.predict(image)
        )
    assert runtime.run("tag", PLAN, tmp_path / "cat.ppm", tmp_path / "cat.ppm") == 2 * tags
    expected = "expected a binary PPM with values up to 255"
    for name, message in {
        "missing": expected,
        "text": expected,
        "deep.ppm": expected,
        "cut.ppm": expected,
        "large.ppm": "frame.width: expected 1 to 16384 pixels, got 16385",
    }.items():
        path = tmp_path / name
        assert runtime.run("tag", PLAN, path, status=1) == f"{path}: {message}\n"
    assert runtime.run("tag", PLAN, status=2) == "usage: tag PLAN PHOTO...\n"
    assert runtime.run("tag", tmp_path, "x", status=2).startswith(
        f"{tmp_path}/engine.plan: expected a plan"
    )


def test_a_standalone_folder_can_be_moved(runtime: Runtime, tmp_path: Path) -> None:
    """It has the OpenVINO that it needs, and no path of the build."""
    moved = tmp_path / "moved"
    shutil.copytree(runtime.prefix.parent / "standalone", moved, symlinks=True)
    image = tmp_path / "image.ppm"
    cv2.imwrite(str(image), cv2.imread(str(ROOT / "docs/images/chelsea.jpg")))
    (moved / "bin").mkdir()
    folders = [f"-I{moved}/include", f"-L{moved}/lib", "-Wl,-rpath,$ORIGIN/../lib"]
    source = ROOT / "csrc/examples/tag.c"
    subprocess.run(["cc", source, *folders, "-lpvlr", "-o", moved / "bin/tag"], check=True)
    command = [moved / "bin/tag", PLAN.parent, image]
    out = subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout
    assert out == runtime.run("tag", PLAN.parent, image) != ""
    loaded = subprocess.run(
        ["ldd", moved / "lib/libpvlr.so"],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(
        str(tmp_path) in line
        for line in loaded.stdout.splitlines()
        if "openvino" in line or "tbb" in line
    )


def test_cmake_reports_why_there_is_no_tensorrt(tmp_path: Path) -> None:
    """There are no CUDA kernels."""
    if shutil.which("cmake") is None or importlib.util.find_spec("openvino") is None:
        pytest.skip("no cmake, or no openvino, on this machine")
    options = ["-DPVLR_RUNTIME=ON", "-DPVLR_PYTHON=OFF", f"-DPython3_EXECUTABLE={sys.executable}"]
    command = ["cmake", "-S", ROOT, "-B", tmp_path / "build", *options]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PVLR_CUDA": "0"}
    )
    assert "-- libpvlr: without TensorRT, which needs PVLR_CUDA=1\n" in done.stdout


def test_without_tensorrt_the_message_tells_how_to_build_it(
    runtime: Runtime, tmp_path: Path
) -> None:
    plan = write_plan(tmp_path / "engine.plan", "10.3.0")
    message = runtime.run("tag", plan, "x", status=2)
    assert (
        f"{plan}: expected a plan for the backend openvino, got one for tensorrt. This libpvlr was built"
        in message
    )
    assert (runtime.prefix / "lib/pkgconfig/pvlr.pc").read_text().count("backends=openvino\n") == 1
