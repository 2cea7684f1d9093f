"""nvcc compiles every instantiation, with warnings as errors, without spills, and onto tensor cores."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "csrc/kernels"
SOURCES = [KERNELS / "dual_softmax_attention.cu", *sorted((KERNELS / "instances").glob("*.cu"))]
ARCHITECTURES = (75, 87, 90)
FLAGS = ["-std=c++17", "-O3", "--Werror=all-warnings", "-Xcompiler=-Wall,-Wextra,-Werror", "-Xptxas=-v"]


def _tool(name: str) -> str | None:
    """A program of the CUDA toolkit: on the path, in CUDA_HOME, or in a wheel from PyPI."""
    homes = [Path(os.environ[key]) for key in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(key)]
    folders = [home / "bin" for home in [*homes, Path("/usr/local/cuda")]]
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folders += sorted(Path(place).glob("*/bin"))
    found = [folder / name for folder in folders if (folder / name).is_file()]
    return str(found[0]) if found else shutil.which(name)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_compiles_without_spills_onto_tensor_cores(source: Path, tmp_path: Path) -> None:
    nvcc, cuobjdump, nvdisasm = _tool("nvcc"), _tool("cuobjdump"), _tool("nvdisasm")
    if nvcc is None:
        pytest.skip("no nvcc on this machine")
    target = tmp_path / "kernel.o"
    code = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in ARCHITECTURES]
    include = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}"]
    done = subprocess.run(
        [nvcc, *FLAGS, *code, *include, "-c", str(source), "-o", str(target)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    if source.parent == KERNELS:
        return  # the launcher has no kernels

    report = re.findall(r"entry function '(\w+)' for 'sm_(\d+)'.*?(\d+) bytes spill stores, (\d+)", done.stderr, re.S)
    assert len(report) >= 2 * len(ARCHITECTURES)
    assert [one for one in report if one[2:] != ("0", "0")] == []

    if cuobjdump is None or nvdisasm is None:
        pytest.skip("compiled; no cuobjdump and nvdisasm to look inside (pip install nvidia-cuda-{cuobjdump,nvdisasm})")
    path = os.pathsep.join([str(Path(nvdisasm).parent), os.environ.get("PATH", "")])
    for arch in ARCHITECTURES:
        sass = subprocess.run(
            [cuobjdump, "-sass", "-arch", f"sm_{arch}", str(target)],
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": path},
            check=True,
        ).stdout
        assert "FFMA" in sass or "HMMA" in sass
        two_bytes = "float16" in source.stem  # bfloat16 too
        turing_bfloat16 = arch == 75 and "bfloat16" in source.stem  # plain arithmetic there
        wanted = "HMMA.1688.F32" if arch == 75 else "HMMA.16816.F32"
        assert (wanted in sass) == (two_bytes and not turing_bfloat16), f"sm_{arch}"
        assert ("LDSM" in sass) == two_bytes, f"sm_{arch}"
        assert ("LDGSTS" in sass) == (two_bytes and arch >= 80), f"sm_{arch}"
