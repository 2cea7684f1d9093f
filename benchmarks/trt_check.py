"""Builds the shipped models for TensorRT on this GPU, checks and measures them; see trt_check.sh.

Prints a row a plan, and writes trt_check.json: what was built, what it says of the photos against fp32, and
milliseconds of the network alone (by CUDA events) and from frame to tags, images a second, memory and energy.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends.tensorrt.cuda import Cuda, open_cuda
from pvlr_sdk.bench import sampling
from pvlr_sdk.bench.machine import EnergyMeter
from pvlr_sdk.build import build
from pvlr_sdk.frames import load_bgr
from pvlr_sdk.precision import Photos
from pvlr_sdk.probes import board, gpu
from pvlr_sdk.tensorrt import library
from pvlr_sdk.tensorrt.options import Batch, BuildOptions

ROOT = Path(__file__).resolve().parents[1]
MODELS = {
    path.parent.name: path for path in (*ROOT.glob("pvlr_sdk/models/*/engine.plan"), *ROOT.glob("models/*/engine.plan"))
}
SAMPLES = sorted((ROOT / "docs" / "images").glob("*.jpg"))
MISSING = 3
COLUMNS = {"plan": 42, "same tags": 9, "GPU p50": 8, "p99 ": 8, "frame p50": 9, "p99": 8, "images/s": 9, "J/frame": 8}
HEADER = " ".join(f"{name:{width}}" if name == "plan" else f"{name:>{width}}" for name, width in COLUMNS.items())


@dataclass(frozen=True)
class Case:
    """One plan to build."""

    model: str
    precision: str
    attention: str

    def __str__(self) -> str:
        return f"{self.model}-{self.precision}-{self.attention}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/trt_check"), help="where plans, logs and JSON go")
    parser.add_argument("--photos", type=Path, help="a folder of photos for int8 and the gate; by default the samples")
    parser.add_argument("--models", nargs="*", default=sorted(MODELS), choices=sorted(MODELS))
    parser.add_argument("--precisions", nargs="*", default=["fp16", "int8"])
    parser.add_argument("--attentions", nargs="*", default=["native", "fused"])
    parser.add_argument("--seconds", type=float, default=10.0, help="the most time for each figure")
    options = parser.parse_args()
    try:
        library.require()
        cuda = open_cuda()
    except errors.MissingPartError as error:
        print(f"trt_check: {error}", file=sys.stderr)
        return MISSING
    options.out.mkdir(parents=True, exist_ok=True)
    photos = Photos.below(options.photos, "--photos") if options.photos else Photos(varied(SAMPLES))
    cases = [Case(m, p, a) for m in options.models for p in options.precisions for a in options.attentions]
    report: dict[str, Any] = {"conditions": conditions(cuda), "photos": len(photos.frames), "plans": {}}
    print(f"{report['conditions']['gpu']['name']}, TensorRT {library.version()}, {len(photos.frames)} photos")
    print(HEADER)
    for case in cases:
        try:
            figures = measure(case, options.out, photos, options.seconds, cuda)
            print(row(case, figures), flush=True)
        except errors.PvlrError as error:
            figures = {"error": f"{type(error).__name__}: {error}"}
            print(f"{case!s:42} {figures['error']}", flush=True)
        report["plans"][str(case)] = figures
    path = options.out / "trt_check.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"figures in {path}")
    return int(any("error" in figures for figures in report["plans"].values()))


def varied(paths: Sequence[Path], count: int = 64) -> list[Any]:
    """``count`` frames cut and flipped from a few photos, always the same: enough to quantise for a measurement."""
    random = np.random.default_rng(0)
    frames = []
    for number in range(count):
        photo = load_bgr(paths[number % len(paths)])
        height, width = photo.shape[:2]
        share = random.uniform(0.5, 1.0)
        top, left = random.integers(0, int(height * (1 - share)) + 1), random.integers(0, int(width * (1 - share)) + 1)
        crop = photo[top : top + int(height * share), left : left + int(width * share)]
        frames.append(np.ascontiguousarray(crop[:, :: -1 if number % 2 else 1]))
    return frames


def conditions(cuda: Cuda) -> dict[str, Any]:
    """What the figures belong to."""
    return {
        "gpu": cuda.gpu().to_dict(),
        "tensorrt": library.version(),
        "cuda_binding": cuda.name,
        "jetson": board.jetson(),
        "clocks": board.clocks(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def measure(case: Case, out: Path, photos: Photos, seconds: float, cuda: Cuda) -> dict[str, Any]:
    """Build one plan, check it and measure it."""
    plan = out / str(case) / "engine.plan"
    began = time.perf_counter()
    manifest = build(
        MODELS[case.model],
        plan,
        device="tensorrt",
        precision=case.precision,
        photos=photos,
        options=BuildOptions(Batch(1, 1, 8), case.attention),
    )
    built = time.perf_counter() - began
    frame = load_bgr(SAMPLES[0])
    with cuda.current():
        free = cuda.free_memory()
    with Tagger(plan) as tagger:
        used = free - tagger._backend.free_memory()  # type: ignore[union-attr]
        sampling.repeat_for(min(1.0, seconds / 5), lambda: tagger.predict(frame))
        compute = np.array(tagger._backend.compute_times(max(20, int(50 * seconds))))  # type: ignore[union-attr]
        meter = EnergyMeter()
        meter.start()
        start = time.perf_counter()
        least = 200 if seconds >= 1 else 20
        total = sampling.sample(lambda: tagger.predict(frame).timing, warm_up=0, seconds=seconds, least=least)["total"]
        joules = meter.joules(time.perf_counter() - start)
        state = power()
        info = tagger.info
    with Tagger(plan, optimize="throughput") as tagger:
        batch = [frame] * 64
        start = time.perf_counter()
        rounds = sampling.repeat_for(seconds / 2, lambda: tagger.predict_batch(batch))
        rate = len(batch) * rounds / (time.perf_counter() - start)
    figures = manifest.measured["precisions"][f"{case.precision} {case.attention}"]
    return {
        "build_s": round(built, 1),
        "plan_mb": round(plan.stat().st_size / 1e6, 2),
        "agreement": {name: value for name, value in figures.items() if name != "inference_ms"},
        "gpu_ms": sampling.summary(compute),
        "frame_ms": sampling.summary(total),
        "images_per_second": round(rate, 1),
        "gpu_memory_mb": round(used / 1e6, 3),
        "joules_per_frame": None if joules is None else round(joules / len(total), 5),
        "energy_source": meter.source,
        "gpu_now": state,
        "cuda_graph": info["cuda_graph"],
        "preprocessing": info["preprocessing"],
    }


def power() -> Any:
    """Clocks, power and throttling of the GPU right after the measurement; None where nvidia-smi does not tell."""
    try:
        return gpu.now()
    except (RuntimeError, OSError):
        return None


def row(case: Case, figures: dict[str, Any]) -> str:
    """One line of the table; times in milliseconds."""
    network, frame = figures["gpu_ms"], figures["frame_ms"]
    energy = figures["joules_per_frame"]
    return (
        f"{case!s:42} {100 * figures['agreement']['tag_sets']:8.1f}% {network['p50']:8.3f} {network['p99']:8.3f} "
        f"{frame['p50']:9.3f} {frame['p99']:8.3f} {figures['images_per_second']:9.1f} "
        f"{'-' if energy is None else f'{energy:.4f}':>8}"
    )


if __name__ == "__main__":
    sys.exit(main())
