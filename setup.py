"""Builds the compiled core with CMake; all metadata is in pyproject.toml."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


class CMakeBuild(build_ext):
    """Configures and builds CMakeLists.txt, then copies the module to where setuptools expects it."""

    def build_extension(self, ext: Extension) -> None:
        import pybind11

        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        # A new folder each time: pip builds in a new environment, an old CMake cache would name missing tools.
        with tempfile.TemporaryDirectory() as work:
            core, plugins = self._build(Path(work), pybind11.get_cmake_dir())
            # Also beside the sources: python started in the checkout imports that folder, not the installed package.
            for folder in {target.parent, ROOT / "pvlr_sdk"}:
                folder.mkdir(parents=True, exist_ok=True)
                # Removed first, not overwritten: that would crash a process that runs the earlier one.
                for made, place in ((core, folder / target.name), (plugins, folder / plugins.name)):
                    place.unlink(missing_ok=True)
                    if made.is_file():
                        shutil.copyfile(made, place)

    def _build(self, work: Path, pybind11_dir: str) -> tuple[Path, Path]:
        """Paths of the compiled core and of the TensorRT plugins, which exist only if they were built."""
        options = [
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={work / 'out'}",
            f"-Dpybind11_DIR={pybind11_dir}",
            f"-DPython_EXECUTABLE={sys.executable}",
            "-DPYBIND11_FINDPYTHON=ON",
            *shlex.split(os.environ.get("CMAKE_ARGS", "")),  # for example -DPVLR_CUDA=ON
        ]
        if shutil.which("ninja"):
            options.append("-GNinja")
        subprocess.run(["cmake", "-S", str(ROOT), "-B", str(work), *options], check=True)
        subprocess.run(["cmake", "--build", str(work), "--target", "pvlr_package"], check=True)
        (core,) = (work / "out").glob("_core*")
        return core, work / "out/libpvlr_plugins.so"


setup(
    packages=[
        *find_packages(include=["pvlr_sdk", "pvlr_sdk.*"]),
        "pvlr_training",
        *(f"pvlr_training.{name}" for name in find_packages("training")),
    ],
    package_dir={"pvlr_training": "training"},
    ext_modules=[Extension("pvlr_sdk._core", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
)
