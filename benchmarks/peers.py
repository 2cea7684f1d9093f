"""Who tags a frame fastest? The same trained model through us and its peers, in interleaved rounds of one process.

    python benchmarks/peers.py [--checkpoint runs/pvlr-lite2-coco80] [--int8 int8/engine.plan] [--images photos/]

Timed is a 1920x1080 BGR frame in memory, from pixels to the scores of all labels. What each peer says of the photos is
compared with fp32 after our preprocessing, so that nobody wins by being wrong. Thread counts are pinned. PyTorch runs
with --checkpoint (the run that the plan came from), int8 with --int8 (made by pvlr build --precision int8), OpenVINO
Model API where it is installed (pip install --no-deps openvino-model-api).
"""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from common import Case, conditions, interleaved, noise_frame, print_table, summarise, write_json
from peer_runners import Run, Setting, compile_payload, hand_written, model_api, onnx_runtime, ours, torch_model

from pvlr_sdk import Tagger
from pvlr_sdk.bundle import Bundle, default_plan
from pvlr_sdk.frames import load_bgr
from pvlr_sdk.preprocess import Preprocessor

_SAMPLES = Path(__file__).parents[1] / "docs" / "images"


def main(
    plan: Annotated[Path | None, typer.Argument(help="A plan; the bundled one by default.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="The run it came from, for PyTorch.")] = None,
    int8: Annotated[Path | None, typer.Option(help="The same model as a quantised plan.")] = None,
    images: Annotated[Path, typer.Option(help="Photos to compare the results on.")] = _SAMPLES,
    count: Annotated[int, typer.Option(help="How many of them at most.")] = 100,
    threads: Annotated[int, typer.Option(help="Threads for everyone.")] = 2,
    rounds: Annotated[int, typer.Option(help="Rounds of five calls of each.")] = 40,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here as well.")] = None,
) -> None:
    """Time one frame through everybody, and compare what they say."""
    cv2.setNumThreads(threads)
    plan = plan or default_plan()
    with Tagger(plan) as tagger:
        precision = tagger.info["precision"]
    setting = Setting(Bundle.open(plan), checkpoint, int8, threads, {"fp32": "f32", "bf16": "bf16"}[precision])
    peers = open_peers(setting, precision)
    frame = noise_frame()
    cases: dict[str, Case] = {name: (lambda run=run: run(frame)) for name, run in peers.items()}
    cases |= parts(setting, frame)
    figures = summarise(interleaved(cases, rounds))
    files = sorted(path for path in images.rglob("*") if path.suffix.lower() in (".jpg", ".png"))[:count]
    photos = [load_bgr(path) for path in files]
    inside = own_clock(setting, frame, 5 * rounds)
    agreement = compare(peers, photos, setting.bundle.labels.thresholds)
    base = figures[next(iter(cases))]["median_ms"]
    rows = [
        [
            name,
            *(f"{values[key]:.2f}" for key in ("median_ms", "p99_ms", "min_ms")),
            f"{values['median_ms'] / base:.2f}",
            f"{100 * agreement[name]['same_tag_sets']:.0f} %" if name in agreement else "",
            f"{agreement[name]['largest_score_difference']:.3f}" if name in agreement else "",
        ]
        for name, values in figures.items()
    ]
    columns = ["1920x1080 BGR frame", "median ms", "p99 ms", "min ms", "/ predict()", "same tags", "score difference"]
    print_table(f"{setting.bundle.manifest.name}, {threads} threads each, {len(photos)} photos compared", columns, rows)
    print("inside predict(), median ms:", ", ".join(f"{part} {value:.2f}" for part, value in inside.items()))
    packages = ("torch", "onnxruntime", "openvino-model-api")
    write_json(
        out,
        {
            "conditions": {
                **conditions(threads, *packages), "plan": setting.bundle.manifest.name, "photos": len(photos)
            },
            "figures": figures,
            "inside": inside,
            "agreement": agreement,
        },
    )  # fmt: skip


def open_peers(setting: Setting, precision: str) -> dict[str, Run]:
    """Everybody who can run here, ourselves first."""
    peers = {f"predict(), {precision}": ours(setting)}
    if precision != "fp32":
        peers["predict(), fp32"] = ours(setting, "fp32")
    if setting.int8:
        peers["predict(), int8"] = ours(setting, plan=setting.int8)
    peers[f"hand-written OpenVINO, {precision}, INTER_AREA"] = hand_written(setting, cv2.INTER_AREA)
    peers[f"hand-written OpenVINO, {precision}, INTER_LINEAR"] = hand_written(setting, cv2.INTER_LINEAR)
    if importlib.util.find_spec("model_api"):
        peers[f"OpenVINO Model API, {precision}"] = model_api(setting)
    if importlib.util.find_spec("onnxruntime"):
        peers["ONNX Runtime, fp32"] = onnx_runtime(setting, setting.bundle.payload)
        if setting.int8:
            peers["ONNX Runtime, int8"] = onnx_runtime(setting, Bundle.open(setting.int8).payload)
    if setting.checkpoint:
        peers["PyTorch eager, fp32"] = torch_model(setting, compiled=False)
        peers["torch.compile, fp32"] = torch_model(setting, compiled=True)
    return peers


def parts(setting: Setting, frame: np.ndarray) -> dict[str, Case]:
    """What a frame's time is made of."""
    tagger = Tagger(setting.bundle.path, num_threads=setting.threads)
    backend = tagger._ready()
    slot = backend.acquire()
    request = compile_payload(setting).create_infer_request()
    preprocess = Preprocessor(setting.spec)

    def engine() -> None:
        slot.start()
        slot.wait()

    return {
        "part: our engine alone": engine,
        "part: raw OpenVINO alone": request.infer,
        "part: our preprocessing": lambda: preprocess(frame, "bgr", slot.input),
    }


def own_clock(setting: Setting, frame: np.ndarray, calls: int) -> dict[str, float]:
    """Medians in ms of what ``predict()`` spends: preprocessing and inference by its own clock, and all else around."""
    tagger = Tagger(setting.bundle.path, num_threads=setting.threads)
    rows = []
    for _ in range(calls):
        began = time.perf_counter()
        result = tagger.predict(frame)
        _ = result.tags
        total = 1e3 * (time.perf_counter() - began)
        preprocess, inference = (result.timing[stage] for stage in ("preprocess", "inference"))
        rows.append((preprocess, inference, total - preprocess - inference))
    return dict(zip(("preprocessing", "inference", "all else"), np.median(rows, axis=0).tolist(), strict=True))


def compare(peers: dict[str, Run], photos: list[np.ndarray], thresholds: np.ndarray) -> dict[str, dict[str, Any]]:
    """Share of photos with the same tags, and the largest score difference, against fp32 after our preprocessing."""
    reference = next(name for name in ("predict(), fp32", *peers) if name in peers)
    scores = {name: np.stack([run(photo) for photo in photos]) for name, run in peers.items()}
    return {
        name: {
            "same_tag_sets": float(((rows >= thresholds) == (scores[reference] >= thresholds)).all(axis=1).mean()),
            "largest_score_difference": float(np.abs(rows - scores[reference]).max()),
        }
        for name, rows in scores.items()
    }


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    typer.run(main)
