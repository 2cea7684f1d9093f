"""Time from a frame to its scores: the same trained model through pvlr_sdk and its peers, interleaved in one process.

    python -m benchmarks.cpu.peers [--checkpoint runs/open/final] [--int8 int8/engine.plan] [--images images/]

The frame is 1920x1080 BGR in memory. The scores of each peer on images are compared with fp32 after the SDK's
preprocessing, to show that all compute the same. An open plan is closed first, as no peer has label banks. PyTorch
needs --checkpoint, int8 needs --int8 (pvlr build PLAN --precision int8 --bank BANK), OpenVINO Model API needs its
package (pip install --no-deps openvino-model-api).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from pvlr_sdk import Tagger
from pvlr_sdk.backends import open_backend
from pvlr_sdk.bundle.bundle import Bundle
from pvlr_sdk.frames.bgr import load_bgr
from pvlr_sdk.frames.find import find
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.compile.build import build

from ..closed import write_closed
from ..common import (
    DOCS,
    Case,
    Int8,
    Json,
    Plan,
    Table,
    Threads,
    conditions,
    interleaved,
    run,
    save,
    summarise,
)
from .peer_runners import (
    Run,
    Setting,
    compile_network,
    hand_written,
    model_api,
    onnx_runtime,
    ours,
    torch_model,
)


def main(
    plan: Plan = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="The run that the plan came from, for PyTorch.")
    ] = None,
    int8: Int8 = None,
    images: Annotated[Path, typer.Option(help="Images to compare the scores on.")] = DOCS
    / "images",
    count: Annotated[int, typer.Option(help="Number of these images at most.")] = 100,
    threads: Threads = 2,
    rounds: Annotated[int, typer.Option(help="Rounds of five calls of each.")] = 40,
    out: Json = None,
) -> None:
    """Time one frame through pvlr_sdk and its peers, and compare their scores."""
    cv2.setNumThreads(threads)
    with TemporaryDirectory() as folder:
        bundle = closed(load_bundle(plan), Path(folder))
        with Tagger(bundle.path) as tagger:
            precision = tagger.info["precision"]
        setting = Setting(bundle, checkpoint, int8, threads, precision)
        peers = open_peers(setting)
    frame = noise_frame()
    cases: dict[str, Case] = {name: (lambda peer=peer: peer(frame)) for name, peer in peers.items()}
    figures = summarise(interleaved(cases | parts(setting, frame), rounds))
    found = find([str(images)], lambda given, error: print(error))
    compared = [load_bgr(path) for path in found[:count]]
    facts = conditions(threads, "torch", "onnxruntime", "openvino-model-api")
    data = {
        "conditions": {**facts, "plan": setting.bundle.manifest.name, "photos": len(compared)},
        "figures": figures,
        "agreement": compare(peers, compared, setting.bundle.labels.thresholds),
    }
    table(data).print()
    save(out, data)


def closed(bundle: Bundle, folder: Path) -> Bundle:
    """A closed plan as it is; of an open one, a closed plan that is written into a folder."""
    if bundle.manifest.open is None:
        return bundle
    plan = folder / "engine.plan"
    build(write_closed(bundle.path, folder), plan)
    return load_bundle(plan)


def noise_frame() -> np.ndarray:
    """A BGR frame of 8 x 8 blocks in random colours, uint8 (1080, 1920, 3)."""
    small = np.random.default_rng(0).integers(0, 256, (135, 240, 3), np.uint8)
    return np.ascontiguousarray(small.repeat(8, 0).repeat(8, 1))


def open_peers(setting: Setting) -> dict[str, Run]:
    """The peers that can run here, ``predict()`` first."""
    precision = setting.precision
    peers = {f"predict(), {precision}": ours(setting)}
    if precision != "fp32":
        peers["predict(), fp32"] = ours(setting, "fp32")
    if setting.int8:
        peers["predict(), int8"] = ours(setting, plan=setting.int8)
    peers[f"hand-written OpenVINO, {precision}, INTER_AREA"] = hand_written(setting, cv2.INTER_AREA)
    peers[f"hand-written OpenVINO, {precision}, INTER_LINEAR"] = hand_written(
        setting, cv2.INTER_LINEAR
    )
    if importlib.util.find_spec("model_api"):
        peers[f"OpenVINO Model API, {precision}"] = model_api(setting)
    if importlib.util.find_spec("onnxruntime"):
        peers["ONNX Runtime, fp32"] = onnx_runtime(setting, setting.bundle.payload)
        if setting.int8:
            peers["ONNX Runtime, int8"] = onnx_runtime(setting, load_bundle(setting.int8).payload)
    if setting.checkpoint:
        for kind in dict.fromkeys(("fp32", precision)):
            peers[f"PyTorch eager, {kind}"] = torch_model(setting, compiled=False, precision=kind)
            peers[f"torch.compile, {kind}"] = torch_model(setting, compiled=True, precision=kind)
    return peers


def parts(setting: Setting, frame: np.ndarray) -> dict[str, Case]:
    """The parts of ``predict()``, each alone."""
    slot = open_backend(setting.bundle, num_threads=setting.threads).acquire()
    request = compile_network(
        setting.bundle.payload, setting.threads, setting.precision
    ).create_infer_request()
    preprocess = Preprocessor(setting.spec)

    def engine() -> None:
        slot.start()
        slot.wait()

    return {
        "part: engine of pvlr_sdk": engine,
        "part: raw OpenVINO": request.infer,
        "part: preprocessing of pvlr_sdk": lambda: preprocess(frame, "bgr", slot.input),
    }


def compare(
    peers: dict[str, Run], frames: list[np.ndarray], thresholds: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Share of frames with the same tags, and the largest score difference, compared with fp32 ``predict()``."""
    reference = next(name for name in ("predict(), fp32", *peers) if name in peers)
    scores = {name: np.stack([peer(frame) for frame in frames]) for name, peer in peers.items()}
    return {
        name: {
            "same_tag_sets": float(
                ((rows >= thresholds) == (scores[reference] >= thresholds)).all(axis=1).mean()
            ),
            "largest_score_difference": float(np.abs(rows - scores[reference]).max()),
        }
        for name, rows in scores.items()
    }


def table(data: dict[str, Any]) -> Table:
    """Times of a frame, relative to ``predict()``, and the agreement with fp32."""
    conditions = data["conditions"]
    agreement = data["agreement"]
    base = next(iter(data["figures"].values()))["median_ms"]
    rows = [
        [
            name,
            *(f"{values[key]:.2f}" for key in ("median_ms", "p99_ms", "min_ms")),
            f"{values['median_ms'] / base:.2f}",
            f"{100 * agreement[name]['same_tag_sets']:.0f} %" if name in agreement else "",
            f"{agreement[name]['largest_score_difference']:.3f}" if name in agreement else "",
        ]
        for name, values in data["figures"].items()
    ]
    columns = [
        "",
        "Median, ms",
        "p99, ms",
        "Min, ms",
        "/ predict()",
        "Same tags",
        "Score difference",
    ]
    title = f"{conditions['plan']}, {conditions['threads']} threads per engine, {conditions['photos']} images compared"
    return Table(title, columns, rows)


if __name__ == "__main__":
    run(main, passive=True)
