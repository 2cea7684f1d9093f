"""nvcc compiles every source for every kind of device: warnings are errors, no spills, tensor-core instructions."""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.common import ROOT
from benchmarks.gpu.kernel_report import (
    KERNELS,
    Compiled,
    compile_kernels,
    find_tool,
    read_kernels,
    write_instances,
)

ARCHITECTURES = [75, 87, 90]
LEFT_OUT = [
    f"dual_softmax_attention_{kind}"
    for kind in (
        "float32_32",
        "float32_96",
        "float16_32",
        "float16_96",
        "bfloat16_32",
        "bfloat16_64",
        "bfloat16_96",
    )
]
"""For other devices than Orin (8.7): those that use fewer registers, and those for bfloat16 that use as many as for
float16. benchmarks/gpu/kernel_report.py compiles them for every device."""
MISSING = [tool for tool in ("nvcc", "cuobjdump", "nvdisasm") if find_tool(tool) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"no {' and no '.join(MISSING)} on this machine"),
]


@pytest.mark.parametrize(
    "source",
    sorted((ROOT / "csrc/kernels").glob("*/launcher.cu")),
    ids=lambda path: path.parent.name,
)
def test_launchers_compile(source: Path, tmp_path: Path) -> None:
    for architecture in ARCHITECTURES:
        kernels = compile_kernels(source, architecture, tmp_path)
        assert [kernel for kernel in kernels if kernel.local] == []
        if source.with_name("instance.cu.in").exists():
            assert kernels == []  # it only dispatches


def built(build: Path, source: Path) -> Path:
    """The object of an instance that CMake has compiled for sm_87."""
    return build / "CMakeFiles/pvlr_cuda.dir/instances" / f"{source.name}.o"


@pytest.mark.skipif(
    "PVLR_PTXAS" not in os.environ,
    reason="no PVLR_PTXAS: an assembler of CUDA 12.6, as in JetPack 6",
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_assembler_of_cuda_12_6_spills_nothing(
    kernel: str, cuda_build: Path, tmp_path: Path
) -> None:
    """It allocates the registers. PTX for it differs in the version only: PyPI has no nvcc of CUDA 12."""

    def assemble(source: Path) -> str:
        command = [str(find_tool("cuobjdump")), "-ptx", built(cuda_build, source)]
        (text,) = re.findall(
            r"(?ms)^\.version \S+\n(.*?)(?:^Fatbin|\Z)", subprocess.check_output(command, text=True)
        )
        ptx = source.with_suffix(".ptx")
        ptx.write_text(f".version 8.5\n{text}")
        command = [
            os.environ["PVLR_PTXAS"],
            "-v",
            "-arch=sm_87",
            ptx,
            "-o",
            ptx.with_suffix(".cubin"),
        ]
        return subprocess.run(command, check=True, capture_output=True, text=True).stderr

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for words in pool.map(assemble, write_instances(kernel, tmp_path)):
            assert "Used " in words
            assert not re.search(r"[1-9]\d* bytes spill", words), words


@pytest.mark.parametrize("kernel", KERNELS)
def test_compiles_without_spills_onto_tensor_cores(
    kernel: str, cuda_build: Path, tmp_path: Path
) -> None:
    def kernels(call: tuple[Path, int]) -> list[Compiled]:
        source, capability = call
        if capability == 87:
            return read_kernels(built(cuda_build, source), *call)
        return compile_kernels(*call, tmp_path)

    # A source's shared memory is computed once, if its architectures do not come together.
    calls = [(source, one) for one in ARCHITECTURES for source in write_instances(kernel, tmp_path)]
    calls = [call for call in calls if call[1] == 87 or call[0].stem not in LEFT_OUT]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [one for some in pool.map(kernels, calls) for one in some]
    assert {one.capability for one in found} == set(ARCHITECTURES)
    assert [(str(one), one.capability, one.problems()) for one in found if one.problems()] == []
    # A float32 product on tensor cores would keep ten bits of each factor.
    float32 = [one for one in found if one.dtype == "float32"]
    assert float32
    assert not any(opcode.startswith("HMMA") for one in float32 for opcode in one.opcodes)
