"""Knowledge of open networks: what is learned of photos without labels, and ``pvlr export --open --knowledge``."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pvlr_sdk import LabelBank, errors
from pvlr_sdk.bundle.manifest import OpenSpec
from pvlr_sdk.cli import app
from pvlr_sdk.labels.knowledge import Knowledge
from pvlr_training import concepts
from pvlr_training.checkpoint import save_model
from pvlr_training.concepts import Seen, evidence, knowledge_of, regress
from pvlr_training.model.backbone import Backbone
from pvlr_training.model.network import PVLR

from .conftest import random_config

SPEC = OpenSpec(max_labels=9, width=32, space="random 0", feature_width=24, features="tiny")


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(0.2, 1, (1000, 384)).astype(np.float32)


def seen(count: int = 300) -> Seen:
    """Photos whose logits are a linear function of their features."""
    random = np.random.default_rng(1)
    features = np.abs(random.normal(1, 1, (count, 24)))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    logits = features @ random.normal(0, 9, (24, 1000))
    return Seen(features, logits, 1 / (1 + np.exp(-logits)))


def test_ridge_regression_finds_a_linear_function():
    photos = seen()
    weights = regress(photos.features, photos.logits + 3, 1e-9)
    found = photos.features @ weights.T
    np.testing.assert_allclose(
        found - found.mean(0), photos.logits - photos.logits.mean(0), atol=1e-3
    )


def test_a_label_with_the_name_of_a_class_has_its_evidence(vectors):
    photos = seen()
    knowledge = knowledge_of(photos, vectors, SPEC)
    bank = knowledge.bank_of(["tench"], knowledge.shares(vectors[:1].astype(np.float64))[0])
    found = photos.features @ bank.weights[0].astype(np.float64) + bank.biases[0]
    assert np.corrcoef(found, evidence(photos)[:, 0])[0, 1] > 0.9
    assert np.corrcoef(found, evidence(photos)[:, 1])[0, 1] < 0.9


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vectors: np.ndarray) -> Path:
    """A finished run with random weights, which are also those of the pretrained network."""
    torch.manual_seed(0)
    whole = Backbone("test_efficientnet", pretrained=False, classifier=True).eval()
    monkeypatch.setattr(concepts, "Backbone", lambda name, pretrained, classifier: whole)
    monkeypatch.setattr(concepts, "class_vectors", lambda: vectors)
    config = random_config(["red", "green"])
    network = PVLR(config.data.labels, 64, 64, config.model).eval()
    network.backbone.load_state_dict(whole.state_dict(), strict=False)
    save_model(tmp_path, network, config, {"thresholds": [0.4, 0.4], "holdout": {}})
    return tmp_path


def photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(count):
        cv2.imwrite(
            str(folder / f"{index}.png"), random.integers(0, 256, (40, 40, 3)).astype(np.uint8)
        )
    return folder


@pytest.mark.slow
def test_the_command_writes_the_knowledge_of_the_network(
    run: Path, tmp_path: Path, vectors: np.ndarray
) -> None:
    folder = photos(tmp_path / "photos", 100)
    (folder / "broken.jpg").write_bytes(b"no image")
    done = CliRunner().invoke(app, ["export", str(run), "--open", "--knowledge", str(folder)])
    assert done.exit_code == 0, done.output
    path = run / "model-open.knowledge.safetensors"
    assert done.stdout.splitlines()[-1] == str(path)
    knowledge, own = Knowledge.load(path), LabelBank.load(run / "model-open.labels.safetensors")
    assert knowledge.photos.shape[0] == 100
    words = knowledge.bank_of(["tench"], knowledge.shares(vectors[:1].astype(np.float64))[0])
    assert own.join(words).names == ["red", "green", "tench"]


@pytest.mark.slow
def test_captions_add_everyday_words(run: Path, tmp_path: Path, vectors: np.ndarray) -> None:
    folder = photos(tmp_path / "images", 200)
    lines = [f"{index}.png,A cat{' at night' * (index < 60)}" for index in range(200)]
    for index in range(60):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((40, 40, 3), index % 9, np.uint8))
    (folder / "7.png").write_bytes(b"no image")
    captions = tmp_path / "captions.csv"
    captions.write_text("\n".join(["file,caption", *lines, "absent.png,A night"]))
    arguments = ["export", str(run), "--open", "--knowledge", str(folder)]
    done = CliRunner().invoke(app, [*arguments, "--captions", str(captions)])
    assert done.exit_code == 0, done.output
    everyday = Knowledge.load(run / "model-open.knowledge.safetensors").everyday
    assert "night" in everyday.names
    assert (everyday.photos, everyday.counts[everyday.find("night"), 0]) == (199, 59)


@pytest.mark.slow
def test_too_few_photos(run: Path, tmp_path: Path) -> None:
    arguments = ["export", str(run), "--open", "--knowledge", str(photos(tmp_path / "photos", 3))]
    with pytest.raises(
        errors.OptionError, match="--knowledge: expected at least 100 readable photos, got 3"
    ):
        app(arguments, standalone_mode=False)


def test_a_closed_network_has_no_knowledge(tmp_path: Path) -> None:
    arguments = ["export", str(tmp_path), "--knowledge", str(tmp_path)]
    with pytest.raises(
        errors.OptionError, match="--knowledge: expected --open, got a closed network"
    ):
        app(arguments, standalone_mode=False)


def test_captions_need_a_knowledge_file(tmp_path: Path) -> None:
    arguments = ["export", str(tmp_path), "--open", "--captions", str(tmp_path / "captions.csv")]
    with pytest.raises(errors.OptionError, match="--captions: expected --knowledge"):
        app(arguments, standalone_mode=False)
