#!/usr/bin/env bash
# Checks the CUDA kernels on a GPU in one command: builds them, tests them on the device, searches for invalid accesses
# and races with compute-sanitizer, and times them and PyTorch.
#
#     benchmarks/gpu/gpu_check.sh [OUT]       # OUT: folder of logs, table and JSON; default build/gpu_check
#
# Needs an NVIDIA GPU, the CUDA toolkit (nvcc, compute-sanitizer), a C++17 compiler, and a Python with PyTorch for CUDA,
# pytest and the dependencies of ".[train]"; nothing is downloaded. PYTHON selects another interpreter. The package is
# installed there, editable, with CUDA.
#
# Exit status: 0 if everything passed; 1 if a check failed (the others still run); 3 if a requirement is missing.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 3

out="${1:-build/gpu_check}"
python="${PYTHON:-python3}"

missing() {
  echo "gpu_check: $1" >&2
  exit 3
}

command -v "$python" >/dev/null || missing "no $python"
command -v nvcc >/dev/null || missing "no nvcc: install the CUDA toolkit, or add it to PATH (/usr/local/cuda/bin)"
command -v compute-sanitizer >/dev/null || missing "no compute-sanitizer: it is part of the CUDA toolkit"
for tool in cmake c++; do
  command -v "$tool" >/dev/null || missing "no $tool"
done
"$python" -c "import torch" 2>/dev/null || missing "no PyTorch in $python"
"$python" -c "import torch, sys; sys.exit(not torch.cuda.is_available())" ||
  missing "no GPU: PyTorch finds none (torch.cuda.is_available() is False). See nvidia-smi, and check that PyTorch is built for CUDA."
"$python" -c "import pytest, pybind11, setuptools" || missing "pytest, pybind11 or setuptools is missing in $python"

mkdir -p "$out" || missing "cannot write to $out"
failed=()

# Runs one step; shows its output and keeps it in a log.
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

# Tests that find no device fail instead of being skipped.
export PVLR_REQUIRE_GPU=1
step tests "$python" -m pytest -q tests/csrc/device
# Only the SDK's kernels are checked; PyTorch's would take hours. Each tensor has its own allocation, so that accesses out
# of its bounds are found.
export PYTORCH_NO_CUDA_MEMORY_CACHING=1
for tool in memcheck racecheck; do
  step "$tool" compute-sanitizer --tool "$tool" --kernel-name kns=pvlr --error-exitcode 9 \
    "$python" -m pytest -q tests/csrc/device -m sanitized
done
unset PYTORCH_NO_CUDA_MEMORY_CACHING
step times "$python" -m benchmarks.gpu.kernels_gpu --json "$out/kernels_gpu.json"

if [[ "${#failed[@]}" -gt 0 ]]; then
  printf 'gpu_check: FAILED: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "gpu_check: all passed; table in $out/times.log, results in $out/kernels_gpu.json"
