#!/usr/bin/env bash
# Answers in one command what only an NVIDIA GPU can answer about the TensorRT backend; trt_check.py has the list.
#
#     benchmarks/gpu/trt_check.sh [OUT] [-- OPTIONS of trt_check.py]     # OUT: default build/trt_check
#
# Writes OUT/trt_check.md, a page for people, and OUT/trt_check.json, after each answer: stop it at any time with Ctrl-C.
# A second start skips what has an answer.
#
# Needs an NVIDIA GPU and TensorRT 10.3 or newer with its Python package; --photos DIR or PVLR_DATA for int8. PYTHON
# selects another interpreter. If it lacks this package, the package is installed in OUT/venv, with CUDA where there is
# nvcc; only that needs the network. Without a GPU, TensorRT-RTX builds the plans ahead of time.
#
# Exit status: 0 if no answer is "fail"; 1 if one is; 3 if a requirement of all questions is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."

out="build/trt_check"
if [[ $# -gt 0 && "$1" != -* ]]; then
  out="$1"
  shift
fi
[[ "${1:-}" != "--" ]] || shift
python="${PYTHON:-python3}"
mkdir -p "$out"
if ! "$python" -c "import pvlr_sdk._core" 2>/dev/null; then
  # TensorRT of a Jetson belongs to the system's Python.
  [[ -x "$out/venv/bin/python" ]] || "$python" -m venv --system-site-packages "$out/venv"
  python="$out/venv/bin/python"
  if ! "$python" -c "import pvlr_sdk._core" 2>/dev/null; then
    cuda="$(command -v nvcc || command -v /usr/local/cuda/bin/nvcc || true)"
    PVLR_CUDA="${cuda:+1}" "$python" -m pip install -q pytest -e ".[int8]" || {
      echo "trt_check: cannot install the package for ${PYTHON:-python3}; see the lines above" >&2
      exit 3
    }
  fi
fi
"$python" -c "from pvlr_sdk.cli import main; main()" doctor --json >"$out/doctor.json" 2>/dev/null || true
exec "$python" -m benchmarks.gpu.trt_check --out "$out" "$@"
