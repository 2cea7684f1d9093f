"""How long is a frame? predict() against a hand-written loop and torch eager, in interleaved rounds of one process.

    python benchmarks/latency.py --threads 2 [--checkpoint runs/pvlr-lite2-coco80]

The frame is 1920x1080 BGR in memory. The hand-written loop is what one writes without us: cv2.resize, normalise and
transpose in NumPy, then OpenVINO on the same payload with the same options. Torch runs the trained model in fp32 after
our preprocessing and needs --checkpoint. Prints medians in ms and their ratios to predict(), and writes JSON.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import openvino
import typer
from rich.console import Console
from rich.table import Table

from pvlr_sdk import Tagger
from pvlr_sdk.bundle import Bundle, default_plan
from pvlr_sdk.manifest import InputSpec
from pvlr_sdk.preprocess import Preprocessor

Case = Callable[[], object]


def main(
    plan: Annotated[Path | None, typer.Argument(help="A plan; the bundled one by default.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="The run it came from, to time torch as well.")] = None,
    threads: Annotated[int, typer.Option(help="Threads for everyone.")] = 2,
    precision: Annotated[str, typer.Option(help="For us and the hand-written loop: auto, fp32, bf16.")] = "auto",
    rounds: Annotated[int, typer.Option(help="Rounds of ten calls of each.")] = 30,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here as well.")] = None,
) -> None:
    """Time predict() on a 1080p frame against what one would write by hand."""
    cv2.setNumThreads(threads)
    plan = plan or default_plan()
    frame = np.random.default_rng(0).integers(0, 256, (135, 240, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    tagger = Tagger(plan, num_threads=threads, precision=precision)
    bundle = Bundle.open(plan)
    spec = bundle.manifest.input
    hint = {"fp32": "f32", "bf16": "bf16"}[tagger.info["precision"]]
    cases: dict[str, Case] = {
        "predict()": lambda: tagger.predict(frame),
        "hand-written, INTER_AREA": _by_hand(bundle, hint, threads, frame, cv2.INTER_AREA),
        "hand-written, INTER_LINEAR": _by_hand(bundle, hint, threads, frame, cv2.INTER_LINEAR),
        "inference alone": _inference(bundle, hint, threads, spec),
        "preprocessing, ours": _ours(spec, frame),
        "preprocessing, INTER_AREA": lambda: prepare(frame, spec, cv2.INTER_AREA),
        "preprocessing, INTER_LINEAR": lambda: prepare(frame, spec, cv2.INTER_LINEAR),
    }
    if checkpoint:
        cases["torch eager fp32"] = _torch(checkpoint, threads, spec, frame)
    samples = measure(cases, rounds)
    conditions = {
        "plan": tagger.info["name"],
        "precision": tagger.info["precision"],
        "input": [spec.width, spec.height],
        "threads": threads,
        "machine": tagger.info["device"],
        "python": platform.python_version(),
        "openvino": tagger.info["version"],
        "samples": {name: len(values) for name, values in samples.items()},
    }
    medians = {name: float(np.median(values)) for name, values in samples.items()}
    _print(conditions, samples, medians)
    if out:
        p99 = {name: float(np.percentile(values, 99)) for name, values in samples.items()}
        out.write_text(json.dumps({"conditions": conditions, "median_ms": medians, "p99_ms": p99}, indent=1) + "\n")


def measure(cases: dict[str, Case], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call; the cases take turns, so that a change in the machine's speed meets them all."""
    for case in cases.values():
        end = time.perf_counter() + 0.5
        while time.perf_counter() < end:
            case()
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            for _ in range(10):
                began = time.perf_counter()
                case()
                samples[name].append(1e3 * (time.perf_counter() - began))
    return samples


def prepare(frame: np.ndarray, spec: InputSpec, interpolation: int) -> np.ndarray:
    """What one writes by hand: resize, to RGB, normalise, to (1, 3, H, W) float32."""
    small = cv2.resize(frame, (spec.width, spec.height), interpolation=interpolation)
    mean, std = np.float32(spec.mean), np.float32(spec.std)
    rgb = (small[:, :, ::-1].astype(np.float32) - mean) / std
    return np.ascontiguousarray(rgb.transpose(2, 0, 1))[None]


def _compile(bundle: Bundle, hint: str, threads: int, spec: InputSpec) -> openvino.CompiledModel:
    core = openvino.Core()
    model = core.read_model(bundle.payload)
    model.reshape([1, 3, spec.height, spec.width])
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
    return core.compile_model(model, "CPU", options)


def _by_hand(bundle: Bundle, hint: str, threads: int, frame: np.ndarray, interpolation: int) -> Case:
    spec = bundle.manifest.input
    request = _compile(bundle, hint, threads, spec).create_infer_request()

    def run() -> Any:
        request.infer({0: prepare(frame, spec, interpolation)})
        return 1 / (1 + np.exp(-request.get_tensor("logits").data[0]))

    return run


def _inference(bundle: Bundle, hint: str, threads: int, spec: InputSpec) -> Case:
    request = _compile(bundle, hint, threads, spec).create_infer_request()
    return lambda: request.infer()


def _ours(spec: InputSpec, frame: np.ndarray) -> Case:
    preprocess = Preprocessor(spec)
    out = np.empty((3, spec.height, spec.width), np.float32)
    return lambda: preprocess(frame, "bgr", out)


def _torch(checkpoint: Path, threads: int, spec: InputSpec, frame: np.ndarray) -> Case:
    import torch

    from pvlr_training.checkpoint import load_model
    from pvlr_training.deploy import DeployedPVLR

    torch.set_num_threads(threads)
    model, preprocess = DeployedPVLR(load_model(checkpoint)[0]), Preprocessor(spec)

    def run() -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(preprocess(frame, "bgr"))[None]).logits.sigmoid().numpy()

    return run


def _print(conditions: dict[str, Any], samples: dict[str, list[float]], medians: dict[str, float]) -> None:
    c = conditions
    title = f"{c['plan']} {c['precision']}, {c['input'][0]}x{c['input'][1]}, {c['threads']} threads, {c['machine']}"
    table = Table(title=title)
    for column in ("1920x1080 BGR frame", "median ms", "p99 ms", "/ predict()", "calls"):
        table.add_column(column, justify="left" if column.startswith("1920") else "right")
    for name, values in samples.items():
        ratio = medians[name] / medians["predict()"]
        table.add_row(
            name, f"{medians[name]:.2f}", f"{np.percentile(values, 99):.2f}", f"{ratio:.2f}", str(len(values))
        )
    Console().print(table)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    typer.run(main)
