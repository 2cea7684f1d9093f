"""nvcc compiles every source for every kind of device, with warnings as errors, without spills, onto tensor cores."""

from __future__ import annotations

from pathlib import Path

import pytest
from cuda_inspect import ROOT, compile_kernels, find_tool
from kernel_report import instances, problems
from kernel_table import KERNELS, Kernel

ARCHITECTURES = (75, 87, 90)
TOOLS = [tool for tool in ("nvcc", "cuobjdump", "nvdisasm") if find_tool(tool) is None]
pytestmark = pytest.mark.skipif(bool(TOOLS), reason=f"no {' and no '.join(TOOLS)} on this machine")


@pytest.mark.parametrize("source", sorted((ROOT / "csrc/kernels").glob("*.cu")), ids=lambda path: path.stem)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_launchers_compile(source: Path, architecture: int, tmp_path: Path) -> None:
    assert compile_kernels(source, architecture, tmp_path) == []  # they only dispatch


@pytest.mark.parametrize(
    ("kernel", "source"),
    [(kernel, source) for kernel in KERNELS for source in instances(kernel)],
    ids=lambda one: one.stem if isinstance(one, Path) else "",
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_compiles_without_spills_onto_tensor_cores(
    kernel: Kernel, source: Path, architecture: int, tmp_path: Path
) -> None:
    compiled = compile_kernels(source, architecture, tmp_path)
    kind = source.stem.removeprefix(f"{kernel.name}_").split("_")[0]
    assert compiled
    for one in compiled:
        assert problems(kernel.functions[one.name], one, kind) == []
        # Tensor cores keep ten bits of a float32: those kernels must not be there.
        assert kind != "float32" or not any(opcode.startswith("HMMA") for opcode in one.opcodes)
