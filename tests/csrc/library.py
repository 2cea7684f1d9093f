"""Builds and installs libpvlr once for the tests of runtime/ and gstreamer/, and for all workers of pytest-xdist."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GSTREAMER = ("gstreamer-1.0 >= 1.20.3", "gstreamer-base-1.0", "gstreamer-video-1.0")


def cmake(*arguments: object) -> None:
    """Run CMake; its output is shown if it fails."""
    done = subprocess.run(
        ["cmake", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def build_options(flags: str) -> list[str]:
    """How CMake builds, with flags of the compilers."""
    ninja = ["-GNinja"] if shutil.which("ninja") else []
    kind = "Sanitized" if flags else "Release"  # CMake knows the first only by its flags
    return [
        *ninja,
        f"-DCMAKE_BUILD_TYPE={kind}",
        f"-DCMAKE_CXX_FLAGS={flags}",
        f"-DCMAKE_C_FLAGS={flags}",
    ]


def install(
    folder: Path, flags: str = "", *, gstreamer: bool = False, tensorrt: list[str] | None = None
) -> Path:
    """Builds libpvlr, and on request the GStreamer element and the TensorRT runner; returns the prefix.

    ``tensorrt``: CMake's options that find TensorRT.
    """
    for tool in ("cmake", "c++", "cc"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} on this machine")
    headers = ("nlohmann/json.hpp", "openssl/evp.h", "png.h")
    source = "".join(f"#include <{header}>\n" for header in headers) + "int main() { return 0; }\n"
    probe = ["c++", "-std=c++17", *flags.split(), "-xc++", "-", "-o", str(folder / "probe")]
    if subprocess.run(probe, input=source, text=True, capture_output=True, check=False).returncode:
        pytest.skip(
            "the C++ compiler lacks a header or sanitizers; .ci/run lists the Debian packages"
        )
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("no openvino, whose package has the headers")
    prefix, build = folder / "prefix", folder / "library"
    options = [
        f"-DPVLR_{'GSTREAMER' if gstreamer else 'RUNTIME'}=ON",
        "-DPVLR_PYTHON=OFF",
        "-DPVLR_WERROR=ON",
    ]
    options += [f"-DPython3_EXECUTABLE={sys.executable}", f"-DCMAKE_INSTALL_PREFIX={prefix}"]
    options += ["-DPVLR_CUDA=OFF"] if tensorrt is None else tensorrt
    cmake("-S", ROOT, "-B", build, *build_options(flags), *options, "-DCMAKE_INSTALL_LIBDIR=lib")
    cmake("--build", build)
    cmake("--install", build)
    if not flags:
        cmake("-S", ROOT, "-B", build, "-DPVLR_STANDALONE=ON")
        cmake("--build", build)
        cmake("--install", build, "--strip", "--prefix", folder / "standalone")
    return prefix


def gstreamer_missing() -> str | None:
    """What the build of the GStreamer element lacks."""
    if not shutil.which("pkg-config"):
        return "pkg-config"
    for module in GSTREAMER:
        if subprocess.run(["pkg-config", "--exists", module], check=False).returncode:
            return f"development files of {module}"
    return None
