"""The report on the CUDA kernels: its numbers are correct, and it fails for the problems that it must find."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.common import ROOT
from benchmarks.gpu.kernel_report import (
    KERNELS,
    Compiled,
    CudaError,
    compile_kernels,
    find_tool,
    main_loop,
)

needs_cuda = pytest.mark.skipif(
    any(find_tool(tool) is None for tool in ("nvcc", "cuobjdump", "nvdisasm")),
    reason="needs nvcc, cuobjdump, nvdisasm",
)
TENSOR = Counter(["HMMA.16816.F32", "LDSM.16.M88.4", "LDGSTS.E.BYPASS.128"])
GOOD = Compiled("mma_attention", "", "float16", 87, 128, 0, 0, TENSOR, Counter())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"local": 16}, ["uses 16 bytes of local memory"]),
        ({"opcodes": Counter(["FFMA", "LDSM.16", "LDGSTS.E"])}, ["has no HMMA.16816.F32"]),
        (
            {"opcodes": Counter(["HMMA.1688.F32"])},
            ["has no LDSM", "has no HMMA.16816.F32", "has no LDGSTS"],
        ),
        (
            {"opcodes": Counter(["HMMA.1688.F32", "LDSM.16"]), "capability": 75},
            [],
        ),  # Turing has no cp.async
        ({"opcodes": Counter(), "dtype": "float32"}, []),
        ({"opcodes": Counter(), "shared": 164 * 1024}, []),  # never launched
    ],
)
def test_spills_and_lost_instructions_are_problems(
    change: dict[str, object], found: list[str]
) -> None:
    assert replace(GOOD, **change).problems() == found


def test_the_main_loop_is_the_innermost_with_products_and_a_barrier() -> None:
    """Three nested loops, the innermost without a barrier, and one with multiplications only."""
    lines = [
        ("0000", "MOV", " R1, R2"),
        ("0010", "LDGSTS.E", ""),
        ("0020", "BAR.SYNC", " 0x0"),
        ("0030", "HMMA.16816.F32", ""),
        ("0040", "BRA", " 0x30"),
        ("0050", "BRA", " `(.L_x) 0x10"),
        ("0060", "FFMA", ""),
        ("0070", "BRA", " 0x60"),
        ("0080", "BRA", " 0x0"),
        ("0090", "BRA", " 0x90"),
    ]
    assert main_loop(lines) == Counter(
        {"BRA": 2, "LDGSTS.E": 1, "BAR.SYNC": 1, "HMMA.16816.F32": 1}
    )
    assert main_loop(lines[6:8]) == Counter({"FFMA": 1, "BRA": 1})
    assert main_loop(lines[:2]) == Counter()


def test_every_kernel_with_instances_is_in_the_report() -> None:
    assert {path.parent.name for path in (ROOT / "csrc/kernels").glob("*/instance.cu.in")} == set(
        KERNELS
    )


@pytest.mark.slow
@needs_cuda
def test_a_real_spill_and_a_real_failure_are_seen(tmp_path: Path) -> None:
    greedy = tmp_path / "greedy.cu"
    greedy.write_text(
        "template <int kSize> __global__ void __launch_bounds__(1024) greedy(float* x) {\n"
        "  float own[kSize];\n"
        "  for (int i = 0; i < kSize; ++i) own[i] = x[i * 1024 + threadIdx.x];\n"
        "  __syncthreads();\n"
        "  for (int i = 0; i < kSize; ++i)\n"
        "    for (int j = 0; j < kSize; ++j) own[j] = own[j] * own[i] + own[(i + j) % kSize];\n"
        "  for (int i = 0; i < kSize; ++i) x[i * 1024 + threadIdx.x] = own[i];\n"
        "}\n"
        "template __global__ void greedy<96>(float*);\n"
    )
    (one,) = compile_kernels(greedy, 87, tmp_path)
    assert (one.name, one.arguments) == ("greedy", "96")
    assert one.registers == 64  # all that 1024 threads can have
    assert one.local > 0
    assert {opcode.split(".")[0] for opcode in one.opcodes} >= {"STL", "LDL", "FFMA", "BAR", "STG"}
    greedy.write_text(greedy.read_text().replace("own[kSize];", "own[kSize]; int unused;"))
    with pytest.raises(CudaError, match="unused"):  # warnings are errors
        compile_kernels(greedy, 87, tmp_path)


@pytest.mark.slow
@needs_cuda
def test_the_command_prints_the_table() -> None:
    script = [sys.executable, "-m", "benchmarks.gpu.kernel_report"]
    done = subprocess.run(
        [*script, "--arch", "87", "--only", "_float16_64"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.strip()) == (0, ""), done.stderr
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in done.stdout.splitlines()
        if "`" in line
    ]
    large = next(row for row in rows if row[0] == "`mma_attention<MmaShape<__half, 64, 8, 2, 2>>`")
    # 256 labels and 2 tiles of 32 tokens, keys and values of 64 + 8 halves each; maxima of 8 warps.
    assert large[2:4] == ["0", str(2 * (2 * 256 + 2 * 2 * 32) * 72 + 4 * 8 * 32)]
    assert int(large[1]) <= 255
    assert int(large[5]) > 0  # HMMA in the main loop
    refused = subprocess.run([*script, "--arch", "61"], cwd=ROOT, capture_output=True, text=True)
    assert (refused.returncode, "the supported capabilities are 75" in refused.stderr) == (1, True)
