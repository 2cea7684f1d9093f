"""A whole run on learnable images: it learns, resumes and exports, and the compiled plan agrees."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file
from typer.testing import CliRunner

from pvlr_sdk import Tagger
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.cli import app
from pvlr_sdk.errors import CheckpointError, ConfigError, PvlrError
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.export import export_as, outputs_of
from pvlr_sdk.workshop.compile.exported import read_payload
from pvlr_sdk.workshop.compile.gate import compare
from pvlr_sdk.workshop.evaluation.evaluate import evaluate
from pvlr_sdk.workshop.evaluation.labels_csv import read_labels
from pvlr_training import loop
from pvlr_training.checkpoint import load_model
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.export import export
from pvlr_training.train import train

from .conftest import tiny_config

QUIET = Console(file=io.StringIO())


@pytest.mark.slow
@pytest.mark.parametrize(("head", "epochs"), [("pvlr", 14), ("linear", 30)])
def test_a_run_learns_and_its_compiled_plan_agrees(
    write_config: Any, photos: Path, tmp_path: Path, head: str, epochs: int
) -> None:
    config = write_config(
        train={"finetune": {"epochs": epochs, "batch": 16, "lr": 3e-3, "backbone_lr": 3e-3}}
    )
    folder = train(config, [f"model.head={head}"], out=tmp_path / "run", console=QUIET)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["stage"] for row in rows] == ["head"] * 2 + ["finetune"] * epochs
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert not (folder / "state.safetensors").exists()

    network = export(folder, tmp_path / "exported")
    build(network, tmp_path / "engine.plan")
    model, _, extra = load_model(folder)
    with Tagger(tmp_path / "engine.plan", precision="fp32") as tagger:
        measured = evaluate(
            tagger, photos, read_labels(photos / "labels.csv", "train", tagger.labels)
        )
        assert measured.mAP > 95
        image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
        normalised = (image.flip(2).permute(2, 0, 1)[None].float() - 127) / 64
        with torch.inference_mode():
            expected = DeployedPVLR(model)(normalised)
        result = tagger.predict(image.numpy())
        np.testing.assert_allclose(result.logits, expected.logits[0].numpy(), atol=1e-4)
        maps = (model.head.alpha * expected.similarity[0]).softmax(0)[:, 1].reshape(model.grid)
        np.testing.assert_allclose(result.attention("green", size="grid"), maps.numpy(), atol=1e-3)
    bank = LabelBank.load(network.with_suffix(".labels.safetensors"))
    np.testing.assert_allclose(bank.thresholds, extra["thresholds"], atol=1e-6)
    np.testing.assert_allclose(bank.precise_thresholds, extra["precise_thresholds"], atol=1e-6)
    assert (bank.precise_thresholds >= bank.thresholds).all()

    # Every head is also exported in the precisions for TensorRT.
    for precision in ("fp16", "bf16"):
        _, agreement = export_as(
            network, tmp_path / "typed", precision=precision, min_agreement=0.5
        )
        assert 0 < agreement.largest_logit_difference < (0.05 if precision == "fp16" else 0.4)

    if head == "pvlr":
        _check_parity(folder, network, tmp_path / "engine.plan", photos)


def _check_parity(folder: Path, network: Path, plan: Path, photos: Path) -> None:
    """The fp32 stages of docs/accuracy.md agree on every tag set: PyTorch, ONNX Runtime and OpenVINO."""
    model, config, extra = load_model(folder)
    files = [photos / file for file in read_labels(photos / "labels.csv", "train").files]
    images = [Preprocessor(config.data.input).load(file) for file in files]
    with torch.inference_mode():
        exact = DeployedPVLR(model)(torch.from_numpy(np.stack(images))).logits.numpy()
    with Tagger(plan, precision="fp32") as tagger:
        compiled = np.stack([result.logits for result in tagger.predict_batch(files)])
    onnx_runtime = np.stack(
        [logits for logits, _ in outputs_of(read_payload(str(network)), images)]
    )
    assert len(files) == 96
    for logits in (onnx_runtime, compiled):
        assert compare(logits, exact, np.array(extra["thresholds"], np.float32)).tag_sets == 1


def stop_after(epochs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the next run when it has saved this many epochs."""
    save, saved = loop.save_state, []

    def save_then_stop(*arguments: Any) -> None:
        save(*arguments)
        saved.append(True)
        if len(saved) == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_state", save_then_stop)


OTHER_RECIPE = [
    "train.finetune.batch=8",
    "data.randaugment.ops=2",
    "data.cutout=0.5",
    "model.head=linear",
]


class Whole(NamedTuple):
    """An uninterrupted run, and what it was made with."""

    folder: Path
    config: Path
    recipe: list[str]


