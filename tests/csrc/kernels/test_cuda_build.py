"""The complete CUDA build with CMake and nvcc: the library, the Python core, and their errors without a GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.common import ROOT
from benchmarks.gpu.kernel_report import KERNELS, find_tool, write_instances

NVCC, CUOBJDUMP = find_tool("nvcc"), find_tool("cuobjdump")
pytestmark = pytest.mark.slow


@pytest.mark.skipif(CUOBJDUMP is None, reason="no cuobjdump on this machine")
def test_the_library_has_every_kernel_as_machine_code_and_as_ptx(
    cuda_build: Path, tmp_path: Path
) -> None:
    instances = {path.stem for kernel in KERNELS for path in write_instances(kernel, tmp_path)}
    for option, code in (("--list-elf", "cubin"), ("--list-ptx", "ptx")):
        listed = subprocess.check_output(
            [str(CUOBJDUMP), option, cuda_build / "libpvlr_cuda.a"], text=True
        )
        found = re.findall(
            rf"^member .*:(\w+)\.cu\.o:\n.* file +\d+: .*\.sm_87\.{code}$", listed, re.MULTILINE
        )
        assert instances <= set(found), listed


CORE = """
import importlib.machinery, importlib.util, sys
import numpy as np

loader = importlib.machinery.ExtensionFileLoader("pvlr_sdk._core", sys.argv[1])
sys.modules["pvlr_sdk._core"] = importlib.util.module_from_spec(
    importlib.util.spec_from_loader("pvlr_sdk._core", loader)
)
loader.exec_module(sys.modules["pvlr_sdk._core"])
from pvlr_sdk import errors, kernels
from pvlr_sdk.bundle.manifest import InputSpec

class OnDevice:
    def __init__(self, array):
        place = array.ctypes.data, False
        self.__cuda_array_interface__ = dict(shape=array.shape, typestr=array.dtype.str, data=place, version=3)
        self.array = array

assert kernels.has_cuda()
x, t = np.random.rand(1, 8, 49, 32).astype(np.float32), np.random.rand(8, 20, 32).astype(np.float32)
o_x, o_t = kernels.dual_softmax_attention(x, t, x, t)
assert np.isfinite(o_x).all() and np.isfinite(o_t).all()
frame, spec = np.zeros((20, 30, 3), np.uint8), InputSpec(width=8, height=8, mean=(0, 0, 0), std=(1, 1, 1))
logits, pixels = np.zeros((8, 20), np.float32), np.zeros((1, 3, 8, 8), np.float32)
a, b = OnDevice(x), OnDevice(t)
calls = {
    "dual_softmax_attention": lambda: kernels.dual_softmax_attention(a, b, a, b, out=(OnDevice(o_x), OnDevice(o_t))),
    "tag_head": lambda: kernels.tag_head(
        OnDevice(x[0]), b, scale=1, alpha=1, out=kernels.TagHead(OnDevice(logits))
    ),
    "preprocess": lambda: kernels.preprocess([OnDevice(frame)], spec, out=OnDevice(pixels)),
}
for name, call in calls.items():
    try:
        call()
    except errors.DeviceError as error:
        print(name, error)
"""


def test_the_python_core_links_and_says_that_there_is_no_gpu(
    cuda_build: Path, no_gpu: None
) -> None:
    (core,) = cuda_build.glob("_core*")
    done = subprocess.run([sys.executable, "-c", CORE, str(core)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "dual_softmax_attention",
        "tag_head",
        "preprocess",
    ]
    assert all("there is no usable CUDA device" in line for line in lines)


PROGRAM = """
#include <cstdio>
#include "pvlr/dual_softmax_attention.h"

int main() {
  alignas(16) static unsigned char memory[4096];
  pvlr::DualSoftmaxAttentionParams p{};
  p.batch = p.heads = p.tokens = p.labels = 1;
  p.dim = 32;
  p.q_x = p.k_t = p.v_x = p.v_t = memory;
  p.o_x = memory + 1024;
  p.o_t = memory + 2048;
  std::size_t bytes = 0;
  const pvlr::Status status = pvlr::dual_softmax_attention_cuda_workspace(p, &bytes);
  std::printf("%s", status.message);
  const bool limit = pvlr::dual_softmax_attention_cuda_workspace_limit(p, &bytes).ok();  // which needs no device
  return limit && status.code == pvlr::StatusCode::kUnsupportedDevice ? 0 : 1;
}
"""


def test_a_program_links_the_library(cuda_build: Path, tmp_path: Path, no_gpu: None) -> None:
    source, program = tmp_path / "program.cpp", tmp_path / "program"
    source.write_text(PROGRAM)
    libraries = [str(cuda_build / f"lib{name}.a") for name in ("pvlr_cuda", "pvlr_host")]
    command = [
        str(NVCC),
        "-std=c++17",
        f"-I{ROOT / 'csrc/include'}",
        str(source),
        *libraries,
        "-o",
        str(program),
    ]
    subprocess.run(command, check=True)
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def no_gpu() -> None:
    if (
        shutil.which("nvidia-smi")
        and subprocess.run(["nvidia-smi", "-L"], capture_output=True).returncode == 0
    ):
        pytest.skip("there is a GPU: tests/csrc/device shows more")
