"""A release: the source distribution builds a wheel, and the wheel tags an image where there is no compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import NamedTuple

import cv2
import pytest

from pvlr_sdk import __version__

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "docs/images/astronaut.jpg"
EXAMPLE = ROOT / "csrc/examples/tag.c"
NO_LIBPVLR = "no auditwheel, no patchelf, or no headers of nlohmann/json, OpenSSL and libpng"
IN_WHEEL = re.compile(
    r"""pvlr_sdk/(?:[a-z_]+/)*[a-z_0-9]+\.py
    | pvlr_sdk/(?:py\.typed|_core\.pyi|_core\.cpython-\S+\.so)
    | pvlr_sdk/models/[a-z0-9-]+/(?:engine\.(?:json|plan|sig|(?:labels|knowledge)\.safetensors)|[A-Z]+\.md)
    | pvlr_sdk/libpvlr/(?:include/pvlr/pvlr\.hp?p?|lib/libpvlr\.so|lib/pkgconfig/pvlr\.pc)
    | pvlr_sdk/libpvlr/lib/cmake/pvlr/pvlr-config(?:-[a-z]+)?\.cmake
    | pvlr_sdk\.libs/lib(?:crypto|png16|zstd)-\w+\.so\.[0-9.]+
    | pvlr_sdk/models/(?:catalogue\.json|keys/[a-z]+\.pem)
    | pvlr_sdk/cameras/serve/page/static/[a-z]+\.(?:js|css|html|svg)
    | pvlr_sdk/labels/(?:dictionary\.(?:npz|LICENSE)|tree\.json)
    | pvlr_sdk/cameras/site/[a-z-]+\.(?:yaml|service)
    | pvlr_training/(?:[a-z_]+/)*[a-z_0-9]+\.py
    | pvlr_training/(?:configs|recipes)/[a-z0-9_-]+\.(?:yaml|json)
    | pvlr_training/everyday\.yaml
    | pvlr_training/report/[a-z]+\.(?:css|html)
    | pvlr_sdk-\S+\.dist-info/sboms/auditwheel\.cdx\.json
    | pvlr_sdk-\S+\.dist-info/(?:METADATA|RECORD|WHEEL|entry_points\.txt|top_level\.txt|licenses/\S*LICENSE)""",
    re.VERBOSE,
)
REQUIRED = [
    "pvlr_sdk/py.typed",
    "pvlr_sdk/_core.pyi",
    "pvlr_sdk/models/catalogue.json",
    "pvlr_sdk/models/keys/dev.pem",
    "pvlr_sdk/models/pvlr-lite2-open/engine.plan",
    "pvlr_sdk/models/pvlr-lite2-open/engine.sig",
    "pvlr_sdk/models/pvlr-lite2-open/engine.knowledge.safetensors",
    "pvlr_sdk/labels/dictionary.npz",
    "pvlr_sdk/labels/tree.json",
    "pvlr_sdk/labels/dictionary.LICENSE",
    "pvlr_sdk/cameras/serve/page/static/index.html",
    "pvlr_sdk/cameras/site/site.yaml",
    "pvlr_training/configs/coco80.yaml",
    "pvlr_training/everyday.yaml",
    "pvlr_training/report/template.html",
]
LIBPVLR = [
    "pvlr_sdk/libpvlr/include/pvlr/pvlr.hpp",
    "pvlr_sdk/libpvlr/lib/libpvlr.so",
    "pvlr_sdk/libpvlr/lib/cmake/pvlr/pvlr-config.cmake",
    "pvlr_sdk/libpvlr/lib/pkgconfig/pvlr.pc",
]
# of docs the image that cibuildwheel tags
SOURCES = {
    "csrc",
    "docs",
    "pvlr_sdk",
    "training",
    "pvlr_sdk.egg-info",
}
TOP_LEVEL = {"CHANGELOG.md", "CMakeLists.txt", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md"}
TOP_LEVEL |= {"pyproject.toml", "setup.cfg", "setup.py"}

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.mark.slow
def test_the_source_distribution_has_the_sources_and_nothing_else(dist):
    assert dist.sdist.name == f"pvlr_sdk-{__version__}.tar.gz"
    with tarfile.open(dist.sdist) as archive:
        names = [member.name.partition("/")[2] for member in archive if member.isfile()]
    assert {name.partition("/")[0] for name in names if "/" in name} == SOURCES
    assert {name for name in names if "/" not in name} == TOP_LEVEL
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


@pytest.mark.slow
def test_the_wheel_has_what_runs_and_nothing_else(dist):
    with zipfile.ZipFile(dist.wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        typed = archive.read(f"pvlr_sdk-{__version__}.dist-info/METADATA").decode()
    assert not [name for name in names if not IN_WHEEL.fullmatch(name)]
    assert not {*REQUIRED, *(LIBPVLR if dist.libpvlr else ())} - set(names)
    assert len([name for name in names if name.endswith(".so")]) == 1 + dist.libpvlr
    assert f"Version: {__version__}\n" in typed
    assert "License-Expression: Apache-2.0\n" in typed
    assert dist.wheel.stat().st_size < 20e6


class Installed(NamedTuple):
    """A new environment that has the wheel; the dependencies are those of this Python."""

    bin: Path
    site: Path

    def run(self, *command: str | Path) -> str:
        """What a command prints that finds the environment's programs and no others."""
        home = self.bin.parent
        environment = {
            "PATH": str(self.bin),
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
        }
        done = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


