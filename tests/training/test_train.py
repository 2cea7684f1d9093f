"""A whole run on pictures that can be learned: it learns, resumes, exports, and the compiled plan agrees."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from pvlr_sdk import Tagger
from pvlr_sdk.build import build
from pvlr_sdk.errors import CheckpointError, PvlrError
from pvlr_sdk.evaluate import evaluate
from pvlr_sdk.labels import LabelBank
from pvlr_sdk.labels_csv import read_labels
from pvlr_training import train as training
from pvlr_training.checkpoint import load_model
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.evaluate import calibrate, sigmoid
from pvlr_training.export import export
from pvlr_training.train import train

QUIET = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_run_learns_and_its_compiled_plan_agrees(write_config: Any, photos: Path, tmp_path: Path) -> None:
    config = write_config(train={"finetune": {"epochs": 14, "batch": 16, "lr": 3e-3, "backbone_lr": 3e-3}})
    folder = train(config, out=tmp_path / "run", console=QUIET)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in rows] == ["head"] * 2 + ["finetune"] * 14
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert not (folder / "state.json").exists()

    network = export(folder, tmp_path / "exported")
    build(network, tmp_path / "engine.plan")
    model, _, extra = load_model(folder)
    with Tagger(tmp_path / "engine.plan", precision="fp32") as tagger:
        measured = evaluate(tagger, photos, read_labels(photos / "labels.csv", "train", tagger.labels))
        assert measured.mAP > 95
        image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
        normalised = (image.flip(2).permute(2, 0, 1)[None].float() - 127) / 64
        with torch.inference_mode():
            expected = DeployedPVLR(model)(normalised)
        result = tagger.predict(image.numpy())
        np.testing.assert_allclose(result.logits, expected.logits[0].numpy(), atol=1e-4)
        maps = (model.head.predict.alpha * expected.similarity[0]).softmax(0)[:, 1].reshape(model.grid)
        np.testing.assert_allclose(result.attention("green", size="grid"), maps.numpy(), atol=1e-4)
    bank = LabelBank.load(network.with_suffix(".labels.safetensors"))
    np.testing.assert_allclose(bank.thresholds, extra["thresholds"], atol=1e-6)

    # What docs/accuracy.md shows comes from this script: the fp32 stages agree on every tag set.
    script = Path(__file__).parents[2] / "benchmarks" / "parity.py"
    given = [
        "--images",
        photos,
        "--labels",
        photos / "labels.csv",
        "--split",
        "train",
        "--json",
        tmp_path / "parity.json",
    ]
    subprocess.run([sys.executable, script, folder, *given], check=True, capture_output=True)
    report = json.loads((tmp_path / "parity.json").read_text())
    agreement = {(row["stage"], row["against"]): row["same_tag_sets"] for row in report["rows"]}
    assert report["photos"] == 96
    assert agreement["ONNX Runtime fp32", "torch fp32"] == agreement["OpenVINO fp32", "torch fp32"] == 100


def stop_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next run be interrupted as soon as it has saved this many epochs."""
    save, saved = training.save_state, []

    def save_then_stop(*arguments: Any) -> None:
        save(*arguments)
        saved.append(True)
        if len(saved) == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "save_state", save_then_stop)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("epochs", [1, 2, 3])  # inside the head's stage, at its end, inside fine-tuning
def test_a_resumed_run_ends_with_the_same_weights(
    write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    config = write_config()
    train(config, out=tmp_path / "whole", console=QUIET)
    with monkeypatch.context() as patch:
        stop_after(epochs, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, out=tmp_path / "cut", console=QUIET)
    with pytest.raises(PvlrError, match="unfinished run"):
        train(config, out=tmp_path / "cut", console=QUIET)
    train(config, out=tmp_path / "cut", resume=True, console=QUIET)
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_dry_run_writes_nothing(write_config: Any, tmp_path: Path) -> None:
    text = io.StringIO()
    train(write_config(), out=tmp_path / "run", dry_run=True, console=Console(file=text))
    assert "held out" in text.getvalue()
    assert not (tmp_path / "run").exists()


def test_exploding_loss_stops_with_a_clear_error(write_config: Any, tmp_path: Path) -> None:
    stage = {"epochs": 3, "batch": 16, "lr": 1e30, "backbone_lr": 1e30}
    with pytest.raises(PvlrError, match="loss: expected a finite number"):
        train(write_config(train={"head": stage}), out=tmp_path / "run", console=QUIET)


def test_exported_network_keeps_its_operators_whole(write_config: Any, tmp_path: Path) -> None:
    quick = {"head": {"epochs": 1, "batch": 16, "lr": 1e-3}, "finetune": {"epochs": 0, "batch": 16, "lr": 1e-3}}
    folder = train(write_config(train=quick), out=tmp_path / "run", console=QUIET)
    path = export(folder, tmp_path / "exported")
    network = onnx.load(path)
    operators = [node.op_type for node in network.graph.node]
    assert network.opset_import[0].version >= 17
    assert operators.count("LayerNormalization") == 5  # visual norm, two in each direction of DMA: none taken apart
    # Batch is free, and a batch says what its pictures say one by one.
    session = onnxruntime.InferenceSession(path)
    images = np.random.default_rng(0).normal(size=(5, 3, 64, 64)).astype(np.float32)
    together = session.run(["logits"], {"image": images})[0]
    alone = np.concatenate([session.run(["logits"], {"image": image[None]})[0] for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_damaged_checkpoints_are_named(write_config: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        load_model(tmp_path / "nowhere")
    quick = {"head": {"epochs": 0, "batch": 16, "lr": 1e-3}, "finetune": {"epochs": 0, "batch": 16, "lr": 1e-3}}
    folder = train(write_config(train=quick), out=tmp_path / "run", console=QUIET)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(folder)


def test_thresholds_are_the_best_f1_where_positives_abound() -> None:
    rng = np.random.default_rng(0)
    targets = np.where(rng.random((20_000, 2)) < 0.3, 1, -1).astype(np.int8)
    logits = 2.0 * targets + rng.normal(size=targets.shape) + [0.0, 1.0]
    thresholds = calibrate(logits, targets)
    for column in range(2):
        score = sigmoid(logits[:, column])
        best = max(np.linspace(0.02, 0.98, 97), key=lambda cut: _f1(score >= cut, targets[:, column] == 1))
        assert (
            _f1(score >= thresholds[column], targets[:, column] == 1)
            > _f1(score >= best, targets[:, column] == 1) - 2e-3
        )
    # A label with two positives stays close to the common threshold.
    rare = np.full((200, 2), -1, np.int8)
    rare[:100, 0] = 1
    rare[:2, 1] = 1
    spread = np.where(rare == 1, 2.0, -2.0) + rng.normal(size=rare.shape)
    assert abs(np.diff(calibrate(spread, rare))[0]) < 0.2


def _f1(tagged: Any, present: Any) -> float:
    return 2 * (tagged & present).sum() / (tagged.sum() + present.sum())
