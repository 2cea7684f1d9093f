"""The report on the CUDA kernels: its numbers are correct, and it fails for the problems that it must find."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common import RESULTS, ROOT
from benchmarks.gpu import cuda_inspect, gpus, kernel_gates, kernel_report, kernel_table

TOOLS = ("nvcc", "cuobjdump", "nvdisasm")
needs_cuda = pytest.mark.skipif(
    any(cuda_inspect.find_tool(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)}"
)
MMA = kernel_table.KERNELS[0].functions["mma_attention"]
GOOD = cuda_inspect.Compiled(
    "mma_attention", "", 87, 128, 128, 0, 0, 0, Counter(["HMMA.16816.F32", "LDSM.16.M88.4", "LDGSTS.E.BYPASS.128"])
)


@pytest.mark.parametrize("capability", gpus.LIMITS)
def test_occupancy_is_what_nvidias_calculator_says(capability: int, tmp_path: Path) -> None:
    """cuda_occupancy.h is NVIDIA's own formula, in plain C++; blocks per multiprocessor for random kernels."""
    header = _occupancy_header()
    limits, rng = gpus.LIMITS[capability], random.Random(capability)
    cases = [
        (32 * rng.randint(1, 32), rng.randint(16, 255), rng.choice([0, rng.randint(0, limits.shared_of_block)]))
        for _ in range(300)
    ]
    cases = [one for one in cases if one[0] * one[1] <= 60_000]  # a launch with more registers is refused
    calls = "".join(f"  show({threads}, {registers}, {shared});\n" for threads, registers, shared in cases)
    (tmp_path / "calculator.cpp").write_text(
        f"""
#include <cstdio>
#include "{header}"
void show(int threads, int registers, size_t shared) {{
  cudaOccDeviceProp p;
  p.computeMajor = {capability // 10}; p.computeMinor = {capability % 10};
  p.maxThreadsPerBlock = 1024; p.maxThreadsPerMultiprocessor = {32 * limits.warps};
  p.regsPerBlock = p.regsPerMultiprocessor = 65536; p.warpSize = 32; p.numSms = 1;
  p.sharedMemPerBlock = 49152; p.sharedMemPerMultiprocessor = {limits.shared};
  p.sharedMemPerBlockOptin = {limits.shared_of_block}; p.reservedSharedMemPerBlock = {0 if capability < 80 else 1024};
  cudaOccFuncAttributes f;
  f.maxThreadsPerBlock = 1024; f.numRegs = registers; f.sharedSizeBytes = 0;
  f.partitionedGCConfig = PARTITIONED_GC_OFF; f.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
  f.maxDynamicSharedSizeBytes = {limits.shared_of_block}; f.numBlockBarriers = 1;
  cudaOccDeviceState state;
  state.cacheConfig = CACHE_PREFER_SHARED;
  cudaOccResult result;
  const auto error = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &p, &f, &state, threads, shared);
  std::printf("%d\\n", error == CUDA_OCC_SUCCESS ? result.activeBlocksPerMultiprocessor : -1);
}}
int main() {{
{calls}}}
"""
    )
    program = tmp_path / "calculator"
    subprocess.run(["g++", "-w", tmp_path / "calculator.cpp", "-o", program], check=True)
    blocks = [int(line) for line in subprocess.check_output([program], text=True).split()]
    assert min(blocks) >= 0
    for case, expected in zip(cases, blocks, strict=True):
        share, _ = gpus.occupancy(capability, *case)
        assert round(share * limits.warps) == expected * case[0] // 32, case


def _occupancy_header() -> Path:
    nvcc = cuda_inspect.find_tool("nvcc")
    folders = [Path(nvcc).resolve().parents[1] / "include", Path("/usr/local/cuda/include")] if nvcc else []
    found = [folder / "cuda_occupancy.h" for folder in folders if (folder / "cuda_occupancy.h").exists()]
    if not found or not shutil.which("g++"):
        pytest.skip("needs cuda_occupancy.h of the CUDA toolkit, and g++")
    return found[0]


def test_a_workload_counts_what_must_be_moved_and_computed() -> None:
    batch, heads, tokens, labels, dim = 3, 2, 5, 7, 32
    load = kernel_table.attention_load("any", batch, heads, tokens, labels, dim)
    per_image = [np.empty((batch, heads, rows, dim)) for rows in (tokens, tokens, tokens, labels)]  # q_x v_x o_x o_t
    shared = [np.empty((heads, labels, dim))] * 2  # k_t v_t
    assert load.elements == sum(tensor.size for tensor in [*per_image, *shared])
    products = [(tokens, dim, labels), (tokens, labels, dim), (labels, tokens, dim)]  # S, S V_t, S^T V_x
    assert load.flops == batch * heads * sum(2 * math.prod(sizes) for sizes in products)
    assert load.exps == 2 * batch * heads * tokens * labels


