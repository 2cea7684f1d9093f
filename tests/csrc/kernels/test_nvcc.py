"""nvcc compiles every source for every kind of device: warnings are errors, no spills, tensor-core instructions."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.common import RESULTS, ROOT
from benchmarks.gpu.cuda_inspect import compile_kernels, find_tool, tool_versions
from benchmarks.gpu.kernel_gates import regressions
from benchmarks.gpu.kernel_report import inspect
from benchmarks.gpu.kernel_table import KERNELS, Kernel

ARCHITECTURES = [75, 87, 90]
MISSING = [tool for tool in ("nvcc", "cuobjdump", "nvdisasm") if find_tool(tool) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"no {' and no '.join(MISSING)} on this machine")


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", sorted((ROOT / "csrc/kernels").glob("*/launcher.cu")), ids=lambda path: path.parent.name
)
def test_launchers_compile(source: Path, tmp_path: Path) -> None:
    for architecture in ARCHITECTURES:
        kernels = compile_kernels(source, architecture, tmp_path)
        assert [kernel for kernel in kernels if kernel.spilled] == []
        if source.with_name("instance.cu.in").exists():
            assert kernels == []  # it only dispatches


@pytest.mark.slow
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_compiles_without_spills_onto_tensor_cores_and_is_no_worse_than_committed(kernel: Kernel) -> None:
    rows = inspect(kernel, ARCHITECTURES, jobs=os.cpu_count() or 1)
    assert {row["capability"] for row in rows} == set(ARCHITECTURES)
    assert [(row["kernel"], row["capability"], row["problems"]) for row in rows if row["problems"]] == []
    committed = json.loads((RESULTS / "kernels.json").read_text())
    assert regressions(committed, {"tools": tool_versions(), "kernels": rows}) == []
    # A float32 product on tensor cores would keep ten bits of each factor.
    assert [row["kernel"] for row in rows if row["type"] == "float32" and row["instructions"]["HMMA"]] == []
