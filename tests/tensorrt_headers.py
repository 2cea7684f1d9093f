"""Where the headers of TensorRT and CUDA are, for the tests that compile against them.

NVIDIA publishes TensorRT's headers in its repository on GitHub, in the folder ``include``.
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import pytest

NO_HEADERS = "no TensorRT headers: set TENSORRT_ROOT, or PVLR_TEST_TENSORRT_INCLUDES to a list of include folders"


def tensorrt_includes() -> list[Path]:
    """The folders that the environment names, or else the system's."""
    listed = os.environ.get("PVLR_TEST_TENSORRT_INCLUDES", "").split(os.pathsep)
    folders = [Path(one) for one in listed if one]
    if root := os.environ.get("TENSORRT_ROOT"):
        folders.append(Path(root, "include"))
    if not folders:
        folders = [
            Path("/usr/include/x86_64-linux-gnu"),
            Path("/usr/include/aarch64-linux-gnu"),
            Path("/usr/include"),
        ]
    return [folder for folder in folders if (folder / "NvInferRuntime.h").is_file()]


def tensorrt_version(include: Path) -> str:
    """Major, minor and patch of the headers in a folder."""
    text = (include / "NvInferVersion.h").read_text()
    numbers = dict(
        re.findall(
            r"^#define (?:NV_TENSORRT|TRT)_([A-Z]+)(?:_ENTERPRISE)? +(\d+)", text, re.MULTILINE
        )
    )
    return ".".join(numbers[part] for part in ("MAJOR", "MINOR", "PATCH"))


def cuda_folders() -> list[Path]:
    """The folders that may have CUDA's headers: of CUDA_HOME, /usr/local/cuda*, or the wheels from PyPI."""
    homes = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    homes += [Path("/usr/local/cuda"), *sorted(Path("/usr/local").glob("cuda-*"), reverse=True)]
    folders = [home / "include" for home in homes]
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folders += sorted(Path(place).glob("*/include"), reverse=True)
    return folders


def find_cuda_include() -> Path | None:
    """The folder with cuda_runtime_api.h."""
    return next(
        (folder for folder in cuda_folders() if (folder / "cuda_runtime_api.h").is_file()), None
    )


def cuda_include() -> Path:
    """As :func:`find_cuda_include`; skips the test without."""
    found = find_cuda_include()
    if found is None:
        pytest.skip("no CUDA headers, which TensorRT's include")
    return found


def lean_runtime() -> Path | None:
    """NVIDIA's lean runtime from PyPI, the part of TensorRT that runs plans."""
    spec = importlib.util.find_spec("tensorrt_lean_libs")
    places = (spec.submodule_search_locations or []) if spec else []
    return next(
        (path for place in places for path in Path(place).glob("libnvinfer_lean.so.*")), None
    )


def cuda_runtime() -> Path | None:
    """CUDA's runtime library, of the toolkit or of the wheels from PyPI."""
    include = find_cuda_include()
    return (
        next((path for path in include.parent.glob("lib*/libcudart.so.*")), None)
        if include
        else None
    )