def test_the_roofline_takes_the_highest_roof() -> None:
    device = gpus.Device("a", 87, tensor=100.0, float32=32.0, bandwidth=10.0, source="", pattern="a")
    assert gpus.bound(device, 320, 0, 10, tensor=False) == (10, "arithmetic")
    assert gpus.bound(device, 320, 0, 50, tensor=True) == (5, "memory")
    assert gpus.bound(device, 320, 12, 10, tensor=True) == (6, "exponentials")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"spilled": 16}, ["spills 16 bytes"]),
        ({"opcodes": Counter(["FFMA", "LDSM.16", "LDGSTS.E"])}, ["has no HMMA.16816.F32"]),
        ({"opcodes": Counter(["HMMA.1688.F32"])}, ["has no HMMA.16816.F32", "has no LDSM", "has no LDGSTS"]),
        ({"opcodes": Counter(["HMMA.1688.F32", "LDSM.16"]), "capability": 75}, []),  # Turing has no cp.async
    ],
)
def test_spills_and_lost_instructions_are_problems(change: dict[str, object], found: list[str]) -> None:
    assert kernel_report.problems(MMA, replace(GOOD, **change), "float16") == found
    if "opcodes" in change:
        assert kernel_report.problems(MMA, replace(GOOD, **change), "float32") == []
        assert kernel_report.problems(MMA, replace(GOOD, **change), "float16", fits=False) == []  # never launched


def test_every_instantiation_belongs_to_an_entry_of_the_table(tmp_path: Path) -> None:
    counts = {kernel.name: len(kernel_report.instances(kernel, tmp_path)) for kernel in kernel_table.KERNELS}
    assert counts == {"dual_softmax_attention": 12, "tag_head": 3, "preprocess": 3}
    templates = (ROOT / "csrc/kernels").glob("*/instance.cu.in")
    assert {path.parent.name for path in templates} == set(counts)


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
    (one,) = cuda_inspect.compile_kernels(greedy, 87, tmp_path)
    assert (one.name, one.arguments, one.threads) == ("greedy", "96", 1024)
    assert one.registers == 64  # all that 1024 threads can have
    assert one.spilled > 0
    assert {opcode.split(".")[0] for opcode in one.opcodes} >= {"STL", "LDL", "FFMA", "BAR", "STG"}
    greedy.write_text(greedy.read_text().replace("own[kSize];", "own[kSize]; int unused;"))
    with pytest.raises(cuda_inspect.CudaError, match="unused"):  # warnings are errors
        cuda_inspect.compile_kernels(greedy, 87, tmp_path)


@pytest.mark.slow
@needs_cuda
def test_masks_on_every_tile_are_a_regression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted in a copy of the sources: a branch less, which gives the same results with more instructions."""
    copy = tmp_path / "csrc"
    shutil.copytree(ROOT / "csrc", copy)
    kernel = copy / "kernels/dual_softmax_attention/mma_kernel.cuh"
    planted, count = re.subn(r"if \([^;]*\) (?=labels_\.mask\()", "", kernel.read_text())
    assert count == 1
    kernel.write_text(planted)
    monkeypatch.setattr(cuda_inspect, "INCLUDES", (f"-I{copy}", f"-I{copy / 'include'}"))
    rows = kernel_report.inspect(kernel_table.KERNELS[0], [87], "float16_32")
    committed = json.loads((RESULTS / "kernels.json").read_text())
    committed["tools"] = cuda_inspect.tool_versions()  # of this compiler, whatever it is: masks cost more than that
    worse = kernel_gates.regressions(committed, {"tools": committed["tools"], "kernels": rows})
    assert any("instructions in a pass of the main loop" in line for line in worse), worse


@pytest.mark.slow
@needs_cuda
def test_the_command_writes_the_page_and_the_figures(tmp_path: Path) -> None:
    script = [sys.executable, "-m", "benchmarks.gpu.kernel_report"]
    paths = ["--json", tmp_path / "k.json", "--page", tmp_path / "k.md"]
    done = subprocess.run(
        [*script, "--arch", "87", "--only", "_float16_64", *paths], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = {row["kernel"]: row for row in json.loads((tmp_path / "k.json").read_text())["kernels"]}
    large = rows["mma_attention<MmaShape<__half, 64, 8, 2, 2>>"]
    # 256 labels and 2 tiles of 32 tokens, keys and values of 64 + 8 halves each; maxima of 8 warps.
    assert large["dynamic_shared_bytes"] == 2 * (2 * 256 + 2 * 2 * 32) * 72 + 4 * 8 * 32
    assert (large["threads"], large["type"], large["problems"]) == (256, "float16", [])
    page = (tmp_path / "k.md").read_text()
    for kernel in rows:
        assert page.count(f"`{kernel}`") == 2 + bool(rows[kernel]["main_loop"])
    refused = subprocess.run([*script, "--arch", "61", *paths], cwd=ROOT, capture_output=True, text=True)
    assert (refused.returncode, "the supported capabilities are 75" in refused.stderr) == (1, True)
