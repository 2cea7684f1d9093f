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

from pvlr_sdk import Tagger, __version__
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
def test_the_example_of_the_page_builds_outside_of_the_tree(
    way: str, runtime: Runtime, tmp_path: Path
) -> None:
    page = (ROOT / "docs/cpp.md").read_text()
    (source,) = re.findall(r"^```cpp\n(#include.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (script,) = re.findall(r"^```cmake\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "main.cpp").write_text(source)
    (tmp_path / "CMakeLists.txt").write_text(script)
    if way == "cmake":
        cmake("-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={runtime.prefix}")
        cmake("--build", tmp_path / "build")
    else:
        if not shutil.which("pkg-config"):
            pytest.skip("no pkg-config on this machine")
        (tmp_path / "build").mkdir()
        find = f"PKG_CONFIG_PATH={runtime.prefix}/lib/pkgconfig pkg-config --cflags --libs pvlr"
        command = f"c++ -std=c++17 {tmp_path}/main.cpp $({find}) -o {tmp_path}/build/tag"
        subprocess.run(["sh", "-c", command], check=True)
    image = cv2.imread(str(ROOT / "docs/images/chelsea.jpg"))
    (tmp_path / "frame.bgr").write_bytes(image.tobytes())
    height, width = image.shape[:2]
    command = [tmp_path / "build/tag", PLAN, "frame.bgr", str(width), str(height)]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    with Tagger(PLAN, allow_unsigned=True) as tagger:
        assert out.split()[0] == tagger.predict(image)[0].label == "cat"


def test_a_standalone_folder_can_be_moved(runtime: Runtime, tmp_path: Path) -> None:
    """It has the OpenVINO that it needs, and no path of the build."""
    shutil.copytree(runtime.prefix.parent / "standalone", tmp_path / "moved", symlinks=True)
    image = tmp_path / "image.ppm"
    image.write_bytes(b"P6 16 16 255\n" + bytes(range(256)) * 3)
    command = [tmp_path / "moved/bin/pvlr-tag", "--scores", PLAN.parent, image]
    out = subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout
    assert out == runtime.run("pvlr-tag", "--scores", PLAN.parent, image)
    loaded = subprocess.run(
        ["ldd", tmp_path / "moved/lib/libpvlr.so"],
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


def test_pvlr_tag_reports_what_it_cannot_read(runtime: Runtime, tmp_path: Path) -> None:
    assert runtime.run("pvlr-tag", "--version").strip() == __version__
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("hello")
    (tmp_path / "deep.ppm").write_bytes(b"P6 2 2 65535\n" + bytes(24))
    (tmp_path / "cut.ppm").write_bytes(b"P6 # a comment\n2 2\n255\n" + bytes(11))
    (tmp_path / "huge.ppm").write_bytes(b"P6 2000000000 2000000000 255\n")
    for name, message in {
        "missing": "No such file or directory",
        "empty": "not a binary PPM or PGM",
        "text": "not a binary PPM or PGM",
        "deep.ppm": "values beyond 255, or no pixels",
        "cut.ppm": "the file ends within the pixels",
        "huge.ppm": "more than 16384 pixels a side",
    }.items():
        path = tmp_path / name
        assert runtime.run("pvlr-tag", PLAN, path, status=1) == f"pvlr-tag: {path}: {message}\n"
    for arguments, message in (
        (["--threads", "many", PLAN, "x"], "--threads: expected a number, got 'many'"),
        (["--threads", "4294967297", PLAN, "x"], "--threads: expected a number, got '4294967297'"),
        (["--threads", "-1", PLAN, "x"], "options.threads: expected 0 to 1024, got -1"),
        (["--threshold", "0.5x", PLAN, "x"], "--threshold: expected a number, got '0.5x'"),
        (["--threshold", "nan", PLAN, "x"], "options.threshold: expected 0 to 1, got nan"),
        (["--threshold", "2", PLAN, "x"], "options.threshold: expected 0 to 1, got 2.000000"),
        (["--unknown", PLAN, "x"], "unrecognized option '--unknown'"),
        ([PLAN], "usage: pvlr-tag"),
        (
            [tmp_path / "none", "x"],
            f"{tmp_path}/none: expected a plan, or a folder with engine.plan, got No such file or",
        ),
    ):
        assert message in runtime.run("pvlr-tag", *arguments, status=2)


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
    message = runtime.run("pvlr-tag", plan, "x", status=2)
    assert (
        f"{plan}: expected a plan for the backend openvino, got one for tensorrt. This libpvlr was built"
        in message
    )
    assert (runtime.prefix / "lib/pkgconfig/pvlr.pc").read_text().count("backends=openvino\n") == 1
