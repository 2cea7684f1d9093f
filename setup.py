"""Builds the compiled core with CMake, and libpvlr if PVLR_RUNTIME is 1; all metadata is in pyproject.toml.

The same sources give the same bytes: times are SOURCE_DATE_EPOCH, or of the source distribution, and names are sorted.
"""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.util import find_spec
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
# A source distribution has one time for all its files: a wheel that is built from it has that time, too.
_TIME = os.environ.setdefault(
    "SOURCE_DATE_EPOCH", str(int((ROOT / "pyproject.toml").stat().st_mtime))
)
os.umask(0o022)  # of the files that are made here
_WHEEL = ["-DPVLR_RUNTIME=ON", "-DPVLR_WHEEL=ON", "-DCMAKE_INSTALL_LIBDIR=lib"]


def _openvino() -> list[str]:
    """Where the OpenVINO of this Python is; CMAKE_ARGS may name another."""
    found = find_spec("openvino")
    return (
        [f"-DOpenVINO_DIR={Path(found.origin).parent / 'cmake'}"] if found and found.origin else []
    )


class CMakeBuild(build_ext):
    """Configures and builds CMakeLists.txt, then copies the module to where setuptools expects it."""

    def build_extension(self, ext: Extension) -> None:
        import pybind11

        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        # A new folder each time: pip builds in a new environment, an old CMake cache would name missing tools.
        with tempfile.TemporaryDirectory() as work:
            core, plugins, runtime = self._build(Path(work), pybind11.get_cmake_dir())
            # Also next to the sources: python started in the checkout imports that folder, not the installed package.
            for folder in {target.parent, ROOT / "pvlr_sdk"}:
                folder.mkdir(parents=True, exist_ok=True)
                # Removed first, not overwritten: that would crash a process that runs the earlier one.
                for made, place in ((core, folder / target.name), (plugins, folder / plugins.name)):
                    place.unlink(missing_ok=True)
                    if made.is_file():
                        shutil.copyfile(made, place)
            if runtime.is_dir():
                shutil.copytree(runtime, target.parent / "libpvlr", dirs_exist_ok=True)

    def _build(self, work: Path, pybind11_dir: str) -> tuple[Path, Path, Path]:
        """Paths of the compiled core, and of the TensorRT plugins and libpvlr, which exist only if they were built."""
        wheel = os.environ.get("PVLR_RUNTIME") == "1"
        options = [
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={work / 'out'}",
            f"-Dpybind11_DIR={pybind11_dir}",
            f"-DPython_EXECUTABLE={sys.executable}",
            "-DPYBIND11_FINDPYTHON=ON",
            *([*_WHEEL, *_openvino()] if wheel else []),
            *shlex.split(
                os.environ.get("CMAKE_ARGS", "")
            ),  # for example -DPVLR_CUDA_ARCHITECTURES=87
        ]
        if shutil.which("ninja"):
            options.append("-GNinja")
        subprocess.run(["cmake", "-S", str(ROOT), "-B", str(work), *options], check=True)
        subprocess.run(["cmake", "--build", str(work), "--target", "pvlr_package"], check=True)
        if wheel:
            install = ["--install", str(work), "--prefix", str(work / "libpvlr"), "--strip"]
            subprocess.run(["cmake", *install], check=True)
        (core,) = (work / "out").glob("_core*")
        return core, work / "out/libpvlr_plugins.so", work / "libpvlr"


class RepeatableSdist(sdist):
    """Archives without the owners, modes and times of files here."""

    def make_archive(self, base_name: str, *_: object, base_dir: str, **__: object) -> str:
        def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.mtime = int(_TIME)
            return member

        target = f"{base_name}.tar.gz"
        with (
            open(target, "wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=int(_TIME)) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
        ):
            archive.add(base_dir, filter=plain)  # in the order of names
        return target


setup(
    packages=[
        *find_packages(include=["pvlr_sdk", "pvlr_sdk.*"]),
        "pvlr_training",
        *(f"pvlr_training.{name}" for name in find_packages("training")),
    ],
    package_dir={"pvlr_training": "training"},
    ext_modules=[Extension("pvlr_sdk._core", sources=[])],
    cmdclass={"build_ext": CMakeBuild, "sdist": RepeatableSdist},
)
