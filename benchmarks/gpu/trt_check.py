"""Builds the shipped models for TensorRT on this GPU, checks them and measures them; see trt_check.sh.

Writes trt_check.json: how each plan was built, its agreement with fp32 on the images, milliseconds of the network alone
(CUDA events) and from frame to tags, images per second, memory and energy.
"""

from __future__ import annotations

import itertools
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends import open_backend
from pvlr_sdk.backends.tensorrt import library
from pvlr_sdk.backends.tensorrt.driver import open_cuda
from pvlr_sdk.backends.tensorrt.libcuda import Driver
from pvlr_sdk.compile.build import build
from pvlr_sdk.compile.calibration import CalibrationImages
from pvlr_sdk.compile.tensorrt_options import Batch, BuildOptions
from pvlr_sdk.diagnostics.bench import sampling
from pvlr_sdk.diagnostics.bench.machine import EnergyMeter
from pvlr_sdk.diagnostics.probes import board, gpu
from pvlr_sdk.frames.bgr import load_bgr
from pvlr_sdk.models.find import load_bundle

from ..common import ROOT, SAMPLES, Table, make_images, run, save

MODELS = {
    path.parent.name: path
    for path in (*ROOT.glob("pvlr_sdk/models/*/engine.plan"), *ROOT.glob("models/*/engine.plan"))
    if not path.with_suffix(".knowledge.safetensors").exists()  # open plans are for the CPU
}
PRECISIONS, ATTENTIONS = ("fp16", "int8"), ("native", "fused")
MISSING = 3


def main(
    out: Annotated[Path, typer.Option(help="Folder of the plans, logs and results.")] = Path("build/trt_check"),
    images: Annotated[Path | None, typer.Option(help="Images for int8 and the gate. Default: the samples.")] = None,
    models: Annotated[list[str] | None, typer.Option(help="Only these models; repeatable.")] = None,
    precisions: Annotated[list[str] | None, typer.Option(help="Default: fp16 and int8; repeatable.")] = None,
    attentions: Annotated[list[str] | None, typer.Option(help="Default: native and fused; repeatable.")] = None,
    seconds: Annotated[float, typer.Option(help="Longest time of each measurement.")] = 10.0,
) -> int:
    """Build, check and measure plans of the shipped models on this GPU."""
    models = models or sorted(MODELS)
    if unknown := set(models) - set(MODELS):
        raise typer.BadParameter(f"unknown model {', '.join(unknown)}; the models are {', '.join(sorted(MODELS))}")
    try:
        library.require()
        cuda = open_cuda()
    except errors.MissingPartError as error:
        print(f"trt_check: {error}", file=sys.stderr)
        return MISSING
    samples = [] if images else make_images(out / "images", 64)
    photos = CalibrationImages.below(images, "--images") if images else CalibrationImages(samples)
    report: dict[str, Any] = {"conditions": gpu_conditions(cuda), "photos": len(photos.frames), "plans": {}}
    rows = []
    for case in itertools.product(models, precisions or PRECISIONS, attentions or ATTENTIONS):
        print(name := "-".join(case), "...", flush=True)
        try:
            figures = measure(*case, out / name / "engine.plan", photos, seconds, cuda)
            rows.append([name, *cells(figures)])
        except errors.PvlrError as error:
            figures = {"error": f"{type(error).__name__}: {error}"}
            print(figures["error"], flush=True)
        report["plans"][name] = figures
        save(out / "trt_check.json", report)
    columns = ["", "same tags", "network p50, ms", "p99", "frame p50, ms", "p99", "images/s", "J/frame"]
    card = report["conditions"]["gpu"]["name"]
    Table(f"{card}, TensorRT {library.version()}, {len(photos.frames)} images", columns, rows).print()
    print(f"results in {out / 'trt_check.json'}")
    return int(any("error" in figures for figures in report["plans"].values()))


def gpu_conditions(cuda: Driver) -> dict[str, Any]:
    """The GPU and the software that results belong to."""
    return {
        "gpu": cuda.gpu().to_dict(),
        "tensorrt": library.version(),
        "cuda_binding": cuda.name,
        "jetson": board.jetson(),
        "clocks": board.clocks(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def measure(
    model: str, precision: str, attention: str, plan: Path, photos: CalibrationImages, seconds: float, cuda: Driver
) -> dict[str, Any]:
    """Build one plan, check it and measure it."""
    began = time.perf_counter()
    how = {"device": "tensorrt", "precision": precision, "options": BuildOptions(Batch(1, 1, 8), attention)}
    manifest = build(MODELS[model], plan, calibration_images=photos, **how)
    built = time.perf_counter() - began
    frame = load_bgr(SAMPLES[0])
    with cuda.current():
        free = cuda.free_memory()
    backend = open_backend(load_bundle(plan))
    backend.release(backend.acquire())  # allocates the buffers of a frame
    used = free - backend.free_memory()
    with Tagger(plan) as tagger:
        sampling.repeat_for(min(1.0, seconds / 5), lambda: tagger.predict(frame))
        compute = np.array(backend.compute_times(max(20, int(50 * seconds))))
        del backend
        meter = EnergyMeter()
        meter.start()
        start = time.perf_counter()
        least = 200 if seconds >= 1 else 20
        total = sampling.sample(lambda: tagger.predict(frame).timing, seconds=seconds, least=least)["total"]
        joules = meter.joules(time.perf_counter() - start)
        state = None
        with suppress(RuntimeError, OSError):  # no nvidia-smi
            state = gpu.now()
        info = tagger.info
    with Tagger(plan, optimize="throughput") as tagger:
        batch = [frame] * 64
        start = time.perf_counter()
        rounds = sampling.repeat_for(seconds / 2, lambda: tagger.predict_batch(batch))
        rate = len(batch) * rounds / (time.perf_counter() - start)
    figures = manifest.measured["precisions"][f"{precision} {attention}"]
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


def cells(figures: dict[str, Any]) -> list[str]:
    """The row of one plan without its name; times in milliseconds."""
    times = [f"{figures[kind][key]:.3f}" for kind in ("gpu_ms", "frame_ms") for key in ("p50", "p99")]
    energy, rate = figures["joules_per_frame"], f"{figures['images_per_second']:.1f}"
    return [f"{100 * figures['agreement']['tag_sets']:.1f} %", *times, rate, "-" if energy is None else f"{energy:.4f}"]


if __name__ == "__main__":
    run(main)