@pytest.fixture(scope="module", params=[[], OTHER_RECIPE], ids=["default", "other"])
def whole(
    request: pytest.FixtureRequest, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    config = folder / "tiny.yaml"
    config.write_text(yaml.safe_dump(tiny_config(photos)))
    return Whole(
        train(config, request.param, out=folder / "run", console=QUIET), config, request.param
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "epochs", [1, 2, 3]
)  # inside the head's stage, at its end, inside fine-tuning
def test_a_resumed_run_ends_with_the_same_weights(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    _, config, recipe = whole
    with monkeypatch.context() as patch:
        stop_after(epochs, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, recipe, out=tmp_path / "cut", console=QUIET)
    with pytest.raises(CheckpointError, match="unfinished run"):
        train(config, recipe, out=tmp_path / "cut", console=QUIET)
    train(config, recipe, out=tmp_path / "cut", resume=True, console=QUIET)
    expected, resumed = (
        load_file(path / "model.safetensors") for path in (whole.folder, tmp_path / "cut")
    )
    assert expected.keys() == resumed.keys()
    assert [name for name in expected if not torch.equal(expected[name], resumed[name])] == []


@pytest.mark.slow
@pytest.mark.parametrize("killed_in", [None, 4])
def test_the_best_epoch_is_kept(
    write_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_in: int | None
) -> None:
    """Fine-tuning with such a rate forgets what the head has learned."""
    config = write_config()
    wild = [
        "train.precision=fp32",  # bfloat16 gives another run on each CPU
        "train.finetune.lr=0.03",
        "train.finetune.backbone_lr=0.03",
        "train.head.epochs=6",
    ]
    out = tmp_path / "run"
    console = Console(file=io.StringIO(), width=200)
    if killed_in is not None:
        keep = loop.StageLoop._keep_if_best
        calls = iter(range(9))

        def stop(self: Any, score: float) -> None:
            keep(self, score)
            if next(calls) == killed_in - 1:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(loop.StageLoop, "_keep_if_best", stop)
            with pytest.raises(KeyboardInterrupt):
                train(config, [*wild, "train.best=true"], out=out, console=console)
    train(config, [*wild, "train.best=true"], out=out, console=console, resume=True)
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    measured = [row["holdout_mAP"] for row in rows if "holdout_mAP" in row]
    assert len(measured) == 4
    assert measured[-1] < max(measured) - 10
    holdout = json.loads((out / "model.json").read_text())["holdout"]
    assert holdout["mAP"] == pytest.approx(max(measured), abs=0.01)
    assert "the best on the held-out images" in console.file.getvalue()
    assert not (out / "best.safetensors").exists()


def test_a_batch_larger_than_the_data_is_an_error(write_config: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"train\.head\.batch: expected at most \d\d images, got 120"
    ):
        train(write_config(), ["train.head.batch=120"], out=tmp_path / "r", console=QUIET)


def test_dry_run_writes_nothing(write_config: Any, tmp_path: Path) -> None:
    text = io.StringIO()
    train(write_config(), out=tmp_path / "run", dry_run=True, console=Console(file=text))
    assert "held out" in text.getvalue()
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_exploding_loss_stops_with_a_clear_error(write_config: Any, tmp_path: Path) -> None:
    stage = {"epochs": 3, "batch": 16, "lr": 1e30, "backbone_lr": 1e30}
    with pytest.raises(PvlrError, match="loss: expected a finite number"):
        train(write_config(train={"head": stage}), out=tmp_path / "run", console=QUIET)


@pytest.mark.slow
def test_exported_network_keeps_its_operators_whole(write_config: Any, tmp_path: Path) -> None:
    quick = {
        "head": {"epochs": 1, "batch": 16, "lr": 1e-3},
        "finetune": {"epochs": 0, "batch": 16, "lr": 1e-3},
    }
    folder = train(write_config(train=quick), out=tmp_path / "run", console=QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the user sees no tracer warnings
        path = export(folder, tmp_path / "exported")
    network = onnx.load(path)
    operators = [node.op_type for node in network.graph.node]
    assert network.opset_import[0].version >= 17
    # visual norm, two in each direction of DMA: none decomposed
    assert operators.count("LayerNormalization") == 5
    done = CliRunner().invoke(
        app, ["export", str(folder), "--precision", "fp16", "--attention", "fused"]
    )
    assert done.stdout.splitlines() == [
        str(folder / "model.onnx"),
        str(folder / "model-fp16-fused.onnx"),
    ]
    assert "same tags as fp32 on 100.0 % of 8 images" in done.stderr
    # The batch size is dynamic, and a batch gives the same results as single images.
    session = onnxruntime.InferenceSession(path)
    images = np.random.default_rng(0).normal(size=(5, 3, 64, 64)).astype(np.float32)
    together = session.run(["logits"], {"image": images})[0]
    alone = np.concatenate([session.run(["logits"], {"image": image[None]})[0] for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_damaged_checkpoints_are_named(write_config: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        load_model(tmp_path / "nowhere")
    quick = {
        "head": {"epochs": 0, "batch": 16, "lr": 1e-3},
        "finetune": {"epochs": 0, "batch": 16, "lr": 1e-3},
    }
    folder = train(write_config(train=quick), out=tmp_path / "run", console=QUIET)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(folder)
