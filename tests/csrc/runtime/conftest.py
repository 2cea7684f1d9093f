"""Builds and installs libpvlr, and the test programs as a user builds one: outside of the tree, with find_package."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.pvlr_sdk.conftest import _own_folders, exported, make_network, own_plan, plan
from tests.pvlr_sdk.labels.tiny_open import build_plan, random_bank
from tests.pvlr_sdk.trust.conftest import case, keys, sign, signed
from tests.shared import shared_folder
from tests.tensorrt_headers import find_cuda_include, tensorrt_includes

from ..library import build_options, cmake, gstreamer_missing, install
from . import tensorrt_build

__all__ = [
    "_own_folders",
    "case",
    "exported",
    "keys",
    "make_network",
    "own_plan",
    "plan",
    "sign",
    "signed",
]
"""Fixtures of other rooms."""

HERE = Path(__file__).parent
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all"
# Leak detection needs ptrace, which containers often forbid. TBB must not load its parts with RTLD_DEEPBIND.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "TBB_ENABLE_SANITIZERS": "1"}


class Runtime(NamedTuple):
    """Where libpvlr is installed, and where the test programs are built."""

    prefix: Path
    programs: Path
    library: Path
    """Where CMake built it."""

    def run(
        self, program: str, *arguments: object, status: int = 0, timeout: float | None = 600
    ) -> str:
        """What a program prints, after checking its exit status."""
        command = [self.programs / program, *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=ENVIRONMENT, timeout=timeout, check=False
        )
        assert done.returncode == status, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout if status == 0 else done.stderr


def build_programs(folder: Path, prefix: Path, flags: str = "", *programs: str) -> Runtime:
    """Build test programs, all of them by default; ``prefix`` is what :func:`install` returned."""
    cmake(
        "-S",
        HERE,
        "-B",
        folder / "programs",
        *build_options(flags),
        f"-DCMAKE_PREFIX_PATH={prefix}",
    )
    cmake("--build", folder / "programs", *(["--target", *programs] if programs else []))
    return Runtime(prefix, folder / "programs", prefix.parent / "library")


@pytest.fixture(scope="session")
def runtime(libpvlr: Path, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """libpvlr as it is installed."""
    with shared_folder(tmp_path_factory, "runtime") as folder:
        return build_programs(folder, libpvlr)


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    """libpvlr under AddressSanitizer and UndefinedBehaviorSanitizer, with TensorRT if there are headers for it, and the
    GStreamer element where this machine has what it needs."""
    flags = f"-O0 -g1 {SANITIZE}"
    programs = "bad_input", "many_threads", "open_each", "tag", "tag_frames"
    includes = tensorrt_includes() if find_cuda_include() else []
    with shared_folder(tmp_path_factory, "sanitized") as folder:
        tensorrt = fakes_once(includes[-1], folder / "fakes") if includes else None
        prefix = install(folder, flags, gstreamer=gstreamer_missing() is None, tensorrt=tensorrt)
        return build_programs(folder, prefix, flags, *programs)


def fakes_once(include: Path, folder: Path) -> list[str]:
    """The fakes of TensorRT and CUDA; CMake's options that find them."""
    if folder.exists():
        return []  # CMake knows them
    return tensorrt_build.build_fakes(include, folder)


@pytest.fixture
def bundle(closed_plan: Path, tmp_path: Path) -> Path:
    """The plan of a bundle that a test may change."""
    for path in closed_plan.parent.glob("engine.*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "engine.plan"


@pytest.fixture(scope="module")
def open_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="writes a network")
    return build_plan(tmp_path_factory.mktemp("open"))


@pytest.fixture
def bank_path(tmp_path: Path) -> Path:
    random_bank(5, 0, without=1).save(tmp_path / "bank.safetensors")
    return tmp_path / "bank.safetensors"
