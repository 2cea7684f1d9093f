"""``pvlr export --open``: the label bank as an input gives the logits of the closed network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.cli import app
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.labels import Photos, bank_from_words, teach
from pvlr_sdk.workshop.compile.build import build
from pvlr_training.checkpoint import load_model, save_model
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.export import export
from pvlr_training.model.network import PVLR

from .conftest import random_config

LABELS = ["red", "green", "blue", "coffee cup", "rocket"]
INPUT = InputSpec(width=64, height=64, mean=(127, 127, 127), std=(64, 64, 64))


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Writes a finished run with random weights."""

    def write(
        labels: list[str] = LABELS,
        side: int = 64,
        backbone: str = "test_efficientnet",
        **model: Any,
    ) -> Path:
        config = random_config(labels, side, backbone=backbone, **model)
        torch.manual_seed(0)
        network = PVLR(config.data.labels, side, side, config.model).eval()
        if config.model.head == "pvlr":
            with torch.no_grad():
                network.head.predict.bias.normal_(-3, 0.5)
        save_model(tmp_path, network, config, {"thresholds": [0.4] * len(labels), "holdout": {}})
        return tmp_path

    return write


def both(run: Path, max_labels: int) -> tuple[Tagger, Tagger]:
    """The closed and the open plan of a run in fp32."""
    taggers = []
    for room in (None, max_labels):
        network = export(run, run, max_labels=room)
        build(network, network.with_suffix(".plan"), precision="fp32")
        taggers.append(Tagger(network.with_suffix(".plan")))
    return taggers[0], taggers[1]


