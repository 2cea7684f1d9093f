#!/usr/bin/env bash
# Checks TensorRT on a GPU in one command: builds plans of the shipped models in fp16 and int8, with native and fused
# attention, compares each with fp32 on the sample images, and measures it.
#
#     benchmarks/gpu/trt_check.sh [OUT] [-- OPTIONS of trt_check.py]     # OUT: logs, plans, JSON; default build/trt_check
#
# Needs an NVIDIA GPU, TensorRT 10.3 or newer with its Python package, and pycuda (without it the driver's
# library is used directly); nothing is downloaded.
# PYTHON selects another interpreter, in which this package is installed with its extra [int8] (and, for fused attention,
# with CMAKE_ARGS="-DPVLR_CUDA=ON"). --images DIR quantises and compares on more images than the samples.
#
# Exit status: 0 if everything passed; 1 if a plan failed (the others are still measured); 3 if a requirement is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."

out="build/trt_check"
if [[ $# -gt 0 && "$1" != -* ]]; then
  out="$1"
  shift
fi
[[ "${1:-}" != "--" ]] || shift
python="${PYTHON:-python3}"
if ! "$python" -c "import pvlr_sdk" 2>/dev/null; then
  echo "trt_check: $python has no pvlr_sdk: pip install \".[int8]\", or select another interpreter with PYTHON" >&2
  exit 3
fi

mkdir -p "$out"
"$python" -c "from pvlr_sdk.cli import main; main()" doctor --json >"$out/doctor.json" 2>/dev/null || true
exec "$python" -m benchmarks.gpu.trt_check --out "$out" "$@"