@pytest.fixture(scope="module")
def installed(dist, tmp_path_factory):
    target = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(target, symlinks=True)
    python = target / "bin/python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        dist.wheel,
    ]
    subprocess.run(install, env=ENVIRONMENT, check=True)
    site = target / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    dependencies = Path(sysconfig.get_path("purelib"))
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    (site / "openvino").symlink_to(dependencies / "openvino")  # where libpvlr looks for its library
    return Installed(target / "bin", site)


@pytest.mark.slow
def test_the_wheel_tags_an_image_without_a_compiler(dist, installed):
    python, pvlr = installed.bin / "python", installed.bin / "pvlr"
    tools = ("cc", "c++", "gcc", "g++", "cmake", "ninja")
    assert not any(shutil.which(tool, path=str(installed.bin)) for tool in tools)
    code = "import pvlr_sdk._core as core; print(core.__file__)"
    assert Path(installed.run(python, "-c", code).strip()).parents[1] == installed.site
    assert installed.run(pvlr, "--version") == f"pvlr {__version__}\n"
    assert "person" in installed.run(pvlr, "tag", IMAGE)
    # The hint for an extra names the wheel that was installed.
    code = "from pvlr_sdk import errors; print(errors.install_hint('serve'))"
    assert installed.run(python, "-c", code) == f'Run pip install "{dist.wheel}[serve]".\n'


def _ppm(folder: Path) -> Path:
    cv2.imwrite(str(folder / "image.ppm"), cv2.imread(str(IMAGE)))
    return folder / "image.ppm"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["cmake", "pkg-config"])
def test_the_example_is_built_with_the_wheel_and_tags_an_image(way, dist, installed, tmp_path):
    if not dist.libpvlr or not shutil.which(way):
        pytest.skip(f"{NO_LIBPVLR}, or no {way}")
    prefix = Path(installed.run(installed.bin / "python", "-m", "pvlr_sdk.libpvlr").strip())
    shutil.copy(EXAMPLE, tmp_path)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(tag LANGUAGES C)\nfind_package(pvlr REQUIRED)\n"
        "add_executable(tag tag.c)\ntarget_link_libraries(tag PRIVATE pvlr::pvlr)\n"
    )
    find = f"PKG_CONFIG_PATH={prefix}/lib/pkgconfig pkg-config --cflags --libs pvlr"
    command = {
        "cmake": f"cmake -B . -DCMAKE_PREFIX_PATH={prefix} && cmake --build .",
        "pkg-config": f"cc tag.c $({find}) -o tag",
    }[way]
    subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True)
    plan = installed.site / "pvlr_sdk/models/pvlr-lite2-open/engine.plan"
    assert ": person 0." in installed.run(tmp_path / "tag", plan, _ppm(tmp_path))
    listed = subprocess.run(
        ["ldd", prefix / "lib/libpvlr.so"], capture_output=True, text=True, check=True
    )
    for name in ("libcrypto", "libpng16", "libopenvino"):
        (path,) = re.findall(rf"{name}\S* => (\S+)", listed.stdout)
        assert Path(path).is_relative_to(installed.site), listed.stdout


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("PVLR_TEST_AARCH64") != "1", reason="takes minutes: set PVLR_TEST_AARCH64=1"
)
def test_the_wheel_for_aarch64_tags_an_image_under_qemu(tmp_path):
    """Built with the cross compiler, and installed with an AArch64 Python."""
    script = ROOT / "csrc/wheel.sh"
    environment = {**ENVIRONMENT, "PYTHON": "/usr/bin/python3"}
    subprocess.run([script, "build", "aarch64", tmp_path / "dist"], env=environment, check=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        assert not [name for name in names if not IN_WHEEL.fullmatch(name)]
        assert not {*REQUIRED, *LIBPVLR} - set(names)
        binary = [name for name in names if ".so" in name]
        assert {archive.read(name)[18:20] for name in binary} == {b"\xb7\0"}  # EM_AARCH64
    system = tmp_path / "system"
    subprocess.run([script, "root", wheel, system], env=environment, check=True)
    package = system / "site/pvlr_sdk"
    plan = package / "models/pvlr-lite2-open/engine.plan"
    library = package / "libpvlr/lib"
    compiler = ["aarch64-linux-gnu-gcc", f"-I{package}/libpvlr/include", f"-L{library}"]
    # OpenVINO's library may need a newer C library than the compiler has.
    options = [
        "-lpvlr",
        f"-Wl,-rpath,{library}",
        "-Wl,--allow-shlib-undefined",
        "-o",
        tmp_path / "tag",
    ]
    subprocess.run([*compiler, EXAMPLE, *options], check=True)
    for command in (
        [system / "usr/bin/python3", "-c", "from pvlr_sdk.cli import main; main()", "tag", IMAGE],
        [tmp_path / "tag", plan, _ppm(tmp_path)],
    ):
        run = ["qemu-aarch64", "-L", system, "-E", f"PYTHONPATH={system / 'site'}", *command]
        done = subprocess.run(
            run, cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT, check=False
        )
        assert "person" in done.stdout, done.stderr
