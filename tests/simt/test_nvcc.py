"""nvcc compiles every source for every kind of device, with warnings as errors, without spills, onto tensor cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cuda_inspect import ROOT, compile_kernels, find_tool
from kernel_report import inspect, instances
from kernel_table import KERNELS, Kernel

ARCHITECTURES = [75, 87, 90]
MISSING = [tool for tool in ("nvcc", "cuobjdump", "nvdisasm") if find_tool(tool) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"no {' and no '.join(MISSING)} on this machine")


@pytest.mark.parametrize("source", sorted((ROOT / "csrc/kernels").glob("*.cu")), ids=lambda path: path.stem)
def test_launchers_compile(source: Path, tmp_path: Path) -> None:
    for architecture in ARCHITECTURES:
        assert compile_kernels(source, architecture, tmp_path) == []  # they only dispatch


@pytest.mark.parametrize("kernel", [one for one in KERNELS if instances(one)], ids=lambda kernel: kernel.name)
def test_compiles_without_spills_onto_tensor_cores(kernel: Kernel) -> None:
    rows = inspect(kernel, ARCHITECTURES, jobs=os.cpu_count() or 1)
    assert {row["capability"] for row in rows} == set(ARCHITECTURES)
    assert [(row["kernel"], row["capability"], row["problems"]) for row in rows if row["problems"]] == []
    # A float32 product on tensor cores would keep ten bits of each factor.
    assert [row["kernel"] for row in rows if row["type"] == "float32" and row["instructions"]["HMMA"]] == []
