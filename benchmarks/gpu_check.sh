#!/usr/bin/env bash
# Everything about the CUDA kernels that takes a GPU, in one command: builds them, tests them on the device, looks for
# bad accesses and races with compute-sanitizer, and times them against PyTorch.
#
#     benchmarks/gpu_check.sh [OUT]       # OUT: where logs, table and JSON go; default build/gpu_check
#
# Needs an NVIDIA GPU, the CUDA toolkit (nvcc, compute-sanitizer), a C++17 compiler, and a Python with PyTorch for CUDA,
# pytest, and what pip install ".[train]" brings; nothing is downloaded. PYTHON names another interpreter. The package is
# installed there, editable, with CUDA.
#
# Exit status: 0 all passed; 1 a check failed, the others ran nevertheless; 3 something that it needs is missing.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 3

out="${1:-build/gpu_check}"
python="${PYTHON:-python3}"

missing() {
  echo "gpu_check: $1" >&2
  exit 3
}

command -v "$python" >/dev/null || missing "no $python"
command -v nvcc >/dev/null || missing "no nvcc: install the CUDA toolkit, or put it into PATH (/usr/local/cuda/bin)"
command -v compute-sanitizer >/dev/null || missing "no compute-sanitizer: it is in the CUDA toolkit, beside nvcc"
for tool in cmake c++; do
  command -v "$tool" >/dev/null || missing "no $tool"
done
"$python" -c "import torch" 2>/dev/null || missing "no PyTorch in $python"
"$python" -c "import torch, sys; sys.exit(not torch.cuda.is_available())" ||
  missing "no GPU: PyTorch finds none (torch.cuda.is_available() is False). See nvidia-smi; is this PyTorch built for CUDA?"
"$python" -c "import pytest, pybind11, setuptools" || missing "pytest, pybind11 or setuptools is missing in $python"

mkdir -p "$out" || missing "can't write to $out"
failed=()

# Runs one step; its output is shown and kept.
step() {
  local name="$1"
  shift
  echo "== $name: $*"
  "$@" 2>&1 | tee "$out/$name.log"
  local status="${PIPESTATUS[0]}"
  if [[ "$status" -ne 0 ]]; then
    failed+=("$name (status $status, $out/$name.log)")
    return 1
  fi
}

# Without the kernels there is nothing to check.
if ! CMAKE_ARGS="-DPVLR_CUDA=ON ${CMAKE_ARGS:-}" step build \
  "$python" -m pip install --no-deps --no-build-isolation --no-index -e .; then
  echo "gpu_check: FAILED: ${failed[*]}" >&2
  exit 1
fi

# With this a test that finds no device fails instead of being skipped.
export PVLR_REQUIRE_GPU=1
step tests "$python" -m pytest -q tests/device
# Only our kernels are watched; all of PyTorch's would take hours. Each tensor has an allocation of its own, so that an
# access beside it is seen.
export PYTORCH_NO_CUDA_MEMORY_CACHING=1
for tool in memcheck racecheck; do
  step "$tool" compute-sanitizer --tool "$tool" --kernel-name kns=pvlr --error-exitcode 9 \
    "$python" -m pytest -q tests/device -m sanitized
done
unset PYTORCH_NO_CUDA_MEMORY_CACHING
step times "$python" benchmarks/kernels_gpu.py --json "$out/kernels_gpu.json"

if [[ "${#failed[@]}" -gt 0 ]]; then
  printf 'gpu_check: FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "gpu_check: all passed; table in $out/times.log, figures in $out/kernels_gpu.json"