def frames(side: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (4, side, side, 3)).astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        {"layers": 2},
        *(
            pytest.param(dma, marks=pytest.mark.slow)
            for dma in ({}, {"dma": "none"}, {"dma": "label_to_visual"})
        ),
        pytest.param({"dma": "visual_to_label"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_an_open_plan_gives_the_logits_of_the_closed_one(run: Any, model: dict[str, Any]) -> None:
    closed, opened = both(run(**model), 9)
    for expected, result in zip(
        closed.predict_batch(frames(64)), opened.predict_batch(frames(64)), strict=True
    ):
        np.testing.assert_allclose(result.logits, expected.logits, atol=1e-4)
        np.testing.assert_allclose(
            result.attention("rocket", "grid"), expected.attention("rocket", "grid"), atol=1e-5
        )
    np.testing.assert_array_equal(opened.thresholds, closed.thresholds)
    assert opened.label_bank.space.startswith("random ")
    np.testing.assert_allclose(opened.label_bank.biases.mean(), 0, atol=1e-6)


@pytest.mark.slow
def test_eighty_of_128_labels_give_the_logits_of_the_closed_plan(run: Any) -> None:
    labels = [f"label {index}" for index in range(80)]
    closed, opened = both(
        run(labels, 224, "tf_efficientnet_lite2", width=256, heads=8, ffn=512), 128
    )
    for expected, result in zip(
        closed.predict_batch(frames(224)), opened.predict_batch(frames(224)), strict=True
    ):
        np.testing.assert_allclose(result.logits, expected.logits, atol=1e-4)


@pytest.mark.slow
def test_some_labels_give_the_logits_of_a_model_with_these(run: Any) -> None:
    """Of the other labels nothing is left: neither their rows nor their padding is read."""
    folder = run()
    _, opened = both(folder, 9)
    chosen = ["rocket", "green"]
    opened.set_labels(opened.label_bank.select(chosen))
    mixed = opened.predict(frames(64)[0]).logits
    network = export(folder, folder, max_labels=5)
    bank = LabelBank.load(network.with_suffix(".labels.safetensors")).select(chosen)
    bank.save(network.with_suffix(".labels.safetensors"))
    build(network, network.with_suffix(".plan"), precision="fp32")
    np.testing.assert_allclose(
        Tagger(network.with_suffix(".plan")).predict(frames(64)[0]).logits, mixed, atol=1e-4
    )
    assert np.abs(mixed - opened.predict(frames(64)[1]).logits).max() > 1e-3


@pytest.mark.slow
def test_the_closed_export_is_as_without_open_ones(run: Any) -> None:
    folder = run()
    network = export(folder, folder)
    before = network.read_bytes(), network.with_suffix(".labels.safetensors").read_bytes()
    export(folder, folder, max_labels=8)
    assert (network.read_bytes(), network.with_suffix(".labels.safetensors").read_bytes()) == before
    assert b'"open"' not in before[0]
    assert LabelBank.from_bytes(before[1]).biases is None


@pytest.mark.slow
def test_a_model_that_reads_nothing_but_prompts_takes_any_words(run: Any) -> None:
    pytest.importorskip("all_minilm_l6_v2", reason="needs the extra [words]")
    folder = run(text={"encoder": "minilm"}, ifm="ka", cap={"mode": "none"})
    closed, opened = both(folder, 9)
    trained = opened.label_bank
    assert (trained.space, trained.embeddings.shape) == ("minilm", (5, 384))
    frame = frames(64)[0]
    before = opened.predict(frame)
    # the bank is rounded elsewhere
    np.testing.assert_allclose(before.logits, closed.predict(frame).logits, atol=0.01)
    opened.set_labels(bank_from_words(LABELS))
    np.testing.assert_allclose(
        opened.predict(frame).logits, before.logits - trained.biases, atol=1e-3
    )
    opened.set_labels(bank_from_words(["forklift", "hard hat", "coffee cup"]))
    assert list(opened.predict(frame).scores_by_label) == ["forklift", "hard hat", "coffee cup"]


@pytest.mark.slow
@pytest.mark.parametrize("words", [True, False])
def test_a_taught_label_starts_from_its_words_where_the_model_reads_words(
    run: Any, tmp_path: Path, words: bool
) -> None:
    pytest.importorskip("all_minilm_l6_v2", reason="needs the extra [words]")
    folder = run(
        **({"text": {"encoder": "minilm"}, "ifm": "ka", "cap": {"mode": "none"}} if words else {})
    )
    _, opened = both(folder, 9)
    features = [result.features for result in opened.predict_batch(frames(64))]
    with torch.inference_mode():
        tokens = DeployedPVLR(load_model(folder)[0]).backbone(
            torch.from_numpy(Preprocessor(INPUT).load(frames(64)[0]))[None]
        )
    expected = tokens.mean(1)[0].numpy()
    np.testing.assert_allclose(features[0], expected / np.linalg.norm(expected), atol=1e-4)
    for index, frame in enumerate(frames(64)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame)
    photos = Photos.from_folders(
        "forklift", [tmp_path / "0.png", tmp_path / "1.png"], [tmp_path / "[23].png"]
    )
    taught = teach(opened.info["plan"], photos, precision="fp32")
    assert taught.labels[0].words == words
    assert (taught.bank.gains[-1] != 0) == words
    rows = bank_from_words(["forklift"]).embeddings if words else np.zeros((1, 32), np.float16)
    np.testing.assert_array_equal(taught.bank.embeddings[-1:], rows)
    plain = LabelBank(
        [*LABELS, "forklift"], taught.bank.embeddings, taught.bank.thresholds, taught.bank.text
    )
    opened.set_labels(plain)
    before = opened.predict(frames(64)[0]).logits[-1]
    opened.set_labels(taught.bank)
    logit = (
        taught.bank.gains[-1] * before
        + taught.bank.biases[-1]
        + taught.bank.weights[-1].astype(float) @ features[0]
    )
    np.testing.assert_allclose(opened.predict(frames(64)[0]).logits[-1], logit, atol=1e-3)


@pytest.mark.slow
def test_the_command(run: Any) -> None:
    folder = run()
    done = CliRunner().invoke(app, ["export", str(folder), "--open", "--max-labels", "7"])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{folder / 'model-open.onnx'}\n"
    build(folder / "model-open.onnx", folder / "engine.plan")
    assert Tagger(folder / "engine.plan").info["max_labels"] == 7


@pytest.mark.slow
def test_another_input_size(run: Any) -> None:
    folder = run(side=64)
    done = CliRunner().invoke(app, ["export", str(folder), "--open", "--size", "96"])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{folder / 'model-96-open.onnx'}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-labels", "128"], "--max-labels: expected --open"),
        (["--open", "--max-labels", "4"], "--max-labels: expected at least 5, got 4"),
        (["--open", "--precision", "fp16"], "--open: expected a RUN in fp32 with native attention"),
        (
            ["--open", "--attention", "fused"],
            "--open: expected a RUN in fp32 with native attention",
        ),
    ],
)
def test_options_that_do_not_fit(run: Any, arguments: list[str], message: str) -> None:
    folder = run()
    with pytest.raises(errors.OptionError, match=message):
        app(["export", str(folder), *arguments], standalone_mode=False)
    assert not list(folder.glob("*.onnx"))


def test_a_head_with_weights_for_single_labels_is_not_opened(run: Any) -> None:
    folder = run(head="linear")
    with pytest.raises(
        errors.OptionError, match="--open: expected a model that reads its label bank"
    ):
        export(folder, folder, max_labels=8)
    assert not list(folder.glob("*.onnx"))
